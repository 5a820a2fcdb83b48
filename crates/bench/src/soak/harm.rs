//! Peers that mean harm: each kind alone, by the thousand, while others are served.

use std::{cell::Cell, io, net::SocketAddr, rc::Rc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::{JoinSet, LocalSet},
    time::{Instant, sleep, timeout},
};

use super::{
    Served, at_rest,
    figures::{self, Usage},
    options::Options,
};

/// Peers that are there at a time: what a process of the usual 20,000 descriptors can open and
/// leave as many for the other end.
const AT_ONCE: usize = 4_000;

/// Longest that somebody else's request may take before it counts as unanswered.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Between two requests of others.
const PACE: Duration = Duration::from_millis(2);

/// What a peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Connects and says nothing.
    Silent,
    /// Sends half a head.
    HalfHead,
    /// Sends a head of almost the largest size, without its end.
    LongHead,
    /// Sends a head and two bytes of a long body.
    SlowBody,
    /// Asks for more than fits into its buffers and reads nothing.
    Unread,
    /// Sends half a preface of HTTP/2.
    HalfPreface,
    /// Asks, and leaves at once with a reset.
    Reset,
}

impl Kind {
    pub(super) const ALL: [Self; 7] = [
        Self::Silent,
        Self::HalfHead,
        Self::LongHead,
        Self::SlowBody,
        Self::Unread,
        Self::HalfPreface,
        Self::Reset,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::HalfHead => "half a head",
            Self::LongHead => "60 KiB of a head",
            Self::SlowBody => "two bytes of a body",
            Self::Unread => "4 MiB not read",
            Self::HalfPreface => "half a preface of HTTP/2",
            Self::Reset => "asks and resets",
        }
    }

    fn says(self) -> Vec<u8> {
        match self {
            Self::Silent => Vec::new(),
            Self::HalfHead => b"GET /small HTTP/1.1\r\nhost: be".to_vec(),
            Self::LongHead => {
                let mut head = b"GET /small HTTP/1.1\r\nhost: bench\r\nx: ".to_vec();
                head.resize(60 * 1024, b'x');
                head
            }
            Self::SlowBody => {
                b"POST /take HTTP/1.1\r\nhost: bench\r\ncontent-length: 1000000\r\n\r\nab".to_vec()
            }
            Self::Unread => b"GET /large HTTP/1.1\r\nhost: bench\r\n\r\n".to_vec(),
            Self::HalfPreface => b"PRI * HTTP/2.0\r\n".to_vec(),
            Self::Reset => b"GET /small HTTP/1.1\r\nhost: bench\r\n\r\n".to_vec(),
        }
    }

    /// Connects and says its piece. What comes back is not read. Returns the connection, if
    /// the peer stays.
    pub(super) async fn begin(self, address: SocketAddr) -> io::Result<Option<TcpStream>> {
        let mut socket = TcpStream::connect(address).await?;
        socket.write_all(&self.says()).await?;
        if self == Self::Reset {
            socket.set_zero_linger()?;
            return Ok(None);
        }
        Ok(Some(socket))
    }
}

/// Lets so many of a kind come, in turns, and looks at the server and at the others meanwhile.
/// At rest the server holds `rest` descriptors.
pub(super) async fn meet(
    kind: Kind,
    options: Options,
    served: &Served,
    rest: usize,
) -> io::Result<figures::Met> {
    let local = LocalSet::new();
    local.run_until(meet_all(kind, options, served, rest)).await
}

async fn meet_all(
    kind: Kind,
    options: Options,
    served: &Served,
    rest: usize,
) -> io::Result<figures::Met> {
    let address = served.address;
    let usual = Others::start(address);
    while usual.asked() < options.usual() {
        sleep(PACE).await;
    }
    let usual = usual.end().await?;
    let before = at_rest(served, rest).await?;
    let mut peak = before;
    let others = Others::start(address);
    let mut left = options.hostile();
    while left > 0 {
        let wave = left.min(AT_ONCE);
        left -= wave;
        let mut there = Vec::with_capacity(wave);
        let mut coming = JoinSet::new();
        for _ in 0..wave {
            coming.spawn_local(kind.begin(address));
            if coming.len() >= 64 {
                there.extend(coming.join_next().await.into_iter().flatten().flatten());
            }
        }
        while let Some(come) = coming.join_next().await {
            there.extend(come.into_iter().flatten());
        }
        let until = Instant::now() + options.stay();
        while Instant::now() < until {
            let now = served.usage()?;
            peak = Usage {
                anonymous_kib: peak.anonymous_kib.max(now.anonymous_kib),
                descriptors: peak.descriptors.max(now.descriptors),
            };
            sleep(Duration::from_millis(50)).await;
        }
    }
    let beside = others.end().await?;
    let after = at_rest(served, rest).await?;
    Ok(figures::Met {
        name: kind.name(),
        peers: options.hostile(),
        before,
        peak,
        after,
        p99: [usual.p99(), beside.p99()],
        unanswered: [beside.unanswered, beside.asked()],
    })
}

/// A client that asks again and again, and each tenth time over a new connection.
struct Others {
    over: Rc<Cell<bool>>,
    asked: Rc<Cell<usize>>,
    task: tokio::task::JoinHandle<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    took: Vec<Duration>,
    unanswered: usize,
}

impl Others {
    fn start(address: SocketAddr) -> Self {
        let (over, asked) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
        let (until, count) = (Rc::clone(&over), Rc::clone(&asked));
        let task = tokio::task::spawn_local(async move {
            let (mut seen, mut socket) = (Seen::default(), None);
            while !until.get() {
                if count.get() % 10 == 0 {
                    socket = None;
                }
                let began = Instant::now();
                match timeout(ANSWER_MAX, ask(&mut socket, address)).await {
                    Ok(Ok(())) => seen.took.push(Instant::now() - began),
                    _ => {
                        seen.unanswered += 1;
                        socket = None;
                    }
                }
                count.set(count.get() + 1);
                sleep(PACE).await;
            }
            seen
        });
        Self { over, asked, task }
    }

    fn asked(&self) -> usize {
        self.asked.get()
    }

    async fn end(self) -> io::Result<Seen> {
        self.over.set(true);
        self.task.await.map_err(io::Error::other)
    }
}

impl Seen {
    fn asked(&self) -> usize {
        self.took.len() + self.unanswered
    }

    fn p99(&self) -> Duration {
        let mut took = self.took.clone();
        took.sort();
        took.get(took.len() * 99 / 100).copied().unwrap_or_default()
    }
}

async fn ask(socket: &mut Option<TcpStream>, address: SocketAddr) -> io::Result<()> {
    let socket = match socket {
        Some(socket) => socket,
        None => socket.insert(TcpStream::connect(address).await?),
    };
    socket
        .write_all(b"GET /small HTTP/1.1\r\nhost: bench\r\n\r\n")
        .await?;
    let (mut bytes, mut got) = ([0; 1024], Vec::new());
    while !got.ends_with(b"hello") {
        match socket.read(&mut bytes).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => got.extend(&bytes[..read]),
        }
        if got.starts_with(b"HTTP/1.1 5") {
            return Err(io::Error::other("refused"));
        }
    }
    Ok(())
}

//! A relay in front of a TCP server, which does to connections what networks and proxies do.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

/// What is passed on at once; more waits in the kernel, as behind a slow network.
const CHUNK: usize = 16 * 1024;

/// How many of those are on their way at once.
const PARTS: usize = 64;

/// A TCP relay on a free port of the loopback, on a thread of its own.
///
/// Everything can be changed while it runs, for new connections or for those that stand.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    wishes: watch::Sender<Wishes>,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Debug)]
struct Wishes {
    target: SocketAddr,
    newcomers: Newcomers,
    connect_delay: Duration,
    answer_delay: Duration,
    is_paused: bool,
    /// Connections of an earlier one are cut.
    era: u64,
    is_over: bool,
}

/// What happens to a connection that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Newcomers {
    Pass,
    /// Accepted and closed at once, as a proxy without a server does.
    Close,
    /// The port is closed, so the kernel refuses.
    Refuse,
}

#[derive(Debug, Default)]
struct Counts {
    taken: AtomicUsize,
    standing: AtomicUsize,
}

impl Relay {
    /// Starts one in front of this port of the loopback.
    ///
    /// # Panics
    /// If the loopback has no free port.
    #[must_use]
    pub fn start(target: u16) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0");
        let listener = listener.expect("the loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (wishes, heard) = watch::channel(Wishes {
            target: loopback(target),
            newcomers: Newcomers::Pass,
            connect_delay: Duration::ZERO,
            answer_delay: Duration::ZERO,
            is_paused: false,
            era: 0,
            is_over: false,
        });
        let counts = Arc::new(Counts::default());
        let counted = Arc::clone(&counts);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime of one thread");
            runtime.block_on(relay(listener, port, heard, counted));
        });
        Self {
            port,
            wishes,
            counts,
            thread: Some(thread),
        }
    }

    /// Returns the port it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Returns how many connections it has taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.counts.taken.load(Ordering::SeqCst)
    }

    /// Returns how many of them are still there.
    #[must_use]
    pub fn standing(&self) -> usize {
        self.counts.standing.load(Ordering::SeqCst)
    }

    /// Leads new connections to another port; those that stand stay where they are.
    pub fn lead_to(&self, target: u16) {
        self.wish(|it| it.target = loopback(target));
    }

    /// Lets each new connection stand for so long before it reaches the server.
    pub fn delay_connects(&self, time: Duration) {
        self.wish(|it| it.connect_delay = time);
    }

    /// Holds back what the server says by so much, on every connection.
    pub fn delay_answers(&self, time: Duration) {
        self.wish(|it| it.answer_delay = time);
    }

    /// Passes nothing on any more, in either direction, and lets everybody in.
    pub fn pause(&self) {
        self.wish(|it| it.is_paused = true);
    }

    /// Passes on what has come meanwhile and all that follows.
    pub fn resume(&self) {
        self.wish(|it| it.is_paused = false);
    }

    /// Closes every connection that stands.
    pub fn cut(&self) {
        self.wish(|it| it.era += 1);
    }

    /// Accepts each new connection and closes it; those that stand are left alone.
    pub fn close_new(&self) {
        self.wish(|it| it.newcomers = Newcomers::Close);
    }

    /// Closes the port, so that new connections are refused; those that stand are left alone.
    pub fn refuse_new(&self) {
        self.wish(|it| it.newcomers = Newcomers::Refuse);
    }

    /// Lets new connections through again.
    pub fn pass_new(&self) {
        self.wish(|it| it.newcomers = Newcomers::Pass);
    }

    fn wish(&self, change: impl FnOnce(&mut Wishes)) {
        self.wishes.send_modify(change);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.wish(|it| it.is_over = true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

async fn relay(
    listener: std::net::TcpListener,
    port: u16,
    mut heard: watch::Receiver<Wishes>,
    counts: Arc<Counts>,
) {
    listener.set_nonblocking(true).expect("a socket can do it");
    let listener = TcpListener::from_std(listener).expect("this is a runtime");
    let mut open = Some(listener);
    loop {
        let wishes = heard.borrow_and_update().clone();
        if wishes.is_over {
            return;
        }
        match (wishes.newcomers, &open) {
            (Newcomers::Refuse, _) => open = None,
            (_, None) => open = TcpListener::bind(loopback(port)).await.ok(),
            (_, Some(_)) => {}
        }
        let accepted = async {
            match &open {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = heard.changed() => if changed.is_err() { return },
            Ok((client, _)) = accepted => {
                counts.taken.fetch_add(1, Ordering::SeqCst);
                if heard.borrow().newcomers == Newcomers::Pass {
                    tokio::spawn(stand(client, heard.clone(), Arc::clone(&counts)));
                }
            }
        }
    }
}

/// One connection, until either side closes it or it is cut.
async fn stand(client: TcpStream, mut heard: watch::Receiver<Wishes>, counts: Arc<Counts>) {
    counts.standing.fetch_add(1, Ordering::SeqCst);
    let era = heard.borrow().era;
    let passed = pass(client, heard.clone());
    let cut = heard.wait_for(|it| it.era != era || it.is_over);
    tokio::select! {
        () = passed => {}
        _ = cut => {}
    }
    counts.standing.fetch_sub(1, Ordering::SeqCst);
}

async fn pass(client: TcpStream, mut heard: watch::Receiver<Wishes>) {
    let (delay, target) = {
        let wishes = heard.borrow();
        (wishes.connect_delay, wishes.target)
    };
    tokio::time::sleep(delay).await;
    flows(&mut heard).await;
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(
        copy(from_client, to_server, heard.clone(), |_| Duration::ZERO),
        copy(from_server, to_client, heard, |it| it.answer_delay),
    );
}

/// Passes on what comes, each part and the end as long after it came as a longer way would take:
/// the end of a connection that is closed with its last word comes with that.
async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut heard: watch::Receiver<Wishes>,
    delay: fn(&Wishes) -> Duration,
) {
    let (sender, mut parts) = mpsc::channel(PARTS);
    let delayed = heard.clone();
    let read = async move {
        let mut chunk = vec![0; CHUNK];
        loop {
            let count = from.read(&mut chunk).await.unwrap_or(0);
            let due = Instant::now() + delay(&delayed.borrow());
            let part = chunk[..count].to_vec();
            if sender.send((due, part)).await.is_err() || count == 0 {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, part)) = parts.recv().await {
            sleep_until(due).await;
            flows(&mut heard).await;
            if part.is_empty() || to.write_all(&part).await.is_err() {
                // Dropping the half ends what the other side reads.
                return;
            }
        }
    };
    let read = async {
        read.await;
        std::future::pending::<()>().await;
    };
    // The half that was read is let go with the one that is written.
    tokio::select! {
        () = write => {}
        () = read => {}
    }
}

/// Waits while it is paused.
async fn flows(heard: &mut watch::Receiver<Wishes>) {
    let _ = heard.wait_for(|it| !it.is_paused).await;
}

//! The load: so many connections that always have a request under way, in raw HTTP, so that
//! the generator costs less than what it measures.

mod h1;
mod h2;

use std::{cell::Cell, io, net::SocketAddr, rc::Rc, thread, time::Duration};

use tokio::{net::TcpStream, task::JoinSet};

use super::cores::Cores;
use crate::clock;

pub(crate) use h2::one as one_over_http2;

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    pub(super) const ALL: [Self; 2] = [Self::Http1, Self::Http2];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http/1",
            Self::Http2 => "http/2",
        }
    }

    /// Connections, and requests under way on each.
    const fn width(self) -> (u64, u32) {
        match self {
            Self::Http1 => (32, 1),
            Self::Http2 => (8, 32),
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Small,
    Large,
}

impl Body {
    pub(super) const ALL: [Self; 2] = [Self::Small, Self::Large];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Large => "64 KiB",
        }
    }

    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Small => "/small",
            Self::Large => "/large",
        }
    }

    pub(super) const fn len(self) -> usize {
        match self {
            Self::Small => 5,
            Self::Large => 64 * 1024,
        }
    }
}

/// How long it goes on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    Passed(Duration),
    /// At least so many are answered; each connection has its share.
    Answered(u64),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) protocol: Protocol,
    pub(super) body: Body,
    pub(super) until: Until,
}

/// Longest that a number of requests may take, also under valgrind on a busy machine.
const COUNT_MAX: Duration = Duration::from_secs(120);

/// Runs a load on a thread of its own. Returns how many requests were answered, and the
/// seconds that it took. An answer that is not the expected one is an error.
pub(super) fn run(load: Load, address: SocketAddr, cores: &Cores) -> io::Result<(u64, f64)> {
    thread::scope(|scope| {
        let generator = scope.spawn(|| {
            cores.keep_to()?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let local = tokio::task::LocalSet::new();
            runtime.block_on(local.run_until(generate(load, address)))
        });
        let panicked = |_| io::Error::other("the load panicked");
        generator.join().map_err(panicked)?
    })
}

async fn generate(load: Load, address: SocketAddr) -> io::Result<(u64, f64)> {
    let (connections, streams) = load.protocol.width();
    let (share, most) = match load.until {
        Until::Passed(time) => (u64::MAX, time),
        Until::Answered(count) => (count.div_ceil(connections), COUNT_MAX),
    };
    let answered = Rc::new(Cell::new(0));
    let mut all = JoinSet::new();
    for _ in 0..connections {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let counter = Counter {
            answered: Rc::clone(&answered),
            left: share,
        };
        let body = load.body;
        all.spawn_local(async move {
            match load.protocol {
                Protocol::Http1 => h1::ask(socket, body, counter).await,
                Protocol::Http2 => h2::ask(socket, body, streams, counter).await,
            }
        });
    }
    let began = clock::now();
    let done = async {
        while let Some(ended) = all.join_next().await {
            ended.map_err(io::Error::other)??;
        }
        Ok::<_, io::Error>(())
    };
    match (tokio::time::timeout(most, done).await, load.until) {
        (Ok(ended), _) => ended?,
        (Err(_), Until::Passed(_)) => {}
        (Err(_), Until::Answered(count)) => {
            let got = answered.get();
            return Err(io::Error::other(format!(
                "{got} of {count} answers in {most:?}"
            )));
        }
    }
    Ok((answered.get(), clock::secs_since(began)))
}

/// Counts answers, and what one connection still has to ask for.
struct Counter {
    answered: Rc<Cell<u64>>,
    left: u64,
}

impl Counter {
    /// An answer is whole. Returns whether one more is to be asked for.
    fn answered(&mut self) -> bool {
        self.answered.set(self.answered.get() + 1);
        self.left = self.left.saturating_sub(1);
        self.left > 0
    }
}

fn unexpected(what: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("an answer is not the expected one: {what}"))
}

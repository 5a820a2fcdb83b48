//! A constant stream of requests, whatever becomes of them.
//!
//! The loop is open: each request has its moment, however late the answers to others are,
//! and its latency counts from that moment. Connections are kept and reused, as a client
//! library's pool does it: one that is seen to have ended is dropped, and nothing is ever
//! sent twice.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::client::{Answer, Fault, Method, h1, h2};

/// Requests on their way at a time; beyond, the next waits, and is late.
const IN_FLIGHT_MAX: usize = 1_000;

/// After so many requests a client closes its connection, so that there are always new
/// ones too, and both backends have some.
const USES_MAX: u32 = 20;

/// The same for HTTP/2, whose connections carry more at a time.
const STREAMS_MAX: u32 = 200;

/// Most requests of one run.
const REQUESTS_MAX: u64 = 2_000_000;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// An answer after 1 ms.
    Fast,
    /// An answer after 50 ms.
    Slow,
    /// An answer in five parts, over 50 ms.
    Stream,
}

impl Target {
    const fn path(self) -> &'static str {
        match self {
            Self::Fast => "/fast",
            Self::Slow => "/slow",
            Self::Stream => "/stream",
        }
    }

    /// The body of the answer: it repeats the id, so that nobody gets another's.
    fn body(self, id: &str) -> Vec<u8> {
        let line = format!("{id}\n");
        line.repeat(if self == Self::Stream { 5 } else { 1 })
            .into_bytes()
    }
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The answer that was wanted, from this process.
    Good(String),
    /// Another status.
    Status(u16),
    /// Nothing was sent, or the server said it did not look at it.
    Refused(String),
    /// The connection ended before the first byte of an answer.
    Empty,
    /// It was reset, or ended within the answer, or the answer was another's.
    Lost(String),
}

/// One request and its end.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its id, unique in the run.
    pub id: u64,
    /// Its method.
    pub method: Method,
    /// What it asked for.
    pub target: Target,
    /// What became of it.
    pub end: End,
    /// From the moment it was due to the end of its answer.
    pub latency: Duration,
    /// When it ended.
    pub ended_at: Instant,
    /// Whether the process that answered was on its way out.
    pub leaving: bool,
}

/// Where clients may connect: shared with whoever plays the registry.
#[derive(Clone, Debug, Default)]
pub struct Endpoints(Arc<Mutex<Vec<SocketAddr>>>);

impl Endpoints {
    /// Makes a set.
    #[must_use]
    pub fn new(addresses: &[SocketAddr]) -> Self {
        Self(Arc::new(Mutex::new(addresses.to_vec())))
    }

    /// Adds an address.
    ///
    /// # Panics
    /// Another thread panicked with it.
    pub fn add(&self, address: SocketAddr) {
        let mut all = self.0.lock().expect("nobody panics with it");
        if !all.contains(&address) {
            all.push(address);
        }
    }

    /// Takes an address out; connections to it stay.
    ///
    /// # Panics
    /// Another thread panicked with it.
    pub fn remove(&self, address: SocketAddr) {
        let mut all = self.0.lock().expect("nobody panics with it");
        all.retain(|it| *it != address);
    }

    fn pick(&self, turn: u64) -> SocketAddr {
        let all = self.0.lock().expect("nobody panics with it");
        let count = u64::try_from(all.len()).unwrap_or(1).max(1);
        let index = usize::try_from(turn % count).unwrap_or(0);
        *all.get(index).expect("the registry never takes both out")
    }
}

/// A load that runs until it is stopped.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    generator: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    endpoints: Endpoints,
    posts_streams: bool,
    pool: Pool,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    records: Vec<Record>,
    seen: HashSet<String>,
    over: bool,
}

#[derive(Debug)]
enum Pool {
    H1(Mutex<VecDeque<h1::Connection>>),
    H2(Mutex<HashMap<SocketAddr, (h2::Connection, u32)>>),
}

impl Load {
    /// Starts it. Streamed answers are asked for by POST too if `posts_streams`.
    #[must_use]
    pub fn start(
        rate_per_sec: u32,
        endpoints: Endpoints,
        http2: bool,
        posts_streams: bool,
    ) -> Self {
        let pool = if http2 {
            Pool::H2(Mutex::default())
        } else {
            Pool::H1(Mutex::default())
        };
        let shared = Arc::new(Shared {
            endpoints,
            posts_streams,
            pool,
            books: Mutex::default(),
        });
        let generator = tokio::spawn(generate(Arc::clone(&shared), rate_per_sec));
        Self { shared, generator }
    }

    /// How many requests have ended.
    ///
    /// # Panics
    /// A request's task panicked.
    #[must_use]
    pub fn ended(&self) -> u64 {
        let books = self.shared.books.lock().expect("nobody panics with it");
        u64::try_from(books.records.len()).unwrap_or(u64::MAX)
    }

    /// Whether this process has answered a request.
    ///
    /// # Panics
    /// A request's task panicked.
    #[must_use]
    pub fn has_seen(&self, label: &str) -> bool {
        let books = self.shared.books.lock().expect("nobody panics with it");
        books.seen.contains(label)
    }

    /// Sends no more, and waits for what is on its way.
    ///
    /// # Panics
    /// A request's task panicked.
    pub async fn stop(self) -> Vec<Record> {
        self.shared
            .books
            .lock()
            .expect("nobody panics with it")
            .over = true;
        self.generator.await.expect("it does not panic");
        let mut books = self.shared.books.lock().expect("nobody panics with it");
        std::mem::take(&mut books.records)
    }
}

async fn generate(shared: Arc<Shared>, rate_per_sec: u32) {
    let began = Instant::now();
    let every = Duration::from_secs(1) / rate_per_sec;
    let free = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let mut running = JoinSet::new();
    for id in 0..REQUESTS_MAX {
        if shared.books.lock().expect("nobody panics with it").over {
            break;
        }
        let due = began + every * u32::try_from(id).expect("below the maximum");
        sleep_until(due).await;
        let permit = Arc::clone(&free).acquire_owned().await;
        let shared = Arc::clone(&shared);
        running.spawn(async move {
            let _permit = permit;
            shared.request(id, due).await;
        });
        while let Some(ended) = running.try_join_next() {
            ended.expect("a request does not panic");
        }
    }
    while let Some(ended) = running.join_next().await {
        ended.expect("a request does not panic");
    }
}

impl Shared {
    async fn request(&self, id: u64, due: Instant) {
        // One slow and one streamed of ten, each by both methods.
        let target = match id % 10 {
            0 => Target::Slow,
            5 => Target::Stream,
            _ => Target::Fast,
        };
        let gets = (id / 10).is_multiple_of(2) || target == Target::Stream && !self.posts_streams;
        let method = if gets { Method::Get } else { Method::Post };
        let name = id.to_string();
        let answer = match &self.pool {
            Pool::H1(pool) => self.over_h1(pool, id, method, target).await,
            Pool::H2(pool) => self.over_h2(pool, id, method, target).await,
        };
        let leaving = answer.as_ref().is_ok_and(|answer| answer.leaving);
        let ended_at = Instant::now();
        let end = match answer {
            Ok(answer) if answer.status != 200 => End::Status(answer.status),
            Ok(answer) if answer.body != target.body(&name) => {
                End::Lost(format!("a strange body of {} bytes", answer.body.len()))
            }
            Ok(answer) => End::Good(answer.instance.unwrap_or_default()),
            Err(Fault::Refused(error)) => End::Refused(error.to_string()),
            Err(Fault::Empty) => End::Empty,
            Err(Fault::Lost(error)) => End::Lost(error.to_string()),
        };
        let mut books = self.books.lock().expect("nobody panics with it");
        if let End::Good(label) = &end
            && !books.seen.contains(label)
        {
            books.seen.insert(label.clone());
        }
        books.records.push(Record {
            id,
            method,
            target,
            end,
            latency: ended_at.saturating_duration_since(due),
            ended_at,
            leaving,
        });
    }

    async fn over_h1(
        &self,
        pool: &Mutex<VecDeque<h1::Connection>>,
        id: u64,
        method: Method,
        target: Target,
    ) -> Result<Answer, Fault> {
        let kept = || pool.lock().expect("nobody panics with it").pop_front();
        let mut reused = None;
        // The one that was idle longest, as the sharpest test.
        while let Some(connection) = kept() {
            if !connection.is_over() {
                reused = Some(connection);
                break;
            }
        }
        let mut connection = match reused {
            Some(connection) => connection,
            None => h1::Connection::open(self.endpoints.pick(id)).await?,
        };
        let request = h1::request(method, target.path(), &id.to_string());
        let answer = connection.send(&request).await?;
        if !answer.close && connection.used < USES_MAX {
            pool.lock()
                .expect("nobody panics with it")
                .push_back(connection);
        }
        Ok(answer)
    }

    async fn over_h2(
        &self,
        pool: &Mutex<HashMap<SocketAddr, (h2::Connection, u32)>>,
        id: u64,
        method: Method,
        target: Target,
    ) -> Result<Answer, Fault> {
        let address = self.endpoints.pick(id);
        let kept = || {
            let mut pool = pool.lock().expect("nobody panics with it");
            let (connection, used) = pool.get_mut(&address)?;
            *used += 1;
            (*used <= STREAMS_MAX).then(|| connection.clone())
        };
        let mut reused = None;
        if let Some(mut connection) = kept()
            && connection.is_open().await
        {
            reused = Some(connection);
        }
        let mut connection = match reused {
            Some(connection) => connection,
            None => {
                let connection = h2::Connection::open(address).await?;
                let mut pool = pool.lock().expect("nobody panics with it");
                pool.insert(address, (connection.clone(), 1));
                connection
            }
        };
        connection
            .send(address, method, target.path(), &id.to_string())
            .await
    }
}

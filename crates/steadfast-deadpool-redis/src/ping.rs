//! The check that asks a pool's server for a PONG.

use std::sync::Mutex;

use deadpool_redis::{Connection, Pool, redis};
use steadfast_core::{Check, CheckOutcome, CheckRun, Failure, FailureClass};
use steadfast_pool::{
    First, Patience,
    counts::History,
    first,
    probe::{Probe, Trouble},
};

use crate::{
    clock,
    gauges::Gauges,
    guard::any_serves,
    probe::Server,
    reach::{Endpoint, of_pool, of_url},
};

/// Returns a check of the pool's server and of the pool.
///
/// | what is found | answer |
/// |---|---|
/// | nobody listens, the network does not reach it | fail, `unreachable` |
/// | a connection that stood gets no PONG | fail, `stuck` |
/// | a connection is taken and no session is given on it | fail, `stuck` |
/// | a connection is not even taken, or the name does not resolve | fail, `unreachable`, `dns` |
/// | connections are taken and closed without a word (a proxy without a server) | fail, `unreachable` |
/// | it says that it is at `maxclients` | fail, `refused-by-server` |
/// | `NOAUTH`, `WRONGPASS`, `NOPERM` | fail, `auth` |
/// | no new session is given, for any of these reasons, and old ones serve | a warning with the reason and their number; a failure if the pool is empty and wants to grow |
/// | `LOADING` | fail, `loading` |
/// | `MASTERDOWN` | fail, `unhealthy` |
/// | `READONLY`, `OOM`, `MISCONF`, `NOREPLICAS`, with [`Ping::write_too`] | a warning, `read-only`, because reads go on |
/// | a script has the server for itself (`BUSY`) | fail, `overloaded` |
/// | it answers, the pool is full | warning, `saturated` |
/// | it answers | pass |
///
/// The numbers are `ping_ms`, `pool_size`, `pool_idle`, `pool_max`, `pool_in_use` and
/// `pool_waiting`.
///
/// The check keeps one connection outside the pool, opened with the pool's settings, and
/// asks it for a PONG. A run that comes 5 s or more after that was opened opens another,
/// which takes its place: that alone finds that nobody new is let in. A refusal is told by
/// the run that meets it, and found within
/// [`detection_max`](steadfast_core::plumbing::CheckSettings::detection_max), which the report shows
/// as `detection_max_ms`; that nothing is answered to who asks for a session is told one run
/// later, since a server may be slow to give one. A new session that would have less than
/// [`FAIR_MAX`](steadfast_pool::FAIR_MAX), or half of the check's time where that is shorter,
/// is asked for in the next run. For a moment there are two of these connections: count two
/// in `maxclients`.
///
/// The first run of a process has an empty pool open a connection, and that it serves is the
/// answer: who waits for the start waits for one connect. Where the pool is late or gets none,
/// and from the second run on, the check asks on its own session.
///
/// # Cancel safety
/// A run that is dropped closes the check's own connection. It never waits in the pool,
/// whatever the pool's timeouts are.
pub fn ping(pool: &Pool) -> Ping {
    Ping::new(pool, Ok(of_pool(pool)))
}

/// Returns the check of [`ping`], which is also told where the server is.
///
/// Where it is stands in the pool's own settings, so this is needed where those lead to another
/// place than where the server answers: behind a relay that takes every connection. Only the
/// address is taken from `url`; sessions are opened with the pool's settings.
///
/// With an address, silence is told apart: `stuck` if a plain connect is taken, `unreachable` if
/// it is not, `dns` if the name does not resolve. A server at `maxclients` or in protected mode
/// is quoted.
///
/// A URL that cannot be read makes each run fail as `misconfigured`.
pub fn ping_url(url: &str, pool: &Pool) -> Ping {
    Ping::new(pool, of_url(url).map(Some))
}

/// A check of a pool and its server; made by [`ping`] and [`ping_url`].
#[must_use]
pub struct Ping {
    pool: Pool,
    server: Result<Server, Failure>,
    probe: Probe<Server>,
    history: Mutex<History>,
}

impl std::fmt::Debug for Ping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ping")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Ping {
    fn new(pool: &Pool, endpoint: Result<Option<Endpoint>, Failure>) -> Self {
        Self {
            pool: pool.clone(),
            server: endpoint.map(|endpoint| Server {
                pool: pool.clone(),
                endpoint,
                writes: false,
            }),
            probe: Probe::default(),
            history: Mutex::default(),
        }
    }

    /// Writes too: sets the key `steadfast:probe`, which expires after 10 s.
    ///
    /// Off by default, because it costs a replicated write and needs the right to it; it
    /// alone sees a Redis that answers and takes no writes (full memory, failed snapshot,
    /// a replica where a master was).
    pub fn write_too(mut self) -> Self {
        if let Ok(server) = &mut self.server {
            server.writes = true;
        }
        self
    }

    async fn ask(&self, gauges: Gauges, patience: Patience) -> Result<CheckOutcome, Failure> {
        let server = self.server.as_ref().map_err(Clone::clone)?;
        let answered = match self.probe.ask(server, patience).await {
            Ok(answered) => answered,
            // Whoever has a session is served; who needs a new one is not.
            Err(trouble)
                if trouble.spares_old() && any_serves(&self.pool, patience.until()).await =>
            {
                return Ok(gauges.refused_beside(&trouble.failure));
            }
            // Reads go on, which a failure would end.
            Err(Trouble { failure, .. }) if failure.class() == FailureClass::ReadOnly => {
                return Ok(CheckOutcome::warn(failure.class(), failure.message()));
            }
            Err(trouble) => return Err(trouble.failure),
        };
        let (mut session, took) = (answered.session, answered.took);
        if answered.is_new {
            self.history(|history| history.fresh.opened(clock::now()));
        } else if self.history(|history| history.wants_session(clock::now())) {
            let renewed = self.probe.renew(server, patience).await;
            match renewed {
                Some(Ok(younger)) => {
                    self.history(|history| history.fresh.opened(clock::now()));
                    session = younger.session;
                }
                Some(Err(failure)) => self.history(|history| history.fresh.refused(failure)),
                None => {}
            }
        }
        self.probe.keep(session);
        let outcome = self.history(|history| gauges.answered(history));
        Ok(outcome.number("ping_ms", took.as_secs_f64() * 1e3))
    }

    /// Has the pool open its first connection, which answers if it is there in time.
    async fn ask_first(
        &self,
        gauges: Gauges,
        asked: impl Future<Output = Result<CheckOutcome, Failure>>,
    ) -> Result<CheckOutcome, Failure> {
        let server = self.server.as_ref().map_err(Clone::clone)?;
        // What else the check is to find out needs its own session.
        if server.writes {
            return asked.await;
        }
        let pool = self.pool.clone();
        let opening = async move {
            let mut session = pool.get().await.ok()?;
            let asked_at = clock::now();
            let ping = redis::cmd("PING");
            let answer = ping.query_async::<()>(&mut *session).await;
            let took = clock::now().saturating_duration_since(asked_at);
            match answer {
                Ok(()) => Some(took),
                Err(_) => {
                    // Closed, and not given back.
                    drop(Connection::take(session));
                    None
                }
            }
        };
        match first(opening, asked, Result::is_err).await {
            First::OfPool(took) => {
                self.history(|history| history.fresh.opened(clock::now()));
                let outcome = self.history(|history| gauges.answered(history));
                Ok(outcome.number("ping_ms", took.as_secs_f64() * 1e3))
            }
            First::Own(answer) => answer,
        }
    }

    fn history<T>(&self, ask: impl FnOnce(&mut History) -> T) -> T {
        ask(&mut self
            .history
            .lock()
            .expect("nothing panics while it is held"))
    }
}

impl Check for Ping {
    async fn run(&self, run: CheckRun) -> CheckOutcome {
        let now = clock::now();
        let until = run.deadline.with_margin(now);
        let gauges = Gauges::read(&self.pool);
        self.history(|history| history.note(gauges.counts, now));
        let outcome = if self.pool.is_closed() {
            CheckOutcome::fail(FailureClass::Other, "the application has closed the pool")
        } else {
            let asked = self.ask(gauges, Patience::new(until, now));
            let asked = if run.first && gauges.counts.size == 0 {
                self.ask_first(gauges, asked).await
            } else {
                asked.await
            };
            asked.unwrap_or_else(|failure| CheckOutcome::fail(failure.class(), failure.message()))
        };
        gauges.numbers(outcome)
    }

    fn kind(&self) -> &'static str {
        "redis"
    }
}

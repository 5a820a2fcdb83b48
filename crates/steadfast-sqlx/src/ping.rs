//! The check that asks a pool's server for a sign of life.

use std::{future::poll_fn, pin::pin, sync::Mutex, task::Poll, time::Duration};

use sqlx::{Connection, Database, Pool};
use steadfast_core::{Check, CheckOutcome, CheckRun, CheckStatus, Deadline, Failure, FailureClass};
use steadfast_pool::{
    First, Patience,
    counts::{Counts, History},
    first,
    probe::{Answered, Probe},
};
use tokio::time::timeout_at;

use crate::{
    classify::classify,
    clock,
    driver::{Driver, Options},
    gauges::{self, Sessions},
    judge::{self, Seen},
    probe::{Server, goodbye, open_anew},
};

/// After how long without a sign of life a full pool counts as stuck.
///
/// It is sqlx's default `acquire_timeout`: by then each request that waited has failed.
pub const STUCK_AFTER: Duration = Duration::from_secs(30);

/// Returns a check of the pool's server and of the pool.
///
/// | what is found | answer |
/// |---|---|
/// | nobody listens, the network does not reach it | fail, `unreachable` |
/// | a connection is taken and nothing is answered | fail, `stuck` |
/// | the server gives no session (SQLSTATE 53300) | fail, `refused-by-server` |
/// | starting or recovering (57P03), credentials (28…), no such database (3D000), TLS, name | fail, `loading`, `auth`, `misconfigured`, `tls`, `dns` |
/// | it gives no *new* session, and the pool has old ones | a warning with the reason and their number; a failure if the pool is empty and wants to grow |
/// | it answers, the pool is full, and none of its sessions has done anything for [`STUCK_AFTER`] (as the server tells; not SQLite) | fail, `stuck` |
/// | it answers, the pool is full | warning, `saturated` |
/// | it answers | pass |
///
/// The numbers are `ping_ms`, `pool_size`, `pool_idle`, `pool_max` and `pool_in_use`.
///
/// It asks for something that only the database can answer (`SELECT 1`), so a pooler in
/// front of a server that is gone does not pass for one.
///
/// For PostgreSQL and MySQL the check keeps one connection outside the pool, named
/// `steadfast-probe` in `pg_stat_activity`. A run that comes 5 s or more after that was opened
/// opens another, which takes its place: that alone finds that nobody new is let in (a
/// password that was rotated, no slot). A refusal is told by the run that meets it, and found
/// within [`detection_max`](steadfast_core::plumbing::CheckSettings::detection_max), which the report
/// shows as `detection_max_ms`; that nothing is answered to who asks for a session is told
/// one run later, since a server may be slow to give one. A new session that would have less
/// than [`FAIR_MAX`](steadfast_pool::FAIR_MAX), or half of the check's time where that is
/// shorter, is asked for in the next run. For a moment there are two of
/// these connections: count two per instance in the server's limit.
///
/// The first run of a process has an empty pool open a connection, and that it serves is the
/// answer: who waits for the start waits for one connect. Where the pool is late or gets none,
/// and from the second run on, the check asks on its own session.
///
/// For SQLite it borrows an idle connection of the pool, because a database in memory exists
/// in no other, and opens the file anew as often, which finds that it was moved away or may
/// not be read any more.
///
/// # Cancel safety
/// A run that is dropped closes the check's own connection. It never waits in the pool's
/// `acquire`, and never closes a connection of the pool.
pub fn ping<DB: Driver>(pool: &Pool<DB>) -> Ping<DB> {
    Ping {
        pool: pool.clone(),
        probe: Probe::default(),
        history: Mutex::new(History::default()),
        fresh_options: Mutex::new(None),
        stuck_after: STUCK_AFTER,
    }
}

/// A check of a pool and its server; made by [`ping`].
#[must_use]
pub struct Ping<DB: Driver> {
    pool: Pool<DB>,
    probe: Probe<Server<DB>>,
    history: Mutex<History>,
    /// With what a session beside the pool was last opened, for a database without a server.
    fresh_options: Mutex<Option<Options<DB>>>,
    stuck_after: Duration,
}

impl<DB: Driver> std::fmt::Debug for Ping<DB> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ping")
            .field("pool", &self.pool)
            .field("stuck_after", &self.stuck_after)
            .finish_non_exhaustive()
    }
}

impl<DB: Driver> Ping<DB> {
    /// Sets after how long without a sign of life a full pool counts as stuck;
    /// [`STUCK_AFTER`] without it. Set it above the longest query that is meant to run.
    /// Sessions of the same user, database, name and host are taken for the pool's own, so
    /// one instance that works hides another on its host that is stuck.
    pub fn stuck_after(mut self, after: Duration) -> Self {
        self.stuck_after = after;
        self
    }

    async fn ask_server(
        &self,
        counts: Counts,
        server: &Server<DB>,
        patience: Patience,
    ) -> CheckOutcome {
        let until = patience.until();
        let (asked, mut renewed) = self.ask_probe(server, patience).await;
        let answered = match (asked, renewed.take()) {
            (Ok(answered), again) => {
                renewed = again;
                answered
            }
            // The path of the old session has died, and others lead there.
            (Err(_), Some(Ok(answered))) => answered,
            // What is said says more than silence.
            (Err(_), Some(Err(failure))) | (Err(failure), None) => {
                return judge::refused(&failure, counts);
            }
        };
        let took = answered.took;
        let mut connection = Some(answered.session);
        if answered.is_new {
            self.history(|history| history.fresh.opened(clock::now()));
        } else if self.history(|history| history.wants_session(clock::now())) {
            if renewed.is_none() {
                renewed = self.probe.renew(server, patience).await;
            }
            match renewed {
                Some(Ok(younger)) => {
                    self.history(|history| history.fresh.opened(clock::now()));
                    if let Some(old) = connection.replace(younger.session) {
                        goodbye(old, until).await;
                    }
                }
                Some(Err(failure)) => self.history(|history| history.fresh.refused(failure)),
                None => {}
            }
        }
        let mut sessions = None;
        if counts.is_full()
            && let Some(mut asked) = connection.take()
        {
            let options = self.pool.connect_options();
            let answer = DB::sessions(&mut asked, &options);
            // An unanswered query is in the way of the next one.
            if let Ok(answer) = timeout_at(until.instant().into(), answer).await {
                sessions = answer;
                connection = Some(asked);
            }
        }
        if let Some(connection) = connection {
            self.probe.keep(connection);
        }
        let outcome = judge::answered(&self.seen(counts, sessions));
        outcome.number("ping_ms", took.as_secs_f64() * 1e3)
    }

    /// Asks the probe's session, and a new one beside it where that has been silent since an
    /// earlier run: a pooler whose server is gone lets those wait who have a session, and
    /// says it to who comes.
    async fn ask_probe(
        &self,
        server: &Server<DB>,
        patience: Patience,
    ) -> (Asked<DB>, Option<Asked<DB>>) {
        let is_silent = self.probe.is_silent();
        let asked = self.probe.ask(server, patience);
        if is_silent {
            let renewed = self.probe.renew(server, patience);
            let (asked, renewed) = both(asked, renewed).await;
            (asked.map_err(|trouble| trouble.failure), renewed)
        } else {
            (asked.await.map_err(|trouble| trouble.failure), None)
        }
    }

    /// Has the pool open its first connection, which answers if it is there in time.
    async fn ask_first(
        &self,
        counts: Counts,
        asked: impl Future<Output = CheckOutcome>,
    ) -> CheckOutcome {
        let acquired = self.pool.acquire();
        let opening = async move {
            let mut connection = acquired.await.ok()?;
            let asked_at = clock::now();
            let answer = DB::round_trip(&mut connection).await;
            let took = clock::now().saturating_duration_since(asked_at);
            // It lies ready when that is told.
            connection.return_to_pool().await;
            answer.ok().map(|()| took)
        };
        let failed = |outcome: &CheckOutcome| outcome.status() == CheckStatus::Fail;
        match first(opening, asked, failed).await {
            First::OfPool(took) => {
                self.history(|history| history.fresh.opened(clock::now()));
                let outcome = judge::answered(&self.seen(counts, None));
                outcome.number("ping_ms", took.as_secs_f64() * 1e3)
            }
            First::Own(outcome) => outcome,
        }
    }

    /// Asks a connection of the pool, if one is idle, and opens a session beside it where
    /// that sees the same data.
    async fn ask_in_pool(&self, counts: Counts, until: Deadline) -> CheckOutcome {
        let mut took = None;
        if let Some(mut connection) = self.pool.try_acquire() {
            let asked_at = clock::now();
            match timeout_at(until.instant().into(), connection.ping()).await {
                Ok(Ok(())) => took = Some(clock::now().saturating_duration_since(asked_at)),
                Ok(Err(error)) => {
                    let failure = classify(&error);
                    return CheckOutcome::fail(failure.class(), failure.message());
                }
                Err(_) => {
                    return CheckOutcome::fail(
                        FailureClass::Stuck,
                        "a connection of the pool takes a question and does not answer it",
                    );
                }
            }
        }
        if self.history(|history| history.wants_session(clock::now()))
            && let Some(options) = self.fresh_options()
            && let Some(opened) = open_anew::<DB>(options, until).await
        {
            self.history(|history| match opened {
                Ok(()) => history.fresh.opened(clock::now()),
                Err(failure) => history.fresh.refused(failure),
            });
        }
        let outcome = judge::answered(&self.seen(counts, None));
        match took {
            Some(took) => outcome.number("ping_ms", took.as_secs_f64() * 1e3),
            None => outcome,
        }
    }

    /// Returns how a session beside the pool is opened. A database that once could be opened
    /// that way is missed when it cannot be any more.
    fn fresh_options(&self) -> Option<Options<DB>> {
        let found = DB::fresh_options(&self.pool.connect_options());
        let known = self.fresh_options.lock();
        let mut known = known.expect("nothing panics while it is held");
        if found.is_some() {
            known.clone_from(&found);
        }
        known.clone()
    }

    fn seen(&self, counts: Counts, sessions: Option<Sessions>) -> Seen {
        self.history(|history| Seen {
            counts,
            full_for: history.full_for(clock::now()),
            refused: history.fresh.refusal().cloned(),
            is_empty_again: history.is_empty_again(),
            sessions,
            stuck_after: self.stuck_after,
        })
    }

    fn history<T>(&self, ask: impl FnOnce(&mut History) -> T) -> T {
        ask(&mut self
            .history
            .lock()
            .expect("nothing panics while it is held"))
    }
}

/// What a session of a database answered.
type Asked<DB> = Result<Answered<<DB as Database>::Connection>, Failure>;

/// Waits for both.
async fn both<A: Future, B: Future>(first: A, second: B) -> (A::Output, B::Output) {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let (mut one, mut other) = (None, None);
    poll_fn(|cx| {
        if one.is_none()
            && let Poll::Ready(answer) = first.as_mut().poll(cx)
        {
            one = Some(answer);
        }
        if other.is_none()
            && let Poll::Ready(answer) = second.as_mut().poll(cx)
        {
            other = Some(answer);
        }
        match (one.take(), other.take()) {
            (Some(first), Some(second)) => Poll::Ready((first, second)),
            (first, second) => {
                (one, other) = (first, second);
                Poll::Pending
            }
        }
    })
    .await
}

impl<DB: Driver> Check for Ping<DB> {
    async fn run(&self, run: CheckRun) -> CheckOutcome {
        let now = clock::now();
        let until = run.deadline.with_margin(now);
        let counts = gauges::read(&self.pool);
        self.history(|history| history.note(counts, now));
        let server = Server::of(&self.pool);
        let outcome = if self.pool.is_closed() {
            CheckOutcome::fail(FailureClass::Other, "the application has closed the pool")
        } else if server.is_there() {
            let asked = self.ask_server(counts, &server, Patience::new(until, now));
            if run.first && counts.size == 0 {
                self.ask_first(counts, asked).await
            } else {
                asked.await
            }
        } else {
            self.ask_in_pool(counts, until).await
        };
        counts.numbers(outcome)
    }

    fn kind(&self) -> &'static str {
        DB::KIND
    }
}

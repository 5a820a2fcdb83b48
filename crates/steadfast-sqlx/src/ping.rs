//! The check that asks a pool's server for a sign of life.

use std::{sync::Mutex, time::Duration};

use sqlx::{Connection, Database, Pool};
use steadfast_core::{Check, CheckOutcome, CheckRun, Deadline, FailureClass};
use tokio::time::timeout_at;

use crate::{
    classify::classify,
    clock,
    driver::Driver,
    gauges::{Gauges, History},
    judge::{self, Seen},
    knock::Endpoint,
    probe::{Answered, Probe, try_one_more},
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
/// | the server gives no session (SQLSTATE 53300) | fail, `refused-by-server`; a warning while the pool has idle connections |
/// | starting or recovering (57P03), credentials (28…), no such database (3D000), TLS, name | fail, `loading`, `auth`, `misconfigured`, `tls`, `dns` |
/// | it answers, but the pool wants to grow and cannot | fail, with the reason of the trial |
/// | it answers, the pool is full, and none of its sessions has done anything for [`STUCK_AFTER`] (as the server tells; not SQLite) | fail, `stuck` |
/// | it answers, the pool is full | warning, `saturated` |
/// | it answers | pass |
///
/// The numbers are `ping_ms`, `pool_size`, `pool_idle`, `pool_max` and `pool_in_use`.
///
/// For PostgreSQL and MySQL the check keeps one connection outside the pool, named
/// `steadfast-probe` in `pg_stat_activity`. When a pool has had nothing idle at two
/// readings, it also tries every 30 s whether the server would take one more, and closes
/// that at once. For SQLite it borrows an idle connection of the pool, because a database
/// in memory exists in no other; with none idle it reads the gauges alone.
///
/// # Cancel safety
/// A run that is dropped closes the check's own connection. It never waits in the pool's
/// `acquire`, and never closes a connection of the pool.
pub fn ping<DB: Driver>(pool: &Pool<DB>) -> Ping<DB> {
    Ping {
        pool: pool.clone(),
        probe: Probe::new(),
        history: Mutex::new(History::default()),
        stuck_after: STUCK_AFTER,
    }
}

/// A check of a pool and its server; made by [`ping`].
#[derive(Debug)]
#[must_use]
pub struct Ping<DB: Driver> {
    pool: Pool<DB>,
    probe: Probe<<DB as Database>::Connection>,
    history: Mutex<History>,
    stuck_after: Duration,
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
        gauges: Gauges,
        endpoint: &Endpoint,
        until: Deadline,
    ) -> CheckOutcome {
        let answered = match self.probe.ask(&self.pool, endpoint, until).await {
            Ok(answered) => answered,
            Err(failure) if failure.class() == FailureClass::RefusedByServer => {
                return judge::refused(&failure, gauges);
            }
            Err(failure) => return CheckOutcome::fail(failure.class(), failure.message()),
        };
        let Answered {
            mut connection,
            took,
        } = answered;
        let mut sessions = None;
        if gauges.is_full() {
            let options = self.pool.connect_options();
            let asked = DB::sessions(&mut connection, &options);
            match timeout_at(until.instant().into(), asked).await {
                Ok(answer) => {
                    sessions = answer;
                    self.probe.keep(connection);
                }
                // An unanswered query is in the way of the next one.
                Err(_) => drop(connection),
            }
        } else {
            self.probe.keep(connection);
        }
        let mut trial = None;
        if self.history(|history| history.wants_trial(clock::now())) {
            trial = try_one_more(&self.pool, until).await;
            if let Some(trial) = &trial {
                self.history(|history| history.tried(trial.is_ok(), clock::now()));
            }
        }
        let seen = Seen {
            gauges,
            full_for: self.history(|history| history.full_for(clock::now())),
            trial,
            sessions,
            stuck_after: self.stuck_after,
        };
        judge::answered(&seen).number("ping_ms", took.as_secs_f64() * 1e3)
    }

    async fn ask_in_pool(&self, gauges: Gauges, until: Deadline) -> CheckOutcome {
        let Some(mut connection) = self.pool.try_acquire() else {
            return judge::answered(&Seen {
                gauges,
                full_for: self.history(|history| history.full_for(clock::now())),
                trial: None,
                sessions: None,
                stuck_after: self.stuck_after,
            });
        };
        let asked_at = clock::now();
        match timeout_at(until.instant().into(), connection.ping()).await {
            Ok(Ok(())) => {
                let took = clock::now().saturating_duration_since(asked_at);
                CheckOutcome::pass().number("ping_ms", took.as_secs_f64() * 1e3)
            }
            Ok(Err(error)) => {
                let failure = classify(&error);
                CheckOutcome::fail(failure.class(), failure.message())
            }
            Err(_) => CheckOutcome::fail(
                FailureClass::Stuck,
                "a connection of the pool takes a question and does not answer it",
            ),
        }
    }

    fn history<T>(&self, ask: impl FnOnce(&mut History) -> T) -> T {
        ask(&mut self
            .history
            .lock()
            .expect("nothing panics while it is held"))
    }
}

impl<DB: Driver> Check for Ping<DB> {
    async fn run(&self, run: CheckRun) -> CheckOutcome {
        let now = clock::now();
        let until = run.deadline.with_margin(now);
        let gauges = Gauges::read(&self.pool);
        self.history(|history| history.note(gauges, now));
        let outcome = if self.pool.is_closed() {
            CheckOutcome::fail(FailureClass::Other, "the application has closed the pool")
        } else {
            match DB::endpoint(&self.pool.connect_options()) {
                Some(endpoint) => self.ask_server(gauges, &endpoint, until).await,
                None => self.ask_in_pool(gauges, until).await,
            }
        };
        gauges.numbers(outcome)
    }

    fn kind(&self) -> &'static str {
        DB::KIND
    }
}

//! The guard of an sqlx pool in front of a real PostgreSQL in trouble: the right cause with
//! the right numbers, a breaker that opens where it should and lets back in without a herd,
//! and afterwards no connection that is lost or in a transaction.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cuts;
mod departures;
mod faults;
mod growth;

use std::{sync::Arc, time::Duration};

use dependencies_tests::{
    guarded::{Answer, App, Steps, breaker, dependency, down, exhausted, failures, quick_trip},
    wait_until,
};
use sqlx::{PgPool, Postgres as Pg, postgres::PgPoolOptions};
use steadfast::Dependency;
use steadfast_core::{Cause, FailureClass, Refusal, plumbing::BreakerState};
use steadfast_sqlx::{PoolGuard, PoolGuardBuilder, guard};
use support::Postgres;
use tokio::task::JoinSet;

/// Longer than a test lasts on any machine: what is waited for is not the time.
const LONG: Duration = Duration::from_secs(120);

fn pool(url: &str, max: u32) -> PgPool {
    let options = PgPoolOptions::new().max_connections(max);
    options.acquire_timeout(LONG).connect_lazy(url).unwrap()
}

/// A pool behind a guard, and an application that needs it for one of its routes.
struct Rig {
    orders_db: Dependency,
    db: PoolGuard<Pg>,
    app: App,
    steps: Arc<Steps>,
}

impl Rig {
    fn new(postgres: &Postgres, max: u32) -> Self {
        Self::with(postgres, max, |guard| guard)
    }

    fn with(
        postgres: &Postgres,
        max: u32,
        set: impl FnOnce(PoolGuardBuilder<Pg>) -> PoolGuardBuilder<Pg>,
    ) -> Self {
        let orders_db = dependency(quick_trip());
        let builder = guard(&pool(&postgres.admin_url(), max), &orders_db);
        let builder = builder.wait_max(LONG).connect_max(LONG);
        let db = set(builder).build().unwrap();
        let steps = Steps::watch(&orders_db);
        let app = App::new(&orders_db, {
            let db = db.clone();
            move || {
                let db = db.clone();
                async move { Ok(order(&db).await?) }
            }
        });
        Self {
            orders_db,
            db,
            app,
            steps,
        }
    }

    async fn refusal(&self) -> Refusal {
        let error = self.db.acquire().await.map(drop).unwrap_err();
        let refusal = Refusal::find(&error).cloned();
        refusal.unwrap_or_else(|| panic!("{error:?}"))
    }

    /// Calls the route, so many at once.
    async fn calls(&self, count: usize) -> Vec<Answer> {
        self.app.get_at_once("/orders", count).await
    }

    /// Calls until the breaker is open, and sees that the other route is served all along.
    async fn until_open(&self) {
        wait_until("an open breaker", || async {
            let _ = self.calls(4).await;
            self.app.get("/hello").await.is_served();
            breaker(&self.orders_db) != BreakerState::Closed
        })
        .await;
        self.steps.opened_by_rule(&self.orders_db, 4);
    }

    /// Calls with many at once while the server is still in trouble: each is refused as
    /// down, or as a probe finds it, and no more reach the server than there are probes to
    /// let through.
    async fn sees_no_herd(&self, found: Cause) {
        let rounds = self.steps.count(BreakerState::Probing);
        let failed = failures(&self.orders_db);
        wait_until("some probes", || async {
            for answer in self.calls(20).await {
                let is_probe = answer.is_for(found);
                answer.is_refused(if is_probe {
                    found
                } else {
                    Cause::DependencyDown
                });
            }
            self.app.get("/hello").await.is_served();
            self.steps.count(BreakerState::Probing) >= rounds + 3
        })
        .await;
        let rounds = self.steps.count(BreakerState::Probing) - rounds;
        let failed = failures(&self.orders_db) - failed;
        assert!(
            failed <= rounds,
            "{failed} calls in {rounds} rounds of one probe"
        );
    }

    /// Calls until the breaker has closed again and everything is served.
    async fn until_closed(&self) {
        wait_until("a closed breaker", || async {
            let _ = self.calls(10).await;
            breaker(&self.orders_db) == BreakerState::Closed
        })
        .await;
        wait_until("a call that is served", || async {
            self.app.get("/orders").await.status.is_success()
        })
        .await;
    }

    /// Waits until nobody has a place, and then takes all of them at once, none of which is
    /// in a transaction.
    async fn is_whole(&self, postgres: &Postgres) {
        wait_until("every place back", || async {
            let seen = self.db.snapshot();
            (seen.in_use, seen.connecting, seen.waiting) == (0, 0, 0)
        })
        .await;
        let mut all = Vec::new();
        while all.len() < self.db.snapshot().size as usize {
            // A new connection may be late on a machine that is busy.
            all.extend(self.db.acquire().await.ok());
        }
        assert_eq!(in_transaction(postgres), "0");
        assert!(sessions(postgres).len() <= all.len());
    }
}

async fn order(db: &PoolGuard<Pg>) -> sqlx::Result<()> {
    let mut transaction = db.begin().await?;
    sqlx::raw_sql("SELECT 1").execute(&mut *transaction).await?;
    transaction.commit().await
}

fn in_transaction(postgres: &Postgres) -> String {
    postgres.sql("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'")
}

/// The pids of the pool's sessions.
fn sessions(postgres: &Postgres) -> Vec<String> {
    let pids = postgres.sql(
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' \
         AND application_name NOT IN ('steadfast-probe', 'psql') ORDER BY pid",
    );
    pids.lines().map(str::to_owned).collect()
}

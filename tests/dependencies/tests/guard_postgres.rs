//! The guard of an sqlx pool in front of a real PostgreSQL in trouble: the right cause with
//! the right numbers, a breaker that opens where it should and lets back in without a herd,
//! and afterwards no connection that is lost or in a transaction.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use dependencies_tests::{
    guarded::{Answer, App, Steps, breaker, dependency, down, exhausted, failures, quick_trip},
    wait_until,
};
use sqlx::{PgPool, Postgres as Pg, postgres::PgPoolOptions};
use steadfast::Dependency;
use steadfast_core::{BreakerState, Cause, FailureClass, PoolFit, Refusal};
use steadfast_sqlx::{Error, GuardedConnection, PoolGuard, PoolGuardBuilder, guard};
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
        let refusal = error.refusal().cloned();
        refusal.unwrap_or_else(|| panic!("{error:?}"))
    }

    /// Calls the route, so many at once.
    async fn calls(&self, count: usize) -> Vec<Answer> {
        let mut calls = JoinSet::new();
        for _ in 0..count {
            let app = self.app.clone();
            calls.spawn(async move { app.get("/orders").await });
        }
        calls.join_all().await
    }

    /// Calls until the breaker is open, and sees that the other route is served all along.
    async fn until_open(&self) {
        wait_until("an open breaker", || async {
            let _ = self.calls(4).await;
            self.app.get("/hello").await.is_served();
            breaker(&self.orders_db) != BreakerState::Closed
        })
        .await;
    }

    /// Calls with many at once while the server is still in trouble: each is refused as
    /// down, and no more reach the server than there are probes to let through.
    async fn sees_no_herd(&self) {
        let rounds = self.steps.count(BreakerState::Probing);
        let failed = failures(&self.orders_db);
        wait_until("some probes", || async {
            for answer in self.calls(20).await {
                answer.is_refused(Cause::DependencyDown);
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

async fn order(db: &PoolGuard<Pg>) -> Result<(), Error> {
    let mut transaction = db.begin().await?;
    sqlx::raw_sql("SELECT 1").execute(&mut *transaction).await?;
    Ok(transaction.commit().await?)
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

/// Polls a future once while the server stands still, and drops it.
fn cut<F: Future>(postgres: &mut Postgres, future: F) {
    postgres.pause();
    {
        let mut future = pin!(future);
        let polled = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending(), "there was something to wait for");
    }
    postgres.resume();
}

#[tokio::test]
async fn a_killed_server_is_down_at_once_and_back_without_a_herd() {
    let mut postgres = Postgres::builder().start();
    let rig = Rig::new(&postgres, 4);
    rig.app.get("/orders").await.is_served();
    postgres.stop();
    // The pool alone would say nothing for its `acquire_timeout`, which is long here.
    let refusal = rig.refusal().await;
    assert_eq!(
        down(&refusal).class,
        FailureClass::Unreachable,
        "{refusal:?}"
    );
    assert!(down(&refusal).last_error.contains("refused"), "{refusal:?}");
    rig.until_open().await;
    let refusal = rig.refusal().await;
    assert!(
        down(&refusal).reason.is_some(),
        "the rule is told: {refusal:?}"
    );
    rig.sees_no_herd().await;
    postgres.start_again();
    rig.until_closed().await;
    rig.is_whole(&postgres).await;
}

#[tokio::test]
async fn a_paused_server_is_stuck_and_goes_on() {
    let mut postgres = Postgres::builder().start();
    let rig = Rig::with(&postgres, 4, |guard| {
        guard.connect_max(Duration::from_millis(900))
    });
    wait_until("a connection", || async {
        rig.app.get("/orders").await.status.is_success()
    })
    .await;
    postgres.pause();
    let refusal = rig.refusal().await;
    assert_eq!(down(&refusal).class, FailureClass::Stuck, "{refusal:?}");
    assert!(
        down(&refusal).last_error.contains("takes connections"),
        "{refusal:?}"
    );
    rig.until_open().await;
    rig.sees_no_herd().await;
    postgres.resume();
    rig.until_closed().await;
    rig.is_whole(&postgres).await;
}

#[tokio::test]
async fn a_restarted_server_is_noticed_by_nobody() {
    let mut postgres = Postgres::builder().start();
    let rig = Rig::new(&postgres, 4);
    let _ = rig.calls(8).await;
    for _ in 0..2 {
        postgres.stop();
        postgres.start_again();
        for answer in rig.calls(8).await {
            answer.is_served();
        }
    }
    assert_eq!(failures(&rig.orders_db), 0);
    rig.is_whole(&postgres).await;
}

#[tokio::test]
async fn a_server_without_a_slot_exhausts_the_pool_and_opens_the_breaker() {
    let postgres = Postgres::builder().max_connections(3).start();
    let others = pool(&postgres.admin_url(), 3);
    let mut taken = Vec::new();
    for _ in 0..3 {
        taken.push(others.acquire().await.unwrap());
    }
    let rig = Rig::new(&postgres, 2);
    let refusal = rig.refusal().await;
    let said = exhausted(&refusal, FailureClass::RefusedByServer);
    assert!(
        said.last_error.as_deref().unwrap().contains("53300"),
        "{refusal:?}"
    );
    assert_eq!((said.in_use, said.max), (0, 2));
    wait_until("an open breaker", || async {
        let _ = rig.calls(4).await;
        breaker(&rig.orders_db) != BreakerState::Closed
    })
    .await;
    rig.app.get("/hello").await.is_served();
    drop(taken);
    others.close().await;
    rig.until_closed().await;
    rig.is_whole(&postgres).await;
}

#[tokio::test]
async fn a_table_lock_fills_the_pool_and_says_nothing_against_the_server() {
    let postgres = Postgres::builder().start();
    let _ = postgres.sql("CREATE TABLE goods (n INT)");
    let rig = Rig::with(&postgres, 2, |guard| {
        guard.stuck_after(LONG).wait_max(Duration::from_millis(50))
    });
    let admin = pool(&postgres.admin_url(), 1);
    let mut lock = admin.begin().await.unwrap();
    let sql = "LOCK TABLE goods IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(sql).execute(&mut *lock).await.unwrap();

    let line = line!() + 4;
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let db = rig.db.clone();
            tokio::spawn(async move { read(db.acquire().await.unwrap()).await })
        })
        .collect();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    wait_until("two readers", || async { postgres.sql(waiting) == "2" }).await;
    let refusal = rig.refusal().await;
    let seen = exhausted(&refusal, FailureClass::Saturated);
    assert_eq!((seen.in_use, seen.max), (2, 2));
    let place = format!("guard_postgres.rs:{line}");
    assert!(
        seen.longest.as_ref().unwrap().place.ends_with(&place),
        "{refusal:?}"
    );
    rig.app
        .get("/orders")
        .await
        .is_refused(Cause::PoolExhausted);
    rig.app.get("/hello").await.is_served();

    // Their clients go; the server goes on with the queries, and so the places are taken.
    readers.iter().for_each(tokio::task::JoinHandle::abort);
    for reader in readers {
        let _ = reader.await;
    }
    let refusal = rig.refusal().await;
    assert_eq!(exhausted(&refusal, FailureClass::Saturated).in_use, 2);
    assert_eq!(failures(&rig.orders_db), 0);
    assert_eq!(breaker(&rig.orders_db), BreakerState::Closed);
    drop(lock);
    admin.close().await;
    rig.is_whole(&postgres).await;
    rig.app.get("/orders").await.is_served();
}

async fn read(mut connection: GuardedConnection<Pg>) {
    let goods = sqlx::raw_sql("SELECT * FROM goods");
    goods.execute(&mut *connection).await.unwrap();
}

#[tokio::test]
async fn idle_transactions_that_hold_the_pool_are_named_by_their_lines() {
    let postgres = Postgres::builder().start();
    let rig = Rig::with(&postgres, 2, |guard| {
        let soon = Duration::from_millis(1);
        guard.stuck_after(soon).held_long(soon).waiters_max(0)
    });
    let line = line!() + 1;
    let begin = || rig.db.begin();
    let held = (begin().await.unwrap(), begin().await.unwrap());
    wait_until("two long holds", || async {
        rig.db.snapshot().held_long == 2
    })
    .await;
    let refusal = rig.refusal().await;
    let seen = exhausted(&refusal, FailureClass::Stuck);
    let place = format!("guard_postgres.rs:{line}");
    assert!(
        seen.longest.as_ref().unwrap().place.ends_with(&place),
        "{refusal:?}"
    );
    assert!(
        rig.db
            .snapshot()
            .held
            .iter()
            .all(|held| held.place.ends_with(&place))
    );
    assert_eq!(in_transaction(&postgres), "2");
    rig.app.get("/hello").await.is_served();
    assert_eq!(breaker(&rig.orders_db), BreakerState::Closed);
    drop(held);
    wait_until("the rollbacks", || async {
        in_transaction(&postgres) == "0"
    })
    .await;
    rig.is_whole(&postgres).await;
}

#[tokio::test]
async fn a_begin_that_is_cut_leaves_a_transaction_in_sqlx_and_none_behind_the_guard() {
    let mut postgres = Postgres::builder().start();
    let options = || {
        PgPoolOptions::new()
            .max_connections(1)
            .test_before_acquire(false)
    };
    let bare = options().connect(&postgres.admin_url()).await.unwrap();
    wait_until("an idle connection", || async { bare.num_idle() == 1 }).await;
    cut(&mut postgres, bare.begin());
    wait_until("it back", || async { bare.num_idle() == 1 }).await;
    // When this fails, sqlx has been mended, and `begin` needs its shield no more.
    assert_eq!(
        in_transaction(&postgres),
        "1",
        "what the guard is there for"
    );
    bare.close().await;

    let orders_db = dependency(quick_trip());
    let inner = options().connect(&postgres.admin_url()).await.unwrap();
    let db = guard(&inner, &orders_db).connect_max(LONG);
    let db = db.build().unwrap();
    wait_until("an idle connection", || async { inner.num_idle() == 1 }).await;
    let before = sessions(&postgres);
    for _ in 0..20 {
        cut(&mut postgres, db.begin());
        wait_until("it back", || async {
            db.snapshot().connecting == 0 && inner.num_idle() == 1
        })
        .await;
        assert_eq!(in_transaction(&postgres), "0");
    }
    assert_eq!(sessions(&postgres), before, "no connection was closed");
}

#[tokio::test]
async fn thousands_of_cancelled_requests_cost_no_connection_and_open_no_breaker() {
    const REQUESTS: usize = 10_000;
    let postgres = Postgres::builder().start();
    let rig = Rig::new(&postgres, 4);
    let warm: Vec<_> = (0..4).map(|_| rig.db.acquire()).collect();
    for connection in futures(warm).await {
        drop(connection.unwrap());
    }
    wait_until("four idle", || async { rig.db.pool().num_idle() == 4 }).await;
    let before = sessions(&postgres);
    let mut requests = JoinSet::new();
    for number in 0..REQUESTS {
        let db = rig.db.clone();
        requests.spawn(async move {
            let work = async {
                if number % 2 == 0 {
                    drop(db.acquire().await);
                } else {
                    drop(db.begin().await);
                }
            };
            tokio::select! {
                biased;
                () = work => {}
                // Some leave before their turn, some while they are served, in any order.
                () = yields(number * 7 % 50) => {}
            }
        });
        if number % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
    requests.join_all().await;
    rig.is_whole(&postgres).await;
    assert_eq!(failures(&rig.orders_db), 0);
    assert_eq!(breaker(&rig.orders_db), BreakerState::Closed);
    assert_eq!(sessions(&postgres), before, "no connection was closed");
}

async fn yields(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

async fn futures<F: Future<Output: Send + 'static> + Send + 'static>(
    all: Vec<F>,
) -> Vec<F::Output> {
    let mut set = JoinSet::new();
    for future in all {
        set.spawn(future);
    }
    set.join_all().await
}

#[tokio::test]
async fn the_servers_limit_is_shared_by_the_instances() {
    let postgres = Postgres::builder().max_connections(20).start();
    let rig = Rig::new(&postgres, 10);
    let fleet = rig.db.fleet(3).await.unwrap().unwrap();
    // Twenty for three, less the connection of each one's check.
    assert_eq!(fleet.size_max(), 5);
    assert_eq!(rig.db.advice(Some(fleet)).fit, PoolFit::BeyondServer);
    assert_eq!(rig.db.advice(None).fit, PoolFit::Unknown);
}

//! Goal: when a real PostgreSQL, PgBouncer or Redis is in trouble, the first finding of the
//! process that uses it names that trouble, and a healthy one is silent.
//!
//! Method: one application behind a guard, whose route needs the pool; the server is made to
//! fail, the route is asked, and the diagnosis is read until it says what is expected.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use deadpool_redis::{Config, PoolConfig, Runtime, redis};
use dependencies_tests::{
    guarded::{App, dependency, quick_trip},
    wait_until,
};
use sqlx::postgres::PgPoolOptions;
use steadfast::{
    Dependency,
    diagnosis::{Diagnosis, Id, State},
};
use steadfast_sqlx::PoolGuardBuilder;
use support::{PgBouncer, Postgres, Redis};
use tokio::task::JoinSet;

/// Longer than a test lasts on any machine: what is waited for is not the time.
const LONG: Duration = Duration::from_secs(120);

/// What is over soon.
const QUICK: Duration = Duration::from_millis(300);

/// Time enough for a server that answers.
const SHORT: Duration = Duration::from_secs(1);

struct Rig<G> {
    _dependency: Dependency,
    pool: G,
    app: App,
}

type Pg = Rig<steadfast_sqlx::PoolGuard<sqlx::Postgres>>;
type Cache = Rig<steadfast_deadpool_redis::PoolGuard>;

/// An application whose route runs this statement.
fn postgres_app(
    url: &str,
    max: u32,
    sql: &'static str,
    set: impl FnOnce(PoolGuardBuilder<sqlx::Postgres>) -> PoolGuardBuilder<sqlx::Postgres>,
) -> Pg {
    let options = PgPoolOptions::new()
        .max_connections(max)
        .acquire_timeout(LONG);
    let inner = options.connect_lazy(url).unwrap();
    let dependency = dependency(quick_trip());
    let builder = steadfast_sqlx::guard(&inner, &dependency).connect_max(SHORT);
    let pool = set(builder).build().unwrap();
    let app = App::new(&dependency, {
        let pool = pool.clone();
        move || {
            let pool = pool.clone();
            async move {
                let mut connection = pool.acquire().await?;
                sqlx::raw_sql(sql).execute(&mut *connection).await?;
                Ok(())
            }
        }
    });
    Rig {
        _dependency: dependency,
        pool,
        app,
    }
}

/// Lets requests wait for a connection for so long.
fn waits(
    time: Duration,
) -> impl FnOnce(PoolGuardBuilder<sqlx::Postgres>) -> PoolGuardBuilder<sqlx::Postgres> {
    move |guard| guard.wait_max(time)
}

/// An application whose route writes a key.
fn redis_app(url: &str, size: usize) -> Cache {
    let mut config = Config::from_url(url);
    config.pool = Some(PoolConfig::new(size));
    let inner = config.create_pool(Some(Runtime::Tokio1)).unwrap();
    let dependency = dependency(quick_trip());
    let builder = steadfast_deadpool_redis::guard(&inner, &dependency).url(url);
    let pool = builder.wait_max(SHORT).connect_max(SHORT).build().unwrap();
    let app = App::new(&dependency, {
        let pool = pool.clone();
        move || {
            let pool = pool.clone();
            async move {
                let mut connection = pool.acquire().await?;
                redis::cmd("SET")
                    .arg("key")
                    .arg("value")
                    .query_async::<()>(&mut connection)
                    .await?;
                Ok(())
            }
        }
    });
    Rig {
        _dependency: dependency,
        pool,
        app,
    }
}

fn ids(told: &Diagnosis) -> Vec<Id> {
    told.findings.iter().map(|it| it.id).collect()
}

impl<G> Rig<G> {
    /// Asks until it is served, and claims that nothing is found if it was so at once. On a
    /// machine that is busy the first connection may be late, which is a finding for a minute.
    async fn is_well(&self) {
        let mut asked = 0;
        wait_until("a call that is served", || {
            asked += 1;
            async { self.app.get("/orders").await.status.is_success() }
        })
        .await;
        let told = self.app.diagnosis();
        if asked == 1 {
            assert!(told.findings.is_empty(), "{:#?}", told.findings);
            assert_eq!(told.verdict.state, State::Well);
        }
    }

    /// Asks until this is the first finding.
    async fn finds(&self, id: Id) -> Diagnosis {
        let mut last = None;
        for _ in 0..200 {
            let _ = self.app.get_at_once("/orders", 4).await;
            let told = self.app.diagnosis();
            if told.findings.first().is_some_and(|first| first.id == id) {
                return told;
            }
            last = Some(told);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{id} is not first: {:#?}", last.map(|told| told.findings));
    }
}

#[tokio::test]
async fn a_postgres_that_is_gone_is_unreachable() {
    let mut server = Postgres::builder().start();
    let rig = postgres_app(&server.admin_url(), 4, "SELECT 1", waits(SHORT));
    rig.is_well().await;
    server.stop();
    let told = rig.finds(Id::DepUnreachable).await;
    assert_eq!(told.verdict.state, State::Explained);
    assert!(ids(&told).contains(&Id::AppBreakerOpen), "{:?}", ids(&told));
    server.start_again();
    wait_until("another first finding", || async {
        let _ = rig.app.get("/orders").await;
        let told = rig.app.diagnosis();
        told.findings
            .first()
            .is_none_or(|it| it.id != Id::DepUnreachable)
    })
    .await;
}

#[tokio::test]
async fn a_postgres_that_is_paused_hangs() {
    let mut server = Postgres::builder().start();
    let rig = postgres_app(&server.admin_url(), 4, "SELECT 1", waits(SHORT));
    rig.is_well().await;
    server.pause();
    rig.finds(Id::DepHung).await;
    server.resume();
}

#[tokio::test]
async fn a_postgres_without_a_session_left_is_exhausted() {
    let server = Postgres::builder().max_connections(3).start();
    let others = PgPoolOptions::new()
        .max_connections(3)
        .connect_lazy(&server.admin_url())
        .unwrap();
    let mut taken = Vec::new();
    for _ in 0..3 {
        taken.push(others.acquire().await.unwrap());
    }
    let rig = postgres_app(&server.admin_url(), 2, "SELECT 1", waits(SHORT));
    let told = rig.finds(Id::PgExhausted).await;
    assert!(
        told.verdict.summary.contains("53300"),
        "{}",
        told.verdict.summary
    );
    drop(taken);
    others.close().await;
}

#[tokio::test]
async fn a_postgres_that_only_reads_takes_no_writes() {
    let server = Postgres::builder().start();
    let _ = server.sql("CREATE TABLE orders (id int)");
    let _ = server.sql("ALTER SYSTEM SET default_transaction_read_only = on");
    let _ = server.sql("SELECT pg_reload_conf()");
    let rig = postgres_app(
        &server.admin_url(),
        2,
        "INSERT INTO orders VALUES (1)",
        waits(SHORT),
    );
    let told = rig.finds(Id::PgReadOnly).await;
    assert!(
        told.verdict.summary.contains("25006"),
        "{}",
        told.verdict.summary
    );
}

#[tokio::test]
async fn a_password_that_was_changed_is_a_login() {
    let server = Postgres::builder().start();
    let url = server.url("postgres", "postgres", "yesterdays-password");
    let rig = postgres_app(&url, 2, "SELECT 1", waits(SHORT));
    rig.finds(Id::DepLogin).await;
}

#[tokio::test]
async fn a_pool_that_is_busy_is_told_with_its_numbers() {
    let server = Postgres::builder().start();
    let rig = postgres_app(
        &server.admin_url(),
        2,
        "SELECT pg_sleep(0.3)",
        waits(Duration::from_millis(400)),
    );
    // As many at once as can never have their turn in time.
    let app = rig.app.clone();
    let load = tokio::spawn(async move {
        let mut calls = JoinSet::new();
        loop {
            while calls.len() < 40 {
                let app = app.clone();
                calls.spawn(async move { app.get("/orders").await });
            }
            calls.join_next().await;
        }
    });
    let mut last = None;
    wait_until("a busy pool as the first finding", || {
        let told = rig.app.diagnosis();
        let is = told.findings.first().is_some_and(|it| it.id == Id::PoolApp);
        last = Some(told);
        std::future::ready(is)
    })
    .await;
    let told = last.unwrap();
    assert!(
        told.findings[0].summary.contains('2'),
        "{}",
        told.findings[0].summary
    );
    load.abort();
}

#[tokio::test]
async fn connections_that_are_kept_are_a_leak_with_its_line() {
    let server = Postgres::builder().start();
    let rig = postgres_app(&server.admin_url(), 2, "SELECT 1", |guard| {
        guard.wait_max(QUICK).held_long(QUICK)
    });
    rig.is_well().await;
    let mut kept = Vec::new();
    while kept.len() < 2 {
        // A new connection may be late on a machine that is busy.
        kept.extend(rig.pool.acquire().await.ok());
    }
    let told = rig.finds(Id::PoolLeak).await;
    assert!(
        told.verdict.summary.contains("diagnosis.rs"),
        "{}",
        told.verdict.summary
    );
    drop(kept);
}

#[tokio::test]
async fn queries_that_wait_for_a_lock_are_a_pool_that_is_stuck() {
    let server = Postgres::builder().start();
    let _ = server.sql("CREATE TABLE orders (id int)");
    let other = PgPoolOptions::new()
        .connect(&server.admin_url())
        .await
        .unwrap();
    let mut lock = other.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE orders")
        .execute(&mut *lock)
        .await
        .unwrap();
    let rig = postgres_app(&server.admin_url(), 2, "SELECT * FROM orders", |guard| {
        guard.wait_max(QUICK).stuck_after(QUICK).connect_max(LONG)
    });
    let app = rig.app.clone();
    let load = tokio::spawn(async move { app.get_at_once("/orders", 2).await });
    wait_until("a pool that is in use", || {
        std::future::ready(rig.pool.snapshot().in_use == 2)
    })
    .await;
    rig.finds(Id::PoolStuck).await;
    lock.rollback().await.unwrap();
    load.await.unwrap();
}

#[tokio::test]
async fn a_pgbouncer_without_room_for_clients_is_told() {
    let server = Postgres::builder().start();
    let bouncer = PgBouncer::builder()
        .setting("max_client_conn", "2")
        .start(&server);
    let other = PgPoolOptions::new()
        .max_connections(2)
        .connect_lazy(&bouncer.admin_url())
        .unwrap();
    let taken = [
        other.acquire().await.unwrap(),
        other.acquire().await.unwrap(),
    ];
    let rig = postgres_app(&bouncer.admin_url(), 2, "SELECT 1", waits(SHORT));
    rig.finds(Id::PgbClientLimit).await;
    drop(taken);
}

#[tokio::test]
async fn a_redis_that_is_gone_is_unreachable() {
    let mut server = Redis::builder().start();
    let rig = redis_app(&server.url(), 2);
    rig.is_well().await;
    server.stop();
    rig.finds(Id::DepUnreachable).await;
}

#[tokio::test]
async fn a_redis_that_is_paused_hangs() {
    let mut server = Redis::builder().start();
    let rig = redis_app(&server.url(), 2);
    rig.is_well().await;
    server.pause();
    rig.finds(Id::DepHung).await;
    server.resume();
}

#[tokio::test]
async fn a_redis_without_room_for_clients_is_told() {
    let server = Redis::builder().arg("--maxclients").arg("1").start();
    let taken = redis::Client::open(server.url()).unwrap();
    let taken = taken.get_multiplexed_async_connection().await.unwrap();
    let rig = redis_app(&server.url(), 2);
    rig.finds(Id::RedisMaxclients).await;
    drop(taken);
}

#[tokio::test]
async fn a_redis_without_memory_for_writes_is_told() {
    let server = Redis::builder().start();
    let rig = redis_app(&server.url(), 2);
    rig.is_well().await;
    let _ = server.commands("CONFIG SET maxmemory 1");
    rig.finds(Id::RedisOom).await;
}

#[tokio::test]
async fn a_redis_that_became_a_replica_takes_no_writes() {
    let primary = Redis::builder().start();
    let replica = Redis::builder().replica_of(&primary).start();
    replica.wait_until_synchronised();
    let rig = redis_app(&replica.url(), 2);
    rig.finds(Id::RedisReadonly).await;
}

/// Goal: the table of docs/diagnosis.md names tests that exist, and findings that they expect.
#[test]
fn the_documentation_lists_what_is_tested() {
    let tests = [
        include_str!("diagnosis.rs"),
        include_str!("../../../crates/steadfast/tests/diagnosis/main.rs"),
        include_str!("../../../crates/steadfast/tests/diagnosis/audit.rs"),
        include_str!("../../../crates/steadfast/tests/diagnosis/own.rs"),
        include_str!("../../../crates/steadfast/tests/tenants.rs"),
        include_str!("../../../crates/steadfast/src/instance/evidence/around.rs"),
    ];
    let table = include_str!("../../../docs/diagnosis.md");
    let rows = table
        .lines()
        .filter(|line| line.starts_with("| ") && line.ends_with("` |"));
    let mut count = 0;
    for row in rows {
        let words: Vec<_> = row.split('`').skip(1).step_by(2).collect();
        let [.., name] = words.as_slice() else {
            continue;
        };
        let id = words.iter().rev().skip(1).find_map(|word| Id::parse(word));
        let id = id.unwrap_or_else(|| panic!("no finding in {row}"));
        let start = format!("async fn {name}()");
        let body = tests
            .iter()
            .find_map(|text| text.split_once(&start))
            .map(|(_, rest)| rest);
        let body = body.unwrap_or_else(|| panic!("no test is called {name}"));
        let body = body.split("#[tokio::test").next().unwrap();
        let wanted = format!("Id::{id:?}");
        assert!(body.contains(&wanted), "{name} does not expect {id}");
        count += 1;
    }
    assert!(count >= 25, "{count} faults");
}

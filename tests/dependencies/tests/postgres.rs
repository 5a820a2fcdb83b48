//! A real PostgreSQL in every state that sqlx calls `PoolTimedOut`, and what is said.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeSet, time::Duration};

use dependencies_tests::{ask, ask_first, ask_until, ask_within, number, wait_until};
use sqlx::{
    PgPool, SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
    postgres::PgPoolOptions,
};
use steadfast_core::{CheckOutcome, CheckStatus, FailureClass};
use steadfast_sqlx::{migrations, ping};
use support::{BlackHole, PgBouncer, Postgres, free_port};

/// What a check may take that will hear nothing.
const SILENCE: Duration = Duration::from_secs(3);

async fn pool(url: &str, max: u32) -> PgPool {
    let pool = lazy_pool(url, max);
    drop(pool.acquire().await.unwrap());
    idle(&pool, 1).await;
    pool
}

fn lazy_pool(url: &str, max: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(max)
        .connect_lazy(url)
        .unwrap()
}

async fn idle(pool: &PgPool, count: usize) {
    wait_until("an idle connection", || async { pool.num_idle() >= count }).await;
}

#[track_caller]
fn is(outcome: &CheckOutcome, status: CheckStatus, class: FailureClass) {
    assert_eq!(
        (outcome.status(), outcome.class()),
        (status, Some(class)),
        "{outcome:?}"
    );
}

#[track_caller]
fn passes(outcome: &CheckOutcome) {
    assert_eq!(outcome.status(), CheckStatus::Pass, "{outcome:?}");
}

/// The pids of the sessions that are not the check's own.
fn sessions(postgres: &Postgres) -> BTreeSet<String> {
    let pids = postgres.sql(
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' \
         AND application_name NOT IN ('steadfast-probe', 'psql')",
    );
    pids.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_stopped_server_is_unreachable_and_comes_back() {
    let mut postgres = Postgres::builder().start();
    let pool = pool(&postgres.admin_url(), 2).await;
    let check = ping(&pool);
    passes(&ask(&check).await);

    postgres.stop();
    let stopped = ask(&check).await;
    is(&stopped, CheckStatus::Fail, FailureClass::Unreachable);
    assert!(stopped.message().contains("refused"), "{stopped:?}");

    postgres.start_again();
    let _ = ask_until(&check, |outcome| outcome.status() == CheckStatus::Pass).await;
}

#[tokio::test]
async fn a_server_that_stands_still_is_stuck_and_keeps_one_session_afterwards() {
    let mut postgres = Postgres::builder().start();
    let pool = pool(&postgres.admin_url(), 2).await;
    let check = ping(&pool);
    passes(&ask(&check).await);

    postgres.pause();
    for _ in 0..2 {
        let paused = ask_within(&check, SILENCE).await;
        is(&paused, CheckStatus::Fail, FailureClass::Stuck);
        assert!(paused.message().contains("takes connections"), "{paused:?}");
    }
    postgres.resume();
    let _ = ask_until(&check, |outcome| outcome.status() == CheckStatus::Pass).await;
    // The one that was asked, or a younger one that was asked beside it.
    let probes = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'steadfast-probe'";
    let _ = ask_until(&check, |_| postgres.sql(probes).trim() == "1").await;
}

#[tokio::test]
async fn a_server_that_never_answered_is_stuck() {
    let hole = BlackHole::start();
    let url = format!("postgres://app:secret@{}/shop", hole.address());
    let check = ping(&lazy_pool(&url, 2));
    for _ in 0..2 {
        let outcome = ask_within(&check, SILENCE).await;
        is(&outcome, CheckStatus::Fail, FailureClass::Stuck);
    }
    // One that asks for a session, waited for twice, and one plain connect.
    assert!(hole.taken() <= 2, "{}", hole.taken());
}

#[tokio::test]
async fn a_server_without_a_free_slot_has_refused() {
    let postgres = Postgres::builder().max_connections(2).start();
    let others = pool(&postgres.admin_url(), 2).await;
    let held = (
        others.acquire().await.unwrap(),
        others.acquire().await.unwrap(),
    );
    let check = ping(&lazy_pool(&postgres.admin_url(), 2));
    let refused = ask(&check).await;
    is(&refused, CheckStatus::Fail, FailureClass::RefusedByServer);
    assert!(refused.message().contains("53300"), "{refused:?}");

    drop(held);
    others.close().await;
    let _ = ask_until(&check, |outcome| outcome.status() == CheckStatus::Pass).await;
}

#[tokio::test]
async fn a_refused_probe_is_a_warning_while_the_pool_has_connections() {
    let postgres = Postgres::builder().max_connections(1).start();
    let pool = pool(&postgres.admin_url(), 2).await;
    let outcome = ask(&ping(&pool)).await;
    is(&outcome, CheckStatus::Warn, FailureClass::RefusedByServer);
}

/// Goal: a refusal of new sessions is found while old ones work. Method: a check that has
/// a session already, and a pool whose sessions are served.
#[tokio::test]
async fn that_new_sessions_are_refused_is_found_while_old_ones_serve() {
    let postgres = Postgres::builder().start();
    let _ = postgres.sql("CREATE ROLE app LOGIN PASSWORD 'first'");
    for (order, class, word) in [
        (
            "ALTER ROLE app CONNECTION LIMIT 3",
            FailureClass::RefusedByServer,
            "too many connections for role app",
        ),
        (
            "ALTER ROLE app CONNECTION LIMIT -1 PASSWORD 'rotated'",
            FailureClass::Auth,
            "password authentication failed",
        ),
    ] {
        let _ = postgres.sql("ALTER ROLE app CONNECTION LIMIT -1 PASSWORD 'first'");
        let pool = lazy_pool(&postgres.url("postgres", "app", "first"), 8);
        let held = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
        drop(held);
        idle(&pool, 2).await;
        let check = ping(&pool);
        passes(&ask(&check).await);
        let _ = postgres.sql(order);
        let warned = ask_until(&check, |outcome| outcome.status() != CheckStatus::Pass).await;
        is(&warned, CheckStatus::Warn, class);
        let text = warned.message();
        assert!(text.starts_with("new sessions are refused: "), "{text}");
        assert!(text.contains(word), "{text}");
        assert!(text.ends_with("; 2 old ones still serve"), "{text}");
        // The same for one that never had a session.
        is(&ask(&ping(&pool)).await, CheckStatus::Warn, class);
        assert_eq!(pool.num_idle(), 2, "none was closed");
        let _ = postgres.sql("ALTER ROLE app CONNECTION LIMIT -1 PASSWORD 'first'");
        let _ = ask_until(&check, |outcome| outcome.status() == CheckStatus::Pass).await;
        pool.close().await;
    }
}

/// Goal: a proxy in front of a dead server does not pass for one, and its own words are
/// told.
#[tokio::test]
async fn a_dead_server_behind_a_proxy_that_lives_is_down() {
    let mut postgres = Postgres::builder().start();
    let bouncer = PgBouncer::builder()
        .setting("server_login_retry", "1")
        .setting("server_connect_timeout", "1")
        .start(&postgres);
    let pool = lazy_pool(&bouncer.admin_url(), 2);
    let check = ping(&pool);
    passes(&ask(&check).await);
    postgres.stop();
    // Whoever has a session waits for a server; who comes then is told that there is none.
    wait_until("its own words", || async {
        let down = ask_within(&check, SILENCE).await;
        assert_eq!(down.status(), CheckStatus::Fail, "{down:?}");
        let is_told = down.message().contains("server login");
        is_told && down.class() == Some(FailureClass::Unreachable)
    })
    .await;
    postgres.start_again();
    let _ = ask_until(&check, |outcome| outcome.status() == CheckStatus::Pass).await;
}

#[tokio::test]
async fn a_pool_that_cannot_grow_is_seen_though_the_probe_is_connected() {
    let postgres = Postgres::builder().max_connections(2).start();
    let pool = pool(&postgres.admin_url(), 3).await;
    let check = ping(&pool);
    // Whoever asked whether the server is up may not have quite left.
    let _ = ask_until(&check, |outcome| outcome.status() == CheckStatus::Pass).await;
    // The server is full now: one of the pool, one of the check.
    let _held = pool.acquire().await.unwrap();
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.acquire().await.map(drop) }
    });
    let outcome = ask_until(&check, |outcome| outcome.status() == CheckStatus::Fail).await;
    is(&outcome, CheckStatus::Fail, FailureClass::RefusedByServer);
    assert!(
        outcome.message().contains("can open no more"),
        "{outcome:?}"
    );
    waiting.abort();
}

#[tokio::test]
async fn a_pool_held_by_queries_is_saturated_and_then_stuck() {
    let postgres = Postgres::builder().start();
    let pool = pool(&postgres.admin_url(), 2).await;
    let queries: Vec<_> = (0..2)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { sqlx::raw_sql("SELECT pg_sleep(600)").execute(&pool).await })
        })
        .collect();
    let running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'";
    wait_until("two queries", || async { postgres.sql(running) == "2" }).await;

    let patient = ping(&pool).stuck_after(Duration::from_secs(3600));
    for _ in 0..4 {
        let full = ask(&patient).await;
        is(&full, CheckStatus::Warn, FailureClass::Saturated);
        assert!(full.message().contains("the server answers"), "{full:?}");
        assert_eq!(number(&full, "pool_in_use"), Some(2.0));
        assert!(number(&full, "ping_ms").is_some());
    }
    let impatient = ping(&pool).stuck_after(Duration::from_millis(100));
    is(
        &ask(&impatient).await,
        CheckStatus::Warn,
        FailureClass::Saturated,
    );
    let stuck = ask_until(&impatient, |outcome| outcome.status() == CheckStatus::Fail).await;
    is(&stuck, CheckStatus::Fail, FailureClass::Stuck);
    assert!(stuck.message().contains("'active'"), "{stuck:?}");
    queries.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_hundred_pings_leave_a_held_pool_of_one_as_it_was() {
    let postgres = Postgres::builder().start();
    let pool = pool(&postgres.admin_url(), 1).await;
    let before = sessions(&postgres);
    assert_eq!(before.len(), 1);
    let check = ping(&pool);
    let held = pool.acquire().await.unwrap();
    for _ in 0..100 {
        is(
            &ask(&check).await,
            CheckStatus::Warn,
            FailureClass::Saturated,
        );
        assert_eq!((pool.size(), pool.num_idle()), (1, 0));
    }
    drop(held);
    idle(&pool, 1).await;
    passes(&ask(&check).await);
    assert_eq!(sessions(&postgres), before);
    sqlx::raw_sql("SELECT 1").execute(&pool).await.unwrap();
    assert_eq!(sessions(&postgres), before);
}

#[tokio::test]
async fn a_cut_run_closes_its_own_connection_and_none_of_the_pool() {
    let mut postgres = Postgres::builder().start();
    let pool = pool(&postgres.admin_url(), 1).await;
    let before = sessions(&postgres);
    let check = ping(&pool);
    passes(&ask(&check).await);
    postgres.pause();
    let run = steadfast_core::CheckRun::new(steadfast_core::Deadline::at(
        tokio::time::Instant::now().into_std() + Duration::from_secs(60),
    ));
    let cut = tokio::time::timeout(
        Duration::from_millis(200),
        steadfast_core::Check::run(&check, run),
    );
    assert!(cut.await.is_err());
    postgres.resume();
    let probes = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'steadfast-probe'";
    wait_until("the end of the probe", || async {
        postgres.sql(probes) == "0"
    })
    .await;
    passes(&ask(&check).await);
    assert_eq!(sessions(&postgres), before);
}

#[tokio::test]
async fn a_server_that_recovers_is_loading() {
    let mut postgres = Postgres::builder().start();
    let check = ping(&lazy_pool(&postgres.admin_url(), 1));
    passes(&ask(&check).await);
    postgres.stop();
    postgres.start_as_cold_standby();
    let outcome = ask(&check).await;
    is(&outcome, CheckStatus::Fail, FailureClass::Loading);
    assert!(outcome.message().contains("57P03"), "{outcome:?}");
}

#[tokio::test]
async fn wrong_settings_are_told_apart_and_no_secret_is_shown() {
    let postgres = Postgres::builder().start();
    let _ = postgres.sql("CREATE ROLE app LOGIN PASSWORD 'right'");
    let secret = "hunter2secret";
    let port = postgres.port();
    for (url, class) in [
        (postgres.url("postgres", "app", secret), FailureClass::Auth),
        (
            format!("postgres://127.0.0.1:{port}/postgres?user=app&password={secret}"),
            FailureClass::Auth,
        ),
        (
            format!(
                "postgres://app:{secret}@127.0.0.1:{port}/postgres?password={secret}&sslmode=require"
            ),
            FailureClass::Tls,
        ),
        (
            postgres.url("no_such_db", "app", "right"),
            FailureClass::Misconfigured,
        ),
        (
            format!("postgres://app:{secret}@no-such-host.invalid/shop"),
            FailureClass::Dns,
        ),
        (
            format!("postgres://app:{secret}@127.0.0.1:{}/shop", free_port()),
            FailureClass::Unreachable,
        ),
        (
            format!("postgres://app:{secret}@%2Fno%2Fsuch%2Fdirectory/shop"),
            FailureClass::Unreachable,
        ),
    ] {
        let outcome = ask(&ping(&lazy_pool(&url, 1))).await;
        is(&outcome, CheckStatus::Fail, class);
        let shown = format!("{outcome:?}");
        assert!(!shown.contains(secret), "{shown}");
    }
    let check = ping(&lazy_pool(&postgres.url("postgres", "app", secret), 1));
    assert!(!format!("{check:?}").contains(secret));
}

#[tokio::test]
async fn migrations_are_looked_at_beside_a_held_pool() {
    let postgres = Postgres::builder().start();
    let pool = pool(&postgres.admin_url(), 1).await;
    let migration = |version, sql: &'static str| {
        let kind = MigrationType::Simple;
        Migration::new(version, "a step".into(), kind, sql.into_sql_str(), false)
    };
    let one = migration(1, "CREATE TABLE a (n INT)");
    let two = migration(2, "CREATE TABLE b (n INT)");
    let older = Migrator::with_migrations(vec![one.clone()]);
    let newer = Migrator::with_migrations(vec![one, two]);
    let check = migrations(&pool, &newer);

    let never = ask(&check).await;
    is(&never, CheckStatus::Fail, FailureClass::Misconfigured);
    assert_eq!(number(&never, "migrations_pending"), Some(2.0));
    older.run(&pool).await.unwrap();
    let held = pool.acquire().await.unwrap();
    let half = ask(&check).await;
    assert_eq!(half.message(), "1 migration is pending, from 2 on");
    drop(held);
    newer.run(&pool).await.unwrap();
    passes(&ask(&check).await);
    is(
        &ask(&migrations(&pool, &older)).await,
        CheckStatus::Warn,
        FailureClass::Misconfigured,
    );

    let _ = postgres.sql("UPDATE _sqlx_migrations SET success = false WHERE version = 2");
    // It has passed once; only one that always looks sees what happens later.
    passes(&ask(&check).await);
    let dirty = ask(&migrations(&pool, &newer).always()).await;
    assert_eq!(
        dirty.message(),
        "migration 2 failed halfway and needs repair"
    );
}

/// Goal: who waits for the start waits for one connect, and finds it in the pool. Method: the
/// sessions are counted, after the first answer and after the second.
#[tokio::test]
async fn the_first_answer_is_the_pools_own_first_connection() {
    let postgres = Postgres::builder().start();
    let pool = lazy_pool(&postgres.admin_url(), 2);
    let check = ping(&pool);
    // On a slow machine the check asks beside the pool, which opens its own all the same.
    passes(&ask_first(&check).await);
    idle(&pool, 1).await;
    assert_eq!(sessions(&postgres).len(), 1);
    passes(&ask(&check).await);
    assert_eq!(sessions(&postgres).len(), 1);

    let gone = lazy_pool("postgres://postgres@127.0.0.1:1/postgres", 2);
    let outcome = ask_first(&ping(&gone)).await;
    is(&outcome, CheckStatus::Fail, FailureClass::Unreachable);
    wait_until("an end of the connect", || async { gone.size() == 0 }).await;
}

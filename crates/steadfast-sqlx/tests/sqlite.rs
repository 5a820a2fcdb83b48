//! SQLite, in memory, where a check that took a connection would take the database; and in
//! a file that is moved away.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::{Duration, Instant};

use sqlx::{
    SqlSafeStr, SqlitePool,
    migrate::{Migration, MigrationType, Migrator},
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use steadfast_core::{Check, CheckOutcome, CheckRun, CheckStatus, Deadline, FailureClass};
use steadfast_sqlx::{migrations, ping};

#[expect(
    clippy::disallowed_methods,
    reason = "a deadline is a moment of the real clock"
)]
fn a_run() -> CheckRun {
    CheckRun::new(Deadline::at(Instant::now() + Duration::from_secs(20)))
}

async fn memory_pool() -> SqlitePool {
    let options = SqlitePoolOptions::new().max_connections(1);
    options.connect("sqlite::memory:").await.unwrap()
}

fn number(outcome: &CheckOutcome, name: &str) -> Option<f64> {
    let found = outcome.numbers().iter().find(|number| number.name == name);
    found.map(|number| number.value)
}

#[tokio::test]
async fn a_hundred_pings_leave_the_only_connection_and_its_data() {
    let pool = memory_pool().await;
    sqlx::raw_sql("CREATE TABLE kept (n INT)")
        .execute(&pool)
        .await
        .unwrap();
    let check = ping(&pool);
    for _ in 0..100 {
        let _ = check.run(a_run()).await;
        // A run that is dropped while it waits must not take the database with it either.
        let _ = tokio::time::timeout(Duration::ZERO, check.run(a_run())).await;
    }
    sqlx::raw_sql("INSERT INTO kept VALUES (1)")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(pool.size(), 1);
}

#[tokio::test]
async fn a_ping_reports_the_pools_numbers() {
    let pool = memory_pool().await;
    let outcome = ping(&pool).run(a_run()).await;
    assert_eq!(outcome.status(), CheckStatus::Pass, "{outcome:?}");
    assert!(number(&outcome, "ping_ms").is_some());
    assert_eq!(number(&outcome, "pool_size"), Some(1.0));
    assert_eq!(number(&outcome, "pool_idle"), Some(1.0));
    assert_eq!(number(&outcome, "pool_max"), Some(1.0));
    assert_eq!(number(&outcome, "pool_in_use"), Some(0.0));
}

#[tokio::test]
async fn a_full_pool_is_saturated() {
    let pool = memory_pool().await;
    let held = pool.acquire().await.unwrap();
    let outcome = ping(&pool).run(a_run()).await;
    assert_eq!(outcome.status(), CheckStatus::Warn);
    assert_eq!(outcome.class(), Some(FailureClass::Saturated));
    drop(held);
}

/// Goal: a file that was moved away is found while the sessions that have it open work.
#[tokio::test]
async fn a_file_that_was_moved_away_is_found_while_old_sessions_serve() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shop.db");
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(2);
    let pool = pool.connect_with(options).await.unwrap();
    let kept = sqlx::raw_sql("CREATE TABLE kept (n INT)");
    kept.execute(&pool).await.unwrap();
    idle(&pool).await;
    let check = ping(&pool);
    let first = check.run(a_run()).await;
    assert_eq!(first.status(), CheckStatus::Pass, "{first:?}");

    std::fs::rename(&path, dir.path().join("moved.db")).unwrap();
    // Until another session is due.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(6)).await;
    tokio::time::resume();
    let warned = check.run(a_run()).await;
    assert_eq!(warned.status(), CheckStatus::Warn, "{warned:?}");
    assert_eq!(warned.class(), Some(FailureClass::Misconfigured));
    let text = warned.message();
    assert!(text.starts_with("new sessions are refused: "), "{text}");
    assert!(!path.exists(), "none is made in its place");

    std::fs::rename(dir.path().join("moved.db"), &path).unwrap();
    let again = check.run(a_run()).await;
    assert_eq!(again.status(), CheckStatus::Pass, "{again:?}");
}

#[tokio::test]
async fn a_closed_pool_fails() {
    let pool = memory_pool().await;
    pool.close().await;
    let outcome = ping(&pool).run(a_run()).await;
    assert_eq!(outcome.status(), CheckStatus::Fail);
}

#[tokio::test]
async fn pending_migrations_are_counted_until_they_are_applied() {
    let pool = memory_pool().await;
    let migration = |version, sql: &'static str| {
        let kind = MigrationType::Simple;
        Migration::new(version, "a step".into(), kind, sql.into_sql_str(), false)
    };
    let migrator = Migrator::with_migrations(vec![
        migration(1, "CREATE TABLE a (n INT)"),
        migration(2, "CREATE TABLE b (n INT)"),
    ]);
    let check = migrations(&pool, &migrator);
    let before = check.run(a_run().first(true)).await;
    assert_eq!(before.class(), Some(FailureClass::Misconfigured));
    assert_eq!(before.message(), "2 migrations are pending, from 1 on");

    migrator.run(&pool).await.unwrap();
    idle(&pool).await;
    let after = check.run(a_run()).await;
    assert_eq!(after.status(), CheckStatus::Pass, "{after:?}");

    // Passed once, it repeats that without looking.
    pool.close().await;
    assert_eq!(check.run(a_run()).await.status(), CheckStatus::Pass);
}

/// Waits until the pool has taken its connection back, which it does in a task.
async fn idle(pool: &SqlitePool) {
    while pool.num_idle() == 0 {
        tokio::task::yield_now().await;
    }
}

//! What queries through the guard tell of a real MariaDB, in the words that it has for it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests wait for real servers, on the real clock"
)]

use std::time::Duration;

use dependencies_tests::{guarded::state, wait_until};
use sqlx::{Executor, MySql, Row, mysql::MySqlPoolOptions};
use steadfast::{BreakerState, Cause, Dependency, Refusal, Trip};
use steadfast_core::{CallKind, FailureClass};
use steadfast_sqlx::{Error, PoolGuard, classify, guard};
use support::MariaDb;

const READ: &str = "SELECT * FROM goods";
const WRITE: &str = "INSERT INTO goods VALUES (1)";

fn guarded(server: &MariaDb, size: u32) -> (PoolGuard<MySql>, Dependency) {
    let pool = MySqlPoolOptions::new().max_connections(size);
    let pool = pool.connect_lazy(&server.url()).unwrap();
    let trip = Trip::default()
        .consecutive_failures(3)
        .consecutive_spread(Duration::ZERO);
    let orders_db = Dependency::builder("orders-db").trip(trip).build().unwrap();
    (guard(&pool, &orders_db).build().unwrap(), orders_db)
}

/// A server with a table.
fn with_goods() -> MariaDb {
    let server = MariaDb::builder().start();
    let _ = server.sql("CREATE TABLE app.goods (n INT)");
    server
}

fn failed(orders_db: &Dependency) -> u64 {
    state(orders_db).calls().of(CallKind::Failure)
}

fn takes_no_writes(orders_db: &Dependency) -> bool {
    let view = orders_db.view();
    view.read_only.is_some_and(|seen| seen.is_refusing)
}

/// Writes until that is known to be in vain, and reads all the while.
async fn becomes_read_only(db: &PoolGuard<MySql>, orders_db: &Dependency, number: &str) {
    wait_until("a read-only health", || async {
        db.execute(WRITE).await.unwrap_err();
        takes_no_writes(orders_db)
    })
    .await;
    db.execute(READ).await.unwrap();
    let refused = db.begin().await.map(drop).unwrap_err();
    let refusal = Refusal::find(&refused).unwrap();
    assert_eq!(refusal.cause(), Cause::DependencyDown);
    let said = orders_db.view().read_only.unwrap().error;
    assert!(said.contains(number), "{said}");
    assert_eq!(failed(orders_db), 0, "it has answered");
}

#[tokio::test]
async fn a_server_told_to_take_no_writes_is_read_only_until_it_takes_them() {
    let server = with_goods();
    let (db, orders_db) = guarded(&server, 2);
    db.execute(WRITE).await.unwrap();
    let _ = server.sql("SET GLOBAL read_only = 1");
    becomes_read_only(&db, &orders_db, "--read-only").await;
    let _ = server.sql("SET GLOBAL read_only = 0");
    // A scout looks twice a second.
    wait_until("writes", || async { orders_db.view().read_only.is_none() }).await;
    db.begin().await.unwrap().commit().await.unwrap();
}

/// MariaDB's storage engine says it of the table (1036), where MySQL has a number for the
/// mode (1836).
#[tokio::test]
async fn a_storage_engine_that_takes_no_writes_is_read_only_too() {
    let mut server = with_goods();
    server.restart_with("innodb-read-only", "1");
    let (db, orders_db) = guarded(&server, 2);
    becomes_read_only(&db, &orders_db, "is read only").await;
}

#[tokio::test]
async fn a_server_without_a_slot_is_a_pool_without_a_connection() {
    // The fewest that it takes.
    let server = MariaDb::builder().setting("max-connections", "10").start();
    let others = MySqlPoolOptions::new().max_connections(10);
    let others = others.connect_lazy(&server.url()).unwrap();
    let mut taken = Vec::new();
    for _ in 0..10 {
        taken.push(others.acquire().await.unwrap());
    }
    let (db, orders_db) = guarded(&server, 2);
    let refused = db.execute("SELECT 1").await.unwrap_err();
    let refusal = Refusal::find(&refused).unwrap();
    assert_eq!(refusal.cause(), Cause::PoolExhausted);
    let said = orders_db.view().last_call_error.unwrap();
    assert_eq!(said.class, FailureClass::RefusedByServer, "{said:?}");
    assert!(said.message.contains("Too many connections"), "{said:?}");
    drop(taken);
    others.close().await;
    wait_until("a slot", || async { db.execute("SELECT 1").await.is_ok() }).await;
}

/// Goal: a session that an operator kills is closed, and each other one serves on.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_killed_is_not_given_back() {
    let server = MariaDb::builder().start();
    let (db, orders_db) = guarded(&server, 1);
    let mut connection = db.acquire().await.unwrap();
    let id = "SELECT CAST(CONNECTION_ID() AS SIGNED)";
    let first: i64 = sqlx::query_scalar(id)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let asked = connection.execute("SELECT SLEEP(30)");
    let kill = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        tokio::task::block_in_place(|| server.sql(&format!("KILL CONNECTION {first}")))
    };
    let (ended, _) = tokio::join!(asked, kill);
    let error = ended.unwrap_err();
    assert_eq!(
        classify(&error).class(),
        FailureClass::Unreachable,
        "{error:?}"
    );
    assert_eq!(failed(&orders_db), 1);
    drop(connection);
    let second: i64 = sqlx::query_scalar(id).fetch_one(&db).await.unwrap();
    assert_ne!(first, second);
}

/// Goal: what an operator has bounded, and what he cancels, accuses nobody.
#[tokio::test]
async fn a_query_that_is_cut_by_a_bound_or_by_a_person_is_no_failure() {
    let server = MariaDb::builder().start();
    let (db, orders_db) = guarded(&server, 1);
    for _ in 0..5 {
        let bounded = "SET STATEMENT max_statement_time = 0.05 FOR SELECT SLEEP(30)";
        let error = db.execute(bounded).await.unwrap_err();
        assert_eq!(classify(&error).class(), FailureClass::Timeout, "{error:?}");
    }
    assert_eq!(failed(&orders_db), 0);
    let closed = |it: &Dependency| it.view().breaker.unwrap().state == BreakerState::Closed;
    assert!(closed(&orders_db));
}

/// Goal: a server that is gone is known by queries, and one that is back is used at once.
#[tokio::test]
async fn a_server_that_is_gone_opens_the_breaker_and_one_that_is_back_closes_it() {
    let mut server = MariaDb::builder().start();
    let (db, orders_db) = guarded(&server, 2);
    db.execute("SELECT 1").await.unwrap();
    server.stop();
    wait_until("an outage", || async {
        let failed = db.execute("SELECT 1").await.unwrap_err();
        let refusal = Error::from(failed).into_parts().0;
        let opened = orders_db.view().breaker.unwrap().state != BreakerState::Closed;
        opened && refusal.is_some_and(|it| it.cause() == Cause::DependencyDown)
    })
    .await;
    server.start_again();
    wait_until("a query", || async { db.execute("SELECT 1").await.is_ok() }).await;
}

/// Goal: the server ends what nobody waits for. Method: a pool of one has its place back
/// although the report takes ten minutes.
#[tokio::test]
async fn a_query_that_is_cut_is_ended_in_the_server_where_that_is_wanted() {
    let server = MariaDb::builder().start();
    let pool = MySqlPoolOptions::new().max_connections(1);
    let pool = pool.connect_lazy(&server.url()).unwrap();
    let orders_db = Dependency::builder("orders-db").build().unwrap();
    let builder = guard(&pool, &orders_db).silence_max(Duration::from_millis(300));
    let db = builder.build().unwrap();
    let number = async || {
        let row = db.fetch_one("SELECT CONNECTION_ID()").await.unwrap();
        row.get::<u64, _>(0)
    };
    let before = number().await;
    let mut report = db.begin().await.unwrap();
    report.cancel_when_cut().await.unwrap();
    let query = (&mut *report).execute("SELECT SLEEP(600)");
    query.await.map(drop).unwrap_err();
    drop(report);
    assert_eq!(number().await, before, "the session serves on");
    let reports = server.sql(
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO = 'SELECT SLEEP(600)'",
    );
    assert_eq!(reports.trim(), "0");
}

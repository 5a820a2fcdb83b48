//! Queries that are cut, and what becomes of them in the server.

use sqlx::{Executor, Row};
use steadfast_core::plumbing::RELEASE_MAX;
use support::{PgBouncer, Relay};
use tokio::time::timeout;

use super::*;

const REPORT: &str = "SELECT pg_sleep(600)";

fn guarded(url: &str, size: u32) -> PoolGuard<Pg> {
    with_silence(Duration::from_millis(300), url, size)
}

fn with_silence(silence_max: Duration, url: &str, size: u32) -> PoolGuard<Pg> {
    let orders_db = Dependency::builder("orders-db").build().unwrap();
    let builder = guard(&pool(url, size), &orders_db).silence_max(silence_max);
    builder.wait_max(LONG).connect_max(LONG).build().unwrap()
}

/// How many reports the server works on.
fn reports(postgres: &Postgres) -> String {
    postgres.sql(&format!(
        "SELECT count(*) FROM pg_stat_activity WHERE query = '{REPORT}' AND state = 'active'"
    ))
}

async fn pid(db: &PoolGuard<Pg>) -> i32 {
    let row = db.fetch_one("SELECT pg_backend_pid()").await.unwrap();
    row.get(0)
}

/// Runs a report in a transaction that is cut, by its bound or because nobody waits any more.
async fn cut(db: &PoolGuard<Pg>, leaves: bool) {
    let mut report = db.begin().await.unwrap();
    report.cancel_when_cut().await.unwrap();
    let query = (&mut *report).execute(REPORT);
    if leaves {
        timeout(Duration::from_millis(100), query)
            .await
            .unwrap_err();
    } else {
        query.await.unwrap_err();
    }
}

/// Goal: the server ends what nobody waits for, the session is lent on, and nobody else's
/// query ends. Method: a pool of one has its place back although the report takes ten minutes.
#[tokio::test]
async fn a_query_that_is_cut_is_ended_in_the_server_where_that_is_wanted() {
    let postgres = Postgres::builder().start();
    let db = guarded(&postgres.admin_url(), 1);
    let neighbours = pool(&postgres.admin_url(), 1);
    let neighbour =
        tokio::spawn(async move { neighbours.execute("SELECT pg_sleep(5)").await.map(drop) });
    let before = pid(&db).await;
    for leaves in [false, true] {
        cut(&db, leaves).await;
        assert_eq!(pid(&db).await, before, "the session serves on");
        assert_eq!(reports(&postgres), "0");
    }
    neighbour.await.unwrap().unwrap();

    let mut report = db.begin().await.unwrap();
    (&mut *report).execute(REPORT).await.unwrap_err();
    drop(report);
    assert_eq!(reports(&postgres), "1", "nobody has asked for it");
}

/// Goal: what is ended behind a pooler is the query of this transaction. Method: the pooler
/// gives a server session for each transaction only.
#[tokio::test]
async fn a_query_that_is_cut_behind_a_pooler_is_ended() {
    let postgres = Postgres::builder().start();
    let bouncer = PgBouncer::builder().setting("pool_mode", "transaction");
    let bouncer = bouncer.start(&postgres);
    let db = guarded(
        &format!("{}?statement-cache-capacity=0", bouncer.admin_url()),
        2,
    );
    let mut innocent = db.begin().await.unwrap();
    cut(&db, false).await;
    wait_until("that it is ended", || async { reports(&postgres) == "0" }).await;
    (&mut *innocent).execute("SELECT 1").await.unwrap();
}

/// Runs a report, in no transaction and unnamed, that nobody waits for once the server works on
/// it.
async fn leave(db: &PoolGuard<Pg>, postgres: &Postgres) {
    let asks = db.clone();
    let report = tokio::spawn(async move { sqlx::raw_sql(REPORT).execute(&asks).await.map(drop) });
    wait_until("the report", || async { reports(postgres) == "1" }).await;
    report.abort();
    let _ = report.await;
}

/// Goal: where the server looks whether its client is there, a query that was cut ends and its
/// place is free. Method: a pool of one, and a report that takes ten minutes.
#[tokio::test]
async fn a_query_that_was_left_ends_where_the_server_looks_for_its_client() {
    let postgres = Postgres::builder()
        .setting("client_connection_check_interval", "200ms")
        .start();
    let db = with_silence(LONG, &postgres.admin_url(), 1);
    let before = pid(&db).await;
    leave(&db, &postgres).await;
    let began = dependencies_tests::now();
    assert_ne!(pid(&db).await, before, "its session was left");
    assert!(
        dependencies_tests::now() - began < RELEASE_MAX,
        "not because the time was over"
    );
    wait_until("that it is ended", || async { reports(&postgres) == "0" }).await;
}

/// Goal: the same behind a pooler, which closes the server's session of a client that leaves in
/// the middle of a query.
#[tokio::test]
async fn a_query_that_was_left_behind_a_pooler_ends_too() {
    let postgres = Postgres::builder().start();
    let _ = postgres.sql("ALTER ROLE postgres SET client_connection_check_interval = '200ms'");
    let bouncer = PgBouncer::builder().setting("pool_mode", "transaction");
    let bouncer = bouncer.start(&postgres);
    let url = format!("{}?statement-cache-capacity=0", bouncer.admin_url());
    let db = with_silence(LONG, &url, 1);
    leave(&db, &postgres).await;
    let began = dependencies_tests::now();
    wait_until("that it is ended", || async { reports(&postgres) == "0" }).await;
    assert!(
        dependencies_tests::now() - began < RELEASE_MAX,
        "not because the time was over"
    );
    sqlx::raw_sql("SELECT 1").execute(&db).await.unwrap();
}

/// Goal: a server that does not look works on for a client that has gone, so nothing is closed,
/// and the place is taken. Method: the sessions are counted on their way; the one that asks
/// whether it looks comes and goes.
#[tokio::test]
async fn a_query_that_was_left_keeps_its_place_where_the_server_does_not_look() {
    let postgres = Postgres::builder().start();
    let relay = Relay::start(postgres.port());
    let db = with_silence(LONG, &postgres.admin_url_at(relay.port()), 2);
    leave(&db, &postgres).await;
    wait_until("the question", || async { relay.taken() == 2 }).await;
    wait_until("its end", || async { relay.standing() == 1 }).await;
    assert_eq!(reports(&postgres), "1");
    assert_eq!(db.snapshot().in_use, 1);
}

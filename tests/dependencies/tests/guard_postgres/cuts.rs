//! Queries that are cut, and what becomes of them in the server.

use sqlx::{Executor, Row};
use support::PgBouncer;
use tokio::time::timeout;

use super::*;

const REPORT: &str = "SELECT pg_sleep(600)";

fn guarded(url: &str, size: u32) -> PoolGuard<Pg> {
    let orders_db = Dependency::builder("orders-db").build().unwrap();
    let builder = guard(&pool(url, size), &orders_db).silence_max(Duration::from_millis(300));
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

//! The guard of a pool in front of SQLite, which needs no server: whose place is taken, and
//! from when to when.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use sqlx::{Sqlite, sqlite::SqlitePoolOptions};
use steadfast::{Dependency, test_util::poll_once};
use steadfast_core::{Evidence, FailureClass};
use steadfast_sqlx::{PoolGuard, guard};
use tokio::sync::Semaphore;

/// Lets connections back into the pool, one for each permit.
type Door = Arc<Semaphore>;

/// A guard of one connection, which comes back when the door is opened for it.
async fn behind_a_door() -> (PoolGuard<Sqlite>, Door) {
    let door = Door::new(Semaphore::new(0));
    let keeper = Arc::clone(&door);
    let options = SqlitePoolOptions::new()
        .max_connections(1)
        .after_release(move |_, _| {
            let door = Arc::clone(&keeper);
            Box::pin(async move {
                door.acquire().await.expect("it is not closed").forget();
                Ok(true)
            })
        });
    let pool = options.connect("sqlite::memory:").await.unwrap();
    let orders_db = Dependency::builder("orders-db").build().unwrap();
    let db = guard(&pool, &orders_db).waiters_max(0).build().unwrap();
    (db, door)
}

/// Claims that the only place is taken, and that whoever asks is told so.
async fn is_taken(db: &PoolGuard<Sqlite>, by: &str) {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert_eq!(db.snapshot().in_use, 1, "{by}");
    let error = steadfast_sqlx::Error::from(db.acquire().await.map(drop).unwrap_err());
    let refusal = error.refusal().unwrap();
    assert!(
        matches!(refusal.evidence(), Evidence::PoolExhausted(pool) if pool.class == FailureClass::Saturated),
        "{by}: {refusal:?}"
    );
}

async fn comes_back(db: &PoolGuard<Sqlite>, door: &Door) {
    door.add_permits(1);
    while db.snapshot().in_use > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        db.pool().num_idle(),
        1,
        "first the connection, then its place"
    );
}

#[tokio::test]
async fn a_place_is_free_when_its_connection_is_back() {
    let (db, door) = behind_a_door().await;
    drop(db.acquire().await.unwrap());
    is_taken(&db, "a connection").await;
    comes_back(&db, &door).await;

    db.begin().await.unwrap().commit().await.unwrap();
    is_taken(&db, "a commit").await;
    comes_back(&db, &door).await;

    db.begin().await.unwrap().rollback().await.unwrap();
    is_taken(&db, "a rollback").await;
    comes_back(&db, &door).await;

    drop(db.begin().await.unwrap());
    is_taken(&db, "a transaction that was dropped").await;
    comes_back(&db, &door).await;
}

#[tokio::test]
async fn a_transaction_ends_as_it_is_told() {
    let (db, door) = behind_a_door().await;
    // Every connection that is given back in this test may come back.
    door.add_permits(100);
    let count = async || {
        let mut connection = acquired(&db).await;
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM goods")
            .fetch_one(&mut *connection)
            .await
            .unwrap();
        count
    };
    let made = sqlx::raw_sql("CREATE TABLE goods (n INT)");
    made.execute(&mut *acquired(&db).await).await.unwrap();
    let insert = async || {
        while db.snapshot().in_use > 0 {
            tokio::task::yield_now().await;
        }
        let mut transaction = db.begin_with("BEGIN IMMEDIATE").await.unwrap();
        let insert = sqlx::raw_sql("INSERT INTO goods VALUES (1)");
        insert.execute(&mut *transaction).await.unwrap();
        transaction
    };
    drop(insert().await);
    assert_eq!(count().await, 0, "dropped");
    insert().await.rollback().await.unwrap();
    assert_eq!(count().await, 0, "rolled back");
    insert().await.commit().await.unwrap();
    assert_eq!(count().await, 1, "committed");
}

/// Acquires, when the last one is back.
async fn acquired(db: &PoolGuard<Sqlite>) -> steadfast_sqlx::GuardedConnection<Sqlite> {
    while db.snapshot().in_use > 0 {
        tokio::task::yield_now().await;
    }
    db.acquire().await.unwrap()
}

#[tokio::test]
async fn a_statement_that_begins_nothing_is_an_error_and_costs_no_place() {
    let (db, door) = behind_a_door().await;
    door.add_permits(1);
    let error = db.begin_with("SELECT 1").await.map(drop).unwrap_err();
    assert!(matches!(error, sqlx::Error::BeginFailed), "{error:?}");
    assert_eq!(
        db.pool().num_idle(),
        1,
        "it is back before the error is told"
    );
    assert_eq!(db.snapshot().connecting, 0);
}

#[tokio::test]
async fn a_statement_that_the_server_refuses_is_the_callers_error_and_no_evidence() {
    let (db, door) = behind_a_door().await;
    door.add_permits(10);
    for _ in 0..10 {
        let error = db.begin_with("BEGIN NOTHING").await.map(drop).unwrap_err();
        assert!(matches!(error, sqlx::Error::Database(_)), "{error:?}");
    }
    drop(db.begin().await.expect("the server is as it was"));
}

#[tokio::test]
async fn one_that_is_never_polled_has_no_place() {
    let (db, _door) = behind_a_door().await;
    let kept = (db.acquire(), db.begin(), db.begin_with("BEGIN IMMEDIATE"));
    let seen = db.snapshot();
    assert_eq!((seen.in_use, seen.connecting, seen.waiting), (0, 0, 0));
    // The only place is there for one who wants it.
    assert!(db.acquire().await.is_ok());
    drop(kept);
}

/// Goal: nothing panics where there is no runtime. Method: a pool that keeps a connection
/// open, which sqlx would open anew on a task.
#[test]
fn what_is_dropped_outside_of_a_runtime_gives_its_place_back() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for min in [0, 1] {
        let options = SqlitePoolOptions::new()
            .max_connections(3)
            .min_connections(min);
        let (db, kept) = runtime.block_on(async {
            let pool = options.connect("sqlite::memory:").await.unwrap();
            let orders_db = Dependency::builder("orders-db").build().unwrap();
            let db = guard(&pool, &orders_db).build().unwrap();
            let kept = (db.acquire().await.unwrap(), db.begin().await.unwrap());
            let mut begin = Box::pin(db.begin());
            // Until it waits for the answer to its BEGIN, or for one before that.
            assert!(poll_once(begin.as_mut()).is_pending());
            (db, (kept, begin))
        });
        drop(kept);
        let seen = db.snapshot();
        assert_eq!((seen.in_use, seen.connecting), (0, 0), "{min}");
    }
}

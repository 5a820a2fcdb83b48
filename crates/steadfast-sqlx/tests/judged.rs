//! What a guard's queries tell the dependency, on SQLite, which needs no server.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use sqlx::{Executor, Sqlite, sqlite::SqlitePoolOptions};
use steadfast::{BreakerMode, BreakerState, Cause, Dependency, Refusal, Trip};
use steadfast_core::{CallKind, DependencyState, Evidence, FailureClass, plumbing::CallTimedOut};
use steadfast_sqlx::{Error, PoolGuard, guard};

/// A guard of one connection, of a dependency that any three failures open.
async fn guarded() -> (PoolGuard<Sqlite>, Dependency) {
    // One, because each connection to a database in memory has its own.
    let pool = SqlitePoolOptions::new().max_connections(1);
    let pool = pool.connect("sqlite::memory:").await.unwrap();
    let trip = Trip::default()
        .consecutive_failures(3)
        .consecutive_spread(Duration::ZERO);
    let orders_db = Dependency::builder("orders-db").trip(trip).build().unwrap();
    let db = guard(&pool, &orders_db).build().unwrap();
    db.execute("CREATE TABLE goods (n INT UNIQUE)")
        .await
        .unwrap();
    (db, orders_db)
}

/// How many calls ended well, badly, and without saying anything.
fn ended(orders_db: &Dependency) -> (u64, u64, u64) {
    let calls = AsRef::<std::sync::Arc<DependencyState>>::as_ref(orders_db).calls();
    let of = |kind| calls.of(kind);
    (
        of(CallKind::Success),
        of(CallKind::Failure),
        of(CallKind::Neutral),
    )
}

#[tokio::test]
async fn each_query_is_told_once_and_a_connection_never() {
    let (db, orders_db) = guarded().await;
    let (mut good, _, _) = ended(&orders_db);
    for _ in 0..20 {
        drop(db.acquire().await.unwrap());
    }
    assert_eq!(ended(&orders_db), (good, 0, 0), "a lent connection");

    sqlx::query("SELECT 1").fetch_one(&db).await.unwrap();
    sqlx::query("SELECT 1").fetch_all(&db).await.unwrap();
    sqlx::query("SELECT 1 WHERE 1 = 2")
        .fetch_optional(&db)
        .await
        .unwrap();
    good += 3;
    assert_eq!(ended(&orders_db), (good, 0, 0), "on the guard");

    let mut connection = db.acquire().await.unwrap();
    sqlx::query("SELECT 1")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    sqlx::query("SELECT 1")
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    drop(connection);
    good += 2;
    assert_eq!(ended(&orders_db), (good, 0, 0), "on a connection");

    let mut transaction = db.begin().await.unwrap();
    sqlx::query("SELECT 1")
        .fetch_one(&mut transaction)
        .await
        .unwrap();
    sqlx::query("SELECT 1")
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    good += 3;
    assert_eq!(ended(&orders_db), (good, 0, 0), "on a transaction");
}

#[tokio::test]
async fn what_only_the_caller_did_wrong_is_no_evidence() {
    let (db, orders_db) = guarded().await;
    db.execute("INSERT INTO goods VALUES (7)").await.unwrap();
    let (good, _, _) = ended(&orders_db);
    for _ in 0..10 {
        let twice = db
            .execute("INSERT INTO goods VALUES (7)")
            .await
            .unwrap_err();
        assert!(twice.as_database_error().unwrap().is_unique_violation());
        let unknown = db.execute("SELECT * FROM nothing").await.unwrap_err();
        assert!(unknown.as_database_error().is_some());
    }
    assert_eq!(ended(&orders_db), (good, 0, 20));
}

/// Makes each read of the goods fail as from a damaged file.
const DAMAGE: &str = "PRAGMA writable_schema = ON; \
                      UPDATE sqlite_schema SET rootpage = 1000 WHERE name = 'goods'; \
                      PRAGMA writable_schema = RESET";

/// Goal: what traffic sees fail shows in the health, however many connections were lent
/// between.
#[tokio::test]
async fn failures_are_not_diluted_by_connections() {
    let (db, orders_db) = guarded().await;
    db.execute(DAMAGE).await.unwrap();
    for _ in 0..3 {
        for _ in 0..50 {
            drop(db.acquire().await.unwrap());
        }
        let mut connection = db.acquire().await.unwrap();
        connection.execute("SELECT * FROM goods").await.unwrap_err();
    }
    let view = orders_db.view();
    assert_eq!(view.breaker.unwrap().state, BreakerState::Open);
    let last = view.last_call_error.unwrap();
    assert_eq!(last.class, FailureClass::Unhealthy);
    assert!(last.message.contains("malformed"), "{}", last.message);
}

#[tokio::test]
async fn a_database_that_takes_no_writes_is_read_and_writes_are_refused() {
    let (db, orders_db) = guarded().await;
    db.execute("PRAGMA query_only = ON").await.unwrap();
    let write = "INSERT INTO goods VALUES (1)";
    let first = db.execute(write).await.unwrap_err();
    assert!(Refusal::find(&first).is_none(), "it may be the statement");
    let second = db.execute(write).await.unwrap_err();
    let explained = Refusal::find(&second).unwrap();
    assert_eq!(explained.cause(), Cause::DependencyDown);
    assert!(second.to_string().contains("readonly"), "{second}");

    for refused in [
        db.begin().await.map(drop).unwrap_err(),
        sqlx::query(write).execute(db.writes()).await.unwrap_err(),
    ] {
        let refusal = Refusal::find(&refused).unwrap();
        let Evidence::DependencyDown(down) = refusal.evidence() else {
            panic!("{refusal:?}");
        };
        assert_eq!(down.class, FailureClass::ReadOnly);
        assert!(Error::from(refused).driver().is_none(), "it was not asked");
    }
    for _ in 0..10 {
        db.execute("SELECT * FROM goods").await.unwrap();
    }
    drop(db.begin_with("BEGIN -- READ ONLY").await.unwrap());
    let view = orders_db.view();
    assert!(view.read_only.unwrap().is_refusing);
    assert_eq!(view.breaker.unwrap().state, BreakerState::Closed);

    // A write that nobody marked shows that it takes them again.
    db.execute("PRAGMA query_only = OFF").await.unwrap();
    db.execute(write).await.unwrap();
    assert!(orders_db.view().read_only.is_none());
    db.begin().await.unwrap().commit().await.unwrap();
}

#[tokio::test]
async fn an_error_of_sqlx_carries_the_refusal_and_gives_it_back() {
    let (db, orders_db) = guarded().await;
    orders_db.set_mode(BreakerMode::ForcedOpen);
    let refused = sqlx::query("SELECT 1").fetch_one(&db).await.err().unwrap();
    let found = Refusal::find(&refused).unwrap();
    assert_eq!(found.cause(), Cause::DependencyDown);
    assert!(!found.safe_to_retry(), "a handler ran");
    let mine = Error::from(refused);
    assert!(Refusal::find(&mine).is_some());
    let (refusal, error) = mine.into_parts();
    assert!(refusal.is_some() && error.is_none());

    let again = sqlx::Error::from(Error::from(db.begin().await.map(drop).unwrap_err()));
    assert!(steadfast::Error::from(again).refusal().is_some());
}

#[tokio::test]
async fn a_failure_in_an_outage_that_is_known_says_both() {
    let (db, orders_db) = guarded().await;
    let mut connection = db.acquire().await.unwrap();
    orders_db.set_mode(BreakerMode::ForcedOpen);
    connection.execute(DAMAGE).await.unwrap();
    let error = connection.execute("SELECT * FROM goods").await.unwrap_err();
    assert!(error.to_string().contains("malformed"), "{error}");
    assert!(Refusal::find(&error).is_some());
    let (refusal, driver) = Error::from(error).into_parts();
    assert_eq!(refusal.unwrap().cause(), Cause::DependencyDown);
    assert!(matches!(driver.unwrap(), sqlx::Error::Database(_)));

    // One who has a connection is in the middle of something, and goes on.
    connection.execute("SELECT 1").await.unwrap();
}

/// Goal: a failure that comes out of a call around the query is one failure.
#[tokio::test]
async fn a_failure_inside_a_call_of_the_same_dependency_is_told_once() {
    let (db, orders_db) = guarded().await;
    let mut connection = db.acquire().await.unwrap();
    let state = || orders_db.view().breaker.unwrap().state;
    let (good, ..) = ended(&orders_db);
    // What only the call takes for a failure is told by the call.
    let query = sqlx::query("SELECT * FROM nowhere").execute(&mut *connection);
    orders_db.call(query).await.unwrap_err();
    assert_eq!(ended(&orders_db), (good, 1, 1));

    connection.execute(DAMAGE).await.unwrap();
    let (good, ..) = ended(&orders_db);
    for failed in 2..=3 {
        assert_eq!(state(), BreakerState::Closed);
        let query = sqlx::query("SELECT * FROM goods").execute(&mut *connection);
        orders_db.call(query).await.unwrap_err();
        assert_eq!(ended(&orders_db), (good, failed, 1));
    }
}

/// Goal: a query that is silent for too long ends, as late and not as refused. Method: a
/// query that keeps the thread of SQLite busy, on a clock that jumps whenever all wait.
#[tokio::test]
async fn a_query_that_is_silent_ends() {
    let (db, orders_db) = guarded().await;
    let mut connection = db.acquire().await.unwrap();
    tokio::time::pause();
    let slow = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 3000000) \
                SELECT count(*) FROM c";
    let error = connection.execute(slow).await.unwrap_err();
    tokio::time::resume();
    let late: &CallTimedOut = std::error::Error::source(&error)
        .unwrap()
        .downcast_ref()
        .unwrap();
    assert_eq!(late.after(), steadfast_sqlx::SILENCE_MAX_DEFAULT);
    assert_eq!(late.dependency().as_str(), "orders-db");
    let calls = AsRef::<std::sync::Arc<DependencyState>>::as_ref(&orders_db).calls();
    assert_eq!(calls.of(CallKind::Timeout), 1);
    // It is of use again when the query has ended.
    connection.execute("SELECT 1").await.unwrap();
}

/// A call around the query is what decides, also while the breaker probes: the connection
/// that it is asked on takes no place of it.
#[tokio::test]
async fn a_call_around_a_query_on_a_guarded_connection_ends_an_outage() {
    let pool = SqlitePoolOptions::new().max_connections(1);
    let pool = pool.connect("sqlite::memory:").await.unwrap();
    let trip = Trip::default()
        .consecutive_failures(3)
        .consecutive_spread(Duration::ZERO)
        .open_base(Duration::from_millis(10))
        .open_max(Duration::from_millis(10));
    let orders_db = Dependency::builder("orders-db").trip(trip).build().unwrap();
    let db = guard(&pool, &orders_db).build().unwrap();
    let ask = async |sql: &'static str| -> bool {
        let Ok(mut connection) = db.acquire().await else {
            return false;
        };
        let query = sqlx::query(sql).execute(&mut *connection);
        orders_db.call(query).await.is_ok()
    };
    let state = || {
        let state = AsRef::<std::sync::Arc<DependencyState>>::as_ref(&orders_db);
        let view = state.view(tokio::time::Instant::now().into_std());
        view.breaker.unwrap().state
    };
    for _ in 0..3 {
        assert!(!ask("SELECT * FROM missing").await);
    }
    assert_ne!(state(), BreakerState::Closed);
    let mut served = 0;
    for _ in 0..1_000 {
        served += u32::from(ask("SELECT 1").await);
        if served >= 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(state(), BreakerState::Ramping);
}

/// Whoever writes to a file that fails says nothing about those who read it.
#[tokio::test]
async fn an_io_error_of_a_write_is_no_failure_of_the_dependency() {
    let dir = tempfile::tempdir().unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(dir.path().join("db"))
        .create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(1);
    let pool = pool.connect_with(options).await.unwrap();
    let trip = Trip::default()
        .consecutive_failures(3)
        .consecutive_spread(Duration::ZERO)
        .calls_min(3);
    let orders_db = Dependency::builder("orders-db").trip(trip).build().unwrap();
    let db = guard(&pool, &orders_db).build().unwrap();
    db.execute("CREATE TABLE goods (n INT)").await.unwrap();
    std::fs::create_dir(dir.path().join("db-journal")).unwrap();
    for _ in 0..20 {
        let _ = db
            .execute("INSERT INTO goods VALUES (1)")
            .await
            .unwrap_err();
    }
    assert_eq!(ended(&orders_db).1, 0, "no failure of the dependency");
    let view = AsRef::<std::sync::Arc<DependencyState>>::as_ref(&orders_db)
        .view(tokio::time::Instant::now().into_std());
    assert!(view.read_only.is_some());
    std::fs::remove_dir(dir.path().join("db-journal")).unwrap();
    db.execute("INSERT INTO goods VALUES (1)").await.unwrap();
}

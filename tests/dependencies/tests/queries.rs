//! What queries through the guard tell of a real PostgreSQL, and what becomes of the sessions
//! that they find useless.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests wait for real servers, on the real clock"
)]

use std::time::{Duration, Instant};

use dependencies_tests::wait_until;
use sqlx::{Executor, Postgres as Pg, postgres::PgPoolOptions};
use steadfast::{BreakerState, Cause, Dependency, Refusal, Trip};
use steadfast_core::{FailureClass, Health, plumbing::CallTimedOut};
use steadfast_sqlx::{PoolGuard, classify, guard};
use support::{PgBouncer, Postgres, Relay};
use tokio::time::sleep;

const WRITE: &str = "INSERT INTO goods VALUES (1)";

fn guarded(url: &str, size: u32) -> (PoolGuard<Pg>, Dependency) {
    let pool = PgPoolOptions::new().max_connections(size);
    let pool = pool.connect_lazy(url).unwrap();
    let trip = Trip::default()
        .consecutive_failures(3)
        .consecutive_spread(Duration::ZERO);
    let orders_db = Dependency::builder("orders-db").trip(trip).build().unwrap();
    (guard(&pool, &orders_db).build().unwrap(), orders_db)
}

fn takes_no_writes(orders_db: &Dependency) -> bool {
    let view = orders_db.view();
    view.read_only.is_some_and(|seen| seen.is_refusing)
}

fn set_read_only(postgres: &Postgres, on: bool) {
    let _ = postgres.sql(&format!(
        "ALTER SYSTEM SET default_transaction_read_only = {on}"
    ));
    let _ = postgres.sql("SELECT pg_reload_conf()");
}

/// Writes until one fails.
async fn until_refused(db: &PoolGuard<Pg>) {
    wait_until("a write that fails", || async {
        db.execute(WRITE).await.is_err()
    })
    .await;
}

/// Goal: writes are refused by what one of them met, reads go on, and it heals without any
/// traffic, because a scout looks.
#[tokio::test]
async fn a_server_that_takes_no_writes_is_known_and_known_to_be_back() {
    let postgres = Postgres::builder().start();
    let _ = postgres.sql("CREATE TABLE goods (n INT)");
    let (db, orders_db) = guarded(&postgres.admin_url(), 4);
    db.execute(WRITE).await.unwrap();
    set_read_only(&postgres, true);
    until_refused(&db).await;
    wait_until("a scout", || async { takes_no_writes(&orders_db) }).await;
    let refused = db.begin().await.map(drop).unwrap_err();
    assert_eq!(
        Refusal::find(&refused).unwrap().cause(),
        Cause::DependencyDown
    );
    for _ in 0..5 {
        db.execute("SELECT * FROM goods").await.unwrap();
    }
    drop(db.begin_with("BEGIN READ ONLY").await.unwrap());
    let view = orders_db.view();
    assert_eq!(view.breaker.unwrap().state, BreakerState::Closed);
    assert!(view.read_only.unwrap().error.contains("25006"));

    set_read_only(&postgres, false);
    wait_until("writes", || async { orders_db.view().read_only.is_none() }).await;
    db.begin().await.unwrap().commit().await.unwrap();
}

/// Goal: an application's own mistake accuses nobody for long, and refuses nobody.
#[tokio::test]
async fn a_transaction_that_was_begun_to_read_says_nothing_against_the_server() {
    let postgres = Postgres::builder().start();
    let _ = postgres.sql("CREATE TABLE goods (n INT)");
    let (db, orders_db) = guarded(&postgres.admin_url(), 2);
    let mut transaction = db.begin_with("BEGIN READ ONLY").await.unwrap();
    transaction.execute(WRITE).await.unwrap_err();
    drop(transaction);
    db.begin().await.unwrap().commit().await.unwrap();
    wait_until("a scout", || async { orders_db.view().read_only.is_none() }).await;
}

/// Goal: a failover heals by itself, though every old session still answers. Method: an
/// address that leads to another server for those who come from now on.
#[tokio::test]
async fn sessions_with_a_demoted_server_are_closed_when_there_is_a_better_one() {
    let (old, new) = (Postgres::builder().start(), Postgres::builder().start());
    for server in [&old, &new] {
        let _ = server.sql("CREATE TABLE goods (n INT)");
    }
    let relay = Relay::start(old.port());
    let url = old.admin_url();
    let url = url.replace(&format!(":{}", old.port()), &format!(":{}", relay.port()));
    let (db, orders_db) = guarded(&url, 4);
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(db.acquire().await.unwrap());
    }
    let lent = held.pop();
    drop(held);
    set_read_only(&old, true);
    until_refused(&db).await;
    wait_until("a scout", || async { takes_no_writes(&orders_db) }).await;
    // Whatever it took before it had read its new settings.
    let written = old.sql("SELECT count(*) FROM goods");
    let (before, began) = (relay.taken(), Instant::now());
    relay.lead_to(new.port());
    wait_until("writes", || async {
        db.begin().await.is_ok() && db.execute(WRITE).await.is_ok()
    })
    .await;
    // One that was lent all along is closed when it comes back.
    drop(lent);
    for _ in 0..20 {
        db.execute(WRITE).await.unwrap();
    }
    assert_eq!(old.sql("SELECT count(*) FROM goods"), written);
    assert!(orders_db.view().read_only.is_none());
    let opened = relay.taken() - before;
    // Four and their heirs, and twice what looked in each half second.
    let scouts = began.elapsed().as_millis() as usize / 500 + 1;
    assert!(opened <= 10 + 2 * scouts, "{opened} connects are a herd");
}

#[tokio::test]
async fn a_session_that_was_ended_is_not_given_back() {
    let postgres = Postgres::builder().start();
    let (db, orders_db) = guarded(&postgres.admin_url(), 1);
    let mut connection = db.acquire().await.unwrap();
    let end = "SELECT pg_terminate_backend(pg_backend_pid())";
    let error = connection.execute(end).await.unwrap_err();
    assert_eq!(classify(&error).class(), FailureClass::Unreachable);
    drop(connection);
    db.execute("SELECT 1").await.unwrap();
    let last = orders_db.view().last_call_error.unwrap();
    assert_eq!(last.class, FailureClass::Unreachable);
}

#[tokio::test]
async fn a_bound_that_an_operator_has_set_is_no_failure() {
    let postgres = Postgres::builder().start();
    let (db, orders_db) = guarded(&postgres.admin_url(), 1);
    for _ in 0..5 {
        let slow = "SET statement_timeout = '20ms'; SELECT pg_sleep(5)";
        let error = db.execute(slow).await.unwrap_err();
        assert_eq!(classify(&error).class(), FailureClass::Timeout);
    }
    db.execute("SELECT 1").await.unwrap();
    assert_eq!(
        orders_db.view().breaker.unwrap().state,
        BreakerState::Closed
    );
}

/// Goal: a query that is cut leaves no session in an unknown state behind, and the next one
/// gets an answer of its own.
#[tokio::test]
async fn a_query_that_was_cut_answers_nobody_else() {
    let postgres = Postgres::builder().start();
    let pool = PgPoolOptions::new().max_connections(1);
    let pool = pool.connect(&postgres.admin_url()).await.unwrap();
    // However often this machine is too slow for it, it is the cut that is looked at.
    let never = Trip::default().consecutive_failures(1_000).calls_min(1_000);
    let builder = Dependency::builder("orders-db").trip(never);
    let orders_db = builder.build().unwrap();
    let silence = Duration::from_millis(100);
    let db = guard(&pool, &orders_db)
        .silence_max(silence)
        .build()
        .unwrap();
    let mut secs = 0.5;
    for _ in 0..3 {
        let error = loop {
            let slow = sqlx::query_scalar::<_, i32>("SELECT 1 FROM pg_sleep($1)");
            match slow.bind(secs).fetch_one(&db).await {
                Err(error) => break error,
                // This machine stood still until the answer was there.
                Ok(_) => secs *= 2.0,
            }
            assert!(secs < 30.0, "it is never cut");
        };
        let late = std::error::Error::source(&error).unwrap();
        assert_eq!(
            late.downcast_ref::<CallTimedOut>().unwrap().after(),
            silence
        );
        wait_until("an answer", || async {
            match sqlx::query_scalar::<_, i32>("SELECT 2")
                .fetch_one(&db)
                .await
            {
                Ok(answer) => {
                    assert_eq!(answer, 2);
                    true
                }
                Err(_) => false,
            }
        })
        .await;
    }
}

/// Goal: the documented way to end a query that was cut ends it in the server, and its session
/// is closed and not given back.
#[tokio::test]
async fn a_query_that_was_cut_can_be_ended_by_a_second_session() {
    let postgres = Postgres::builder().start();
    let (db, _) = guarded(&postgres.admin_url(), 2);
    let mut session = db.acquire().await.unwrap();
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut session)
        .await
        .unwrap();
    let report = sqlx::query("SELECT pg_sleep(600)").execute(&mut session);
    let cut = tokio::time::timeout(Duration::from_millis(200), report).await;
    assert!(cut.is_err());
    let count = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
    let active = format!("{count} AND state = 'active'");
    assert_eq!(postgres.sql(&active), "1", "it runs on");
    let cancel = sqlx::query("SELECT pg_cancel_backend($1)").bind(pid);
    cancel.execute(&db).await.unwrap();
    wait_until("its end", || async { postgres.sql(&active) == "0" }).await;
    session.close().await.unwrap();
    wait_until("the end of the session", || async {
        postgres.sql(&count) == "0"
    })
    .await;
    db.execute("SELECT 1").await.unwrap();
}

/// Goal: a server that died behind a proxy which lives is known by the queries, in the
/// proxy's own words.
#[tokio::test]
async fn a_dead_server_behind_a_living_proxy_is_known() {
    let mut postgres = Postgres::builder().start();
    let bouncer = PgBouncer::builder().start(&postgres);
    let (db, orders_db) = guarded(&bouncer.admin_url(), 4);
    let ask = async || sqlx::raw_sql("SELECT 1").execute(&db).await;
    ask().await.unwrap();
    postgres.stop();
    wait_until("an open breaker", || async {
        let _ = ask().await;
        let breaker = orders_db.view().breaker;
        breaker.is_some_and(|breaker| breaker.state != BreakerState::Closed)
    })
    .await;
    let refused = ask().await.unwrap_err();
    assert!(Refusal::find(&refused).is_some());
    let last = orders_db.view().last_call_error.unwrap();
    assert_ne!(last.class, FailureClass::Unhealthy, "{}", last.message);
    postgres.start_again();
    wait_until("an answer", || async { ask().await.is_ok() }).await;
}

/// Goal: between what health says and the open breaker no query fails without a reason.
/// Method: a breaker that never opens, and a pool that is asked behind a proxy whose server has
/// gone. The first failure is what it was.
#[tokio::test]
async fn a_query_that_fails_after_it_is_known_says_why() {
    let mut postgres = Postgres::builder().start();
    let bouncer = PgBouncer::builder().start(&postgres);
    let pool = PgPoolOptions::new().max_connections(4);
    let pool = pool.connect_lazy(&bouncer.admin_url()).unwrap();
    let never = Trip::default().consecutive_failures(1_000).calls_min(1_000);
    let builder = Dependency::builder("orders-db").trip(never);
    let orders_db = builder.build().unwrap();
    let db = guard(&pool, &orders_db).build().unwrap();
    let ask = async || sqlx::raw_sql("SELECT 1").execute(&db).await;
    // Four sessions that serve.
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(db.acquire().await.unwrap());
    }
    drop(held);
    wait_until("idle sessions", || async { pool.num_idle() == 4 }).await;
    postgres.stop();

    let (mut is_known, mut told) = (false, 0);
    for asked in 0.. {
        let health = orders_db.view().health(Instant::now());
        is_known |= matches!(health, Health::Warning | Health::Failing);
        let error = ask().await.unwrap_err();
        let refusal = Refusal::find(&error);
        if is_known {
            let refusal = refusal.unwrap_or_else(|| panic!("it was known: {error:?}"));
            assert_eq!(refusal.cause(), Cause::DependencyDown);
            assert!(!refusal.safe_to_retry());
            told += 1;
        }
        if told == 30 {
            break;
        }
        assert!(asked < 500, "nothing is ever known");
        sleep(Duration::from_millis(20)).await;
    }
    let view = orders_db.view();
    assert_eq!(view.breaker.unwrap().state, BreakerState::Closed);
}

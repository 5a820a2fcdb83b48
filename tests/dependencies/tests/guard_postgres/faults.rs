//! What each trouble of the server is told as, and what becomes of the breaker.

use dependencies_tests::now;
use steadfast_core::plumbing::{PoolFit, PoolPressure, RELEASE_MAX};
use steadfast_sqlx::GuardedConnection;

use super::*;

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
    rig.sees_no_herd(Cause::DependencyDown).await;
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
    rig.sees_no_herd(Cause::DependencyDown).await;
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
async fn connections_that_break_while_they_are_held_are_no_pool_in_use() {
    let mut postgres = Postgres::builder().start();
    let options = PgPoolOptions::new().max_connections(2).min_connections(2);
    let inner = options.acquire_timeout(LONG);
    let inner = inner.connect_lazy(&postgres.admin_url()).unwrap();
    let orders_db = dependency(quick_trip());
    let db = guard(&inner, &orders_db).waiters_max(0).build().unwrap();
    let mut held = Vec::new();
    while held.len() < 2 {
        held.extend(db.acquire().await.ok());
    }
    postgres.stop();
    drop(held);
    let began = now();
    // sqlx opens others for them, and tries that for minutes.
    wait_until("a server that is down", || async {
        let error = db.acquire().await.map(drop).unwrap_err();
        Refusal::find(&error).unwrap().cause() == Cause::DependencyDown
    })
    .await;
    assert!(now() - began < RELEASE_MAX, "not because the time was over");
    postgres.start_again();
    wait_until("a connection", || async { db.acquire().await.is_ok() }).await;
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
    rig.until_open().await;
    rig.sees_no_herd(Cause::PoolExhausted).await;
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
    let place = format!("faults.rs:{line}");
    assert!(
        seen.longest.as_ref().unwrap().place.ends_with(&place),
        "{refusal:?}"
    );
    rig.app
        .get("/orders")
        .await
        .is_refused(Cause::PoolExhausted);
    rig.app.get("/hello").await.is_served();
    assert_eq!(pressure(&rig.orders_db), Some(PoolPressure::Saturated));

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

/// What the dependency shows of its pool.
fn pressure(orders_db: &Dependency) -> Option<PoolPressure> {
    orders_db.view().pool.map(|pool| pool.pressure)
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
    let place = format!("faults.rs:{line}");
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
    assert_eq!(pressure(&rig.orders_db), Some(PoolPressure::Stuck));
    rig.app.get("/hello").await.is_served();
    assert_eq!(breaker(&rig.orders_db), BreakerState::Closed);
    drop(held);
    wait_until("the rollbacks", || async {
        in_transaction(&postgres) == "0"
    })
    .await;
    rig.is_whole(&postgres).await;
}

/// Goal: the wait for a connection ends with the request. Method: without that it would
/// last longer than the test.
#[tokio::test]
async fn a_requests_deadline_ends_its_wait_for_a_connection() {
    let postgres = Postgres::builder().start();
    let rig = Rig::new(&postgres, 2);
    let mut held = Vec::new();
    while held.len() < 2 {
        held.extend(rig.db.acquire().await.ok());
    }
    let time = Duration::from_secs(1);
    let refused = rig.app.get_within("/orders", time).await;
    refused.is_refused(Cause::PoolExhausted);
    let page = rig.app.page().await;
    let evidence = &page["incidents"][0]["evidence"];
    assert_eq!(evidence["in_use"], 2, "{evidence}");
    assert_eq!(evidence["class"], "saturated", "{evidence}");
    // The request's time began before its wait.
    let waited = evidence["waited_ms"].as_u64().expect("a time");
    assert!((1..LONG.as_millis() as u64).contains(&waited), "{evidence}");
    assert_eq!(page["dependencies"][0]["pool"]["in_use"], 2);
    assert_eq!(rig.db.snapshot().waiting, 0, "it has left the queue");
    assert_eq!(failures(&rig.orders_db), 0);
    drop(held);
    wait_until("a call that is served", || async {
        let answer = rig.app.get_within("/orders", LONG).await;
        answer.status.is_success()
    })
    .await;
    rig.is_whole(&postgres).await;
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

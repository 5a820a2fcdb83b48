//! Requests that go before they have what they want: whatever the moment, the pool has its
//! connections afterwards, and none is in a transaction.

use std::{
    pin::pin,
    task::{Context, Waker},
};

use dependencies_tests::now;
use steadfast_core::Deadline;

use super::*;

#[tokio::test]
async fn a_begin_that_is_cut_leaves_a_transaction_in_sqlx_and_none_behind_the_guard() {
    let mut postgres = Postgres::builder().start();
    let options = || {
        PgPoolOptions::new()
            .max_connections(1)
            .test_before_acquire(false)
    };
    let bare = options().connect(&postgres.admin_url()).await.unwrap();
    wait_until("an idle connection", || async { bare.num_idle() == 1 }).await;
    cut(&mut postgres, bare.begin());
    wait_until("it back", || async { bare.num_idle() == 1 }).await;
    // When this fails, sqlx has been mended, and `begin` needs its shield no more.
    assert_eq!(
        in_transaction(&postgres),
        "1",
        "what the guard is there for"
    );
    bare.close().await;

    let orders_db = dependency(quick_trip());
    let inner = options().connect(&postgres.admin_url()).await.unwrap();
    let db = guard(&inner, &orders_db).connect_max(LONG);
    let db = db.build().unwrap();
    wait_until("an idle connection", || async { inner.num_idle() == 1 }).await;
    let before = sessions(&postgres);
    for _ in 0..20 {
        cut(&mut postgres, db.begin());
        wait_until("it back", || async {
            db.snapshot().connecting == 0 && inner.num_idle() == 1
        })
        .await;
        assert_eq!(in_transaction(&postgres), "0");
    }
    assert_eq!(sessions(&postgres), before, "no connection was closed");
}

#[tokio::test]
async fn a_begin_that_is_given_up_leaves_no_transaction() {
    let mut postgres = Postgres::builder().start();
    let options = PgPoolOptions::new().max_connections(1);
    let options = options.test_before_acquire(false).acquire_timeout(LONG);
    let inner = options.connect(&postgres.admin_url()).await.unwrap();
    let orders_db = dependency(quick_trip());
    let db = guard(&inner, &orders_db).connect_max(Duration::from_millis(500));
    let db = db.build().unwrap();
    postgres.pause();
    // The server has been sent a BEGIN, and works it off when nobody waits for it.
    let error = db.begin().await.map(drop).unwrap_err();
    assert_eq!(
        down(Refusal::find(&error).unwrap()).class,
        FailureClass::Stuck
    );
    postgres.resume();
    wait_until("a connection", || async { db.acquire().await.is_ok() }).await;
    assert_eq!(in_transaction(&postgres), "0");
}

#[tokio::test]
async fn a_deadline_that_passes_in_the_middle_of_a_connect_closes_no_connection() {
    let mut postgres = Postgres::builder().start();
    let rig = Rig::new(&postgres, 1);
    rig.app.get("/orders").await.is_served();
    wait_until("it back", || async { rig.db.pool().num_idle() == 1 }).await;
    let before = sessions(&postgres);
    for _ in 0..5 {
        postgres.pause();
        let deadline = Deadline::after(now(), Duration::from_millis(20));
        let error = rig.db.acquire_before(Some(deadline)).await.map(drop);
        let _ = down(Refusal::find(&error.unwrap_err()).unwrap());
        assert_eq!(rig.db.snapshot().connecting, 1, "the work goes on");
        postgres.resume();
        wait_until("it back", || async {
            let seen = rig.db.snapshot();
            seen.connecting + seen.in_use == 0 && rig.db.pool().num_idle() == 1
        })
        .await;
        assert_eq!(sessions(&postgres), before, "no connection was closed");
    }
    assert_eq!(failures(&rig.orders_db), 0);
    rig.is_whole(&postgres).await;
}

#[tokio::test]
async fn thousands_of_cancelled_requests_cost_no_connection_and_open_no_breaker() {
    const REQUESTS: usize = 10_000;
    let postgres = Postgres::builder().start();
    let rig = Rig::new(&postgres, 4);
    let warm: Vec<_> = (0..4).map(|_| rig.db.acquire()).collect();
    for connection in futures(warm).await {
        drop(connection.unwrap());
    }
    wait_until("four idle", || async { rig.db.pool().num_idle() == 4 }).await;
    let before = sessions(&postgres);
    let mut requests = JoinSet::new();
    for number in 0..REQUESTS {
        let db = rig.db.clone();
        requests.spawn(async move {
            let work = async {
                if number % 2 == 0 {
                    drop(db.acquire().await);
                } else {
                    drop(db.begin().await);
                }
            };
            tokio::select! {
                biased;
                () = work => {}
                // Some leave before their turn, some while they are served, in any order.
                () = yields(number * 7 % 50) => {}
            }
        });
        if number % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
    requests.join_all().await;
    rig.is_whole(&postgres).await;
    assert_eq!(failures(&rig.orders_db), 0);
    assert_eq!(breaker(&rig.orders_db), BreakerState::Closed);
    assert_eq!(sessions(&postgres), before, "no connection was closed");
}

async fn yields(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

async fn futures<F: Future<Output: Send + 'static> + Send + 'static>(
    all: Vec<F>,
) -> Vec<F::Output> {
    let mut set = JoinSet::new();
    for future in all {
        set.spawn(future);
    }
    set.join_all().await
}

/// Polls a future once while the server stands still, and drops it.
fn cut<F: Future>(postgres: &mut Postgres, future: F) {
    postgres.pause();
    {
        let mut future = pin!(future);
        let polled = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending(), "there was something to wait for");
    }
    postgres.resume();
}

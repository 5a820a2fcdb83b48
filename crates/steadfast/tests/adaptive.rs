//! The adaptive limit behind the real layer, in paused time: what the simulator shows of the
//! algorithm holds for the gate that counts in stripes and samples without waiting.

#![cfg(feature = "axum")]

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body, routing::get};
use http::Request;
use steadfast::{Guard, Shed, limit::Adaptive};
use tokio::{sync::Semaphore, task::JoinSet};
use tower::ServiceExt;

fn to(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).expect("a request")
}

/// `Shed::adaptive()` with a seed that stays, so that a red run can be repeated.
fn adaptive() -> Shed {
    Shed::algorithm("adaptive", |_| Box::new(Adaptive::new(7)))
}

/// Goal: two thousand requests that wait for an upstream are a healthy service.
#[tokio::test(start_paused = true)]
async fn a_service_that_only_waits_is_never_refused() {
    let guard = Guard::builder().shed(adaptive()).build().expect("valid");
    let slow = get(|| async {
        tokio::time::sleep(Duration::from_millis(2_000 + fastrand_like() % 8_000)).await;
    });
    let app = guard.protect(Router::new().route("/", slow));
    let mut running = JoinSet::new();
    for _ in 0..2_000 {
        let app = app.clone();
        running.spawn(async move { app.oneshot(to("/")).await.expect("infallible").status() });
    }
    while let Some(status) = running.join_next().await {
        assert_eq!(status.expect("joined"), 200);
    }
    let control = guard.control();
    let seen = control.shedder().snapshot();
    assert_eq!((seen.limit, seen.refused), (None, 0));
}

/// Goal: a pool of eight that is asked for three times what it can do gets a limit by
/// itself, keeps most of its goodput, and the answers say `limit`.
#[tokio::test(start_paused = true)]
async fn a_pool_that_is_asked_for_too_much_gets_a_limit() {
    const WORKERS: usize = 8;
    const WORK: Duration = Duration::from_millis(10);
    let guard = Guard::builder().shed(adaptive()).build().expect("valid");
    let pool = Arc::new(Semaphore::new(WORKERS));
    let work = get(move || {
        let pool = Arc::clone(&pool);
        async move {
            let _worker = pool.acquire().await.expect("open");
            tokio::time::sleep(WORK.mul_f64(0.5 + unit())).await;
        }
    });
    let app = guard.protect(Router::new().route("/", work));
    let mut running = JoinSet::new();
    let (mut served, mut in_time, mut asked) = (0_u32, 0_u32, 0_u32);
    // 2,400 a second against 800, for fifteen seconds; the last five are judged.
    for tick in 0..7_500_u32 {
        for _ in 0..5 {
            let app = app.clone();
            let judged = tick >= 5_000;
            asked += u32::from(judged);
            running.spawn(async move {
                let began = tokio::time::Instant::now();
                let response = app.oneshot(to("/")).await.expect("infallible");
                let took = tokio::time::Instant::now() - began;
                (judged, response.status() == 200, took)
            });
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    while let Some(done) = running.join_next().await {
        let (judged, ok, took) = done.expect("joined");
        served += u32::from(judged && ok);
        in_time += u32::from(judged && ok && took < Duration::from_millis(500));
    }
    let control = guard.control();
    let seen = control.shedder().snapshot();
    let limit = seen.limit.expect("it has seen the queue");
    assert!((4..=64).contains(&limit), "{seen:?}");
    let capacity = f64::from(asked) / 3.0;
    let goodput = f64::from(in_time) / capacity;
    assert!(
        goodput > 0.85,
        "{in_time} of {served} in time, {capacity} possible: {seen:?}"
    );
}

/// A spread without a dependency: the sequence of a Weyl generator.
fn fastrand_like() -> u64 {
    use std::cell::Cell;
    thread_local!(static STATE: Cell<u64> = const { Cell::new(7) });
    STATE.with(|state| {
        let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(next);
        (next ^ (next >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33
    })
}

fn unit() -> f64 {
    (fastrand_like() % 1_000_000) as f64 / 1_000_000.0
}

//! Clients go away by the thousand while the upstream is well.

#![allow(
    clippy::disallowed_methods,
    reason = "tests wait for real servers, on the real clock"
)]

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use axum::{body::Body, http::Request};
use e2e::{Service, get, wait_until};
use steadfast::{BreakerState, CallKind, Dependency, Guard, Guarded, Shed};
use steadfast_core::DependencyState;
use tower::ServiceExt;
use upstream::{Mood, Upstream, app, snapshot};

/// Calls that are dropped half-way inside the process, at whatever stage they are.
const DROPPED: u32 = 8_000;
/// Clients that close their connection before the answer. Fewer, because each leaves a
/// port in TIME_WAIT.
const DISCONNECTED: u32 = 2_000;
const WORKERS: u32 = 8;

#[test]
fn ten_thousand_cancellations_open_nothing_and_leak_nothing() {
    let upstream = Upstream::start();
    upstream.set(Mood::Slow(Duration::from_millis(3)));
    let payments = Dependency::builder("payments").degrades().build();
    let payments = payments.expect("valid settings");
    let guard = Guard::builder()
        .shed(Shed::fixed(256))
        .dependency(&payments)
        .build()
        .expect("valid settings");
    let app = app(&payments, upstream.address());
    let service = Service::start(&guard, app.clone());
    service.wait_until_ready();

    assert_eq!(get(service.address(), "/call").body, "paid");
    let fresh = snapshot(&payments).expect("a call was made");

    let guarded = guard.protect(app);
    service.block_on(async {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| tokio::spawn(drop_calls(guarded.clone(), worker)))
            .collect();
        for worker in workers {
            worker.await.expect("it does not panic");
        }
    });
    let address = service.address();
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| disconnect(address));
        }
    });

    let state: &DependencyState = payments.as_ref();
    wait_until("the last call's end", || {
        snapshot(&payments).is_some_and(|breaker| breaker.in_flight == Some(0))
    });
    let breaker = snapshot(&payments).expect("calls were made");
    assert_eq!(breaker.state, BreakerState::Closed, "{breaker:?}");
    assert_eq!(breaker.generation, fresh.generation, "it never moved");
    assert_eq!(state.calls().of(CallKind::Refused), 0);
    let abandoned = state.calls().of(CallKind::Abandoned);
    assert!(
        abandoned >= 1_000,
        "{abandoned} calls were cancelled half-way"
    );
    wait_until("the shed permits", || {
        service.control().shedder().in_flight() == 0
    });
    wait_until("the upstream's requests", || upstream.running() == 0);
    // And it serves as if nothing had been.
    assert_eq!(get(service.address(), "/call").body, "paid");
}

/// One in ten waits for its answer; the others leave within the time that one takes.
async fn drop_calls(guarded: Guarded, worker: u32) {
    for call in 0..DROPPED / WORKERS {
        let path = if call % 2 == 0 { "/call" } else { "/layer" };
        let request = Request::get(path).body(Body::empty()).expect("valid");
        let answer = guarded.clone().oneshot(request);
        if call % 10 == worker % 10 {
            assert_eq!(answer.await.expect("infallible").status(), 200);
        } else {
            let patience = Duration::from_millis(u64::from(call % 4));
            let _ = tokio::time::timeout(patience, answer).await;
        }
    }
}

fn disconnect(address: SocketAddr) {
    for call in 0..DISCONNECTED / WORKERS {
        if call % 10 == 0 {
            assert_eq!(get(address, "/call").body, "paid");
        } else {
            let mut stream = TcpStream::connect(address).expect("somebody listens");
            stream
                .write_all(b"GET /call HTTP/1.1\r\nhost: e2e.test\r\n\r\n")
                .expect("it reads");
        }
    }
}

//! The first finding is right for faults of one process, and a healthy twin is silent.
//!
//! Method: a whole guarded application, with the fault made by what really fails: handlers
//! that hang, listeners that refuse or say nothing, checks that ask them. Faults that need a
//! server are in `tests/dependencies`; docs/diagnosis.md lists all of them.
//!
//! length: one rig, and a short test for each fault.

#![cfg(feature = "axum")]

#[path = "../common/mod.rs"]
mod common;

mod audit;
mod own;

use std::{convert::Infallible, io, time::Duration};

use axum::{Router, http::StatusCode, response::Response, routing::get};
use common::{ask, get as request_for, until};
use steadfast::{
    BreakerMode, CheckOutcome, Dependency, DependencyState, Drain, Error, FailureClass, Guard,
    Guarded, Health, Running, Shed, Trip, check,
    diagnosis::{Confidence, Diagnosis, Finding, Id, State},
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpSocket},
    task::JoinHandle,
};
use tower::ServiceExt;

const SEC: Duration = Duration::from_secs(1);

/// A guarded application that has started.
struct Rig {
    guard: Guard,
    app: Guarded,
    _running: Running,
}

impl Rig {
    fn new(dependencies: &[&Dependency], routes: Router) -> Self {
        let builder = Guard::builder().without_signals().shed(Shed::fixed(4));
        let builder = dependencies
            .iter()
            .fold(builder, |it, dependency| it.dependency(dependency));
        let guard = builder.build().expect("valid");
        let app = guard.protect(routes);
        let _running = guard.start().expect("a runtime");
        Self {
            guard,
            app,
            _running,
        }
    }

    async fn asks(&self, path: &str) -> StatusCode {
        ask(&self.app, request_for(path)).await.status
    }

    fn told(&self) -> Diagnosis {
        self.guard.control().diagnosis()
    }

    /// Waits until this is the first finding, and returns the diagnosis.
    async fn finds(&self, id: Id) -> Diagnosis {
        let what = format!("{id} as the first finding");
        let mut last = Vec::new();
        for _ in 0..600 {
            let told = self.told();
            if told.findings.first().is_some_and(|first| first.id == id) {
                return told;
            }
            last = ids(&told);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{what}: {last:?}");
    }

    /// Fills its gate with requests that hang.
    async fn hangs(&self) -> Vec<JoinHandle<Result<Response, Infallible>>> {
        let asks = |_| tokio::spawn(self.app.clone().oneshot(request_for("/hang")));
        let hanging = (0..4).map(asks).collect();
        until("a full gate", || {
            self.guard.control().shedder().in_flight() == 4
        })
        .await;
        hanging
    }

    /// Nothing fails and nothing is found.
    fn is_well(&self) {
        let told = self.told();
        assert!(told.findings.is_empty(), "{:#?}", told.findings);
        assert_eq!(told.verdict.state, State::Well);
    }
}

fn ids(told: &Diagnosis) -> Vec<Id> {
    told.findings.iter().map(|it| it.id).collect()
}

fn routes() -> Router {
    Router::new()
        .route("/hang", get(std::future::pending::<()>))
        .route("/sorry", get(|| async { StatusCode::SERVICE_UNAVAILABLE }))
        .fallback(|| async { "served" })
}

fn dependency(check: impl steadfast::Check) -> Dependency {
    Dependency::builder("payments")
        .check(check)
        .degrades()
        .build()
        .expect("valid")
}

/// A listener that takes connections and says nothing.
async fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, format!("http://{address}/health"))
}

/// A port at which nobody listens, and nobody will while the socket is there that holds it.
fn closed() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().expect("a socket");
    let any = "127.0.0.1:0".parse().expect("an address");
    socket.bind(any).expect("a port");
    let address = socket.local_addr().expect("an address").to_string();
    (socket, address)
}

/// An HTTP server that answers this to everything.
async fn answers(status: &'static str) -> String {
    let (listener, url) = silent().await;
    tokio::spawn(async move {
        loop {
            let Ok((mut stream, _)) = listener.accept().await else {
                continue;
            };
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
            // Closing with unread bytes would reset.
            tokio::spawn(async move { tokio::io::copy(&mut stream, &mut tokio::io::sink()).await });
        }
    });
    url
}

#[tokio::test]
async fn a_healthy_service_with_healthy_dependencies_is_silent() {
    let payments = dependency(check::http_get(answers("200 OK").await).expect("a URL"));
    let rig = Rig::new(&[&payments], routes());
    until("a check", || payments.health() == Health::Passing).await;
    for _ in 0..20 {
        assert_eq!(rig.asks("/").await, 200);
        assert!(
            payments
                .call(async { Ok::<_, io::Error>(()) })
                .await
                .is_ok()
        );
    }
    rig.is_well();
    let told = rig.told();
    assert!(
        told.ruled_out.iter().any(|it| it.id == Id::AppShed),
        "{:?}",
        told.ruled_out
    );
    assert!(
        told.ruled_out.iter().any(|it| it.id == Id::AppBreakerOpen),
        "{:?}",
        told.ruled_out
    );
}

#[tokio::test(start_paused = true)]
async fn overload_is_told_with_its_rule_and_its_numbers() {
    let rig = Rig::new(&[], routes());
    let hanging = rig.hangs().await;
    assert_eq!(rig.asks("/").await, 503);
    let told = rig.finds(Id::AppShed).await;
    assert_eq!(told.verdict.state, State::Explained);
    assert!(
        told.verdict.summary.contains("as many run as may"),
        "{}",
        told.verdict.summary
    );
    assert!(
        told.verdict.summary.contains("limit 4"),
        "{}",
        told.verdict.summary
    );
    hanging.iter().for_each(JoinHandle::abort);
}

/// Goal: a command of a finding can be pasted, because the port of the accept loop stands in it.
#[tokio::test]
async fn commands_name_the_port_that_is_served() {
    let guard = Guard::builder().without_signals().shed(Shed::fixed(1));
    let guard = guard.build().expect("valid");
    let control = guard.control();
    let app = guard.protect(routes());
    let server = common::serve(|listener| async move { guard.serve(listener, app).await }).await;
    let address = server.address;
    let asks = move |path: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        async move { common::raw(address, &head).await }
    };
    let hanging = tokio::spawn(asks("/hang"));
    until("a request", || control.shedder().in_flight() == 1).await;
    let refused = asks("/").await;
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    let told = control.diagnosis();
    let shed = told.findings.iter().find(|it| it.id == Id::AppShed);
    let commands = &shed.expect("it is told").fix.commands;
    let ours = format!("127.0.0.1:{}/why503/", address.port());
    assert!(commands.iter().any(|it| it.contains(&ours)), "{commands:?}");
    hanging.abort();
}

#[tokio::test(start_paused = true)]
async fn a_slow_handler_stands_in_front_of_the_overload_that_it_makes() {
    let rig = Rig::new(&[], routes());
    let hanging = rig.hangs().await;
    tokio::time::sleep(20 * SEC).await;
    assert_eq!(rig.asks("/").await, 503);
    let told = rig.finds(Id::AppSlowHandler).await;
    assert!(
        told.verdict.summary.contains("/hang"),
        "{}",
        told.verdict.summary
    );
    assert!(
        told.findings[0].effects.contains(&Id::AppShed),
        "{:?}",
        ids(&told)
    );
    hanging.iter().for_each(JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn the_applications_own_503_is_its_own() {
    let rig = Rig::new(&[], routes());
    assert_eq!(rig.asks("/sorry").await, 503);
    let told = rig.finds(Id::AppOwn503).await;
    assert_eq!(ids(&told), [Id::AppOwn503]);
    probed(&rig, 2 * SEC, 100).await;
    rig.is_well();
}

#[tokio::test(start_paused = true)]
async fn maintenance_says_why_and_is_over_when_it_ends() {
    let rig = Rig::new(&[], routes());
    let control = rig.guard.control();
    control.begin_maintenance("moving house", Some(600 * SEC));
    assert_eq!(rig.asks("/").await, 503);
    let told = rig.finds(Id::AppMaintenance).await;
    assert!(
        told.verdict.summary.contains("moving house"),
        "{}",
        told.verdict.summary
    );
    control.end_maintenance();
    probed(&rig, 2 * SEC, 100).await;
    rig.is_well();
}

#[tokio::test(start_paused = true)]
async fn a_process_that_leaves_says_so() {
    let rig = Rig::new(&[], routes());
    let hanging = tokio::spawn(rig.app.clone().oneshot(request_for("/hang")));
    until("a request", || {
        rig.guard.control().shedder().in_flight() == 1
    })
    .await;
    rig.guard.control().begin_drain("a test");
    let told = rig.finds(Id::AppDraining).await;
    assert!(
        told.verdict.summary.contains("1 requests still run"),
        "{}",
        told.verdict.summary
    );
    hanging.abort();
}

#[tokio::test]
async fn a_drain_that_cut_requests_is_told_afterwards() {
    let drain = Drain::default()
        .lame_duck_max(Duration::ZERO)
        .lame_duck_min(Duration::ZERO)
        .grace(Duration::from_millis(200));
    let guard = Guard::builder().without_signals().drain(drain);
    let guard = guard.build().expect("valid");
    let control = guard.control();
    let app = guard.protect(routes());
    let server = common::serve(|listener| async move { guard.serve(listener, app).await }).await;
    let hanging = tokio::spawn(common::raw(
        server.address,
        "GET /hang HTTP/1.1\r\nhost: a\r\n\r\n",
    ));
    until("a request", || control.shedder().in_flight() == 1).await;
    control.begin_drain("a test");
    control.drained().await;
    let told = ids(&control.diagnosis());
    assert!(told.contains(&Id::DeployNoDrain), "{told:?}");
    hanging.abort();
}

#[tokio::test(start_paused = true)]
async fn a_start_that_waits_names_what_it_waits_for() {
    let db = Dependency::builder("orders-db")
        .check(check::closure(std::future::pending))
        .build()
        .expect("valid");
    let rig = Rig::new(&[&db], routes());
    let told = rig.finds(Id::AppStarting).await;
    assert!(
        told.verdict.summary.contains("orders-db"),
        "{}",
        told.verdict.summary
    );
}

#[tokio::test]
async fn a_start_that_waits_for_what_refuses_names_that_first() {
    let (_held, address) = closed();
    let db = Dependency::builder("orders-db")
        .check(check::tcp(address))
        .build()
        .expect("valid");
    let rig = Rig::new(&[&db], routes());
    let told = rig.finds(Id::DepUnreachable).await;
    assert!(ids(&told).contains(&Id::AppStarting), "{:?}", ids(&told));
    assert!(
        told.verdict.summary.contains("orders-db"),
        "{}",
        told.verdict.summary
    );
}

#[tokio::test]
async fn an_upstream_that_refuses_is_unreachable() {
    let (_held, address) = closed();
    let payments = dependency(check::tcp(address));
    let rig = Rig::new(&[&payments], routes());
    let told = rig.finds(Id::DepUnreachable).await;
    assert_eq!(told.findings[0].confidence, Confidence::Proven);
    assert_eq!(
        told.verdict.state,
        State::AtRisk,
        "no request has failed for it yet"
    );
}

#[tokio::test]
async fn an_upstream_that_says_nothing_hangs() {
    let (_listener, url) = silent().await;
    let payments = dependency(check::http_get(url).expect("a URL"));
    let rig = Rig::new(&[&payments], routes());
    rig.finds(Id::DepHung).await;
}

#[tokio::test]
async fn an_upstream_that_answers_500_fails() {
    let payments = dependency(check::http_get(answers("500 No").await).expect("a URL"));
    let rig = Rig::new(&[&payments], routes());
    let told = rig.finds(Id::DepFailing).await;
    assert!(
        told.verdict.summary.contains("500"),
        "{}",
        told.verdict.summary
    );
}

#[tokio::test]
async fn a_name_that_is_not_found_is_told_so() {
    let payments = dependency(check::tcp("no-such-host.invalid:80"));
    let rig = Rig::new(&[&payments], routes());
    rig.finds(Id::DnsFail).await;
}

fn quick() -> Trip {
    Trip::default()
        .consecutive_failures(3)
        .consecutive_spread(Duration::ZERO)
}

#[tokio::test(start_paused = true)]
async fn calls_that_fail_open_the_breaker_and_their_error_is_the_root() {
    let payments = Dependency::builder("payments")
        .trip(quick())
        .build()
        .expect("valid");
    let handler = {
        let payments = payments.clone();
        move || {
            let payments = payments.clone();
            async move {
                let paid =
                    payments.call(async { Err::<(), _>(io::Error::other("card reader on fire")) });
                paid.await.map_err(Error::from)
            }
        }
    };
    let rig = Rig::new(&[&payments], Router::new().route("/pay", get(handler)));
    for _ in 0..3 {
        assert_eq!(rig.asks("/pay").await, 500);
    }
    assert_eq!(rig.asks("/pay").await, 503);
    let told = rig.finds(Id::DepFailing).await;
    assert!(
        told.verdict.summary.contains("card reader on fire"),
        "{}",
        told.verdict.summary
    );
    assert_eq!(
        told.verdict.chain.last().map(|link| link.id),
        Some(Id::AppBreakerOpen)
    );
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_somebody_forced_open_is_told_so() {
    let payments = Dependency::builder("payments").build().expect("valid");
    let rig = Rig::new(&[&payments], routes());
    let state: &std::sync::Arc<DependencyState> = payments.as_ref();
    state.set_mode(
        BreakerMode::ForcedOpen,
        tokio::time::Instant::now().into_std(),
    );
    let told = rig.finds(Id::AppBreakerOpen).await;
    assert!(
        told.verdict.summary.contains("forced"),
        "{}",
        told.verdict.summary
    );
    state.set_mode(BreakerMode::Auto, tokio::time::Instant::now().into_std());
}

#[tokio::test(start_paused = true)]
async fn a_check_that_fails_while_calls_succeed_disagrees() {
    let fails = || std::future::ready(CheckOutcome::fail(FailureClass::Unhealthy, "no such table"));
    let payments = dependency(check::closure(fails));
    let rig = Rig::new(&[&payments], routes());
    for _ in 0..200 {
        let called = payments.call(async { Ok::<_, io::Error>(()) }).await;
        let _ = called;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let told = rig.told();
    assert!(
        ids(&told).contains(&Id::AppCheckDisagrees),
        "{:?}",
        ids(&told)
    );
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_stands_still_is_told_once_it_has_done_so_for_long() {
    let guard = Guard::builder().without_signals().build().expect("valid");
    let running = guard.start().expect("a runtime");
    tokio::time::sleep(SEC).await;
    // Without its heartbeat the process looks as it does while every thread is blocked.
    drop(running);
    let control = guard.control();
    tokio::time::sleep(5 * SEC).await;
    assert!(!ids(&control.diagnosis()).contains(&Id::AppRuntimeStalled));
    tokio::time::sleep(10 * SEC).await;
    assert!(ids(&control.diagnosis()).contains(&Id::AppRuntimeStalled));
}

#[tokio::test(start_paused = true)]
async fn two_faults_at_once_are_told_root_first() {
    let payments = Dependency::builder("payments")
        .trip(quick())
        .build()
        .expect("valid");
    let rig = Rig::new(&[&payments], routes());
    for _ in 0..3 {
        let failed = async { Err::<(), _>(io::Error::from(io::ErrorKind::ConnectionRefused)) };
        assert!(payments.call(failed).await.is_err());
    }
    assert_eq!(rig.asks("/sorry").await, 503);
    let told = rig.told();
    let places = |id| ids(&told).iter().position(|it| *it == id);
    let (root, symptom) = (places(Id::DepUnreachable), places(Id::AppBreakerOpen));
    assert!(root.is_some() && root < symptom, "{:?}", ids(&told));
}

/// Asks for readiness as a balancer does, every so often, so many times.
async fn probed(rig: &Rig, period: Duration, times: u32) {
    for _ in 0..times {
        assert_eq!(rig.asks("/ready/").await, 200);
        tokio::time::sleep(period).await;
    }
}

#[tokio::test(start_paused = true)]
async fn traffic_that_came_at_once_is_told_beside_the_refusals() {
    let rig = Rig::new(&[], routes());
    for _ in 0..180 {
        assert_eq!(rig.asks("/").await, 200);
        tokio::time::sleep(SEC).await;
    }
    let hanging = rig.hangs().await;
    for _ in 0..3_000 {
        assert_eq!(rig.asks("/").await, 503);
    }
    tokio::time::sleep(3 * SEC).await;
    let told = rig.finds(Id::AppShed).await;
    assert!(ids(&told).contains(&Id::TrafficSurge), "{:?}", ids(&told));
    hanging.iter().for_each(JoinHandle::abort);
}

/// Goal: handlers that do not give their thread back are named, by a listener that has a
/// thread of its own. Method: real threads; what is waited for is the finding, not the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_that_block_the_runtime_are_named() {
    let builder = Guard::builder()
        .without_signals()
        .probe_listener(([127, 0, 0, 1], 0).into());
    let guard = builder.build().expect("valid");
    let running = guard.start().expect("a runtime");
    let control = guard.control();
    let stop = std::sync::Arc::new(std::sync::Barrier::new(3));
    let blocked: Vec<_> = (0..2)
        .map(|_| {
            let stop = std::sync::Arc::clone(&stop);
            tokio::spawn(async move { stop.wait() })
        })
        .collect();
    // Nobody is left to run this test's own task, so a thread asks.
    let asks = std::thread::spawn(move || {
        let found = (0..30_000).find_map(|_| {
            let (wait, done) = std::sync::mpsc::channel::<()>();
            let _ = done.recv_timeout(Duration::from_millis(1));
            drop(wait);
            let told = control.diagnosis();
            told.findings
                .iter()
                .any(|it| it.id == Id::AppBlockingHandler)
                .then_some(told)
        });
        stop.wait();
        found.map(|told| ids(&told))
    });
    for task in blocked {
        task.await.expect("it ends");
    }
    let found = asks.join().expect("it looked");
    assert!(found.is_some(), "nobody said that both threads are blocked");
    drop(running);
}

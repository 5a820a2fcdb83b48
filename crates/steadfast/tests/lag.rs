//! The lag loop in front of handlers that keep the processor busy: a real server on its own
//! runtime, driven over loopback from another.

#![cfg(feature = "axum")]

mod common;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, response::IntoResponse, routing::get};
use common::{Answer, Connection, PATIENCE, get as request_for, soon, until};
use steadfast::{Guard, LagMode, LagPhase, Priority, RouteClass, Shed, Shedder};
use tokio::task::JoinSet;
use tower::{Layer, ServiceExt};

/// What a request computes: long against what one look at a request costs, short against
/// everything that is waited for.
const SPIN: Duration = Duration::from_millis(10);

/// So long a critical request may at least have waited when its turn comes. A handler takes
/// [`SPIN`], so it waits for that long only on a machine that stands still.
const GONE: Duration = Duration::from_millis(320);

/// Clients that ask again as soon as they are answered: far more than can run.
const CLIENTS: usize = 48;

/// A service whose handlers compute, on a thread of its own.
struct Busy {
    address: SocketAddr,
    shedder: Shedder,
    guard: Guard,
    /// Handlers that were entered.
    entered: Arc<AtomicUsize>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Busy {
    fn start(shed: Shed) -> Self {
        let guard = Guard::builder()
            .without_signals()
            .route("/pay", RouteClass::critical())
            .route("/report", RouteClass::background())
            .shed(shed)
            .build()
            .expect("valid");
        let entered = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&entered);
        let app = Router::new().fallback(get(move || {
            let count = Arc::clone(&count);
            async move {
                count.fetch_add(1, Ordering::Relaxed);
                spin();
            }
        }));
        Self::serve(guard.clone(), guard.protect(app), entered)
    }

    /// A service that computes in its `call`, and has its answer ready with that.
    fn eager(shed: Shed) -> Self {
        let guard = Guard::builder().without_signals().shed(shed).build();
        let guard = guard.expect("valid");
        let entered = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&entered);
        let service = tower::service_fn(move |_: axum::extract::Request| {
            count.fetch_add(1, Ordering::Relaxed);
            spin();
            std::future::ready(Ok::<_, std::convert::Infallible>(().into_response()))
        });
        let service = guard.layer().layer(service);
        Self::serve(guard, Router::new().fallback_service(service), entered)
    }

    fn serve<S>(guard: Guard, app: S, entered: Arc<AtomicUsize>) -> Self
    where
        S: for<'a> tower::Service<
                axum::serve::IncomingStream<'a, tokio::net::TcpListener>,
                Response = S,
                Error = std::convert::Infallible,
                Future: Send,
            > + tower::Service<
                axum::extract::Request,
                Response = axum::response::Response,
                Error = std::convert::Infallible,
                Future: Send,
            > + Clone
            + Send
            + 'static,
    {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let started = guard.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async move {
                let _running = started.start().expect("it starts");
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
                    .await
                    .expect("a port");
                tell.send(listener.local_addr().expect("an address"))
                    .expect("heard");
                tokio::select! {
                    served = axum::serve(listener, app) => served.expect("served"),
                    _ = stopped => {}
                }
            });
        });
        Self {
            address: told.recv().expect("an address"),
            shedder: guard.control().shedder().clone(),
            guard,
            entered,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    fn phase(&self) -> LagPhase {
        self.shedder.snapshot().lag.phase
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the handler under test burns real time"
)]
fn spin() {
    let until = Instant::now() + SPIN;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

/// Clients that ask for a path until they are told to stop; returns what each was told.
fn storm(
    address: SocketAddr,
    path: &'static str,
    clients: usize,
    over: &Arc<AtomicBool>,
) -> JoinSet<Vec<Answer>> {
    let mut storm = JoinSet::new();
    for _ in 0..clients {
        let over = Arc::clone(over);
        storm.spawn(async move {
            let mut connection = Connection::open(address).await;
            let mut told = Vec::new();
            while !over.load(Ordering::Relaxed) {
                told.push(connection.ask(request_for(path)).await);
                // Whoever is refused comes back a little later, as a client does.
                if told.last().is_some_and(|answer| answer.status == 503) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            told
        });
    }
    storm
}

/// Goal: a limit that handlers which compute can never reach does nothing for them; the lag
/// loop refuses the excess, says so with its numbers, and probes are answered meanwhile.
/// Method: causes only; nothing here depends on how fast the machine is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_that_compute_are_protected_and_probes_are_answered() {
    let busy = Busy::start(Shed::fixed(10_000));
    let over = Arc::new(AtomicBool::new(false));
    let storm = storm(busy.address, "/any", CLIENTS, &over);
    // Both at once: between two looks the line may have been short for a moment.
    until("refusals for lag", || {
        let lag = busy.shedder.snapshot().lag;
        lag.refused > 50 && lag.phase == LagPhase::Refusing
    })
    .await;
    let entered = busy.entered.load(Ordering::Relaxed);
    // While it refuses, probes are answered after few handlers, not after all that wait. What
    // is seen from here includes the time in which this thread itself was not run, so the
    // quickest of them counts.
    let mut least = usize::MAX;
    for _ in 0..5 {
        let before = busy.entered.load(Ordering::Relaxed);
        let mut probe = Connection::open(busy.address).await;
        let answer = probe.ask(request_for("/ready/")).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        least = least.min(busy.entered.load(Ordering::Relaxed) - before);
    }
    assert!(
        least < CLIENTS,
        "{least} handlers ran before a probe was answered"
    );
    until("work that goes on", || {
        busy.entered.load(Ordering::Relaxed) > entered
    })
    .await;
    over.store(true, Ordering::Relaxed);
    let told: Vec<_> = storm.join_all().await.into_iter().flatten().collect();
    let refused: Vec<_> = told.iter().filter(|answer| answer.status == 503).collect();
    assert!(refused.iter().all(|answer| {
        let why = answer.header("why-503");
        why.contains("rule=runtime-lag") && why.contains("safe-to-retry")
    }));
    // Each refusal has its numbers in the ledger.
    let found = busy
        .guard
        .control()
        .explain()
        .ledger()
        .find(&refused[0].id());
    let mut numbers = Vec::new();
    if let Some(recorded) = found.first() {
        recorded
            .refusal
            .evidence()
            .each(|name, _| numbers.push(name));
        for name in ["runtime_lag", "waiting", "room", "priority"] {
            assert!(numbers.contains(&name), "{name} in {numbers:?}");
        }
    }
    until("calm", || busy.phase() == LagPhase::Calm).await;
    assert_eq!(busy.shedder.in_flight(), 0, "every permit came back");
    assert_eq!(busy.shedder.snapshot().lag.waiting, 0);
    assert_eq!(
        Connection::open(busy.address)
            .await
            .ask(request_for("/any"))
            .await
            .status,
        200
    );
}

/// Goal: what is refused in the line was not begun, also around a service that works in its
/// `call`: whoever repeats it does nothing twice. Method: each entry has an answer of success.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_works_when_it_is_called_is_not_called_for_what_is_refused() {
    let busy = Busy::eager(Shed::fixed(10_000));
    let over = Arc::new(AtomicBool::new(false));
    let storm = storm(busy.address, "/any", CLIENTS, &over);
    until("refusals for lag", || {
        busy.shedder.snapshot().lag.refused > 50
    })
    .await;
    over.store(true, Ordering::Relaxed);
    let told: Vec<_> = storm.join_all().await.into_iter().flatten().collect();
    let served = told.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(busy.entered.load(Ordering::Relaxed), served);
}

/// Goal: while background requests are refused, critical ones are all served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn critical_requests_are_served_while_background_ones_are_refused() {
    let busy = Busy::start(Shed::fixed(10_000));
    let over = Arc::new(AtomicBool::new(false));
    let storm = storm(busy.address, "/report", CLIENTS, &over);
    until("refusals for lag", || {
        busy.shedder.snapshot().lag.refused > 50
    })
    .await;
    let mut connection = Connection::open(busy.address).await;
    for _ in 0..30 {
        soon("its turn", async {
            loop {
                let asked = tokio::time::Instant::now();
                let answer = connection.ask(request_for("/pay")).await;
                if answer.status == 200 {
                    return;
                }
                // Who has waited for so long is taken for gone, critical or not.
                let now = tokio::time::Instant::now();
                assert!(now > asked + GONE, "{}", answer.body);
            }
        })
        .await;
    }
    until("background below the floor", || {
        busy.shedder.snapshot().lag.floor != Some(Priority::Background)
    })
    .await;
    over.store(true, Ordering::Relaxed);
    storm.join_all().await;
}

/// Goal: observed, it counts whom it would have refused, and refuses nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn observed_it_refuses_nobody() {
    let busy = Busy::start(Shed::fixed(10_000).lag(LagMode::Observe));
    let over = Arc::new(AtomicBool::new(false));
    let storm = storm(busy.address, "/any", CLIENTS, &over);
    until("somebody to refuse", || {
        busy.shedder.snapshot().lag.would_refuse > 0
    })
    .await;
    over.store(true, Ordering::Relaxed);
    let told = storm.join_all().await;
    assert!(told.iter().flatten().all(|answer| answer.status == 200));
    assert_eq!(busy.shedder.snapshot().lag.refused, 0);
}

/// Goal: one handler that blocks its thread for longer than any bound refuses nobody, nor
/// do those that piled up behind it.
#[tokio::test]
async fn one_long_poll_refuses_nobody() {
    let busy = Busy::start(Shed::fixed(10_000));
    let mut held = JoinSet::new();
    for round in 0..3 {
        for _ in 0..20 {
            let address = busy.address;
            held.spawn(async move {
                Connection::open(address)
                    .await
                    .ask(request_for("/any"))
                    .await
            });
        }
        until("a round", || {
            busy.entered.load(Ordering::Relaxed) >= (round + 1) * 20
        })
        .await;
    }
    let told = tokio::time::timeout(PATIENCE, held.join_all())
        .await
        .expect("answered");
    assert!(told.iter().all(|answer| answer.status == 200));
    assert_eq!(busy.shedder.snapshot().refused, 0);
    assert_eq!(busy.shedder.snapshot().lag.refused, 0);
}

/// A connection polls its request whenever anything concerns the connection. If that were taken
/// for the request's turn, it would begin although the runtime has looked at nothing since.
#[tokio::test]
async fn a_poll_for_something_else_is_no_turn() {
    let guard = Guard::builder().without_signals().shed(Shed::fixed(10_000));
    let guard = guard.build().expect("valid");
    let _running = guard.start().expect("it starts");
    let entered = AtomicUsize::new(0);
    let service = guard
        .layer()
        .layer(tower::service_fn(|_: axum::extract::Request| {
            entered.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Ok::<_, std::convert::Infallible>(().into_response()))
        }));
    let ask = || {
        let request = axum::extract::Request::new(axum::body::Body::empty());
        service.clone().oneshot(request)
    };
    let control = guard.control();
    let shedder = control.shedder();
    // Another test's thread may share this one's stripe, and its look is then taken for one of
    // this thread. That does not come between two polls again and again.
    for attempts in 0.. {
        assert!(attempts < 100, "nothing has been looked at");
        let mut rounds = 0;
        while shedder.snapshot().lag.phase == LagPhase::Calm {
            rounds += 1;
            assert!(rounds < 100, "a runtime that stands still is late");
            ask().await.expect("infallible");
            // Longer than from one heartbeat to the next.
            (0..15).for_each(|_| spin());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let before = entered.load(Ordering::Relaxed);
        let mut request = std::pin::pin!(ask());
        let has_begun = std::future::poll_fn(|cx| {
            assert!(request.as_mut().poll(cx).is_pending(), "it gives way");
            std::task::Poll::Ready(request.as_mut().poll(cx).is_ready())
        });
        if has_begun.await {
            continue;
        }
        assert_eq!(entered.load(Ordering::Relaxed), before);
        assert_eq!(request.await.expect("infallible").status(), 200);
        assert_eq!(entered.load(Ordering::Relaxed), before + 1);
        return;
    }
}

/// A flood that is there when the process starts is in front of the first heartbeat too.
#[tokio::test]
async fn a_runtime_whose_first_heartbeat_is_late_is_late() {
    let guard = Guard::builder()
        .without_signals()
        .shed(Shed::fixed(10_000))
        .build()
        .expect("valid");
    let _running = guard.start().expect("it starts");
    let service = guard
        .layer()
        .layer(tower::service_fn(|_: axum::extract::Request| {
            std::future::ready(Ok::<_, std::convert::Infallible>(().into_response()))
        }));
    for _ in 0..2 {
        // Longer than to the first heartbeat, which is not polled meanwhile.
        (0..15).for_each(|_| spin());
        let request = axum::extract::Request::new(axum::body::Body::empty());
        let mut answer = std::pin::pin!(service.clone().oneshot(request));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let _ = answer.as_mut().poll(&mut cx);
    }
    let lag = guard.control().shedder().snapshot().lag;
    assert_eq!(lag.phase, LagPhase::Lined);
}

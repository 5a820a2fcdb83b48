//! How the process leaves: lame duck, draining, stopped; what is served meanwhile, and what
//! connections are told. In paused time, except where a signal or a socket is what is tested.

#![cfg(feature = "axum")]

mod common;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    routing::{any, get},
};
use common::{Connection, ask, fetch, get as to, request, soon, until};
use steadfast::{
    Cause, Control, Dependency, Drain, DrainReport, Guard, GuardBuilder, Guarded, HookEnd,
    LameDuckEnd, Phase, Running, Shed, check,
};
use tokio::sync::Semaphore;

const SECOND: Duration = Duration::from_secs(1);

/// Without evidence that ends the lame duck early.
fn drain() -> Drain {
    Drain::default()
        .lame_duck_max(10 * SECOND)
        .failing_probes(1000)
        .grace(15 * SECOND)
}

fn app() -> Router {
    let switching = || async {
        let mut response = http::Response::new(Body::empty());
        *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
        response
            .headers_mut()
            .insert("connection", "upgrade".parse().expect("a value"));
        response
    };
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/upgrade", any(switching))
}

fn start(builder: GuardBuilder) -> (Guarded, Control, Running) {
    let guard = builder.without_signals().build().expect("valid");
    let running = guard.start().expect("started");
    (guard.protect(app()), guard.control(), running)
}

/// Goal: the phases come in order and at their moments; requests are served in all but the
/// last, readiness says no from the first on, and `/health/` stays as it is.
#[tokio::test(start_paused = true)]
async fn a_drain_goes_through_lame_duck_and_draining_to_stopped() {
    let (app, control, _running) = start(Guard::builder().drain(drain()));
    let connection = |path: &'static str| {
        let app = app.clone();
        async move { ask(&app, to(path)).await.header("connection").to_owned() }
    };
    assert_eq!(control.phase(), Some(Phase::Ready));
    assert_eq!(connection("/").await, "");
    control.begin_drain("a test");
    control.begin_drain("again");
    assert_eq!(control.phase(), Some(Phase::LameDuck), "at once");
    assert_eq!(connection("/").await, "", "nobody is asked to end at once");
    for _ in 0..9 {
        assert_eq!(ask(&app, to("/ready/")).await.body, "not ready: draining\n");
        assert_eq!(ask(&app, to("/")).await.status, 200, "a lame duck serves");
        tokio::time::sleep(SECOND).await;
    }
    assert_eq!(connection("/").await, "close", "everybody is, near its end");
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(control.phase(), Some(Phase::Draining));
    for _ in 0..12 {
        let served = ask(&app, to("/")).await;
        assert_eq!(
            served.status, 200,
            "what still comes on open connections is served"
        );
        assert_eq!(served.header("connection"), "close");
        assert_eq!(ask(&app, to("/health/")).await.status, 200);
        tokio::time::sleep(SECOND).await;
    }
    tokio::time::sleep(4 * SECOND).await;
    assert_eq!(control.phase(), Some(Phase::Stopped));
    let refused = ask(&app, to("/")).await;
    assert_eq!(
        (refused.status.as_u16(), refused.cause()),
        (503, "draining")
    );
    assert_eq!(
        (refused.header("connection"), refused.header("retry-after")),
        ("close", "1")
    );
    assert!(refused.header("why-503").ends_with(", safe-to-retry"));
    assert!(control.explain().ledger().count(Cause::Draining) > 0);
}

/// Goal: the lame duck ends once balancers have been told and stay away, not before its
/// minimum, and not while requests come.
#[tokio::test(start_paused = true)]
async fn the_lame_duck_ends_when_balancers_have_gone() {
    for (probes, requests_until, expected) in [
        (3, 0, LameDuckEnd::BalancersGone),
        (2, 0, LameDuckEnd::Maximum),
        (3, 10_000, LameDuckEnd::Maximum),
    ] {
        let builder = Guard::builder().drain(drain().failing_probes(3));
        let (app, control, _running) = start(builder);
        control.begin_drain("a test");
        for _ in 0..probes {
            ask(&app, to("/ready/")).await;
        }
        let mut gone = 0;
        while control.phase() == Some(Phase::LameDuck) {
            if gone < requests_until {
                ask(&app, to("/")).await;
            }
            tokio::time::sleep(SECOND / 10).await;
            gone += 100;
        }
        let report = control.drained().await;
        assert_eq!(report.lame_duck_end, expected, "{report}");
        assert!(report.lame_duck >= SECOND, "{report}");
        assert_eq!(report.failing_probes, probes);
    }
}

/// Goal: hooks run in their order, one that panics or hangs is an entry in the report and
/// keeps nobody, tracked tasks are waited for, and the exit status tells.
#[tokio::test(start_paused = true)]
async fn hooks_run_in_order_and_a_broken_one_keeps_nobody() {
    let (_app, control, _running) = start(Guard::builder().drain(drain()));
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let note = |what: &'static str| {
        let order = Arc::clone(&order);
        move || async move { order.lock().expect("whole").push(what) }
    };
    control.after_drain("first", note("after drain"));
    control.after_drain("panics", || async { panic!("a test") });
    control.after_drain("hangs", std::future::pending);
    control.after_drain("late", note("never"));
    control.before_drain("tell", note("before drain"));
    control.after_listener_closed("closed", note("listener closed"));
    let task = note("task");
    control.spawn(async move {
        tokio::time::sleep(15 * SECOND).await;
        task().await;
    });
    control.begin_drain("a test");
    let report = soon("the report", control.drained()).await;
    let order = order.lock().expect("whole").clone();
    assert_eq!(
        order,
        ["before drain", "listener closed", "task", "after drain"]
    );
    let ends: Vec<_> = report.hooks.iter().map(|it| (&*it.name, it.end)).collect();
    let expected = [
        ("tell", HookEnd::Done),
        ("closed", HookEnd::Done),
        ("first", HookEnd::Done),
        ("panics", HookEnd::Panicked),
        ("hangs", HookEnd::TimedOut),
        ("late", HookEnd::NotRun),
    ];
    assert_eq!(ends, expected, "{report}");
    assert!(report.total < 19 * SECOND, "{report}");
    assert_eq!(report.exit_status(), DrainReport::EXIT_CUT);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_never_ends_is_cut_and_counted() {
    let (_app, control, _running) = start(Guard::builder().drain(drain()));
    let task = control.spawn(std::future::pending::<()>());
    let permit = control.token().permit();
    control.begin_drain("a test");
    let report = soon("the report", control.drained()).await;
    assert_eq!(report.cut.task, 2, "{report}");
    assert!(task.await.expect_err("cut").is_cancelled());
    drop(permit);
}

#[tokio::test(start_paused = true)]
async fn a_drain_without_a_lame_duck_drains_at_once() {
    let drain = drain().lame_duck_max(Duration::ZERO);
    let (app, control, _running) = start(Guard::builder().drain(drain));
    control.begin_drain("a test");
    soon("draining", control.clone().reached(Phase::Draining)).await;
    assert_eq!(ask(&app, to("/")).await.header("connection"), "close");
    soon("stopped", control.reached(Phase::Stopped)).await;
}

#[tokio::test(start_paused = true)]
async fn a_101_keeps_its_connection_header_and_http2_gets_none() {
    let (app, control, _running) = start(Guard::builder().drain(drain()));
    control.begin_drain("a test");
    tokio::time::sleep(12 * SECOND).await;
    assert_eq!(control.phase(), Some(Phase::Draining));
    let switched = ask(&app, to("/upgrade")).await;
    assert_eq!(
        (switched.status.as_u16(), switched.header("connection")),
        (101, "upgrade")
    );
    let mut second = to("/");
    *second.version_mut() = http::Version::HTTP_2;
    let answer = ask(&app, second).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("connection")),
        (200, "")
    );
    let mut first = to("/");
    *first.version_mut() = http::Version::HTTP_10;
    assert_eq!(ask(&app, first).await.header("connection"), "close");
}

#[tokio::test(start_paused = true)]
async fn hurry_ends_the_step_that_is_going_on() {
    let hour = 3600 * SECOND;
    let (_app, control, _running) =
        start(Guard::builder().drain(drain().lame_duck_max(hour).grace(hour)));
    control.begin_drain("a test");
    tokio::time::sleep(SECOND).await;
    assert_eq!(control.phase(), Some(Phase::LameDuck));
    control.hurry();
    tokio::time::sleep(SECOND).await;
    assert_eq!(control.phase(), Some(Phase::Draining));
    control.hurry();
    tokio::time::sleep(SECOND).await;
    assert_eq!(control.phase(), Some(Phase::Stopped));
}

/// A hurry that comes before there is anything to hurry does not shorten the drain later.
#[tokio::test(start_paused = true)]
async fn hurry_before_a_drain_does_nothing() {
    let (_app, control, _running) = start(Guard::builder().drain(drain()));
    control.hurry();
    tokio::time::sleep(SECOND).await;
    control.begin_drain("a test");
    tokio::time::sleep(SECOND).await;
    assert_eq!(control.phase(), Some(Phase::LameDuck));
}

#[tokio::test(start_paused = true)]
async fn a_drain_may_begin_before_the_start_is_complete_and_outranks_maintenance() {
    let never = check::closure(std::future::pending);
    let db = Dependency::builder("db")
        .check(never)
        .build()
        .expect("valid");
    let (app, control, _running) = start(Guard::builder().drain(drain()).dependency(&db));
    assert_eq!(ask(&app, to("/")).await.cause(), "starting");
    control.begin_maintenance("too", None);
    control.begin_drain("a test");
    assert_eq!(control.phase(), Some(Phase::LameDuck));
    assert_eq!(ask(&app, to("/ready/")).await.body, "not ready: draining\n");
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(control.phase(), Some(Phase::Stopped));
}

/// `guard.serve` returns when the last request has been answered, long before the grace.
#[tokio::test]
async fn serve_finishes_what_runs_and_returns() {
    let drain = Drain::default()
        .lame_duck_max(Duration::ZERO)
        .grace(3600 * SECOND);
    let guard = Guard::builder()
        .without_signals()
        .drain(drain)
        .build()
        .expect("valid");
    let go = Arc::new(Semaphore::new(0));
    let app = guard.protect(Router::new().route("/slow", common::slow(&go)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let serving = {
        let guard = guard.clone();
        tokio::spawn(async move { guard.serve(listener, app).await })
    };
    let mut connection = Connection::open(address).await;
    let client = tokio::spawn(async move {
        let answer = connection.ask(to("/slow")).await;
        connection.closes().await;
        answer
    });
    let control = guard.control();
    until("one to run", || control.shedder().in_flight() == 1).await;
    control.begin_drain("a test");
    soon("draining", control.clone().reached(Phase::Draining)).await;
    go.add_permits(1);
    let answer = soon("the answer", client).await.expect("no panic");
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, "done"));
    soon("serve's end", serving)
        .await
        .expect("no panic")
        .expect("served");
    assert_eq!(control.phase(), Some(Phase::Stopped));
    assert!(
        tokio::net::TcpStream::connect(address).await.is_err(),
        "nobody listens"
    );
}

#[tokio::test]
async fn serve_returns_when_the_grace_is_over_though_a_handler_hangs() {
    let drain = Drain::default()
        .lame_duck_max(Duration::ZERO)
        .grace(SECOND / 50);
    let guard = Guard::builder()
        .without_signals()
        .shed(Shed::fixed(9))
        .drain(drain)
        .build()
        .expect("valid");
    let hang = get(|| async { std::future::pending::<()>().await });
    let app = guard.protect(Router::new().route("/hang", hang));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let client = tokio::spawn(async move {
        let mut connection = Connection::open(address).await;
        connection.ask(request("GET", "/hang", &[])).await
    });
    let control = guard.control();
    let serving = tokio::spawn(async move { guard.serve(listener, app).await });
    until("one to run", || control.shedder().in_flight() == 1).await;
    control.begin_drain("a test");
    soon("serve's end", serving)
        .await
        .expect("no panic")
        .expect("served");
    client.abort();
}

/// Goal: signals as an operator sends them: the first begins the drain, the second goes to
/// its next step. Method: this process signals itself; no other test here handles signals.
#[cfg(unix)]
#[tokio::test]
async fn a_signal_begins_the_drain_and_a_second_one_hurries_it() {
    let hour = 3600 * SECOND;
    let drain = Drain::default().lame_duck_max(hour).grace(hour);
    let guard = Guard::builder().drain(drain).build().expect("valid");
    let app = guard.protect(app());
    let control = guard.control();
    let server = common::serve({
        let guard = guard.clone();
        move |listener| async move { guard.serve(listener, app).await }
    })
    .await;
    assert_eq!(fetch(server.address, to("/")).await.status, 200);
    let own = std::process::id().to_string();
    let terminate = || async {
        let status = tokio::process::Command::new("kill")
            .args(["-TERM", &own])
            .status()
            .await;
        assert!(status.expect("kill runs").success());
    };
    terminate().await;
    soon("the lame duck", control.clone().reached(Phase::LameDuck)).await;
    assert_eq!(
        fetch(server.address, to("/")).await.status,
        200,
        "a lame duck serves"
    );
    assert_eq!(fetch(server.address, to("/ready/")).await.status, 503);
    terminate().await;
    soon("the drain", control.clone().reached(Phase::Draining)).await;
    // Nothing runs, so the server ends without waiting for the grace.
    soon("the end", control.reached(Phase::Stopped)).await;
}

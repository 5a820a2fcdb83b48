//! One truth about a dependency: gate, calls, check, probes, operator's view, timeline and
//! metrics tell the same story with the same reason.
//!
//! Method: a whole guarded application on paused time; only the guard's own tasks move it.

#![cfg(feature = "axum")]

#[path = "common/breaker.rs"]
mod breaker;
mod common;

use std::{io, sync::Arc, sync::Mutex, time::Duration};

use axum::{
    Router,
    routing::{get, post},
};
use breaker::trip;
use common::{Answer, TOKEN};
use http::{Request, StatusCode};
use steadfast::{
    BreakerMode, BreakerState, CheckOutcome, Dependency, DependencyState, Error, FailureClass,
    Guard, Health, Requirement, Running, Standing, check,
};
use tower::ServiceExt;

const MS: Duration = Duration::from_millis(1);
const SEC: Duration = Duration::from_secs(1);

/// A check that answers what the test says, and counts how often it was asked.
#[derive(Clone)]
struct Switch(Arc<Mutex<(CheckOutcome, u32)>>);

impl Switch {
    fn new() -> Self {
        Self(Arc::new(Mutex::new((CheckOutcome::pass(), 0))))
    }

    fn set(&self, outcome: CheckOutcome) {
        self.0.lock().expect("no panic").0 = outcome;
    }

    fn asked(&self) -> u32 {
        self.0.lock().expect("no panic").1
    }

    fn check(&self) -> impl steadfast::Check {
        let switch = self.clone();
        check::closure(move || {
            let mut both = switch.0.lock().expect("no panic");
            both.1 += 1;
            std::future::ready(both.0.clone())
        })
    }
}

fn down() -> CheckOutcome {
    CheckOutcome::fail(FailureClass::Unreachable, "connection refused")
}

struct Rig {
    guard: Guard,
    payments: Dependency,
    _running: Running,
}

impl Rig {
    fn start(payments: Dependency) -> Self {
        let builder = Guard::builder().token(TOKEN).without_signals();
        let guard = builder.dependency(&payments).build().expect("valid");
        let running = guard.start().expect("a runtime");
        Self {
            guard,
            payments,
            _running: running,
        }
    }

    /// `/pay` needs payments and calls it, `/products` does not need it.
    fn app(&self) -> impl AsyncFn(&str) -> Answer {
        let payments = self.payments.clone();
        let pay = move || {
            let payments = payments.clone();
            async move {
                let paid =
                    payments.call(async { Err::<(), _>(io::Error::other("card reader on fire")) });
                paid.await.map_err(Error::from)
            }
        };
        self.ask(
            Router::new()
                .route("/pay", post(pay).layer(self.payments.gate()))
                .route("/products", get(|| async { "soap" })),
        )
    }

    fn ask(&self, app: Router) -> impl AsyncFn(&str) -> Answer {
        let app = self.guard.protect(app);
        async move |line: &str| {
            let (method, path) = line.split_once(' ').expect("a method and a path");
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header("authorization", format!("Bearer {TOKEN}"))
                .header(
                    "accept",
                    if path.starts_with("/why503") {
                        "application/json"
                    } else {
                        "*/*"
                    },
                )
                .body(axum::body::Body::empty())
                .expect("a request");
            Answer::read(app.clone().oneshot(request).await.expect("infallible")).await
        }
    }

    fn state(&self) -> BreakerState {
        let seen = self.payments.view().breaker;
        seen.map_or(BreakerState::Closed, |seen| seen.state)
    }

    async fn open(&self) {
        while self.state() != BreakerState::Open {
            let call = self
                .payments
                .call(async { Err::<(), _>(io::Error::other("boom")) });
            assert!(call.await.is_err());
        }
    }

    fn timeline(&self) -> Vec<(String, String)> {
        let view = self.guard.control().explain().ledger().view();
        let mut seen: Vec<_> = view
            .changes
            .iter()
            .filter(|it| it.subject.as_str() == "payments")
            .map(|it| (it.to.to_string(), it.why.to_string()))
            .collect();
        seen.reverse();
        seen
    }
}

fn payments() -> Dependency {
    Dependency::builder("payments")
        .trip(trip())
        .build()
        .expect("valid")
}

#[tokio::test(start_paused = true)]
async fn everybody_tells_the_same_story() {
    let rig = Rig::start(payments());
    let ask = rig.app();
    assert_eq!(ask("GET /ready/").await.body, "ready\n");
    for _ in 0..3 {
        assert_eq!(
            ask("POST /pay").await.status,
            500,
            "the application's own failure"
        );
    }
    let reason = "3 calls in a row failed within 0ns";

    let refused = ask("POST /pay").await;
    assert_eq!(refused.status, 503);
    assert!(
        refused.header("why-503").contains("cause=dependency-down"),
        "{refused:?}"
    );
    assert!(
        refused.header("why-503").contains("safe-to-retry"),
        "the gate stood before the handler"
    );
    let hint = refused.header("retry-after");
    assert!(matches!(hint, "1" | "2"), "about a second, spread: {hint}");
    assert!(!refused.body.contains("payments"), "strangers see no names");
    assert_eq!(
        ask("GET /products").await.status,
        200,
        "who does not need it goes on"
    );

    let ready = ask("GET /ready/").await;
    assert_eq!(
        (ready.status, ready.body),
        (
            StatusCode::OK,
            format!("degraded: payments failing: {reason}\n")
        )
    );
    let one = ask("GET /ready/payments").await;
    assert_eq!(one.status, 503);
    assert!(
        one.body.contains(reason) && one.body.contains("card reader on fire"),
        "{}",
        one.body
    );

    let health = ask("GET /health/").await.json();
    assert_eq!(health["status"], "warn");
    let entry = &health["checks"]["payments:responseTime"][0];
    assert_eq!(
        (&entry["reason"], &entry["breaker"]["state"]),
        (&reason.into(), &"open".into())
    );

    let operator = ask("GET /why503/").await.json();
    let seen = &operator["dependencies"][0];
    assert_eq!(
        (&seen["reason"], &seen["output"]),
        (&reason.into(), &"card reader on fire".into())
    );
    assert!(seen["breaker"]["next_probe"].is_string());
    let evidence = &operator["recent"][0]["evidence"];
    assert_eq!(evidence["reason"], reason);
    assert_eq!(evidence["rule"], "consecutive-failures");
    assert_eq!(evidence["last_error"], "card reader on fire");
    assert_eq!(evidence["dependency"], "payments");
    assert!(
        evidence["next_probe_ms"]
            .as_u64()
            .is_some_and(|ms| ms <= 1_000)
    );
    let timeline = rig.timeline();
    assert_eq!(
        timeline,
        [(
            "open".to_owned(),
            format!("{reason}; the last error: card reader on fire")
        )]
    );
}

/// Reads go on, writes are refused once two have met the server, and everybody says why.
#[tokio::test(start_paused = true)]
async fn a_server_that_takes_no_writes_is_no_outage_and_everybody_says_so() {
    let rig = Rig::start(payments());
    let says = "READONLY You can't write against a read only replica";
    let write = {
        let payments = rig.payments.clone();
        move || {
            let payments = payments.clone();
            async move {
                payments.admit_write()?;
                payments.note_read_only(&says);
                Err::<(), _>(Error::from(io::Error::other(says)))
            }
        }
    };
    let payments = rig.payments.clone();
    let read = move || {
        let payments = payments.clone();
        async move {
            payments
                .call(async { Ok::<_, io::Error>("soap") })
                .await
                .map_err(Error::from)
        }
    };
    let app = Router::new().route("/orders", post(write).get(read));
    let ask = rig.ask(app);
    for _ in 0..2 {
        assert_eq!(ask("POST /orders").await.status, 500, "nobody knew yet");
    }
    let refused = ask("POST /orders").await;
    assert_eq!(refused.status, 503);
    assert!(refused.header("why-503").contains("cause=dependency-down"));
    assert!(matches!(refused.header("retry-after"), "1" | "2"));
    assert_eq!(ask("GET /orders").await.status, 200, "reads go on");

    let reason = format!("read-only: {says}");
    let ready = ask("GET /ready/").await;
    let line = format!("degraded: payments warning: {reason}\n");
    assert_eq!((ready.status, ready.body), (StatusCode::OK, line));
    let one = ask("GET /ready/payments").await;
    let line = format!("payments warning (read-only): {reason}\n");
    assert_eq!(one.body, line);
    let health = ask("GET /health/").await.json();
    let entry = &health["checks"]["payments:responseTime"][0];
    assert_eq!(entry["reason"], reason);
    assert_eq!(entry["output"], says);
    assert_eq!(entry["breaker"]["state"], "closed");
    assert_eq!(entry["read_only"]["refusing"], true);
    let operator = ask("GET /why503/").await.json();
    assert_eq!(operator["dependencies"][0]["reason"], reason);
    let evidence = &operator["recent"][0]["evidence"];
    assert_eq!(evidence["reason"], reason);
    assert_eq!(evidence["rule"], "read-only");
    assert_eq!(evidence["class"], "read-only");

    rig.payments.note_writable();
    assert_eq!(ask("GET /ready/").await.body, "ready\n");
    assert_eq!(rig.payments.health(), Health::Passing);
}

/// A check that asks an old session passes all the time.
#[tokio::test(start_paused = true)]
async fn new_sessions_that_are_refused_are_told_before_the_last_old_one_is_gone() {
    let payments = Dependency::builder("payments")
        .check(Switch::new().check())
        .build()
        .expect("valid");
    let rig = Rig::start(payments);
    let ask = rig.ask(Router::new());
    tokio::time::sleep(SEC).await;
    assert_eq!(ask("GET /ready/").await.body, "ready\n");
    let state: &Arc<DependencyState> = rig.payments.as_ref();
    let now = tokio::time::Instant::now().into_std();
    let says = "password authentication failed";
    state.note_new_sessions_refused(FailureClass::Auth, &says, 4, now);

    let reason = format!("new sessions are refused: {says}; 4 old ones still serve");
    let ready = ask("GET /ready/").await.body;
    assert_eq!(ready, format!("degraded: payments warning: {reason}\n"));
    let one = ask("GET /ready/payments").await;
    assert_eq!(one.body, format!("payments warning (auth): {reason}\n"));
    let health = ask("GET /health/").await.json();
    let entry = &health["checks"]["payments:responseTime"][0];
    assert_eq!(entry["reason"], reason);
    assert_eq!(entry["class"], "auth");
    assert_eq!(entry["sessions_refused"]["still_serving"], 4);
    let operator = ask("GET /why503/").await.json();
    assert_eq!(operator["dependencies"][0]["reason"], reason);

    state.note_session_opened(now);
    assert_eq!(ask("GET /ready/").await.body, "ready\n");
}

/// The breaker moves, and is shown, without a single call.
#[tokio::test(start_paused = true)]
async fn a_deep_check_brings_it_back_without_traffic() {
    let switch = Switch::new();
    let payments = Dependency::builder("payments")
        .check(switch.check())
        .deep()
        .trip(trip());
    let rig = Rig::start(payments.build().expect("valid"));
    let ask = rig.app();
    rig.guard.control().when_ready().await;
    switch.set(down());
    rig.open().await;
    assert_eq!(rig.guard.control().verdict().standing, Standing::Degraded);
    tokio::time::sleep(60 * SEC).await;
    assert_ne!(rig.state(), BreakerState::Closed, "the check still fails");
    switch.set(CheckOutcome::pass());
    tokio::time::sleep(30 * SEC).await;
    assert_eq!(rig.state(), BreakerState::Closed);
    assert_eq!(ask("GET /ready/").await.body, "ready\n");
    let steps: Vec<_> = rig.timeline().into_iter().map(|(to, _)| to).collect();
    let back = steps.iter().rev().take(4).map(String::as_str);
    let back: Vec<_> = back.filter(|step| *step != "passing").collect();
    assert_eq!(back, ["closed", "ramping", "probing"], "{steps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_shallow_check_lets_calls_try_and_never_closes() {
    let switch = Switch::new();
    let payments = Dependency::builder("payments")
        .check(switch.check())
        .trip(trip());
    let rig = Rig::start(payments.build().expect("valid"));
    rig.guard.control().when_ready().await;
    rig.open().await;
    tokio::time::sleep(600 * SEC).await;
    assert_eq!(rig.state(), BreakerState::Ramping, "it waits for calls");
    let verdict = rig.guard.control().verdict();
    assert_eq!(
        verdict.standing,
        Standing::Degraded,
        "and says so: {verdict:?}"
    );
    let works = || rig.payments.call(async { Ok::<_, io::Error>(()) });
    assert!(works().await.is_ok() && works().await.is_ok());
    tokio::time::sleep(SEC).await;
    assert_eq!(rig.state(), BreakerState::Closed, "two confirmed it");
}

/// A hang is seen by the guard's ticks before any call has ended.
#[tokio::test(start_paused = true)]
async fn a_hang_is_seen_without_another_call() {
    let payments = Dependency::builder("payments").trip(trip().stall_limit(SEC));
    let rig = Rig::start(payments.build().expect("valid"));
    let hanging: Vec<_> = (0..3)
        .map(|_| rig.payments.try_acquire().expect("closed"))
        .collect();
    tokio::time::sleep(2 * SEC).await;
    assert_eq!(rig.state(), BreakerState::Open);
    assert!(
        rig.timeline()[0].1.contains("3 calls hang"),
        "{:?}",
        rig.timeline()
    );
    drop(hanging);
}

#[tokio::test(start_paused = true)]
async fn traffic_saves_the_check_but_not_for_ever() {
    let switch = Switch::new();
    let payments = Dependency::builder("payments").check(switch.check());
    let rig = Rig::start(payments.build().expect("valid"));
    rig.guard.control().when_ready().await;
    tokio::time::sleep(60 * SEC).await;
    let idle = switch.asked();
    for _ in 0..600 {
        rig.payments
            .call(async { Ok::<_, io::Error>(()) })
            .await
            .expect("it works");
        tokio::time::sleep(100 * MS).await;
    }
    let busy = switch.asked() - idle;
    assert!(
        (idle / 3..=idle * 3 / 4).contains(&busy),
        "{idle} runs while idle, {busy} under traffic"
    );
    assert_eq!(rig.payments.health(), Health::Passing);
}

/// Not even a required dependency's breaker takes the instance out of rotation: its check
/// decides that.
#[tokio::test(start_paused = true)]
async fn an_open_breaker_degrades_and_never_makes_unready() {
    let switch = Switch::new();
    let payments = Dependency::builder("payments")
        .check(switch.check())
        .required()
        .trip(trip());
    let rig = Rig::start(payments.build().expect("valid"));
    rig.guard.control().when_ready().await;
    rig.open().await;
    assert_eq!(rig.guard.control().verdict().standing, Standing::Degraded);
    assert_eq!(rig.payments.view().requirement, Requirement::Required);
    rig.payments.set_mode(BreakerMode::ForcedClosed);
    assert_eq!(rig.guard.control().verdict().standing, Standing::Ready);
}

#[tokio::test(start_paused = true)]
async fn metrics_count_how_calls_ended() {
    let recorder = metrics_util::debugging::DebuggingRecorder::new();
    let seen = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let rig = Rig::start(payments());
    rig.payments
        .call(async { Ok::<_, io::Error>(()) })
        .await
        .expect("it works");
    rig.open().await;
    assert!(rig.payments.require().is_err());
    tokio::time::sleep(2 * SEC).await;
    let found: Vec<_> = seen
        .snapshot()
        .into_vec()
        .into_iter()
        .filter(|(key, ..)| key.key().name().starts_with("steadfast_dependency"))
        .map(|(key, _, _, value)| {
            let labels = key.key().labels().filter(|it| it.key() != "guard");
            let labels: Vec<_> = labels.map(|it| it.value().to_owned()).collect();
            (
                key.key().name().to_owned(),
                labels.join(" "),
                format!("{value:?}"),
            )
        })
        .collect();
    for (name, labels, value) in [
        (
            "steadfast_dependency_calls_total",
            "payments success",
            "Counter(1)",
        ),
        (
            "steadfast_dependency_calls_total",
            "payments failure",
            "Counter(3)",
        ),
        (
            "steadfast_dependency_calls_total",
            "payments refused",
            "Counter(1)",
        ),
    ] {
        let wanted = (name.to_owned(), labels.to_owned(), value.to_owned());
        assert!(found.contains(&wanted), "{wanted:?} in {found:?}");
    }
    assert!(
        found
            .iter()
            .any(|(name, ..)| name == "steadfast_dependency_state")
    );
}

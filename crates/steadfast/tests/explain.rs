//! What a refusal looks like to the client, in the ledger, in the log and in the metrics,
//! and that no way of writing handlers turns one into a 500.
//!
//! length: the claims of one subject in one file, because they share its fixtures.

mod common;

use std::{
    error::Error as StdError,
    fmt, io,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::Request,
    response::{IntoResponse, Response},
    routing::get,
};
use common::{Answer, TOKEN, ask, get as to, request, with_token};
use http::StatusCode;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use steadfast::{
    Cause, CheckOutcome, Dependency, Disclosure, Error, ExplainSettings, FailureClass, Guard,
    GuardBuilder, Guarded, Refusal, RetryHint, Shed, check, explain,
    test_util::{self, HealthSwitch, assert_refused},
};
use tower::ServiceExt;

const SECOND: Duration = Duration::from_secs(1);

fn builder() -> GuardBuilder {
    Guard::builder().without_signals().token(TOKEN)
}

/// An application's own error type, with the one `From` that the docs show.
struct Own(Box<dyn StdError + Send + Sync>);

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for Own {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Own {
    fn into_response(self) -> Response {
        match Refusal::find(&*self.0) {
            Some(refusal) => explain::carry(refusal.clone()),
            None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

/// The usual newtype around anyhow.
struct Anyhow(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Anyhow {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Anyhow {
    fn into_response(self) -> Response {
        match Refusal::find(self.0.as_ref()) {
            Some(refusal) => explain::carry(refusal.clone()),
            None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

/// An error enum as an application has it already, with one variant more.
#[derive(Debug)]
enum Existing {
    #[allow(dead_code, reason = "what it was there for")]
    NotFound,
    Refused(Refusal),
}

impl From<Refusal> for Existing {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl IntoResponse for Existing {
    fn into_response(self) -> Response {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND.into_response(),
            Self::Refused(refusal) => explain::carry(refusal),
        }
    }
}

/// An error of a lower layer that wraps the refusal.
#[derive(Debug)]
struct Lower(Refusal);

impl fmt::Display for Lower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lower layer")
    }
}

impl StdError for Lower {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

fn payments_down(builder: GuardBuilder) -> (Guard, Dependency, HealthSwitch) {
    let (payments, health) = test_util::dependency("payments");
    health.fail("connection refused");
    let guard = builder.dependency(&payments).build().expect("valid");
    (guard, payments, health)
}

fn every_style(payments: &Dependency) -> Router {
    use anyhow::Context;
    macro_rules! handler {
        ($error:ty, |$payments:ident| $body:expr) => {{
            let $payments = payments.clone();
            get(move || async move {
                let result: Result<(), $error> = $body;
                result.map(|()| "paid")
            })
        }};
    }
    fn any(payments: &Dependency) -> anyhow::Result<()> {
        payments.require()?;
        Ok(())
    }
    fn through<E: From<anyhow::Error>>(result: anyhow::Result<()>) -> Result<(), E> {
        result?;
        Ok(())
    }
    Router::new()
        .route(
            "/steadfast",
            handler!(Error, |it| it.require().map_err(Error::from)),
        )
        .route(
            "/steadfast-deep",
            handler!(Error, |it| it.require().map_err(Lower).map_err(Error::from)),
        )
        .route(
            "/steadfast-io",
            handler!(Error, |it| it
                .require()
                .map_err(io::Error::other)
                .map_err(Error::from)),
        )
        .route("/steadfast-anyhow", handler!(Error, |it| through(any(&it))))
        .route(
            "/steadfast-anyhow-context",
            handler!(Error, |it| through(any(&it).context("paying"))),
        )
        .route(
            "/steadfast-anyhow-twice",
            handler!(Error, |it| through(
                any(&it).context("paying").context("ordering")
            )),
        )
        .route("/own", handler!(Own, |it| it.require().map_err(Own::from)))
        .route(
            "/own-deep",
            handler!(Own, |it| it.require().map_err(Lower).map_err(Own::from)),
        )
        .route("/own-anyhow", handler!(Own, |it| through(any(&it))))
        .route("/anyhow", handler!(Anyhow, |it| through(any(&it))))
        .route(
            "/anyhow-context",
            handler!(Anyhow, |it| through(any(&it).context("paying"))),
        )
        .route(
            "/enum",
            handler!(Existing, |it| it.require().map_err(Existing::from)),
        )
        .route(
            "/with-status",
            handler!((StatusCode, Error), |it| it.require().map_err(|refusal| {
                (StatusCode::BAD_GATEWAY, Error::from(refusal))
            })),
        )
}

const STYLES: [&str; 13] = [
    "/steadfast",
    "/steadfast-deep",
    "/steadfast-io",
    "/steadfast-anyhow",
    "/steadfast-anyhow-context",
    "/steadfast-anyhow-twice",
    "/own",
    "/own-deep",
    "/own-anyhow",
    "/anyhow",
    "/anyhow-context",
    "/enum",
    "/with-status",
];

#[tokio::test(start_paused = true)]
async fn a_refusal_made_in_a_handler_is_an_explained_503_in_every_error_style() {
    let (guard, payments, health) = payments_down(builder());
    let app = guard.protect(every_style(&payments));
    for (path, count) in STYLES.iter().zip(1..) {
        let answer = ask(&app, to(path)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.cause()),
            (503, "dependency-down"),
            "{path}"
        );
        assert!(
            !answer.header("why-503").contains("safe-to-retry"),
            "{path}: it was entered"
        );
        assert_eq!(answer.json()["safe_to_retry"], false, "{path}");
        assert!(!answer.body.contains("payments"), "{path}: {}", answer.body);
        let ledger = guard.control().explain().ledger().clone_of(&answer.id());
        assert_eq!(ledger, ["payments"], "{path}");
        assert_eq!(
            guard
                .control()
                .explain()
                .ledger()
                .count(Cause::DependencyDown),
            count
        );
    }
    health.pass();
    for path in STYLES {
        assert_eq!(ask(&app, to(path)).await.body, "paid", "{path}");
    }
}

/// The sources of the refusals behind one id.
trait CloneOf {
    fn clone_of(&self, id: &str) -> Vec<String>;
}

impl CloneOf for steadfast::Ledger {
    fn clone_of(&self, id: &str) -> Vec<String> {
        self.find(id)
            .iter()
            .map(|it| it.refusal.refused_by().to_string())
            .collect()
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_guard_a_carried_refusal_is_a_plain_503_with_its_cause() {
    let (_guard, payments, _health) = payments_down(builder());
    let response = every_style(&payments)
        .oneshot(to("/own"))
        .await
        .expect("infallible");
    assert_refused(&response, Cause::DependencyDown);
    let answer = Answer::read(response).await;
    assert!(
        answer
            .header("retry-after")
            .parse::<u64>()
            .expect("seconds")
            >= 1
    );
    assert_eq!(answer.json()["cause"], "dependency-down");
    assert!(!answer.body.contains("payments"), "{}", answer.body);
}

#[tokio::test]
async fn an_error_that_is_no_refusal_stays_a_silent_500() {
    let guard = builder().build().expect("valid");
    let fails = || async { Err::<(), _>(Error::from(io::Error::other("secret detail"))) };
    let app = guard.protect(Router::new().route("/", get(fails)));
    let answer = ask(&app, to("/")).await;
    assert_eq!(
        (
            answer.status.as_u16(),
            &*answer.body,
            answer.header("why-503")
        ),
        (500, "", "")
    );
}

/// Everything that is logged by this thread, one event a line.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn capture() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .with_max_level(tracing::Level::DEBUG)
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn lines(&self, with: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().expect("no panic").clone()).expect("text");
        text.lines()
            .filter(|line| line.contains(with))
            .map(str::to_owned)
            .collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_leaves_as_a_500_is_noticed_and_said_at_most_once_per_incident() {
    let (log, _guard) = Log::capture();
    let (guard, payments, _health) = payments_down(builder());
    let hide = move || async move {
        payments
            .require()
            .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
    };
    let app = guard.protect(Router::new().route("/", get(hide)));
    for _ in 0..5 {
        assert_eq!(ask(&app, to("/")).await.status, 500);
    }
    let said = log.lines("a refusal left the application as a 500");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("ERROR") && said[0].contains("payments"),
        "{said:?}"
    );
    let changes = guard.control().explain().ledger().view().changes;
    let hidden: Vec<_> = changes
        .iter()
        .filter(|change| &*change.to == "500")
        .collect();
    assert_eq!((hidden.len(), hidden[0].subject.as_str()), (1, "payments"));
    tokio::time::sleep(11 * SECOND).await;
    assert_eq!(ask(&app, to("/")).await.status, 500);
    assert_eq!(
        log.lines("a refusal left the application as a 500").len(),
        2
    );
}

#[tokio::test]
async fn the_applications_own_503_is_marked_recorded_and_otherwise_unchanged() {
    let guard = builder().build().expect("valid");
    let own = || async {
        let headers = [("retry-after", "77"), ("content-type", "text/x-mine")];
        (StatusCode::SERVICE_UNAVAILABLE, headers, "we are closed")
    };
    let app = guard.protect(Router::new().route("/", get(own)));
    let answer = ask(&app, to("/")).await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.body),
        (503, "we are closed")
    );
    assert_eq!(
        (answer.header("retry-after"), answer.header("content-type")),
        ("77", "text/x-mine")
    );
    assert_eq!(
        answer.header("why-503"),
        format!("cause=application, id=\"{}\"", answer.id())
    );
    assert_eq!(
        guard.control().explain().ledger().clone_of(&answer.id()),
        ["application"]
    );
}

fn refusing(settings: ExplainSettings) -> (Guard, Guarded) {
    let guard = builder().explain(settings).build().expect("valid");
    guard.control().begin_maintenance("moving house", None);
    let app = guard.protect(Router::new().route("/", get(|| async { "hello" })));
    (guard, app)
}

#[tokio::test]
async fn any_of_three_ids_finds_a_refusal() {
    let (_guard, app) = refusing(ExplainSettings::default());
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let traceparent = format!("00-{trace}-00f067aa0ba902b7-01");
    let headers = [("x-request-id", "order-77"), ("traceparent", &*traceparent)];
    let refused = ask(&app, request("GET", "/?card=4111", &headers)).await;
    let again = ask(&app, request("GET", "/", &headers[..1])).await;
    for (id, count) in [
        (&*refused.id(), 1),
        ("order-77", 2),
        (trace, 1),
        (&*again.id(), 1),
    ] {
        let page = ask(&app, with_token(&format!("/why503/{id}"), &[])).await;
        let page = (page.status.as_u16(), page.json());
        let found = page.1["refusals"].as_array().expect("a list");
        assert_eq!((page.0, found.len()), (200, count), "{id}");
        assert!(
            found
                .iter()
                .all(|it| it["request"] == "GET /" && it["cause"] == "maintenance")
        );
    }
    assert_eq!(ask(&app, with_token("/why503/none", &[])).await.status, 404);
    let all = ask(&app, with_token("/why503/", &[])).await.body;
    assert!(!all.contains("4111"), "queries are never kept");
}

#[tokio::test]
async fn the_client_chooses_the_form() {
    let (_guard, app) = refusing(ExplainSettings::default());
    for (accept, kind) in [
        ("*/*", "application/problem+json"),
        ("application/json", "application/problem+json"),
        ("text/html,*/*;q=0.8", "text/html; charset=utf-8"),
        ("text/plain", "text/plain; charset=utf-8"),
        ("image/avif", "application/problem+json"),
    ] {
        let answer = ask(&app, request("GET", "/", &[("accept", accept)])).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type")),
            (503, kind),
            "{accept}"
        );
        assert_eq!(
            (answer.header("vary"), answer.header("cache-control")),
            ("accept", "no-store")
        );
        assert!(
            answer.body.contains(&answer.id()),
            "{accept}: {}",
            answer.body
        );
    }
}

#[tokio::test]
async fn grpc_gets_trailers_only_from_gates_and_from_handlers() {
    let grpc = [("content-type", "application/grpc")];
    let (_guard, app) = refusing(ExplainSettings::default());
    let (guard, payments, _health) = payments_down(builder());
    let handler = guard.protect(every_style(&payments));
    for (app, path, cause) in [
        (app, "/", "maintenance"),
        (handler, "/steadfast", "dependency-down"),
    ] {
        let answer = ask(&app, request("GET", path, &grpc)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("grpc-status")),
            (200, "14")
        );
        assert_eq!(
            (answer.cause(), answer.header("content-type")),
            (cause, "application/grpc")
        );
        assert!(
            answer
                .header("grpc-retry-pushback-ms")
                .parse::<u64>()
                .expect("ms")
                >= 1000
        );
        assert_eq!((answer.header("retry-after"), &*answer.body), ("", ""));
    }
    let (_guard, app) = refusing(ExplainSettings::default());
    let web = ask(
        &app,
        request("POST", "/", &[("content-type", "application/grpc-web")]),
    )
    .await;
    assert_eq!(web.status, 503, "browsers read grpc-web as plain HTTP");
}

async fn told(app: &Guarded, path: &str) -> u64 {
    let answer = ask(app, to(path)).await;
    assert_eq!(answer.status, 503);
    let header: u64 = answer.header("retry-after").parse().expect("seconds");
    if answer.header("content-type") == "application/problem+json" {
        let exact = answer.json()["retry_after_ms"].as_u64().expect("ms");
        assert_eq!(header, exact.div_ceil(1000), "rounded up");
    }
    header
}

#[tokio::test(start_paused = true)]
async fn the_retry_hint_follows_the_cause_within_its_bounds_and_is_spread() {
    // Maintenance without an end: 30 s, spread downwards from the cap.
    let (guard, app) = refusing(ExplainSettings::default());
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        seen.insert(told(&app, "/").await);
    }
    assert!(seen.iter().all(|hint| (23..=30).contains(hint)), "{seen:?}");
    assert!(
        seen.len() >= 4,
        "clients refused together do not come back together: {seen:?}"
    );
    // With an end, nobody need ask before it, whatever the cap.
    guard.control().begin_maintenance("", Some(600 * SECOND));
    assert!((600..=750).contains(&told(&app, "/").await));

    // A dependency: the next run of its check, at most 6 s away.
    let (guard, payments, _health) = payments_down(builder());
    let app = guard.protect(every_style(&payments));
    for _ in 0..50 {
        assert!((1..=2).contains(&told(&app, "/steadfast").await));
    }

    // Shedding, measured nothing yet: a second or so.
    let guard = builder().shed(Shed::fixed(1)).build().expect("valid");
    let hang = get(|| async { std::future::pending::<()>().await });
    let app = guard.protect(Router::new().route("/", hang));
    let running = tokio::spawn(app.clone().oneshot(to("/")));
    common::until("one to run", || guard.control().shedder().in_flight() == 1).await;
    assert!((1..=2).contains(&told(&app, "/").await));
    running.abort();

    // The configured bounds hold for all of them.
    let bounds = RetryHint::new(7 * SECOND, 9 * SECOND).expect("valid");
    let (_guard, app) = refusing(ExplainSettings::default().retry(bounds));
    for _ in 0..50 {
        assert!((7..=9).contains(&told(&app, "/").await));
    }
}

#[tokio::test]
async fn full_disclosure_shows_source_and_evidence_and_the_default_does_not() {
    let (_guard, app) = refusing(ExplainSettings::default().disclosure(Disclosure::Full));
    let problem = ask(&app, to("/")).await.json();
    assert_eq!(problem["source"], "lifecycle");
    assert_eq!(problem["evidence"]["reason"], "moving house");
    let (_guard, app) = refusing(ExplainSettings::default().type_base("https://help.example/503"));
    let problem = ask(&app, to("/")).await.json();
    assert_eq!(problem["type"], "https://help.example/503#maintenance");
    assert!(problem.get("evidence").is_none() && problem.get("source").is_none());
}

/// Goal: no password of a connection URL in any byte that a stranger, the operator or the log
/// can read, wherever in the URL it stands.
#[tokio::test(start_paused = true)]
async fn secrets_in_a_checks_error_are_readable_nowhere() {
    let (log, _subscriber) = Log::capture();
    let secret = "hunter2";
    let errors = [
        format!("cannot reach postgres://app:{secret}@db:5432/shop"),
        format!("postgres://{secret}@db/shop refused"),
        format!("postgres://app:{secret}{{|\"<>`@db/shop"),
        format!("postgres://app:two {secret} words@db/shop"),
        format!("postgres://app:x/{secret}?y#z@db/shop"),
        format!("at \"redis://:{secret}@cache:6379/0\": timeout"),
        format!("http://db/path?password={secret}&token={secret}"),
        format!("http://db/path#{secret}"),
        format!("host=db user=app password={secret} dbname=shop"),
        format!("host=db password = '{secret} \\' {secret}' dbname=shop"),
        format!("PGPASSWORD={secret} sslpassword={secret}"),
        format!("datasource.db-password: {secret}"),
        format!("{{\"password\":\"{secret}\",\"api_key\":\"{secret}\"}}"),
        format!("amqps://u:{secret}@a/v, amqps://u:{secret}@b/v"),
    ];
    let mut builder = builder().explain(ExplainSettings::default().disclosure(Disclosure::Full));
    let mut dependencies = Vec::new();
    for (at, error) in errors.iter().enumerate() {
        let error = error.clone();
        let panics = at % 2 == 1;
        // Every second one says it in a panic.
        let fails = check::closure(move || {
            let error = error.clone();
            async move {
                assert!(!panics, "{error}");
                CheckOutcome::fail(FailureClass::Unreachable, error)
            }
        });
        let dependency = Dependency::builder(format!("dependency-{at}")).check(fails);
        let dependency = dependency.degrades().build().expect("valid");
        builder = builder.dependency(&dependency);
        dependencies.push(dependency);
    }
    let guard = builder.build().expect("valid");
    let _running = guard.start().expect("started");
    let all = dependencies.clone();
    let pay = get(move || async move {
        all.iter()
            .find_map(|it| it.require().err())
            .map_or(Ok("paid"), |it| Err(Error::from(it)))
    });
    let app = guard.protect(Router::new().route("/pay", pay));
    tokio::time::sleep(60 * SECOND).await;
    let json = [("accept", "application/health+json")];
    let mut read = String::new();
    for path in [
        "/",
        "/pay",
        "/ready/",
        "/ready/?verbose",
        "/health/",
        "/why503/",
    ] {
        for asked in [to(path), with_token(path, &[]), with_token(path, &json)] {
            let answer = ask(&app, asked).await;
            read.push_str(&format!("{:?} {}\n", answer.headers, answer.body));
        }
    }
    for at in 0..errors.len() {
        let one = ask(&app, with_token(&format!("/ready/dependency-{at}"), &[])).await;
        assert!(one.body.contains("dependency-"), "{}", one.body);
        read.push_str(&one.body);
    }
    read.push_str(&log.lines("").join("\n"));
    read.push_str(&format!("{guard:?} {dependencies:?}"));
    assert!(read.contains("unreachable"), "the errors were shown at all");
    if let Some(at) = read.find(secret) {
        panic!(
            "readable: …{}…",
            &read[at.saturating_sub(120)..(at + 20).min(read.len())]
        );
    }
    assert!(!read.contains(TOKEN), "the token neither");
}

#[tokio::test(start_paused = true)]
async fn the_log_has_one_event_for_each_incident_and_each_state_change() {
    let (log, _subscriber) = Log::capture();
    let guard = builder().shed(Shed::fixed(1)).build().expect("valid");
    let _running = guard.start().expect("started");
    let app = guard.protect(Router::new().route("/", get(|| async { "hello" })));
    let control = guard.control();
    assert_eq!(log.lines("guard started").len(), 1);
    assert!(log.lines("guard started")[0].contains("/health/ /ready/ /why503/"));
    control.begin_maintenance("moving house", None);
    for _ in 0..50 {
        assert_eq!(ask(&app, to("/")).await.status, 503);
    }
    let incidents = log.lines("refusing requests");
    assert_eq!(incidents.len(), 1, "{incidents:?}");
    let first = &incidents[0];
    assert!(first.contains("WARN") && first.contains("maintenance") && first.contains("lifecycle"));
    tokio::time::sleep(11 * SECOND).await;
    assert_eq!(ask(&app, to("/")).await.status, 503);
    assert_eq!(log.lines("refusing requests").len(), 2, "a new incident");
    control.end_maintenance();
    control.begin_drain("a test");
    tokio::time::sleep(60 * SECOND).await;
    let changes = log.lines("state changed");
    for (subject, from, to) in [
        ("lifecycle", "not started", "starting"),
        ("lifecycle", "starting", "ready"),
        ("maintenance", "off", "on"),
        ("maintenance", "on", "off"),
        ("lifecycle", "ready", "lame-duck"),
        ("lifecycle", "lame-duck", "draining"),
        ("lifecycle", "draining", "stopped"),
    ] {
        let found = changes.iter().filter(|line| {
            line.contains(&format!("subject={subject} from=\"{from}\" to=\"{to}\""))
        });
        assert_eq!(found.count(), 1, "{subject} {from} {to}: {changes:#?}");
    }
}

#[tokio::test]
async fn a_balancer_that_probes_the_health_path_is_warned_about_once() {
    let (log, _subscriber) = Log::capture();
    let guard = builder().build().expect("valid");
    let app = guard.protect(Router::new());
    let balancer = [("user-agent", "ELB-HealthChecker/2.0")];
    ask(&app, request("GET", "/ready/", &balancer)).await;
    ask(
        &app,
        request("GET", "/health/", &[("user-agent", "kube-probe/1.30")]),
    )
    .await;
    assert_eq!(log.lines("a load balancer probes the health path").len(), 0);
    for _ in 0..5 {
        ask(&app, request("GET", "/health/", &balancer)).await;
    }
    assert_eq!(log.lines("a load balancer probes the health path").len(), 1);
}

/// What was measured: name, labels, value.
type Measured = (String, Vec<(String, String)>, f64);

fn measured(snapshotter: &Snapshotter) -> Vec<Measured> {
    let all = snapshotter.snapshot().into_vec();
    all.into_iter()
        .map(|(key, _, _, value)| {
            let labels = key
                .key()
                .labels()
                .map(|it| (it.key().to_owned(), it.value().to_owned()));
            let value = match value {
                DebugValue::Counter(count) => count as f64,
                DebugValue::Gauge(value) => value.into_inner(),
                DebugValue::Histogram(values) => values.len() as f64,
            };
            (key.key().name().to_owned(), labels.collect(), value)
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn the_metrics_are_the_ones_of_the_design() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _local = metrics::set_default_local_recorder(&recorder);
    let (payments, health) = test_util::dependency("payments");
    let guard = builder()
        .shed(Shed::fixed(2))
        .dependency(&payments)
        .build()
        .expect("valid");
    let _running = guard.start().expect("started");
    let app = guard.protect(Router::new().route("/", get(|| async { "hello" })).route(
        "/hang",
        get(|| async { std::future::pending::<()>().await }),
    ));
    tokio::time::sleep(SECOND).await;
    for _ in 0..3 {
        assert_eq!(ask(&app, to("/")).await.status, 200);
    }
    let running: Vec<_> = (0..2)
        .map(|_| tokio::spawn(app.clone().oneshot(to("/hang"))))
        .collect();
    common::until("two to run", || guard.control().shedder().in_flight() == 2).await;
    for _ in 0..4 {
        assert_eq!(
            ask(
                &app,
                request("GET", "/secret-path", &[("x-request-id", "r1")])
            )
            .await
            .status,
            503
        );
    }
    health.fail("connection refused");
    tokio::time::sleep(3 * SECOND).await;
    let seen = measured(&snapshotter);
    let value = |name: &str, labels: &[(&str, &str)]| {
        let labels: Vec<_> = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        seen.iter()
            .find(|(found, with, _)| found == name && *with == labels)
            .unwrap_or_else(|| panic!("{name} {labels:?} in {seen:#?}"))
            .2
    };
    assert_eq!(value("steadfast_admitted_total", &[]), 5.0);
    let overload = [
        ("cause", "overloaded"),
        ("rule", "limit"),
        ("source", "shed"),
    ];
    assert_eq!(value("steadfast_refusals_total", &overload), 4.0);
    assert_eq!(value("steadfast_in_flight", &[]), 2.0);
    assert_eq!(value("steadfast_limit", &[]), 2.0);
    assert!(
        value("steadfast_demand", &[]) >= 1.0,
        "as much is asked for as may run"
    );
    assert_eq!(
        value("steadfast_dependency_state", &[("dependency", "payments")]),
        2.0
    );
    assert_eq!(value("steadfast_phase", &[("phase", "ready")]), 1.0);
    assert_eq!(value("steadfast_phase", &[("phase", "draining")]), 0.0);
    for (name, labels, _) in &seen {
        assert!(name.starts_with("steadfast_"), "{name}");
        let text = format!("{labels:?}");
        assert!(
            !text.contains("secret-path") && !text.contains("r1"),
            "{text}"
        );
    }
    drop(running);
}

#[tokio::test]
async fn the_ledger_needs_the_token_even_from_this_host() {
    let (_guard, app) = refusing(ExplainSettings::default());
    let id = ask(&app, to("/")).await.id();
    let outer = app.clone();
    let server = common::serve(|listener| axum::serve(listener, outer).into_future()).await;
    for path in [
        "/why503",
        "/why503/",
        "/why503/maintenance",
        &format!("/why503/{id}"),
    ] {
        let answer = common::fetch(server.address, to(path)).await;
        assert_eq!(answer.status, 401, "{path}: 127.0.0.1 opens nothing");
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"why503\"");
        assert!(!answer.body.contains("moving house"), "{path}");
        assert_eq!(
            common::fetch(server.address, with_token(path, &[]))
                .await
                .status,
            200,
            "{path}"
        );
        let spoofed: Request = request("GET", path, &[("x-forwarded-for", "127.0.0.1")]);
        assert_eq!(
            common::fetch(server.address, spoofed).await.status,
            401,
            "{path}"
        );
    }
    let page = common::fetch(server.address, with_token("/why503/", &[])).await;
    assert_eq!(
        (page.header("content-type"), page.header("cache-control")),
        ("application/json", "no-store")
    );
    let page = page.json();
    let state = page["state"].as_str().expect("a sentence");
    assert!(
        state.starts_with("not ready: maintenance: moving house"),
        "{state}"
    );
    assert_eq!(page["incidents"][0]["cause"], "maintenance");
    assert_eq!(page["refusals"]["by_cause"]["maintenance"], 1);
    assert_eq!(page["recent"][0]["id"], id);
}

#[tokio::test(start_paused = true)]
async fn a_reason_is_kept_in_bounds_wherever_it_is_kept() {
    let (_guard, app) = refusing(ExplainSettings::default());
    let mut order = with_token(
        &format!("/why503/maintenance?reason={}", "x".repeat(20_000)),
        &[],
    );
    *order.method_mut() = http::Method::PUT;
    assert_eq!(ask(&app, order).await.status, 200);
    let page = ask(&app, with_token("/why503/", &[])).await;
    assert!(page.body.len() < 10_000, "{}", page.body.len());
}

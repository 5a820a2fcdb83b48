//! What cannot work is told before it fails, and what can is not.

use axum::http::{HeaderValue, header::USER_AGENT};

use super::*;

#[tokio::test(start_paused = true)]
async fn an_instance_that_nobody_probes_is_told_after_a_while() {
    let rig = Rig::new(&[], routes());
    tokio::time::sleep(60 * SEC).await;
    rig.is_well();
    tokio::time::sleep(90 * SEC).await;
    let told = rig.finds(Id::ProbeMissing).await;
    assert_eq!(told.verdict.state, State::AtRisk);
    let twin = Rig::new(&[], routes());
    probed(&twin, 2 * SEC, 80).await;
    twin.is_well();
}

#[tokio::test(start_paused = true)]
async fn a_lame_duck_that_is_shorter_than_the_balancer_needs_is_a_risk() {
    let rig = Rig::new(&[], routes());
    probed(&rig, 10 * SEC, 5).await;
    let told = rig.finds(Id::DeployLameDuck).await;
    assert!(
        told.verdict.summary.contains("20 s"),
        "{}",
        told.verdict.summary
    );
}

#[tokio::test(start_paused = true)]
async fn who_looks_now_and_then_is_no_balancer_and_neither_is_the_doctor() {
    let rig = Rig::new(&[], routes());
    probed(&rig, SEC, 2).await;
    for seconds in [60, 3, 20, 60, 60] {
        probed(&rig, seconds * SEC, 1).await;
    }
    rig.is_well();
    for _ in 0..8 {
        let mut request = request_for("/ready/");
        let doctor = HeaderValue::from_static("why503/0.1.0");
        request.headers_mut().insert(USER_AGENT, doctor);
        assert_eq!(ask(&rig.app, request).await.status, 200);
        tokio::time::sleep(15 * SEC).await;
    }
    rig.is_well();
}

#[tokio::test(start_paused = true)]
async fn what_a_check_warns_of_is_a_risk() {
    let warned = || CheckOutcome::warn(FailureClass::ReadOnly, "2 % are free");
    let check = check::closure(move || std::future::ready(warned()));
    let builder = Dependency::builder("orders-db").check(check).degrades();
    let rig = Rig::new(&[&builder.build().expect("valid")], routes());
    let told = rig.finds(Id::DepFailing).await;
    assert!(
        told.verdict
            .summary
            .contains("orders-db warns: 2 % are free")
    );
    assert_eq!(told.verdict.state, State::AtRisk);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_may_outlast_its_period_is_a_risk() {
    let check = check::closure(|| std::future::ready(CheckOutcome::pass()));
    let builder = Dependency::builder("orders-db").check(check).degrades();
    let slow = builder
        .interval(2 * SEC)
        .timeout(5 * SEC)
        .build()
        .expect("valid");
    let rig = Rig::new(&[&slow], routes());
    let told = rig.finds(Id::ConfigCheckTimeout).await;
    assert!(
        told.verdict.summary.contains("orders-db"),
        "{}",
        told.verdict.summary
    );
}

/// Answers with CORS headers to whoever asks, as a layer does.
fn cors() -> tower_http::cors::CorsLayer {
    tower_http::cors::CorsLayer::permissive()
}

/// A script of another origin asks, and its browser asks first whether it may.
async fn script_asks<S>(app: &Guarded<S>) -> StatusCode
where
    Guarded<S>: Clone + tower::Service<axum::extract::Request, Error = Infallible>,
    <Guarded<S> as tower::Service<axum::extract::Request>>::Response: axum::response::IntoResponse,
{
    let origin = ("origin", "https://shop.example");
    let asks_first = [origin, ("access-control-request-method", "GET")];
    for (method, headers) in [("OPTIONS", &asks_first[..]), ("GET", &[origin])] {
        let Ok(answer) = app
            .clone()
            .oneshot(common::request(method, "/", headers))
            .await;
        let status = axum::response::IntoResponse::into_response(answer).status();
        if method == "GET" {
            return status;
        }
    }
    unreachable!("the second is a GET")
}

#[tokio::test(start_paused = true)]
async fn refusals_that_scripts_cannot_read_are_a_risk() {
    let rig = Rig::new(&[], routes().layer(cors()));
    assert_eq!(script_asks(&rig.app).await, 200);
    rig.is_well();
    rig.guard.control().begin_maintenance("moving house", None);
    assert_eq!(script_asks(&rig.app).await, 503);
    rig.guard.control().end_maintenance();
    assert_eq!(script_asks(&rig.app).await, 200);
    probed(&rig, 2 * SEC, 100).await;
    let told = rig.finds(Id::ConfigCors).await;
    assert_eq!(told.verdict.state, State::AtRisk);
    let outside = Rig::new(&[], routes());
    let app = outside.app.clone().layer(cors());
    outside
        .guard
        .control()
        .begin_maintenance("moving house", None);
    assert_eq!(script_asks(&app).await, 503);
    outside.guard.control().end_maintenance();
    assert_eq!(script_asks(&app).await, 200);
    probed(&outside, 2 * SEC, 100).await;
    outside.is_well();
}

#[tokio::test(start_paused = true)]
async fn a_route_that_the_guard_hides_is_a_risk() {
    let app = routes().route("/health", get(|| async { "mine" }));
    let rig = Rig::new(&[], app);
    let told = rig.finds(Id::ConfigShadowedRoute).await;
    let summary = &told.verdict.summary;
    assert!(summary.contains("/health"), "{summary}");
    Rig::new(&[], routes().route("/healthy", get(|| async { "mine" }))).is_well();
}

/// Ten connections, of which none is in use.
#[derive(Debug)]
struct Ten;

impl steadfast_core::plumbing::PoolGauge for Ten {
    fn reading(&self, _: std::time::Instant) -> steadfast_core::plumbing::PoolReading {
        steadfast_core::plumbing::PoolReading::new(10, 0, 10, 0)
    }
}

#[tokio::test(start_paused = true)]
async fn pools_that_together_are_larger_than_the_server_are_a_risk() {
    for (instances, too_many) in [(10, true), (9, false)] {
        // A check of its own beside the ten, and three slots that the server keeps.
        let fleet = steadfast::PoolFleet::new(instances, 103)
            .reserved(3)
            .beside(1);
        let db = Dependency::builder("orders-db").pool_fleet(fleet);
        let db = db.build().expect("valid");
        let state: &std::sync::Arc<DependencyState> = db.as_ref();
        assert!(state.attach_pool(std::sync::Arc::new(Ten)));
        let rig = Rig::new(&[&db], routes());
        if too_many {
            let told = rig.finds(Id::ConfigPoolSum).await;
            let summary = &told.verdict.summary;
            assert!(
                summary.contains("110 sessions") && summary.contains("has 100"),
                "{summary}"
            );
        } else {
            rig.is_well();
        }
    }
}

/// Goal: a limiter in front of the guard that also limits probes is told. Method: a real
/// server, whose outer layer refuses every second request.
#[tokio::test]
async fn probes_that_a_limiter_refuses_are_a_risk() {
    for (spares_probes, status) in [(false, 429), (true, 429)] {
        let guard = Guard::builder().without_signals().build().expect("valid");
        let control = guard.control();
        let limiter = axum::middleware::from_fn(
            move |request: axum::extract::Request, next: axum::middleware::Next| async move {
                match spares_probes && request.uri().path() == "/ready/" {
                    true => next.run(request).await,
                    false => {
                        axum::response::IntoResponse::into_response(StatusCode::TOO_MANY_REQUESTS)
                    }
                }
            },
        );
        let app = guard.protect(routes()).layer(limiter);
        let server = common::serve(|listener| async move { guard.serve(listener, app).await });
        let server = server.await;
        until("the start", || {
            control.phase() == Some(steadfast::Phase::Ready)
        })
        .await;
        for path in ["/", "/ready/"] {
            let answer = common::fetch(server.address, request_for(path)).await;
            let expected = if path == "/ready/" && spares_probes {
                200
            } else {
                status
            };
            assert_eq!(answer.status, expected, "{path}");
        }
        let told = ids(&control.diagnosis());
        assert_eq!(told.contains(&Id::ProbeLimited), !spares_probes, "{told:?}");
    }
}

/// Goal: a probe that a layer outside the guard holds back for longer than balancers wait is
/// told. Method: a real server, and a layer that waits.
#[tokio::test]
async fn probes_that_are_answered_late_are_a_risk() {
    for (late, told_so) in [
        (Duration::from_millis(1_100), true),
        (Duration::ZERO, false),
    ] {
        let guard = Guard::builder().without_signals().build().expect("valid");
        let control = guard.control();
        let waits = axum::middleware::from_fn(
            move |request: axum::extract::Request, next: axum::middleware::Next| async move {
                tokio::time::sleep(late).await;
                next.run(request).await
            },
        );
        let app = guard.protect(routes()).layer(waits);
        let server = common::serve(|listener| async move { guard.serve(listener, app).await });
        let server = server.await;
        until("the start", || {
            control.phase() == Some(steadfast::Phase::Ready)
        })
        .await;
        let answer = common::fetch(server.address, request_for("/ready/")).await;
        assert_eq!(answer.status, 200);
        let told = ids(&control.diagnosis());
        assert_eq!(told.contains(&Id::ProbeSlow), told_so, "{told:?}");
    }
}

/// Goal: Envoy says in each request how long it waits; a service that waits longer works for
/// nobody. Method: requests are drawn by lot, and of so many some are.
#[tokio::test(start_paused = true)]
async fn a_timeout_that_is_longer_than_the_balancers_is_a_risk() {
    for (ours, longer) in [(60 * SEC, true), (10 * SEC, false)] {
        let guard = Guard::builder().without_signals().request_timeout(ours);
        let guard = guard.build().expect("valid");
        let app = guard.protect(routes());
        let _running = guard.start().expect("a runtime");
        for _ in 0..1_000 {
            let envoy = [("x-envoy-expected-rq-timeout-ms", "15000")];
            let answer = ask(&app, common::request("GET", "/", &envoy)).await;
            assert_eq!(answer.status, 200);
        }
        let told = guard.control().diagnosis();
        let found = told
            .findings
            .iter()
            .find(|it| it.id == Id::ConfigTimeoutOrder);
        assert_eq!(found.is_some(), longer, "{:?}", ids(&told));
        if let Some(found) = found {
            assert!(found.summary.contains("15 s"), "{}", found.summary);
        }
    }
}

/// Goal: an AWS balancer, which says in its probes who it is, uses idle connections for 60 s;
/// a service that closes them sooner loses requests.
#[tokio::test(start_paused = true)]
async fn a_keep_alive_that_is_shorter_than_the_balancers_is_a_risk() {
    for (idle, shorter) in [(Some(30 * SEC), true), (None, false)] {
        let connections = steadfast::Connections::default();
        let connections = idle.map_or(connections, |idle| connections.idle(idle));
        let guard = Guard::builder().without_signals().connections(connections);
        let guard = guard.build().expect("valid");
        let app = guard.protect(routes());
        let _running = guard.start().expect("a runtime");
        for _ in 0..5 {
            let elb = [("user-agent", "ELB-HealthChecker/2.0")];
            let answer = ask(&app, common::request("GET", "/ready/", &elb)).await;
            assert_eq!(answer.status, 200);
            tokio::time::sleep(2 * SEC).await;
        }
        let told = guard.control().diagnosis();
        let race = told
            .findings
            .iter()
            .any(|it| it.id == Id::DeployKeepaliveRace);
        assert_eq!(race, shorter, "{:?}", ids(&told));
    }
}

/// Goal: a risk is in the log once, although it is looked for twice a minute.
#[tokio::test(start_paused = true)]
async fn a_risk_is_told_in_the_log_once() {
    let lines = Lines::default();
    let log = tracing_subscriber::fmt()
        .with_writer(lines.clone())
        .with_ansi(false)
        .finish();
    let _log = tracing::subscriber::set_default(log);
    let rig = Rig::new(&[], routes());
    probed(&rig, 10 * SEC, 30).await;
    rig.finds(Id::DeployLameDuck).await;
    let text = lines.text();
    let told: Vec<_> = text
        .lines()
        .filter(|line| line.contains("steadfast::audit"))
        .collect();
    assert_eq!(told.len(), 1, "{text}");
    assert!(
        told[0].contains("WARN") && told[0].contains("deploy.lame_duck"),
        "{}",
        told[0]
    );
}

/// Goal: what a drain needs and its manager does not give is in the log once, although two
/// rooms find it. Method: this test binary runs itself, as Kubernetes would run it.
#[test]
fn a_drain_that_outlasts_its_manager_is_told_once() {
    let itself = std::env::current_exe().expect("this binary");
    let run = std::process::Command::new(itself)
        .args(["--exact", "audit::the_child_of_kubernetes", "--nocapture"])
        .env("KUBERNETES_SERVICE_HOST", "10.0.0.1")
        .env(CHILD, "yes")
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{text}");
    let told = text.lines().filter(|line| line.contains("config.grace"));
    let told: Vec<_> = told.collect();
    assert_eq!(told.len(), 1, "{text}");
    assert!(
        told[0].contains("WARN steadfast::audit") && told[0].contains("grace 60s"),
        "{}",
        told[0]
    );
}

const CHILD: &str = "STEADFAST_TEST_AUDIT";

/// The child. As a test among the others it has nothing to do.
#[tokio::test(start_paused = true)]
async fn the_child_of_kubernetes() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let lines = Lines::default();
    let log = tracing_subscriber::fmt()
        .with_writer(lines.clone())
        .with_ansi(false)
        .finish();
    let _log = tracing::subscriber::set_default(log);
    let guard = Guard::builder()
        .without_signals()
        .drain(Drain::default().grace(60 * SEC));
    let guard = guard.build().expect("valid");
    let _running = guard.start().expect("a runtime");
    tokio::time::sleep(100 * SEC).await;
    assert!(ids(&guard.control().diagnosis()).contains(&Id::ConfigGrace));
    println!("{}", lines.text());
}

/// What was logged.
#[derive(Clone, Default)]
struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("whole").clone()).expect("text")
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("whole").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

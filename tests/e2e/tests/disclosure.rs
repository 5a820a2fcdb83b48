//! What strangers and operators can read: nothing because of an address, and no secret ever.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use axum::{Router, extract::Path, routing};
use deadpool_redis::{Config, Runtime};
use e2e::{Answer, Service, get, hold, send, wait_for, wait_until};
use serde_json::Value;
use sqlx::PgPool;
use steadfast::{
    Check, CheckOutcome, CheckRun, Dependency, Disclosure, Error, ExplainSettings, FailureClass,
    Guard, GuardBuilder, Health, Shed, check,
};
use support::{Nginx, Postgres, Redis, free_port};

const TOKEN: &str = "t0ken-of-the-operator";

/// In everything that is a secret, so that one search finds any of them.
const SECRET: &str = "s3cr3t";

/// Requests that may run at once. More than one, since a permit may come back a moment after
/// its answer has arrived.
const PLACES: u32 = 4;

/// In the name of every dependency.
const NAME: &str = "n4me";

/// What claims to come from the same host, as a proxy or a liar would say it.
const LOCAL: [(&str, &str); 4] = [
    ("x-forwarded-for", "127.0.0.1"),
    ("x-real-ip", "127.0.0.1"),
    ("forwarded", "for=127.0.0.1;host=localhost"),
    ("x-original-forwarded-for", "::1"),
];

/// Every form that a refusal has.
const FORMS: [&[(&str, &str)]; 6] = [
    &[],
    &[("accept", "application/problem+json")],
    &[("accept", "text/html,application/xhtml+xml")],
    &[("accept", "text/plain")],
    &[("accept", "application/health+json")],
    &[("content-type", "application/grpc"), ("te", "trailers")],
];

fn guard() -> GuardBuilder {
    Guard::builder().without_signals()
}

/// An nginx on the same host, which also tells the service so.
fn nginx(service: &Service) -> (Nginx, SocketAddr) {
    let headers: String = LOCAL
        .iter()
        .map(|(name, value)| format!("proxy_set_header {name} \"{value}\";\n"))
        .collect();
    let port = free_port();
    let config = Nginx::config(port, &[service.address()], &headers);
    (Nginx::start(&config), ([127, 0, 0, 1], port).into())
}

fn as_operator(address: SocketAddr, target: &str) -> Answer {
    let key = format!("Bearer {TOKEN}");
    send(address, "GET", target, &[("authorization", &key)])
}

#[test]
fn nothing_is_disclosed_because_of_an_address() {
    let payments = Dependency::builder(format!("{NAME}-payments"))
        .check(check::closure(|| async {
            CheckOutcome::fail(FailureClass::Unhealthy, "d3tail of the failure").number("d3pth", 7)
        }))
        .degrades()
        .fall(1)
        .build()
        .unwrap();
    let with_token = guard().dependency(&payments).token(TOKEN).build().unwrap();
    let with_token = Service::start(&with_token, Router::new());
    let without = Service::start(&guard().build().unwrap(), Router::new());
    with_token.wait_ready(200, "degraded");
    wait_until("the failure", || payments.health() == Health::Failing);
    let (_first, through) = nginx(&with_token);
    let (_second, through_bare) = nginx(&without);

    for address in [through, with_token.address()] {
        for target in [
            "/why503",
            "/why503/",
            "/why503/some-id",
            "/why503/maintenance",
        ] {
            let answer = send(address, "GET", target, &LOCAL);
            assert_eq!(answer.status, 401, "{target}: {}", answer.all());
            is_silent(&answer);
        }
        let order = send(address, "PUT", "/why503/maintenance?reason=x", &LOCAL);
        assert_eq!(order.status, 401, "{}", order.all());
        for target in ["/health/", "/ready/", "/ready/?verbose"] {
            for form in FORMS {
                let answer = send(address, "GET", target, &[form, &LOCAL].concat());
                assert_eq!(answer.status, 200, "{target}: {}", answer.all());
                is_silent(&answer);
            }
        }
        let one = send(address, "GET", &format!("/ready/{NAME}-payments"), &LOCAL);
        assert_eq!(one.status, 404, "{}", one.all());
        is_silent(&one);
    }
    assert_eq!(with_token.wait_ready(200, "degraded").body, "degraded\n");
    for target in ["/why503", "/why503/", "/why503/some-id"] {
        let answer = send(through_bare, "GET", target, &LOCAL);
        assert_eq!(answer.status, 404, "not mounted: {}", answer.all());
    }
    // The token opens, through the proxy as well.
    let state = as_operator(through, "/why503/");
    assert_eq!(state.status, 200);
    assert!(
        state.body.contains("d3tail of the failure"),
        "{}",
        state.body
    );
    let health = as_operator(through, "/health/");
    assert!(
        health.body.contains(&format!("{NAME}-payments")),
        "{}",
        health.body
    );
}

#[track_caller]
fn is_silent(answer: &Answer) {
    let all = answer.all().to_lowercase();
    for word in [NAME, "d3tail", "d3pth", "unhealthy"] {
        assert!(!all.contains(word), "{word} in {all}");
    }
}

/// Dependencies that fail in every way in which a driver quotes what it was given.
struct Failing {
    postgres: Postgres,
    redis: Redis,
}

impl Failing {
    fn start() -> Self {
        let redis = Redis::builder().arg("--requirepass").arg("s3cr3t-right");
        Self {
            postgres: Postgres::builder().start(),
            redis: redis.start(),
        }
    }

    fn dependencies(&self) -> Vec<Dependency> {
        let mut all = Vec::new();
        let port = self.postgres.port();
        let nobody = free_port();
        let options =
            "application_name=s3cr3t-app&options=-c%20search_path%3Ds3cr3t&sslmode=prefer";
        for (name, url) in [
            (
                "password",
                format!("postgres://app-role:s3cr3t-pass@127.0.0.1:{port}/0rders?{options}"),
            ),
            (
                "encoded",
                format!(
                    "postgres://app-role%40u:s3cr3t%2Fp%23%3F@127.0.0.1:{port}/postgres?{options}"
                ),
            ),
            (
                "in-query",
                format!("postgres://127.0.0.1:{port}/postgres?user=app-role&password=s3cr3t-pass"),
            ),
            (
                "host",
                format!("postgres://s3cr3t-user:s3cr3t-pass@nowhere.invalid/0rders?{options}"),
            ),
            (
                "port",
                format!("postgres://s3cr3t-user:s3cr3t-pass@127.0.0.1:{nobody}/0rders?{options}"),
            ),
            (
                "database",
                self.postgres.url("0rders", "postgres", "admin-of-the-test"),
            ),
        ] {
            let pool = PgPool::connect_lazy(&url).expect("a URL");
            all.push(dependency(
                &format!("postgres-{name}"),
                steadfast_sqlx::ping(&pool),
            ));
        }
        let port = self.redis.port();
        for (name, url) in [
            (
                "password",
                format!("redis://s3cr3t-user:s3cr3t-pass@127.0.0.1:{port}/0"),
            ),
            (
                "no-user",
                format!("redis://:s3cr3t-pass@127.0.0.1:{port}/0"),
            ),
            (
                "host",
                "redis://s3cr3t-user:s3cr3t-pass@nowhere.invalid:6379/0".to_owned(),
            ),
            (
                "port",
                format!("redis://s3cr3t-user:s3cr3t-pass@127.0.0.1:{nobody}/0"),
            ),
            (
                "database",
                format!("redis://default:s3cr3t-right@127.0.0.1:{port}/999"),
            ),
        ] {
            let pool = Config::from_url(&url).create_pool(Some(Runtime::Tokio1));
            let pool = pool.expect("a URL");
            all.push(dependency(
                &format!("redis-{name}"),
                steadfast_deadpool_redis::ping(&pool),
            ));
            let told = steadfast_deadpool_redis::ping_url(&url, &pool);
            all.push(dependency(&format!("redis-{name}-told"), told));
        }
        all.extend(careless(nobody));
        all
    }
}

/// Checks of an application that says too much.
fn careless(nobody: u16) -> Vec<Dependency> {
    let url = "mysql://s3cr3t-user:s3cr3t-pass@db.test:3306/shop?token=s3cr3t#s3cr3t";
    let quoting = check::closure(move || async move {
        CheckOutcome::fail(
            FailureClass::Unreachable,
            format!("cannot reach {url:?}: {url}"),
        )
    });
    let pairs = check::closure(|| async {
        let text = "host=db user=app password='s3cr3t pass' sslpassword=s3cr3t PGPASSWORD=s3cr3t";
        CheckOutcome::fail(FailureClass::Unreachable, text)
    });
    let panicking = Panicking(format!("no connection to {url}"));
    let http = format!("http://s3cr3t-user:s3cr3t-pass@127.0.0.1:{nobody}/healthz?key=s3cr3t");
    let mut all = vec![
        dependency("closure-url", quoting),
        dependency("closure-pairs", pairs),
        dependency("panics", panicking),
    ];
    match check::http_get(&http) {
        Ok(http) => all.push(dependency("http", http)),
        // What it does not take, it must not quote either.
        Err(error) => assert!(!error.to_string().contains(SECRET), "{error}"),
    }
    all
}

struct Panicking(String);

impl Check for Panicking {
    async fn run(&self, _run: CheckRun) -> CheckOutcome {
        panic!("{}", self.0);
    }
}

fn dependency(name: &str, check: impl Check) -> Dependency {
    Dependency::builder(format!("{NAME}-{name}"))
        .check(check)
        .degrades()
        .fall(1)
        .interval(Duration::from_millis(200))
        .timeout(Duration::from_secs(10))
        .build()
        .expect("valid")
}

/// Keeps everything that was read, and by whom.
#[derive(Default)]
struct Reader {
    answers: usize,
    /// What must not be in what is read, beside the secrets.
    hidden: Vec<&'static str>,
}

impl Reader {
    #[track_caller]
    fn read(
        &mut self,
        address: SocketAddr,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let answer = send(address, method, target, headers);
        self.note(method, target, &answer);
        answer
    }

    #[track_caller]
    fn note(&mut self, method: &str, target: &str, answer: &Answer) {
        let all = answer.all().to_lowercase();
        let secrets = [SECRET, "admin-of-the-test", TOKEN];
        for secret in secrets.iter().chain(&self.hidden) {
            assert!(
                !all.contains(secret),
                "{method} {target} shows {secret}: {all}"
            );
        }
        self.answers += 1;
    }

    #[track_caller]
    fn refused(&mut self, address: SocketAddr, target: &str, cause: &str) {
        for form in FORMS {
            for method in ["GET", "HEAD", "OPTIONS", "POST"] {
                let told = format!("{target}?password=s3cr3t-query&url=postgres://a:s3cr3t@h/");
                let secrets = [("authorization", "Basic s3cr3t"), ("cookie", "id=s3cr3t")];
                let headers = [form, &secrets].concat();
                let answer = self.read(address, method, &told, &headers);
                let why = answer.header("why-503").unwrap_or_default();
                assert!(
                    why.starts_with(&format!("cause={cause}")),
                    "{}",
                    answer.all()
                );
            }
        }
    }

    #[track_caller]
    fn probes(&mut self, address: SocketAddr, names: &[String]) {
        let fixed = [
            "/health/",
            "/ready/",
            "/ready/?verbose",
            "/livez",
            "/readyz?verbose",
            "/startupz",
        ];
        let fixed = fixed.into_iter().map(str::to_owned);
        let each = names.iter().map(|name| format!("/ready/{name}"));
        for target in fixed.chain(each).chain(["/why503/".to_owned()]) {
            for form in FORMS {
                self.read(address, "GET", &target, form);
            }
        }
    }
}

/// A service whose every dependency fails, and a handler that asks each.
fn start(
    failing: &Failing,
    disclosure: Disclosure,
    probe: SocketAddr,
    app: Router,
) -> (Service, Vec<String>) {
    let names = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&names);
    let service = Service::start_with(|| {
        let all = failing.dependencies();
        *noted.lock().unwrap() = all.iter().map(|it| it.name().to_string()).collect();
        let mut guard = guard()
            .token(TOKEN)
            .shed(Shed::fixed(PLACES))
            .probe_listener(probe)
            .probes(steadfast::Probes::default().aliases())
            .explain(ExplainSettings::default().disclosure(disclosure));
        for dependency in &all {
            guard = guard.dependency(dependency);
        }
        let require = move |Path(index): Path<usize>| {
            let required = all[index].require();
            async move {
                required?;
                Ok::<_, Error>("served")
            }
        };
        let guard = guard.build().unwrap();
        let app = app.route("/require/{index}", routing::any(require));
        let app = guard.protect(app);
        (guard, app)
    });
    let names = names.lock().unwrap().clone();
    (service, names)
}

fn no_secret_is_shown(disclosure: Disclosure) {
    let failing = Failing::start();
    let probe: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let (held, slow) = hold();
    let app = Router::new().route("/slow", slow);
    let (service, names) = start(&failing, disclosure, probe, app);
    let address = service.address();
    let state =
        || -> Value { serde_json::from_str(&as_operator(address, "/why503/").body).unwrap() };
    let state = wait_for("every failure", state, |state| {
        let checks = state["dependencies"].as_array().unwrap();
        checks.len() == names.len()
            && checks
                .iter()
                .all(|it| it["health"] == "failing" || it["class"] == "panicked")
    });
    // Every one fails for the reason it was made for, or the test reads the wrong texts.
    let class = |name: &str| {
        let name = format!("{NAME}-{name}");
        let checks = state["dependencies"].as_array().unwrap();
        let check = checks.iter().find(|it| it["name"] == *name).unwrap();
        check["class"].as_str().unwrap_or_default().to_owned()
    };
    for (name, expected) in [
        ("postgres-password", "auth"),
        ("postgres-encoded", "auth"),
        ("postgres-in-query", "auth"),
        ("postgres-port", "unreachable"),
        ("postgres-database", "misconfigured"),
        ("redis-password", "auth"),
        ("redis-port", "unreachable"),
        ("panics", "panicked"),
    ] {
        assert_eq!(class(name), expected, "{name}: {state:#}");
    }

    let mut reader = Reader::default();
    if disclosure == Disclosure::Public {
        // A role's name is no secret to an operator, who needs it to read what the server says.
        reader.hidden = vec![NAME, "nowhere.invalid", "0rders", "db.test", "app-role"];
    }
    reader.probes(address, &names);
    for (index, name) in names.iter().enumerate() {
        if !name.ends_with("panics") {
            reader.refused(address, &format!("/require/{index}"), "dependency-down");
        }
    }
    wait_until("every place back", || {
        service.control().shedder().in_flight() == 0
    });
    let hold = || thread::spawn(move || get(address, "/slow"));
    let holding: Vec<_> = (0..PLACES).map(|_| hold()).collect();
    wait_until("no place left", || {
        service.control().shedder().in_flight() == PLACES
    });
    reader.refused(address, "/require/0", "overloaded");
    for _ in &holding {
        held.release();
    }
    for request in holding {
        assert_eq!(request.join().unwrap().body, "true");
    }
    service.control().begin_maintenance(
        "moving postgres://app:s3cr3t@db.test/shop?password=s3cr3t",
        None,
    );
    reader.refused(address, "/require/0", "maintenance");
    reader.probes(address, &names);

    reader.hidden.clear();
    reader.probes(probe, &names);
    let mut targets = vec!["/why503/".to_owned(), "/why503/maintenance".to_owned()];
    targets.extend(["/health/", "/ready/", "/ready/?verbose"].map(str::to_owned));
    targets.extend(names.iter().map(|name| format!("/ready/{name}")));
    let view = service.control().explain().ledger().view();
    targets.extend(view.recent.iter().map(|it| format!("/why503/{}", it.id)));
    for target in targets {
        reader.note("GET", &target, &as_operator(address, &target));
        reader.note("GET", &target, &get(probe, &target));
    }
    assert!(reader.answers > 500, "{}", reader.answers);
}

#[test]
fn no_secret_of_a_connection_url_is_shown_to_anybody() {
    no_secret_is_shown(Disclosure::Public);
}

#[test]
fn no_secret_of_a_connection_url_is_shown_with_full_disclosure_either() {
    no_secret_is_shown(Disclosure::Full);
}

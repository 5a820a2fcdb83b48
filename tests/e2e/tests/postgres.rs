//! A service whose database comes late, goes and comes back.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, routing};
use e2e::{Answer, Service, get, send, wait_for};
use serde_json::Value;
use sqlx::{PgPool, postgres::PgPoolOptions};
use steadfast::{Cause, Dependency, Guard, Guarded, Phase};
use support::Postgres;

/// Longer than any test waits.
const FOR_GOOD: Duration = Duration::from_secs(600);

const TOKEN: &str = "the-token-of-the-operator";

fn app() -> Router {
    Router::new().route("/", routing::get(|| async { "served" }))
}

/// A service that needs a database to start, asks it often, and has patience with a slow
/// machine.
fn start(postgres: &Postgres, hold: Duration) -> (Service, PgPool) {
    let url = postgres.admin_url();
    let pool = Arc::new(Mutex::new(None));
    let made = Arc::clone(&pool);
    let service = Service::start_with(move || {
        let pool = PgPoolOptions::new().max_connections(2);
        let pool = pool.connect_lazy(&url).expect("a URL");
        let database = Dependency::builder("orders-db")
            .check(steadfast_sqlx::ping(&pool))
            .interval(Duration::from_millis(50))
            .timeout(Duration::from_secs(20))
            .build()
            .expect("valid");
        *made.lock().expect("nobody panics with it") = Some(pool);
        guarded(&database, hold)
    });
    let pool = pool.lock().unwrap().take().unwrap();
    (service, pool)
}

fn guarded(database: &Dependency, hold: Duration) -> (Guard, Guarded) {
    let guard = Guard::builder()
        .without_signals()
        .dependency(database)
        .token(TOKEN)
        .start_hold(hold)
        .build()
        .expect("valid");
    let app = guard.protect(app());
    (guard, app)
}

/// What the operator sees of the database.
fn database(service: &Service) -> Value {
    let key = format!("Bearer {TOKEN}");
    let state = send(
        service.address(),
        "GET",
        "/why503/",
        &[("authorization", &key)],
    );
    let state: Value = serde_json::from_str(&state.body).expect("JSON");
    state["dependencies"][0].clone()
}

#[track_caller]
fn is_starting(answer: &Answer) {
    let why = answer.header("why-503").unwrap_or_default();
    assert_eq!(answer.status, 503, "{}", answer.all());
    assert!(why.starts_with("cause=starting, "), "{why}");
    assert!(why.ends_with(", safe-to-retry"), "{why}");
}

#[test]
fn a_database_that_comes_late_and_goes_and_comes_back() {
    let mut postgres = Postgres::builder().start();
    postgres.stop();
    let (service, _pool) = start(&postgres, FOR_GOOD);
    let address = service.address();

    service.wait_ready(503, "not ready: starting");
    // Also once the database is known to be down: nothing has changed for the client.
    wait_for(
        "a failing check",
        || database(&service),
        |seen| seen["health"] == "failing" && seen["class"] == "unreachable",
    );
    for _ in 0..5 {
        is_starting(&get(address, "/"));
    }
    service.wait_ready(503, "not ready: starting");
    assert_eq!(get(address, "/health/").status, 200, "the process is alive");
    assert_eq!(service.control().phase(), Some(Phase::Starting));

    postgres.start_again();
    service.block_on(service.control().when_ready());
    service.wait_until_ready();
    assert_eq!(get(address, "/").body, "served");
    let ledger = service.control().explain().ledger();
    assert_eq!(ledger.count(Cause::Starting), 5);

    postgres.stop();
    service.wait_ready(200, "degraded");
    assert_eq!(get(address, "/").body, "served", "it degrades, and no more");
    postgres.start_again();
    service.wait_until_ready();
    assert_eq!(get(address, "/").body, "served");
    assert_eq!(ledger.count(Cause::Starting), 5);
}

#[test]
fn once_the_hold_is_over_requests_are_served_and_readiness_still_says_starting() {
    let mut postgres = Postgres::builder().start();
    postgres.stop();
    let (service, _pool) = start(&postgres, Duration::from_secs(2));
    let address = service.address();

    let served = wait_for(
        "the end of the hold",
        || get(address, "/"),
        |answer| {
            if answer.status == 503 {
                is_starting(answer);
            }
            answer.status == 200
        },
    );
    assert_eq!(served.body, "served");
    service.wait_ready(503, "not ready: starting");
    assert_eq!(get(address, "/").body, "served");
    postgres.start_again();
    service.wait_until_ready();
}

/// The sessions of the pool: neither the check's own nor the one that asks.
fn sessions(postgres: &Postgres) -> BTreeSet<String> {
    let pids = postgres.sql(
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' \
         AND application_name NOT IN ('steadfast-probe', 'psql')",
    );
    pids.lines().map(str::to_owned).collect()
}

#[test]
fn a_hundred_probes_under_a_full_pool_lose_no_connection() {
    let postgres = Postgres::builder().start();
    let (service, pool) = start(&postgres, FOR_GOOD);
    service.wait_until_ready();
    let held = service.block_on(async {
        let first = pool.acquire().await.expect("a connection");
        [first, pool.acquire().await.expect("another")]
    });
    let before = sessions(&postgres);
    assert_eq!((before.len(), pool.size(), pool.num_idle()), (2, 2, 0));

    let checks = || database(&service)["check"]["runs"].as_u64().unwrap();
    let first = checks();
    for _ in 0..100 {
        let answer = get(service.address(), "/ready/");
        assert_eq!(answer.status, 200, "{}", answer.all());
    }
    // The checks themselves have also gone on meanwhile.
    wait_for("ten more checks", checks, |runs| *runs >= first + 10);
    assert_eq!(
        sessions(&postgres),
        before,
        "no session was closed or opened"
    );
    assert_eq!((pool.size(), pool.num_idle()), (2, 0));

    service.block_on(async { drop(held) });
    wait_for("both back", || pool.num_idle(), |idle| *idle == 2);
    assert_eq!(pool.size(), 2);
    assert_eq!(sessions(&postgres), before);
    service.wait_until_ready();
}

//! Each recipe against a dependency that is gone: after a few calls of its own it refuses at
//! once, and says so as a refusal.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{net::SocketAddr, time::Duration};

use fred::{
    prelude::ClientLike,
    types::config::{Config, PerformanceConfig, ServerConfig},
};
use steadfast::{Cause, Dependency, Error, Trip};
use tokio::net::TcpListener;
use tower::ServiceExt;

/// Longer than a test lasts on any machine.
const LONG: Duration = Duration::from_secs(3600);

/// Calls in a row that may fail before the breaker opens.
const FAILURES: u32 = 3;

fn dependency(name: &str) -> Dependency {
    let trip = Trip::default()
        .consecutive_failures(FAILURES)
        .consecutive_spread(Duration::ZERO)
        // Nobody is let through to try again while the test looks.
        .open_base(LONG)
        .open_max(LONG);
    Dependency::builder(name).trip(trip).build().unwrap()
}

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// Asserts that the first calls fail by themselves, and the next is refused.
async fn ends_in_a_refusal<T>(mut call: impl AsyncFnMut() -> Result<T, Error>) {
    for at in 0..FAILURES {
        let error = call().await.err().unwrap();
        assert!(error.refusal().is_none(), "call {at}: {error}");
    }
    let error = call().await.err().unwrap();
    let cause = error.refusal().map(|refusal| refusal.cause());
    assert_eq!(cause, Some(Cause::DependencyDown), "{error}");
}

#[tokio::test]
async fn an_upstream_that_answers_503_is_not_asked_for_ever() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/quote", listener.local_addr().unwrap());
    let busy = || async { http::StatusCode::SERVICE_UNAVAILABLE };
    let upstream = axum::Router::new().fallback(busy);
    tokio::spawn(async move { axum::serve(listener, upstream).await });
    let (payments, client) = (dependency("payments"), reqwest::Client::new());
    let url = reqwest::Url::parse(&url).unwrap();
    ends_in_a_refusal(async || recipes::over_reqwest::quote(&payments, &client, url.clone()).await)
        .await;
    let (payments, client) = (dependency("payments"), reqwest::Client::new());
    let client = recipes::over_reqwest::guarded(&payments, client);
    for at in 0..=FAILURES {
        let request = reqwest::Request::new(reqwest::Method::GET, url.clone());
        let answer = client.clone().oneshot(request).await;
        let refused = answer.as_ref().is_err_and(steadfast::CallError::is_refused);
        assert_eq!(refused, at == FAILURES, "call {at}: {answer:?}");
    }
}

#[tokio::test]
async fn fred_without_a_server_is_refused_at_once() {
    let at = nobody().await;
    let config = Config {
        server: ServerConfig::new_centralized(at.ip().to_string(), at.port()),
        ..Config::default()
    };
    let bounds = PerformanceConfig {
        default_command_timeout: Duration::from_millis(50),
        ..PerformanceConfig::default()
    };
    let client = fred::clients::Client::new(config, Some(bounds), None, None);
    // It goes on trying, and reports that nobody is there.
    let _connects = client.connect();
    let cache = dependency("cache");
    ends_in_a_refusal(async || recipes::over_fred::read(&cache, &client, "tea").await).await;
}

#[tokio::test]
async fn bb8_without_a_server_is_refused_at_once() {
    let url = format!("redis://{}", nobody().await);
    let manager = bb8_redis::RedisConnectionManager::new(url).unwrap();
    let pool = bb8::Pool::builder()
        .connection_timeout(Duration::from_millis(50))
        .build_unchecked(manager);
    let cache = dependency("cache");
    ends_in_a_refusal(async || recipes::over_bb8::read(&cache, &pool, "tea").await).await;
}

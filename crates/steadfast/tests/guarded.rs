//! What users do with a guarded application: state, nesting, peers' addresses, WebSockets,
//! HTTP/2, CORS, access logs, axum's own server.

#![cfg(feature = "axum")]

mod common;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request, State, WebSocketUpgrade},
    response::Response,
    routing::{get, post},
};
use common::{Answer, Connection, ask, fetch, soon, until};
use futures_util::{SinkExt, StreamExt};
use http_body_util::Full;
use steadfast::{Cause, Drain, Guard, GuardBuilder, Phase, Shed, test_util::assert_refused};
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::Message;
use tower::ServiceExt as _;
use tower_http::{
    cors::{Any, CorsLayer},
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    trace::TraceLayer,
};

fn builder() -> GuardBuilder {
    Guard::builder().without_signals()
}

fn maintained() -> Guard {
    let guard = builder().build().expect("valid");
    guard.control().begin_maintenance("a test", None);
    guard
}

#[tokio::test]
async fn state_and_nested_routers_work_as_before() {
    #[derive(Clone)]
    struct Shop(&'static str);
    async fn name(State(shop): State<Shop>) -> &'static str {
        shop.0
    }
    let inner = Router::new().route("/name", get(name));
    let app = Router::new()
        .route("/", get(name))
        .nest("/v1", Router::new().nest("/shop", inner))
        .with_state(Shop("corner"));
    let guard = builder().shed(Shed::fixed(4)).build().expect("valid");
    let app = guard.protect(app);
    for path in ["/", "/v1/shop/name"] {
        let answer = ask(&app, common::get(path)).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.body),
            (200, "corner"),
            "{path}"
        );
    }
    assert_eq!(ask(&app, common::get("/v1/none")).await.status, 404);
    let answer = ask(&app, common::request("DELETE", "/", &[])).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("allow")),
        (405, "GET,HEAD")
    );
}

#[tokio::test]
async fn oneshot_and_into_router_serve_the_same() {
    let guard = builder().build().expect("valid");
    let app = guard.protect(Router::new().route("/", get(|| async { "hello" })));
    let direct = app
        .clone()
        .oneshot(common::get("/"))
        .await
        .expect("infallible");
    assert_eq!(Answer::read(direct).await.body, "hello");
    let outer = Router::new().nest("/api", app.into_router());
    let nested = outer
        .clone()
        .oneshot(common::get("/api"))
        .await
        .expect("infallible");
    assert_eq!(Answer::read(nested).await.body, "hello");
    let probe = outer
        .oneshot(common::get("/api/health/"))
        .await
        .expect("infallible");
    assert_eq!(probe.status(), 200);
}

#[tokio::test]
async fn a_head_request_gets_the_heads_of_a_get() {
    let guard = builder().build().expect("valid");
    let app = guard.protect(Router::new().route("/", get(|| async { "hello" })));
    let answer = ask(&app, common::request("HEAD", "/", &[])).await;
    assert_eq!(
        (
            answer.status.as_u16(),
            answer.header("content-length"),
            &*answer.body
        ),
        (200, "5", "")
    );
    guard.control().begin_maintenance("", None);
    let of_get = ask(&app, common::get("/")).await;
    let server = common::serve(|listener| axum::serve(listener, app).into_future()).await;
    let of_head = fetch(server.address, common::request("HEAD", "/", &[])).await;
    assert_eq!((of_head.status.as_u16(), &*of_head.body), (503, ""));
    assert_eq!(of_head.cause(), "maintenance");
    // Ids and jittered hints have the same length or nearly so.
    let length: usize = of_head.header("content-length").parse().expect("a number");
    assert!(
        length.abs_diff(of_get.body.len()) <= 4,
        "{length} {}",
        of_get.body.len()
    );
}

#[tokio::test]
async fn an_options_request_is_the_applications_own() {
    let guard = builder().build().expect("valid");
    let own = axum::routing::options(|| async { "mine" });
    let app = guard.protect(Router::new().route("/", own));
    assert_eq!(
        ask(&app, common::request("OPTIONS", "/", &[])).await.body,
        "mine"
    );
}

fn who() -> Router {
    let peer = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() };
    Router::new().route("/peer", get(peer))
}

#[tokio::test]
async fn handlers_learn_the_peer_from_serve() {
    let guard = builder().build().expect("valid");
    let app = guard.protect(who()).layer(TraceLayer::new_for_http());
    let server = common::serve({
        let guard = guard.clone();
        move |listener| async move { guard.serve(listener, app).await }
    })
    .await;
    let answer = fetch(server.address, common::get("/peer")).await;
    assert!(answer.body.starts_with("127.0.0.1:"), "{answer:?}");
}

#[tokio::test]
async fn handlers_learn_the_peer_from_axums_make_service() {
    let guard = builder().build().expect("valid");
    let app = guard.protect(who());
    let make = axum::ServiceExt::<Request>::into_make_service_with_connect_info::<SocketAddr>(app);
    let server = common::serve(|listener| axum::serve(listener, make).into_future()).await;
    let answer = fetch(server.address, common::get("/peer")).await;
    assert!(answer.body.starts_with("127.0.0.1:"), "{answer:?}");
}

#[tokio::test]
async fn a_plain_make_service_works_too() {
    let guard = builder().build().expect("valid");
    let app = guard.protect(Router::new().route("/", get(|| async { "hello" })));
    let make = axum::ServiceExt::<Request>::into_make_service(app);
    let server = common::serve(|listener| axum::serve(listener, make).into_future()).await;
    assert_eq!(fetch(server.address, common::get("/")).await.body, "hello");
}

async fn echo(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|mut socket| async move {
        while let Some(Ok(message)) = socket.recv().await {
            if socket.send(message).await.is_err() {
                return;
            }
        }
    })
}

/// Goal: a WebSocket upgrade passes, talks, and does not keep the permit of its request: a
/// limit of 1 is free for others while the socket is open.
#[tokio::test]
async fn a_web_socket_passes_and_gives_its_permit_back_with_the_101() {
    let guard = builder().shed(Shed::fixed(1)).build().expect("valid");
    let app = Router::new()
        .route("/ws", get(echo))
        .route("/", get(|| async { "hello" }));
    let app = guard.protect(app);
    let server = common::serve(|listener| axum::serve(listener, app).into_future()).await;
    let url = format!("ws://{}/ws", server.address);
    let (mut socket, response) = tokio_tungstenite::connect_async(&url)
        .await
        .expect("upgraded");
    assert_eq!(response.status().as_u16(), 101);
    assert_eq!(guard.control().shedder().in_flight(), 0);
    for word in ["one", "two"] {
        socket.send(Message::text(word)).await.expect("sent");
        let echoed = soon("an echo", socket.next())
            .await
            .expect("open")
            .expect("a message");
        assert_eq!(echoed, Message::text(word));
        assert_eq!(fetch(server.address, common::get("/")).await.body, "hello");
    }
    socket.close(None).await.expect("closed");
}

#[tokio::test]
async fn a_web_socket_that_is_refused_gets_the_explanation() {
    let guard = maintained();
    let app = guard.protect(Router::new().route("/ws", get(echo)));
    let server = common::serve(|listener| axum::serve(listener, app).into_future()).await;
    let error = tokio_tungstenite::connect_async(format!("ws://{}/ws", server.address)).await;
    let Err(tokio_tungstenite::tungstenite::Error::Http(response)) = error else {
        panic!("expected an answer")
    };
    assert_eq!(response.status().as_u16(), 503);
    assert!(response.headers().contains_key("why-503"));
}

#[tokio::test]
async fn http2_streams_share_the_limit_and_get_no_connection_header() {
    let guard = builder().shed(Shed::fixed(1)).build().expect("valid");
    let go = Arc::new(Semaphore::new(0));
    let app = guard.protect(Router::new().route("/slow", common::slow(&go)));
    let server = common::serve(|listener| axum::serve(listener, app).into_future()).await;
    let sender = common::http2(server.address).await;
    let uri = format!("http://{}/slow", server.address);
    let send = || {
        let request = http::Request::get(&uri)
            .body(Full::default())
            .expect("a request");
        let mut sender = sender.clone();
        async move {
            let response = soon("a response", sender.send_request(request)).await;
            Answer::read(response.expect("a response")).await
        }
    };
    let first = tokio::spawn(send());
    until("one to run", || guard.control().shedder().in_flight() == 1).await;
    let refused = send().await;
    assert_eq!(
        (refused.status.as_u16(), refused.cause()),
        (503, "overloaded")
    );
    guard.control().begin_drain("a test");
    go.add_permits(1);
    let served = first.await.expect("no panic");
    assert_eq!((served.status.as_u16(), &*served.body), (200, "done"));
    assert_eq!(served.header("connection"), "");
    until("the permit", || guard.control().shedder().in_flight() == 0).await;
}

/// Goal: the way of those who keep `axum::serve`: the drain drives its graceful shutdown, a
/// request that runs is finished, and the server ends.
#[tokio::test]
async fn axums_graceful_shutdown_follows_the_drain() {
    let drain = Drain::default()
        .lame_duck_max(Duration::ZERO)
        .grace(Duration::from_secs(60));
    let guard = builder().drain(drain).build().expect("valid");
    let _running = guard.start().expect("started");
    let go = Arc::new(Semaphore::new(0));
    let app = guard.protect(Router::new().route("/slow", common::slow(&go)));
    let (control, ended) = (guard.control(), Arc::new(Semaphore::new(0)));
    let server = common::serve({
        let (control, ended) = (control.clone(), Arc::clone(&ended));
        move |listener| async move {
            axum::serve(listener, app)
                .with_graceful_shutdown(control.reached(Phase::Draining))
                .await
                .expect("served");
            ended.add_permits(1);
        }
    })
    .await;
    let mut connection = Connection::open(server.address).await;
    let client = tokio::spawn(async move {
        let answer = connection.ask(common::get("/slow")).await;
        connection.closes().await;
        answer
    });
    until("one to run", || control.shedder().in_flight() == 1).await;
    control.begin_drain("a test");
    soon("draining", control.clone().reached(Phase::Draining)).await;
    assert_eq!(ended.available_permits(), 0, "it waits for what runs");
    go.add_permits(1);
    let answer = soon("the answer", client).await.expect("no panic");
    assert_eq!(
        (answer.status.as_u16(), answer.header("connection")),
        (200, "close")
    );
    soon("the server's end", ended.acquire())
        .await
        .expect("open")
        .forget();
}

fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods(Any)
        .expose_headers(["why-503", "retry-after"].map(http::HeaderName::from_static))
}

const ORIGIN: (&str, &str) = ("origin", "https://shop.example");

#[tokio::test]
async fn a_browser_reads_a_refusal_when_cors_is_outside() {
    let guard = maintained();
    let app = guard
        .protect(Router::new().route("/", get(|| async { "hello" })))
        .layer(cors());
    let answer = ask(&app, common::request("GET", "/", &[ORIGIN])).await;
    assert_eq!(
        (answer.status.as_u16(), answer.cause()),
        (503, "maintenance")
    );
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    let exposed = answer.header("access-control-expose-headers");
    assert!(
        exposed.contains("why-503") && exposed.contains("retry-after"),
        "{exposed}"
    );
    assert!(!answer.header("retry-after").is_empty());
}

#[tokio::test]
async fn a_preflight_is_not_refused() {
    let guard = maintained();
    let app = guard
        .protect(Router::new().route("/", post(|| async { "hello" })))
        .layer(cors());
    let preflight = [ORIGIN, ("access-control-request-method", "POST")];
    let answer = ask(&app, common::request("OPTIONS", "/", &preflight)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-methods"), "*");
}

/// What the application's own inner layers put on an answer stays when a refusal made in a
/// handler is rendered: CORS is often inside, on the Router.
#[tokio::test]
async fn a_refusal_of_a_handler_keeps_the_headers_of_inner_layers() {
    let (payments, health) = steadfast::test_util::dependency("payments");
    health.fail("connection refused");
    let guard = builder().dependency(&payments).build().expect("valid");
    let pay = move || async move { payments.require().map_err(steadfast::Error::from) };
    let app = guard.protect(Router::new().route("/pay", get(pay)).layer(cors()));
    let answer = ask(
        &app,
        common::request("GET", "/pay", &[ORIGIN, ("accept", "text/plain")]),
    )
    .await;
    assert_eq!(
        (answer.status.as_u16(), answer.cause()),
        (503, "dependency-down")
    );
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert!(
        answer
            .header("access-control-expose-headers")
            .contains("why-503")
    );
    // What described the replaced body is gone, and each of our own headers is there once.
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    for name in [
        "why-503",
        "retry-after",
        "content-type",
        "cache-control",
        "x-content-type-options",
    ] {
        assert!(answer.headers.get_all(name).iter().count() <= 1, "{name}");
    }
    let length = answer.headers.get("content-length");
    assert!(
        length.is_none_or(|length| length == &answer.body.len().to_string()),
        "{length:?}"
    );
    let vary: Vec<_> = answer.headers.get_all("vary").iter().collect();
    assert!(vary.iter().any(|value| *value == "accept"), "{vary:?}");
    assert!(vary.len() >= 2, "the inner layer's is kept: {vary:?}");
}

#[tokio::test]
async fn layers_outside_see_refusals_and_their_request_ids_are_in_the_ledger() {
    let guard = maintained();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = {
        let seen = Arc::clone(&seen);
        move |response: &http::Response<Body>, _: Duration, _: &tracing::Span| {
            seen.lock()
                .expect("no panic")
                .push(response.status().as_u16());
        }
    };
    let app = guard
        .protect(Router::new().route("/", get(|| async { "hello" })))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(TraceLayer::new_for_http().on_response(log))
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid));
    let answer = ask(&app, common::get("/")).await;
    assert_eq!(*seen.lock().expect("no panic"), [503]);
    let id = answer.header("x-request-id");
    let found = guard.control().explain().ledger().find(id);
    assert_eq!(found.len(), 1, "{id}");
    assert_eq!(found[0].id.to_string(), answer.id());
}

#[tokio::test]
async fn layers_that_change_bodies_can_be_outside() {
    let guard = maintained();
    let app = guard
        .protect(Router::new().route("/", get(|| async { "hello" })))
        .layer(tower_http::map_request_body::MapRequestBodyLayer::new(
            |body: Body| http_body_util::Limited::new(body, 9),
        ))
        .layer(tower_http::timeout::TimeoutLayer::with_status_code(
            http::StatusCode::GATEWAY_TIMEOUT,
            Duration::from_secs(9),
        ));
    let response = app.oneshot(common::get("/")).await.expect("infallible");
    assert_refused(&response, Cause::Maintenance);
}

#[tokio::test]
async fn a_fallback_of_the_application_answers_what_the_guard_does_not() {
    let guard = builder().build().expect("valid");
    let app =
        guard.protect(Router::new().fallback(|| async { (http::StatusCode::NOT_FOUND, "mine") }));
    for path in ["/none", "/why503/", "/livez", "/readyz"] {
        let answer = ask(&app, common::get(path)).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.body),
            (404, "mine"),
            "{path}"
        );
    }
}

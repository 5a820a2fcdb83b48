//! The shop's routes, from outside.

use axum::http::Method;
use example_testing::Example;
use futures_util::{SinkExt, StreamExt};
use http_body_util::BodyExt;
use tokio_tungstenite::tungstenite::Message;

const SHOP: &str = env!("CARGO_BIN_EXE_shop");

async fn shop() -> Example {
    Example::start(SHOP, &[]).await.ready().await
}

#[tokio::test]
async fn an_order_is_made_read_and_paid_once() {
    let shop = shop().await;
    let products = shop.get("/products").await;
    assert_eq!((products.status, products.header("x-cache")), (200, "none"));
    let (first, second) = (&products.json()[0], &products.json()[1]);
    let cents = |product: &serde_json::Value| product["price_cents"].as_i64().expect("a price");

    let new = format!(
        r#"{{"customer":"Ada","lines":[{{"product":{},"quantity":2}},{{"product":{},"quantity":1}}]}}"#,
        first["id"], second["id"]
    );
    let made = shop.post("/orders", &new).await;
    assert_eq!(made.status, 201, "{made:?}");
    let order = made.json();
    assert_eq!(order["total_cents"], 2 * cents(first) + cents(second));
    assert!(order["receipt"].is_null());

    let path = made.header("location").to_owned();
    assert_eq!(
        shop.get(&path).await.json(),
        order,
        "read back as it was answered"
    );

    let id = order["id"].as_str().expect("an id");
    let paid = shop.post(&format!("/pay/{id}"), "").await;
    assert_eq!(paid.status, 200, "{paid:?}");
    let again = shop.post(&format!("/pay/{id}"), "").await;
    assert_eq!(again.json(), paid.json(), "the same receipt");
    assert_eq!(
        shop.get(&path).await.json()["receipt"],
        paid.json()["receipt"]
    );
}

#[tokio::test]
async fn load_takes_as_long_as_it_is_told() {
    let shop = shop().await;
    for path in ["/work?ms=5", "/spin?ms=5", "/report?ms=5"] {
        let answer = shop.get(path).await;
        assert_eq!(
            (answer.status, &answer.json()["ms"]),
            (200, &5.into()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn bad_input_is_told_in_a_problem_document() {
    let shop = shop().await;
    let unknown = "/orders/0190f5c2-0000-7000-8000-000000000000";
    for (path, status) in [
        ("/nothing", 404),
        (unknown, 404),
        ("/orders/7", 400),
        ("/orders/%27%20or%201=1", 400),
        ("/work?ms=soon", 400),
        ("/work?ms=-1", 400),
        ("/work?s=1", 400),
        ("/work?ms=60001", 422),
        ("/spin?ms=10001", 422),
        ("/orders", 405),
    ] {
        let answer = shop.get(path).await;
        assert_problem(&answer, status, path);
    }
    for (body, status) in [
        ("", 400),
        ("{", 400),
        ("{}", 422),
        (r#"{"customer":"Ada","lines":[]}"#, 422),
        (
            r#"{"customer":" ","lines":[{"product":1,"quantity":1}]}"#,
            422,
        ),
        (
            r#"{"customer":"Ada","lines":[{"product":1,"quantity":0}]}"#,
            422,
        ),
        (
            r#"{"customer":"Ada","lines":[{"product":1,"quantity":1.5}]}"#,
            422,
        ),
        (
            r#"{"customer":"Ada","lines":[{"product":99,"quantity":1}]}"#,
            422,
        ),
        (
            r#"{"customer":"Ada","lines":[{"product":1,"quantity":1},{"product":1,"quantity":1}]}"#,
            422,
        ),
        (
            r#"{"customer":"Ada","total_cents":1,"lines":[{"product":1,"quantity":1}]}"#,
            422,
        ),
    ] {
        assert_problem(&shop.post("/orders", body).await, status, body);
    }
    let long = format!(r#"{{"customer":"{}"}}"#, "x".repeat(100_000));
    assert_problem(
        &shop.post("/orders", &long).await,
        413,
        "a body that is too long",
    );
    let plain = shop.ask(Method::POST, "/orders", &[], "{}").await;
    assert_problem(&plain, 415, "no content type");
    assert_problem(
        &shop.post(&unknown.replace("orders", "pay"), "").await,
        404,
        "pay",
    );
}

fn assert_problem(answer: &example_testing::Answer, status: u16, what: &str) {
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    assert_eq!(
        answer.header("content-type"),
        "application/problem+json",
        "{what}"
    );
    assert_eq!(answer.json()["status"], status, "{what}");
    assert!(answer.json()["detail"].is_string(), "{what}");
}

#[tokio::test]
async fn events_come_as_they_happen() {
    let shop = shop().await;
    let http = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new());
    let http = http.build_http::<http_body_util::Full<bytes::Bytes>>();
    let events = http
        .get(format!("{}/events", shop.url()).parse().expect("a URL"))
        .await;
    let mut events = events.expect("an answer");
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    let first = events
        .body_mut()
        .frame()
        .await
        .expect("an event")
        .expect("whole");
    let first = first.into_data().expect("data");
    assert!(first.starts_with(b"event: tick\n"), "{first:?}");
}

#[tokio::test]
async fn a_web_socket_says_back_what_it_is_told() {
    let shop = shop().await;
    let url = shop.url().replace("http://", "ws://");
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("{url}/ws"))
        .await
        .expect("a socket");
    socket.send(Message::text("ahoy")).await.expect("sent");
    let back = socket.next().await.expect("an answer").expect("whole");
    assert_eq!(back, Message::text("ahoy"));
}

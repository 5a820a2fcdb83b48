//! Payments over TLS: the check and the client trust the same, and a certificate that nobody
//! trusts is told as that.

use axum::{
    Json, Router,
    http::Method,
    routing::{get, post},
};
use example_testing::{Example, eventually};
use serde_json::json;
use steadfast::{Guard, Tls};
use tokio::net::TcpListener;

const SHOP: &str = env!("CARGO_BIN_EXE_shop");

const TOKEN: (&str, &str) = ("WHY503_TOKEN", "0123456789abcdef");
const BEARER: (&str, &str) = ("authorization", "Bearer 0123456789abcdef");

/// A payments service with a certificate for `localhost`; returns its URL and the certificate.
async fn payments() -> (String, String) {
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a pair");
    let pem = pair.cert.pem();
    let tls = Tls::from_pem(pem.as_bytes(), pair.signing_key.serialize_pem().as_bytes());
    let tls = tls.expect("a pair");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let app = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route(
            "/charges",
            post(|| async { Json(json!({"receipt": "paid over TLS"})) }),
        );
    let guard = Guard::builder().without_signals().build().expect("valid");
    let app = guard.protect(app);
    tokio::spawn(guard.server().listen_tls(listener, &tls, app).run());
    (format!("https://localhost:{port}"), pem)
}

#[tokio::test]
async fn payments_is_asked_over_tls() {
    let (url, pem) = payments().await;
    let directory = tempfile::tempdir().expect("a directory");
    let roots = directory.path().join("roots.pem");
    std::fs::write(&roots, pem).expect("written");
    let trusting = [
        TOKEN,
        ("PAYMENTS_URL", url.as_str()),
        ("SSL_CERT_FILE", roots.to_str().expect("UTF-8")),
    ];
    let shop = Example::start(SHOP, &trusting).await.ready().await;
    let product = shop.get("/products").await.json()[0]["id"].clone();
    let order = json!({"customer": "Ada", "lines": [{"product": product, "quantity": 1}]});
    let ordered = shop.post("/orders", &order.to_string()).await;
    assert_eq!(ordered.status, 201, "{ordered:?}");
    let id = ordered.json()["id"].as_str().expect("an id").to_owned();
    let paid = shop.post(&format!("/pay/{id}"), "").await;
    assert_eq!(paid.status, 200, "{paid:?}");
    assert!(paid.text().contains("paid over TLS"), "{}", paid.text());

    let shop = Example::start(SHOP, &[TOKEN, ("PAYMENTS_URL", &url)]).await;
    let told = eventually("the check has failed", || async {
        let page = shop
            .ask(Method::GET, "/why503/", &[BEARER], "")
            .await
            .json();
        let all = page["dependencies"].as_array().cloned().unwrap_or_default();
        let payments = all.into_iter().find(|it| it["name"] == "payments")?;
        let told = payments.to_string();
        told.contains("\"tls\"").then_some(told)
    })
    .await;
    assert!(
        told.contains("signed by nobody whom this host trusts"),
        "{told}"
    );
}

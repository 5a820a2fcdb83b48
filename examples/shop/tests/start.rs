//! What a person is told whose settings are wrong: one line, no password, exit code 1.

use std::net::TcpListener;

use example_testing::{Example, eventually, fails};

const SHOP: &str = env!("CARGO_BIN_EXE_shop");

#[tokio::test]
async fn a_wrong_setting_is_told_in_one_line_without_secrets() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = &*taken.local_addr().expect("an address").to_string();
    // Kept for documents: no host has it.
    let foreign = "192.0.2.1:80";
    for (name, value, told) in [
        ("ADDR", taken, "set ADDR=127.0.0.1:0"),
        ("ADDR", "here", "ADDR here: "),
        ("ADDR", foreign, "allowed is an address of this host"),
        ("PROBE_ADDR", taken, "set PROBE_ADDR=127.0.0.1:0"),
        ("PROBE_ADDR", "here", "PROBE_ADDR \"here\"; allowed is"),
        ("PROBE_ADDR", foreign, "PROBE_ADDR 192.0.2.1:80: "),
        ("METRICS_ADDR", taken, "set METRICS_ADDR=127.0.0.1:0"),
        ("METRICS_ADDR", "9000", "METRICS_ADDR \"9000\"; allowed is"),
        ("METRICS_ADDR", foreign, "METRICS_ADDR 192.0.2.1:80: "),
        ("STEADFAST__PROBES__LISTEN", taken, "probes.listen of"),
        ("STEADFAST__PROBES__LISTEN", "9000", "found \"9000\""),
        (
            "DATABASE_URL",
            "mysql://u:hunter2@h/d",
            "allowed are postgres:// and sqlite:",
        ),
        (
            "DATABASE_URL",
            "postgres://u:hunter2@h:port/d",
            "allowed is postgres://",
        ),
        (
            "DATABASE_URL",
            "sqlite:/no/such/directory/shop.db",
            "unable to open database file",
        ),
        ("REDIS_URL", "http://u:hunter2@h", "allowed is redis://"),
        (
            "PAYMENTS_URL",
            "ftp://u:hunter2@h",
            "allowed is http or https://",
        ),
        ("WHY503_TOKEN", "hunter2", "allowed are 16 or more"),
        ("STEADFAST_CONFIG", "/no/such/file", "STEADFAST_CONFIG"),
        ("STEADFAST__SHED__LIMT", "3", "did you mean LIMIT?"),
        (
            "STEADFAST__SHED__LIMIT",
            "many",
            "allowed is a whole number",
        ),
    ] {
        let (code, said) = fails(SHOP, &[("RUST_LOG", "error"), (name, value)]).await;
        assert_eq!(code, Some(1), "{name}={value}: {said}");
        assert_eq!(said.lines().count(), 1, "{name}={value}: {said}");
        assert!(
            said.starts_with("shop: ") && said.contains(told),
            "{name}={value}: {said}"
        );
        if [taken, foreign].contains(&value) {
            assert!(said.contains(value), "{name}={value}: {said}");
        }
        assert!(!said.contains("hunter2"), "{name}={value}: {said}");
    }
}

/// An address where nobody listens, and nobody else can while the socket is kept.
fn nobody() -> (tokio::net::TcpSocket, String) {
    let silent = tokio::net::TcpSocket::new_v4().expect("a socket");
    silent
        .bind("127.0.0.1:0".parse().expect("an address"))
        .expect("a free port");
    let address = silent.local_addr().expect("an address").to_string();
    (silent, address)
}

#[tokio::test]
async fn a_cache_that_is_down_makes_the_shop_slower_and_no_worse() {
    let (_silent, address) = nobody();
    let url = format!("redis://:hunter2@{address}/");
    let shop = Example::start(SHOP, &[("REDIS_URL", &url)])
        .await
        .ready()
        .await;
    let products = shop.get("/products").await;
    assert_eq!((products.status, products.header("x-cache")), (200, "miss"));
    eventually("the cache is known to be down", || async {
        (shop.get("/ready/").await.text() == "degraded\n").then_some(())
    })
    .await;
    assert!(!shop.logged().contains("hunter2"), "{}", shop.logged());
}

#[tokio::test]
async fn a_database_that_is_down_is_waited_for_and_told() {
    let (_silent, address) = nobody();
    let url = format!("postgres://u:hunter2@{address}/shop");
    let shop = Example::start(SHOP, &[("DATABASE_URL", &url)]).await;
    let ready = shop.get("/ready/").await;
    assert_eq!((ready.status, ready.text()), (503, "not ready: starting\n"));
    let refused = shop.get("/products").await;
    assert!(
        refused.header("why-503").starts_with("cause=starting"),
        "{refused:?}"
    );
    assert_eq!(
        shop.get("/health/").await.status,
        200,
        "restarting it would not help"
    );
    assert!(!shop.logged().contains("hunter2"), "{}", shop.logged());
}

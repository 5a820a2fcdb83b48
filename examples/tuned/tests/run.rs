//! The example, as its user runs it.

use std::net::TcpListener;

use example_testing::{Example, eventually, fails};
use http::Method;

const TUNED: &str = env!("CARGO_BIN_EXE_tuned");

const BEARER: (&str, &str) = ("authorization", "Bearer not-a-secret-at-all");

/// A port of the machine that runs the test may be taken; the system chooses a free one.
const LISTEN: (&str, &str) = ("TUNED__PROBES__LISTEN", "127.0.0.1:0");

#[tokio::test]
async fn the_environment_wins_over_the_file_and_the_file_over_the_code() {
    for (environment, limit) in [
        (&[LISTEN][..], 32),
        (&[LISTEN, ("TUNED__SHED__LIMIT", "8")], 8),
    ] {
        let tuned = Example::start(TUNED, environment).await;
        let page = tuned.ask(Method::GET, "/-/why503/", &[BEARER], "").await;
        assert_eq!(page.json()["shed"]["limit"], limit);
    }
}

#[tokio::test]
async fn paths_are_where_the_code_put_them_and_maintenance_is_an_order() {
    let tuned = Example::start(TUNED, &[LISTEN]).await;
    eventually("it is ready", || async {
        (tuned.get("/-/ready").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(tuned.get("/readyz").await.status, 200);
    assert_eq!(tuned.get("/").await.text(), "hello\n");

    let order = "/-/why503/maintenance?reason=new+disk&for=10m";
    assert_eq!(tuned.ask(Method::PUT, order, &[], "").await.status, 401);
    assert_eq!(
        tuned.ask(Method::PUT, order, &[BEARER], "").await.status,
        200
    );
    let refused = tuned.get("/").await;
    assert_eq!(refused.status, 503);
    assert!(refused.header("why-503").starts_with("cause=maintenance"));
    assert_eq!(
        refused.json()["type"],
        "https://errors.example.com/503#maintenance"
    );
}

#[tokio::test]
async fn a_slip_in_a_key_is_told() {
    let (code, said) = fails(TUNED, &[LISTEN, ("TUNED__DRAIN__GRACES", "5s")]).await;
    assert_eq!(code, Some(1));
    assert!(
        said.contains("TUNED__DRAIN__GRACES") && said.contains("did you mean"),
        "{said}"
    );
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = &*taken.local_addr().expect("an address").to_string();
    let (code, said) = fails(TUNED, &[LISTEN, ("ADDR", address)]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains(&format!("ADDR {address}: ")), "{said}");
}

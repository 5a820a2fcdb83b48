//! The example, as its user runs it.

use example_testing::{Example, eventually};
use tokio::task::JoinSet;
use tonic::{Code, transport::Endpoint};
use tonic_guarded::{HelloRequest, call};

#[tokio::test]
async fn a_refusal_arrives_as_unavailable_with_a_pushback() {
    let server = Example::start(env!("CARGO_BIN_EXE_tonic-guarded"), &[]).await;
    let channel = Endpoint::from_shared(server.url().to_owned()).expect("a URL");
    let channel = channel.connect().await.expect("a connection");
    let ask = |wait_ms| {
        call(
            channel.clone(),
            HelloRequest {
                name: "Ada".to_owned(),
                wait_ms,
            },
        )
    };
    assert_eq!(ask(0).await.expect("served").text, "hello Ada");
    assert_eq!(
        ask(70_000).await.expect_err("too long").code(),
        Code::InvalidArgument
    );

    // More are sent all the time than may run, until one is refused.
    let mut held = JoinSet::new();
    let refused = eventually("a call is refused", || {
        for _ in 0..4 {
            held.spawn(ask(60_000));
        }
        let asked = ask(0);
        async move { asked.await.err() }
    })
    .await;
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    let metadata = refused.metadata();
    let text = |name: &str| {
        metadata
            .get(name)
            .map(|value| value.to_str().expect("ASCII"))
    };
    let pushback = text("grpc-retry-pushback-ms").expect("a pushback");
    assert!(pushback.parse::<u64>().expect("a number") > 0, "{pushback}");
    assert!(
        text("why-503")
            .expect("why")
            .starts_with("cause=overloaded;rule=limit")
    );

    // Their clients leave, so their places are free again.
    drop(held);
    eventually("a call is served again", || {
        let asked = ask(0);
        async move { asked.await.ok() }
    })
    .await;
}

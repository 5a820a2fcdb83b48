//! The example, as its user runs it.

use example_testing::{Example, eventually};
use tokio::task::JoinSet;

async fn server() -> Example {
    let server = Example::start(env!("CARGO_BIN_EXE_tower-only"), &[]).await;
    assert_eq!(server.get("/").await.text(), "1 of 4\n");
    server
}

#[tokio::test]
async fn the_fifth_request_is_refused_and_told_why() {
    let server = server().await;
    // More are sent all the time than may run, until one is refused.
    let mut slow = JoinSet::new();
    let refused = eventually("a request is refused", || {
        for _ in 0..4 {
            let caller = server.caller();
            slow.spawn(async move { caller.get("/slow").await });
        }
        let caller = server.caller();
        async move { Some(caller.get("/").await).filter(|answer| answer.status == 503) }
    })
    .await;
    assert!(
        refused
            .header("why-503")
            .starts_with("cause=overloaded;rule=limit"),
        "{refused:?}"
    );
    assert_eq!(refused.json()["cause"], "overloaded");
}

#[cfg(unix)]
#[tokio::test]
async fn a_drain_serves_what_runs_and_ends_with_0() {
    let mut server = server().await;
    let caller = server.caller();
    let running = tokio::spawn(async move { caller.get("/slow").await });
    eventually("the request runs", || async {
        (server.get("/").await.text() == "2 of 4\n").then_some(())
    })
    .await;
    server.terminate();
    let answer = running.await.expect("no panic");
    assert_eq!((answer.status, answer.header("connection")), (200, "close"));
    assert!(server.ended().await.success(), "{}", server.logged());
}

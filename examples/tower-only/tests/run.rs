//! The example, as its user runs it.

use example_testing::{Example, eventually};
use tokio::task::JoinSet;

#[tokio::test]
async fn the_fifth_request_is_refused_and_a_drain_loses_nothing() {
    let mut server = Example::start(env!("CARGO_BIN_EXE_tower-only"), &[]).await;
    assert_eq!(server.get("/").await.text(), "hello\n");

    // More are sent all the time than may run, until one is refused.
    let mut slow = JoinSet::new();
    let refused = eventually("a request is refused", || {
        for _ in 0..5 {
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

    while let Some(answer) = slow.join_next().await {
        let answer = answer.expect("no panic");
        assert!(matches!(answer.status, 200 | 503), "{answer:?}");
    }
    let running = server.caller();
    let running = tokio::spawn(async move { running.get("/slow").await });
    eventually("the process is leaving", || async {
        // Told only once the request above has had a chance to arrive; should it come too
        // late all the same, it finds a closed door, which is no loss.
        (server.get("/").await.status == 200).then_some(())
    })
    .await;
    #[cfg(unix)]
    {
        server.terminate();
        assert!(server.ended().await.success(), "{}", server.logged());
    }
    drop(running);
}

//! The example, as its user runs it.

use example_testing::Example;

#[tokio::test]
async fn it_says_hello_and_answers_its_probes() {
    let hello = Example::start(env!("CARGO_BIN_EXE_hello"), &[])
        .await
        .ready()
        .await;
    assert_eq!(hello.get("/").await.text(), "hello\n");
    assert_eq!(hello.get("/ready/").await.text(), "ready\n");
    assert_eq!(hello.get("/health/").await.json()["status"], "pass");
    assert_eq!(
        hello.get("/why503/").await.status,
        404,
        "nobody could be authorised"
    );
}

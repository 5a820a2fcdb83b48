use deadpool_redis::{Config, Runtime};
use tokio::net::TcpListener;

use super::*;

const MS: Duration = Duration::from_millis(1);

/// A pool whose server takes connections and says nothing.
async fn silent() -> (TcpListener, Pool) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}/", listener.local_addr().unwrap());
    let pool = Config::from_url(url).create_pool(Some(Runtime::Tokio1));
    (listener, pool.unwrap())
}

/// So much is left of `whole`.
fn left(left: Duration, whole: Duration) -> Patience {
    let until = clock::now() + left;
    Patience::new(Deadline::at(until), until - whole)
}

/// Goal: with little time left nobody is accused. Method: the time is paused, and a server
/// that never answers is asked for a new session in ends of runs, and then in a whole one.
#[tokio::test(start_paused = true)]
async fn with_little_time_left_nobody_is_accused() {
    let (listener, pool) = silent().await;
    let whole = 900 * MS;
    let probe = Probe::new(None);
    let hasty = probe.renew(&pool, left(449 * MS, whole)).await;
    assert_eq!(hasty, None);
    let asked = poll_fn(|cx| Poll::Ready(listener.poll_accept(cx).is_ready())).await;
    assert!(!asked, "it is asked in the next run");

    let first = probe.renew(&pool, left(10 * MS, 20 * MS)).await;
    assert_eq!(first, None, "it may be slow");
    for _ in 0..3 {
        let hasty = probe.renew(&pool, left(100 * MS, whole)).await;
        assert_eq!(hasty, None, "it had 310 ms of 450 at most");
    }
    let told = probe.renew(&pool, left(whole, whole)).await;
    assert!(matches!(told, Some(Err(_))), "{told:?}");
}

/// Goal: the same where the old session ended when most of the time was over.
#[tokio::test(start_paused = true)]
async fn an_end_late_in_a_run_is_told_as_that() {
    let (listener, pool) = silent().await;
    let probe = Probe::new(None);
    let broken = Question::new(false, async {
        tokio::time::sleep(800 * MS).await;
        Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe).into())
    });
    probe.inner(|inner| inner.state = State::Asked(broken));
    let trouble = probe
        .ask(&pool, left(900 * MS, 900 * MS))
        .await
        .unwrap_err();
    assert_eq!(trouble.failure, closed("the server"));
    let asked = poll_fn(|cx| Poll::Ready(listener.poll_accept(cx).is_ready())).await;
    assert!(!asked, "there was no time left for a new one");
}

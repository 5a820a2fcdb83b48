use sqlx::{
    PgConnection, PgPool, Postgres,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::net::TcpListener;

use super::*;

const MS: Duration = Duration::from_millis(1);

/// A pool whose server takes connections and says nothing.
async fn silent() -> (TcpListener, PgPool, Endpoint) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let options = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port);
    let endpoint = <Postgres as crate::driver::sealed::Sealed>::endpoint(&options);
    let pool = PgPoolOptions::new().connect_lazy_with(options);
    (listener, pool, endpoint.expect("it has a server"))
}

/// So much is left of `whole`.
fn left(left: Duration, whole: Duration) -> Patience {
    let until = clock::now() + left;
    Patience::new(Deadline::at(until), until - whole)
}

/// How many connections have come.
async fn taken(listener: &TcpListener) -> usize {
    poll_fn(|cx| {
        let taken = std::iter::from_fn(|| listener.poll_accept(cx).is_ready().then_some(()));
        Poll::Ready(taken.count())
    })
    .await
}

fn failure<T>(told: Option<Result<T, Failure>>) -> Option<Failure> {
    told.and_then(Result::err)
}

/// Goal: with little time left nobody is accused. Method: the time is paused, and a server
/// that never answers is asked for a new session in ends of runs, and then in a whole one.
#[tokio::test(start_paused = true)]
async fn with_little_time_left_nobody_is_accused() {
    let (listener, pool, endpoint) = silent().await;
    let whole = 900 * MS;
    let probe = Probe::<PgConnection>::new();
    let hasty = probe.renew(&pool, &endpoint, left(449 * MS, whole)).await;
    assert_eq!(failure(hasty), None);
    assert_eq!(taken(&listener).await, 0, "it is asked in the next run");

    let first = probe.renew(&pool, &endpoint, left(10 * MS, 20 * MS)).await;
    assert_eq!(failure(first), None, "it may be slow");
    for _ in 0..3 {
        let hasty = probe.renew(&pool, &endpoint, left(100 * MS, whole)).await;
        assert_eq!(failure(hasty), None, "it had 310 ms of 450 at most");
    }
    let told = probe.renew(&pool, &endpoint, left(whole, whole)).await;
    assert!(failure(told).is_some());
}

/// Goal: the same where the old session ended when most of the time was over.
#[tokio::test(start_paused = true)]
async fn an_end_late_in_a_run_is_told_as_that() {
    let (listener, pool, endpoint) = silent().await;
    let probe = Probe::<PgConnection>::new();
    let broken = Question::new(false, async {
        tokio::time::sleep(800 * MS).await;
        Err(sqlx::Error::Io(std::io::ErrorKind::BrokenPipe.into()))
    });
    probe.put(State::Asked(broken));
    let asked = probe.ask(&pool, &endpoint, left(900 * MS, 900 * MS)).await;
    let failure = failure(Some(asked)).unwrap();
    assert!(failure.message().contains("broken pipe"), "{failure}");
    let knocks = 1;
    assert_eq!(taken(&listener).await, knocks, "no time left for a new one");
}

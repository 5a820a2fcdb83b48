//! What the guard makes of the answers of a server that says what a test tells it to say.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests wait for real sockets, on the real clock"
)]

mod server;
mod sessions;

use std::time::Duration;

use deadpool_redis::{Config, Pool, PoolConfig, Runtime, redis};
use steadfast::{BreakerState, Dependency, Refusal};
use steadfast_core::{CallKind, Deadline, DependencyState, Evidence, FailureClass, Trip};
use steadfast_deadpool_redis::{Error, GuardedConnection, PoolGuard, guard};

use self::server::{Reply, Server};

/// Longer than a test lasts on any machine.
const LONG: Duration = Duration::from_secs(120);

struct Rig {
    server: Server,
    cache: Dependency,
    redis: PoolGuard,
}

impl Rig {
    /// A pool of four in front of a server with this script, and rules by which three
    /// failures in a row are an outage that lasts as long as the test.
    async fn new(script: impl Fn(usize, &[&str]) -> Reply + Send + Sync + 'static) -> Self {
        Self::with_silence(LONG, script).await
    }

    /// The same, with this bound of a server's silence.
    async fn with_silence(
        silence_max: Duration,
        script: impl Fn(usize, &[&str]) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let server = Server::start(script).await;
        let rules = Trip::default()
            .consecutive_failures(3)
            .consecutive_spread(Duration::ZERO)
            .open_base(LONG)
            .open_max(LONG);
        let cache = Dependency::builder("cache").trip(rules).build().unwrap();
        let redis = guard(&pool(&server.url()), &cache).connect_max(LONG);
        let redis = redis.silence_max(silence_max).build().unwrap();
        Self {
            server,
            cache,
            redis,
        }
    }

    fn state(&self) -> &DependencyState {
        let state: &std::sync::Arc<DependencyState> = self.cache.as_ref();
        state
    }

    fn count(&self, kind: CallKind) -> u64 {
        self.state().calls().of(kind)
    }

    fn failures(&self) -> u64 {
        self.count(CallKind::Failure) + self.count(CallKind::Timeout)
    }

    fn breaker(&self) -> BreakerState {
        let seen = self.cache.view().breaker;
        seen.map_or(BreakerState::Closed, |seen| seen.state)
    }

    /// Borrows a connection for one command.
    async fn ask(&self, words: &[&str]) -> Result<(), Error> {
        let mut connection = self.redis.acquire().await?;
        ask(&mut connection, words).await
    }

    /// Opens so many connections and leaves them idle.
    async fn warm(&self, count: usize) {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(self.redis.acquire().await.unwrap());
        }
    }
}

fn pool(url: &str) -> Pool {
    let mut config = Config::from_url(url);
    config.pool = Some(PoolConfig::new(4));
    config.create_pool(Some(Runtime::Tokio1)).unwrap()
}

async fn ask(connection: &mut GuardedConnection, words: &[&str]) -> Result<(), Error> {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    let _: redis::Value = command.query_async(connection).await?;
    Ok(())
}

#[track_caller]
fn down(error: &Error) -> (FailureClass, String) {
    let refusal = error.refusal().unwrap_or_else(|| panic!("{error:?}"));
    match refusal.evidence() {
        Evidence::DependencyDown(down) => (down.class, down.last_error.to_string()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_says_it_cannot_serve_is_down_with_its_own_words() {
    for (line, class) in [
        ("-CLUSTERDOWN Hash slot not served", FailureClass::Unhealthy),
        (
            "-MASTERDOWN Link with MASTER is down",
            FailureClass::Unhealthy,
        ),
        (
            "-LOADING Redis is loading the dataset",
            FailureClass::Loading,
        ),
        ("-NOAUTH Authentication required.", FailureClass::Auth),
        ("-upstream failure", FailureClass::Unreachable),
    ] {
        let rig = Rig::new(move |_, words| match words {
            ["SET", ..] => Reply::Line(line),
            _ => Reply::Usual,
        })
        .await;
        for _ in 0..3 {
            let error = rig.ask(&["SET", "k", "v"]).await.unwrap_err();
            assert!(error.driver().is_some(), "{error:?}");
        }
        let (told, text) = down(&rig.ask(&["SET", "k", "v"]).await.unwrap_err());
        assert_eq!((told, text.as_str()), (class, &line[1..]));
    }
}

#[tokio::test]
async fn a_command_that_fails_in_a_known_outage_has_its_error_and_the_reason() {
    let rig = Rig::new(|_, words| match words {
        ["SET", ..] => Reply::Line("-CLUSTERDOWN Hash slot not served"),
        _ => Reply::Usual,
    })
    .await;
    let mut connection = rig.redis.acquire().await.unwrap();
    for _ in 0..3 {
        ask(&mut connection, &["SET", "k", "v"]).await.unwrap_err();
    }
    assert_eq!(rig.breaker(), BreakerState::Open);
    let error = ask(&mut connection, &["SET", "k", "v"]).await.unwrap_err();
    let (refusal, error) = error.into_parts();
    assert!(refusal.is_some());
    let text = error.unwrap().to_string();
    assert!(text.contains("Hash slot not served"), "{text}");
}

#[tokio::test]
async fn an_error_of_the_caller_says_nothing_against_the_server() {
    let rig = Rig::new(|_, words| match words {
        ["SET", ..] => Reply::Line("-WRONGTYPE Operation against a key"),
        ["EVALSHA", ..] => Reply::Line("-NOSCRIPT No matching script."),
        _ => Reply::Usual,
    })
    .await;
    for words in [["SET", "k", "v"], ["EVALSHA", "s", "0"]].repeat(4) {
        assert!(rig.ask(&words).await.unwrap_err().driver().is_some());
    }
    assert_eq!(rig.failures(), 0);
    assert_eq!(rig.count(CallKind::Neutral), 8);
    rig.ask(&["GET", "k"]).await.unwrap();
    assert_eq!(rig.breaker(), BreakerState::Closed);
}

/// Goal: failures that lie far apart are not failures in a row. Method: one borrower, of
/// whom three of twelve commands fail, each between others that succeed.
#[tokio::test]
async fn each_command_is_judged_once_success_or_failure() {
    let rig = Rig::new(|_, words| match words {
        ["GET", "BAD"] => Reply::Line("-LOADING Redis is loading the dataset"),
        _ => Reply::Usual,
    })
    .await;
    let mut connection = rig.redis.acquire().await.unwrap();
    for number in 0..12 {
        let key = if number % 4 == 3 { "bad" } else { "good" };
        let asked = ask(&mut connection, &["GET", key]).await;
        assert_eq!(asked.is_ok(), key == "good");
    }
    drop(connection);
    assert_eq!((rig.count(CallKind::Success), rig.failures()), (9, 3));
    assert_eq!(rig.breaker(), BreakerState::Closed);
}

#[tokio::test]
async fn a_connection_that_is_not_used_is_no_evidence() {
    let rig = Rig::new(|_, _| Reply::Usual).await;
    drop(rig.redis.acquire().await.unwrap());
    assert_eq!(rig.count(CallKind::Success), 0);
}

#[tokio::test]
async fn a_pipeline_is_one_call_and_judged_by_its_worst_answer() {
    let rig = Rig::new(|_, words| match words {
        ["LPUSH", ..] => Reply::Line("-WRONGTYPE Operation against a key"),
        ["SET", ..] => Reply::Line("-CLUSTERDOWN Hash slot not served"),
        _ => Reply::Usual,
    })
    .await;
    let mut connection = rig.redis.acquire().await.unwrap();
    let mut pipe = redis::pipe();
    pipe.get("k").lpush("k", "v").set("k", "v");
    let asked = pipe.query_async::<redis::Value>(&mut connection).await;
    assert!(asked.is_err());
    assert_eq!((rig.failures(), rig.count(CallKind::Success)), (1, 0));
}

#[tokio::test]
async fn a_server_that_takes_no_writes_serves_reads_and_has_writes_refused() {
    for line in [
        "-READONLY You can't write against a read only replica.",
        "-MISCONF Redis is configured to save RDB snapshots",
        "-NOREPLICAS Not enough good replicas to write.",
    ] {
        let rig = Rig::new(move |_, words| match words {
            ["SET" | "DEL", ..] => Reply::Line(line),
            ["ROLE"] => Reply::Text(server::role("slave")),
            _ => Reply::Usual,
        })
        .await;
        let mut refused = None;
        for _ in 0..10 {
            let error = rig.ask(&["SET", "k", "v"]).await.unwrap_err();
            refused = error.refusal().is_some().then_some(error).or(refused);
            rig.ask(&["GET", "k"]).await.unwrap();
        }
        let (class, text) = down(&refused.unwrap());
        assert_eq!(class, FailureClass::ReadOnly);
        assert_eq!(text, &line[1..]);
        let error = rig.ask(&["DEL", "k"]).await.unwrap_err();
        assert!(error.refusal().is_some(), "{error:?}");
        assert_eq!((rig.failures(), rig.breaker()), (0, BreakerState::Closed));
    }
}

#[tokio::test]
async fn a_full_memory_has_only_those_writes_refused_that_need_some() {
    let rig = Rig::new(|_, words| match words {
        ["SET", ..] => Reply::Line("-OOM command not allowed when used memory > 'maxmemory'."),
        _ => Reply::Usual,
    })
    .await;
    let mut refused = 0;
    for _ in 0..10 {
        let error = rig.ask(&["SET", "k", "v"]).await.unwrap_err();
        refused += u32::from(error.refusal().is_some());
        rig.ask(&["DEL", "k"]).await.unwrap();
    }
    assert!(refused >= 5, "{refused}");
}

#[tokio::test]
async fn a_refused_command_passes_for_an_error_of_the_driver_and_is_found_in_it() {
    let rig = Rig::new(|_, words| match words {
        ["SET", ..] => Reply::Line("-MISCONF Redis is configured"),
        _ => Reply::Usual,
    })
    .await;
    let mut connection = rig.redis.acquire().await.unwrap();
    let mut found = false;
    for _ in 0..10 {
        let mut set = redis::cmd("SET");
        let asked = set.arg("k").arg("v").query_async::<()>(&mut connection);
        found |= Refusal::find(&asked.await.unwrap_err()).is_some();
    }
    assert!(found);
}

/// Goal: a request's deadline ends its command. Method: a server that never answers it, and
/// a driver that would wait for longer than the test lasts.
#[tokio::test]
async fn a_command_ends_with_the_deadline_of_its_request() {
    let server = Server::start(|_, words| match words {
        ["GET", ..] => Reply::Silence,
        _ => Reply::Usual,
    })
    .await;
    let cache = Dependency::builder("cache").build().unwrap();
    let redis = guard(&pool(&server.url()), &cache);
    let redis = redis.silence_max(LONG).build().unwrap();
    let now = tokio::time::Instant::now().into_std();
    let deadline = Deadline::after(now, Duration::from_secs(1));
    let mut connection = redis.acquire_before(Some(deadline)).await.unwrap();
    let error = ask(&mut connection, &["GET", "k"]).await.unwrap_err();
    let text = error.driver().unwrap().to_string();
    assert!(text.contains("the request's time was over"), "{text}");
    let state: &std::sync::Arc<DependencyState> = cache.as_ref();
    assert_eq!(state.calls().of(CallKind::Failure), 0);
}

#[tokio::test]
async fn silence_past_the_bound_of_a_command_is_a_failure() {
    let server = Server::start(|_, words| match words {
        ["GET", ..] => Reply::Silence,
        _ => Reply::Usual,
    })
    .await;
    let cache = Dependency::builder("cache").build().unwrap();
    let redis = guard(&pool(&server.url()), &cache);
    let redis = redis
        .silence_max(Duration::from_millis(20))
        .build()
        .unwrap();
    let mut connection = redis.acquire().await.unwrap();
    ask(&mut connection, &["GET", "k"]).await.unwrap_err();
    let state: &std::sync::Arc<DependencyState> = cache.as_ref();
    assert_eq!(state.calls().of(CallKind::Timeout), 1);
    let wrong = guard(&pool(&server.url()), &cache).silence_max(Duration::ZERO);
    assert!(
        wrong
            .build()
            .unwrap_err()
            .to_string()
            .contains("silence_max")
    );
}

#[tokio::test]
async fn a_command_that_waits_on_purpose_is_no_evidence_when_its_time_is_over() {
    let rig = Rig::with_silence(Duration::from_millis(20), |_, words| match words {
        ["BLPOP", ..] => Reply::Silence,
        _ => Reply::Usual,
    })
    .await;
    rig.ask(&["BLPOP", "jobs", "0"]).await.unwrap_err();
    assert_eq!(rig.failures(), 0);
    // What the server would answer late is nothing for whoever comes next.
    assert_eq!(rig.redis.pool().status().size, 0);
}

//! The guard of a deadpool-redis pool in front of a real Redis in trouble.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sessions;

use std::{sync::Arc, time::Duration};

use deadpool_redis::{Config, Pool, PoolConfig, Runtime, redis};
use dependencies_tests::{
    guarded::{Answer, App, Steps, breaker, dependency, down, exhausted, failures, quick_trip},
    wait_until,
};
use steadfast::Dependency;
use steadfast_core::{Cause, FailureClass, Refusal, plumbing::BreakerState};
use steadfast_deadpool_redis::{Error, PoolGuard, guard};
use support::Redis;
use tokio::task::JoinSet;

/// Longer than a test lasts on any machine: what is waited for is not the time.
const LONG: Duration = Duration::from_secs(120);

const SIZE: usize = 8;

/// A pool as deadpool makes it: without any timeout.
fn pool(url: &str, size: usize) -> Pool {
    let mut config = Config::from_url(url);
    config.pool = Some(PoolConfig::new(size));
    config.create_pool(Some(Runtime::Tokio1)).unwrap()
}

struct Rig {
    cache: Dependency,
    redis: PoolGuard,
    app: App,
    steps: Arc<Steps>,
}

impl Rig {
    fn new(server: &Redis, connect_max: Duration) -> Self {
        Self::at(&server.url(), connect_max)
    }

    fn at(url: &str, connect_max: Duration) -> Self {
        let cache = dependency(quick_trip());
        let builder = guard(&pool(url, SIZE), &cache);
        let redis = builder
            .wait_max(LONG)
            .connect_max(connect_max)
            .build()
            .unwrap();
        let steps = Steps::watch(&cache);
        let app = App::new(&cache, {
            let redis = redis.clone();
            move || {
                let redis = redis.clone();
                async move { Ok(write(&redis).await?) }
            }
        });
        Self {
            cache,
            redis,
            app,
            steps,
        }
    }

    async fn refusal(&self) -> Refusal {
        let error = self.redis.acquire().await.map(drop).unwrap_err();
        let refusal = error.refusal().cloned();
        refusal.unwrap_or_else(|| panic!("{error:?}"))
    }

    async fn calls(&self, count: usize) -> Vec<Answer> {
        self.app.get_at_once("/orders", count).await
    }

    async fn until_open(&self) {
        wait_until("an open breaker", || async {
            let _ = self.calls(4).await;
            self.app.get("/hello").await.is_served();
            breaker(&self.cache) == BreakerState::Open
        })
        .await;
        self.steps.opened_by_rule(&self.cache, 4);
        self.app
            .get("/orders")
            .await
            .is_refused(Cause::DependencyDown);
    }

    /// As many calls at once as may come reach the server one for each probe.
    async fn sees_no_herd(&self) {
        let rounds = self.steps.count(BreakerState::Probing);
        let failed = failures(&self.cache);
        wait_until("some probes", || async {
            let _ = self.calls(20).await;
            self.app.get("/hello").await.is_served();
            self.steps.count(BreakerState::Probing) >= rounds + 3
        })
        .await;
        let rounds = self.steps.count(BreakerState::Probing) - rounds;
        let failed = failures(&self.cache) - failed;
        assert!(
            failed <= rounds,
            "{failed} calls in {rounds} rounds of one probe"
        );
    }

    /// Calls until all is well, and claims that every place is there.
    async fn until_closed(&self) {
        wait_until("a closed breaker", || async {
            let _ = self.calls(10).await;
            breaker(&self.cache) == BreakerState::Closed
        })
        .await;
        let mut all = Vec::new();
        while all.len() < SIZE {
            all.extend(self.redis.acquire().await.ok());
        }
        drop(all);
        let seen = self.redis.snapshot();
        assert_eq!((seen.in_use, seen.connecting, seen.waiting), (0, 0, 0));
        assert!(self.redis.pool().status().size <= SIZE);
    }

    /// Fills the pool with connections, and leaves them idle.
    async fn warm(&self) {
        let mut all = Vec::new();
        while all.len() < SIZE {
            all.extend(self.redis.acquire().await.ok());
        }
    }
}

async fn write(redis: &PoolGuard) -> Result<(), Error> {
    let mut connection = redis.acquire().await?;
    let set = redis::cmd("SET").arg("seen").arg(1).clone();
    Ok(set.query_async(&mut connection).await?)
}

async fn read(redis: &PoolGuard) -> Result<(), Error> {
    let mut connection = redis.acquire().await?;
    let get = redis::cmd("GET").arg("seen").clone();
    let _: Option<String> = get.query_async(&mut connection).await?;
    Ok(())
}

#[tokio::test]
async fn a_killed_redis_is_down_at_once_and_back_without_a_herd() {
    let mut server = Redis::builder().start();
    let rig = Rig::new(&server, LONG);
    rig.warm().await;
    server.stop();
    let refusal = rig.refusal().await;
    assert_eq!(
        down(&refusal).class,
        FailureClass::Unreachable,
        "{refusal:?}"
    );
    rig.until_open().await;
    rig.sees_no_herd().await;
    server.start_again();
    rig.until_closed().await;
}

#[tokio::test]
async fn a_paused_redis_with_many_idle_connections_costs_one_wait_and_not_many() {
    let mut server = Redis::builder().start();
    let connect_max = Duration::from_secs(2);
    let rig = Rig::new(&server, connect_max);
    rig.warm().await;
    server.pause();
    // deadpool would test eight connections in a row, for half a second each.
    let refusal = rig.refusal().await;
    assert_eq!(down(&refusal).class, FailureClass::Stuck, "{refusal:?}");
    assert_eq!(
        rig.redis.pool().status().available,
        0,
        "none is tested again"
    );
    rig.until_open().await;
    rig.sees_no_herd().await;
    server.resume();
    rig.until_closed().await;
}

#[tokio::test]
async fn a_loading_redis_is_down_until_it_has_loaded() {
    let mut server = Redis::builder().arg("--rdbcompression").arg("no").start();
    // It answers once for each KiB that it loads: about once a key.
    let value = "x".repeat(1024);
    let sets: String = (0..2_000)
        .map(|n| format!("SET k{n} {value}\r\n"))
        .collect();
    let made = server.commands(&format!("{sets}SAVE"));
    assert!(made.ends_with("+OK\r\n+OK\r\n"), "{made}");
    let rig = Rig::new(&server, LONG);
    rig.warm().await;
    server.stop();
    // 50 ms for each of the keys: it loads for longer than the test looks.
    let slow = [
        "--key-load-delay",
        "50000",
        "--loading-process-events-interval-bytes",
        "1024",
    ];
    server.start_again_with(&slow);
    rig.until_open().await;
    let refusal = rig.refusal().await;
    assert_eq!(down(&refusal).class, FailureClass::Loading, "{refusal:?}");
    rig.sees_no_herd().await;
    let _ = server.commands("CONFIG SET key-load-delay 0");
    rig.until_closed().await;
}

#[tokio::test]
async fn a_redis_that_takes_no_writes_has_them_refused_and_serves_reads() {
    let server = Redis::builder().start();
    let rig = Rig::new(&server, LONG);
    rig.app.get("/orders").await.is_served();
    let _ = server.commands("CONFIG SET maxmemory 1");
    wait_until("a refusal", || async {
        read(&rig.redis).await.unwrap();
        let answer = rig.app.get("/orders").await;
        answer.is_for(Cause::DependencyDown)
    })
    .await;
    let page = rig.app.page().await;
    let text = page["dependencies"][0].to_string();
    assert!(text.contains("read-only"), "{text}");
    assert!(text.contains("OOM"), "{text}");
    assert_eq!(failures(&rig.cache), 0);
    assert_eq!(breaker(&rig.cache), BreakerState::Closed);
    let _ = server.commands("CONFIG SET maxmemory 0");
    wait_until("a write", || async { write(&rig.redis).await.is_ok() }).await;
    rig.app.get("/orders").await.is_served();
}

#[tokio::test]
async fn a_pool_that_is_held_is_exhausted_and_names_the_holder() {
    let server = Redis::builder().start();
    let cache = dependency(quick_trip());
    let redis = guard(&pool(&server.url(), 1), &cache);
    let redis = redis.waiters_max(0).connect_max(LONG).build().unwrap();
    let line = line!() + 1;
    let held = redis.acquire().await.unwrap();
    let error = redis.acquire().await.map(drop).unwrap_err();
    let refusal = error.refusal().unwrap();
    let seen = exhausted(refusal, FailureClass::Saturated);
    assert_eq!((seen.in_use, seen.max), (1, 1));
    let place = format!("guard_redis/main.rs:{line}");
    assert!(
        seen.longest.as_ref().unwrap().place.ends_with(&place),
        "{refusal:?}"
    );
    assert_eq!(failures(&cache), 0);
    drop(held);
    write(&redis).await.unwrap();
}

/// Goal: the wait for a connection ends with the request. Method: without that it would
/// last longer than the test.
#[tokio::test]
async fn a_requests_deadline_ends_its_wait_for_a_connection() {
    let server = Redis::builder().start();
    let rig = Rig::new(&server, LONG);
    let mut held = Vec::new();
    while held.len() < SIZE {
        held.extend(rig.redis.acquire().await.ok());
    }
    let time = Duration::from_secs(1);
    let refused = rig.app.get_within("/orders", time).await;
    refused.is_refused(Cause::PoolExhausted);
    let page = rig.app.page().await;
    let evidence = &page["incidents"][0]["evidence"];
    assert_eq!(evidence["in_use"], SIZE, "{evidence}");
    // The request's time began before its wait.
    let waited = evidence["waited_ms"].as_u64().expect("a time");
    assert!((1..LONG.as_millis() as u64).contains(&waited), "{evidence}");
    assert_eq!(page["dependencies"][0]["pool"]["in_use"], SIZE);
    assert_eq!(rig.redis.snapshot().waiting, 0, "it has left the queue");
    assert_eq!(failures(&rig.cache), 0);
    drop(held);
    rig.app.get("/orders").await.is_served();
}

/// Goal: a queue that is empty is not a server that hangs. Method: rules under which a few
/// calls of a tenth of a second are an outage, and commands that wait for longer than the
/// driver does.
#[tokio::test]
async fn commands_that_wait_on_purpose_are_no_failure_and_no_stuck_pool() {
    let server = Redis::builder().start();
    let cache = dependency(
        quick_trip()
            .slow_limit(Duration::from_millis(50))
            .stall_limit(Duration::from_millis(100))
            .stalled_calls(1)
            .calls_min(2),
    );
    let redis = guard(&pool(&server.url(), 2), &cache)
        .waiters_max(0)
        .connect_max(LONG)
        .stuck_after(Duration::from_millis(100))
        .held_long(Duration::from_millis(100))
        .build()
        .unwrap();
    let mut waiting = JoinSet::new();
    for _ in 0..2 {
        let redis = redis.clone();
        waiting.spawn(async move {
            let mut connection = redis.acquire().await.unwrap();
            connection.expect_up_to(LONG);
            let mut take = redis::cmd("BLPOP");
            let take = take.arg("jobs").arg(0);
            take.query_async::<(String, String)>(&mut connection)
                .await
                .unwrap()
        });
    }
    wait_until("two who wait", || async {
        server
            .commands("INFO clients")
            .contains("blocked_clients:2")
    })
    .await;
    // Longer than the driver's own response timeout, and than every limit above.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let error = redis.acquire().await.map(drop).unwrap_err();
    let seen = exhausted(error.refusal().unwrap(), FailureClass::Saturated);
    assert_eq!(seen.in_use, 2);
    assert_eq!(redis.snapshot().held_long, 0);
    assert_eq!(breaker(&cache), BreakerState::Closed);
    let _ = server.commands("RPUSH jobs a b");
    let jobs = waiting.join_all().await;
    assert!(jobs.iter().all(|(list, _)| list == "jobs"), "{jobs:?}");
    assert_eq!(failures(&cache), 0);
    assert_eq!(breaker(&cache), BreakerState::Closed);
    // The pool's own connections wait no longer than before.
    write(&redis).await.unwrap();
}

#[tokio::test]
async fn a_command_that_is_cancelled_while_it_waits_blocks_nobody_after_it() {
    let server = Redis::builder().start();
    let cache = dependency(quick_trip());
    let redis = guard(&pool(&server.url(), 1), &cache).connect_max(LONG);
    let redis = redis.build().unwrap();
    let blocked = async |count: u32| {
        let wanted = format!("blocked_clients:{count}");
        wait_until(&wanted, || async {
            server.commands("INFO clients").contains(&wanted)
        })
        .await;
    };
    let waiting = tokio::spawn({
        let redis = redis.clone();
        async move {
            let mut connection = redis.acquire().await.unwrap();
            connection.expect_up_to(LONG);
            let mut take = redis::cmd("BLPOP");
            let take = take.arg("jobs").arg(0);
            take.query_async::<(String, String)>(&mut connection).await
        }
    });
    blocked(1).await;
    waiting.abort();
    let _ = waiting.await;
    blocked(0).await;
    write(&redis).await.unwrap();
    assert_eq!(failures(&cache), 0);
    assert_eq!(redis.snapshot().in_use, 0);
}

#[tokio::test]
async fn thousands_of_cancelled_requests_cost_no_connection() {
    let server = Redis::builder().start();
    let rig = Rig::new(&server, LONG);
    rig.warm().await;
    let clients = || {
        server
            .commands("CLIENT LIST TYPE normal")
            .matches("addr=")
            .count()
    };
    let before = clients();
    let mut requests = JoinSet::new();
    for number in 0..10_000_usize {
        let redis = rig.redis.clone();
        requests.spawn(async move {
            tokio::select! {
                biased;
                _ = redis.acquire() => {}
                () = yields(number * 7 % 30) => {}
            }
        });
        if number % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
    requests.join_all().await;
    wait_until("every place back", || async {
        let seen = rig.redis.snapshot();
        (seen.in_use, seen.connecting, seen.waiting) == (0, 0, 0)
    })
    .await;
    assert_eq!(rig.redis.pool().status().available, SIZE);
    assert_eq!(clients(), before, "no connection was closed");
    assert_eq!(failures(&rig.cache), 0);
    assert_eq!(breaker(&rig.cache), BreakerState::Closed);
}

async fn yields(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

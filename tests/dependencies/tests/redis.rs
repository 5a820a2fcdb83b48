//! A real Redis in every state that a pool without timeouts waits out, and what is said.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{net::TcpStream, time::Duration};

use deadpool_redis::{Config, Pool, PoolConfig, Runtime, redis};
use dependencies_tests::{ask, ask_first, ask_until, ask_within, number, wait_until};
use steadfast_core::{CheckOutcome, CheckStatus, FailureClass};
use steadfast_deadpool_redis::{ping, ping_url};
use support::{BlackHole, Redis, free_port};

/// What a check may take that will hear nothing; above the driver's connect timeout.
const SILENCE: Duration = Duration::from_secs(3);

/// A pool of two with deadpool's own timeouts: none.
fn pool(url: &str) -> Pool {
    sized_pool(url, 2)
}

fn sized_pool(url: &str, max: usize) -> Pool {
    let mut config = Config::from_url(url);
    config.pool = Some(PoolConfig::new(max));
    config.create_pool(Some(Runtime::Tokio1)).unwrap()
}

#[track_caller]
fn is(outcome: &CheckOutcome, status: CheckStatus, class: FailureClass) {
    assert_eq!(
        (outcome.status(), outcome.class()),
        (status, Some(class)),
        "{outcome:?}"
    );
}

#[track_caller]
fn fails(outcome: &CheckOutcome, class: FailureClass) {
    is(outcome, CheckStatus::Fail, class);
}

#[track_caller]
fn passes(outcome: &CheckOutcome) {
    assert_eq!(outcome.status(), CheckStatus::Pass, "{outcome:?}");
}

fn does_pass(outcome: &CheckOutcome) -> bool {
    outcome.status() == CheckStatus::Pass
}

#[tokio::test]
async fn a_stopped_server_is_unreachable_and_comes_back() {
    let mut redis = Redis::builder().start();
    let pool = pool(&redis.url());
    let check = ping(&pool);
    let first = ask(&check).await;
    passes(&first);
    assert!(number(&first, "ping_ms").is_some());
    assert_eq!(number(&first, "pool_max"), Some(2.0));

    redis.stop();
    let stopped = ask(&check).await;
    fails(&stopped, FailureClass::Unreachable);
    assert!(stopped.message().contains("refused"), "{stopped:?}");
    fails(
        &ask(&ping_url(&redis.url(), &pool)).await,
        FailureClass::Unreachable,
    );
    redis.start_again();
    let _ = ask_until(&check, does_pass).await;
}

#[tokio::test]
async fn a_server_that_stands_still_is_stuck() {
    let mut redis = Redis::builder().start();
    let pool = pool(&redis.url());
    let (old, told) = (ping(&pool), ping_url(&redis.url(), &pool));
    passes(&ask(&old).await);
    let fresh = ping(&pool);
    redis.pause();
    for _ in 0..2 {
        fails(&ask_within(&old, SILENCE).await, FailureClass::Stuck);
        fails(&ask_within(&told, SILENCE).await, FailureClass::Stuck);
    }
    // Where the server is stands in the pool, so it knows without ever having been answered.
    fails(&ask_within(&fresh, SILENCE).await, FailureClass::Stuck);
    redis.resume();
    for check in [old, told, fresh] {
        let _ = ask_until(&check, does_pass).await;
    }
}

#[tokio::test]
async fn a_server_that_never_answered_is_stuck_where_it_takes_connections() {
    let hole = BlackHole::start();
    let url = format!("redis://{}/", hole.address());
    let pool = pool(&url);
    for check in [ping(&pool), ping_url(&url, &pool)] {
        fails(&ask_within(&check, SILENCE).await, FailureClass::Stuck);
    }
}

#[tokio::test]
async fn a_server_at_maxclients_has_refused() {
    for password in [None, Some("right")] {
        let mut builder = Redis::builder().arg("--maxclients").arg("1");
        if let Some(password) = password {
            builder = builder.arg("--requirepass").arg(password);
        }
        let redis = builder.start();
        let url = password.map_or(redis.url(), |word| redis.url_with("default", word));
        let pool = pool(&url);
        let checks = [ping(&pool), ping_url(&url, &pool)];
        // The client that brought the server up may not have been forgotten yet.
        let other = ping(&sized_pool(&url, 1));
        let _ = ask_until(&other, does_pass).await;

        for check in &checks {
            let quoted = ask(check).await;
            fails(&quoted, FailureClass::RefusedByServer);
            assert!(
                quoted.message().contains("max number of clients"),
                "{quoted:?}"
            );
        }
        drop(other);
        let _ = ask_until(&checks[0], does_pass).await;
    }
}

#[tokio::test]
async fn a_refused_probe_is_a_warning_while_the_pool_has_connections() {
    let redis = Redis::builder().arg("--maxclients").arg("1").start();
    let pool = pool(&redis.url());
    wait_until("a connection", || async { pool.get().await.is_ok() }).await;
    is(
        &ask(&ping_url(&redis.url(), &pool)).await,
        CheckStatus::Warn,
        FailureClass::RefusedByServer,
    );
}

/// Goal: a refusal of new sessions is found while old ones work. Method: a check that has
/// a session already, and a pool whose sessions are served.
#[tokio::test]
async fn that_new_sessions_are_refused_is_found_while_old_ones_serve() {
    for (order, class) in [
        ("CONFIG SET maxclients 5", FailureClass::RefusedByServer),
        ("CONFIG SET requirepass rotated", FailureClass::Auth),
    ] {
        let redis = Redis::builder().start();
        let pool = sized_pool(&redis.url(), 8);
        let check = ping_url(&redis.url(), &pool);
        passes(&ask(&check).await);
        let all = [(); 4].map(|()| pool.get());
        let mut held = Vec::new();
        for one in all {
            held.push(one.await.unwrap());
        }
        drop(held);
        let _ = redis.commands(order);
        let warned = ask_until(&check, |outcome| outcome.status() != CheckStatus::Pass).await;
        is(&warned, CheckStatus::Warn, class);
        let text = warned.message();
        assert!(text.starts_with("new sessions are refused: "), "{text}");
        assert!(text.ends_with("; 4 old ones still serve"), "{text}");
        // The same for one that never had a session.
        let first = ask(&ping_url(&redis.url(), &pool)).await;
        is(&first, CheckStatus::Warn, class);
        assert_eq!(pool.status().size, 4, "none was closed");
        if class == FailureClass::RefusedByServer {
            let _ = pool.get().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_pool_that_cannot_grow_is_seen_though_the_probe_is_connected() {
    let redis = Redis::builder().arg("--maxclients").arg("2").start();
    let pool = pool(&redis.url());
    let check = ping_url(&redis.url(), &pool);
    let _ = ask_until(&check, does_pass).await;
    let mut held = None;
    while held.is_none() {
        held = pool.get().await.ok();
    }
    let outcome = ask_until(&check, |outcome| outcome.status() == CheckStatus::Fail).await;
    fails(&outcome, FailureClass::RefusedByServer);
    assert!(
        outcome.message().contains("can open no more"),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn credentials_are_told_apart_and_no_secret_is_shown() {
    let redis = Redis::builder().arg("--requirepass").arg("right").start();
    let secret = "hunter2secret";
    let port = redis.port();
    for (url, class) in [
        (redis.url(), FailureClass::Auth),
        (redis.url_with("default", secret), FailureClass::Auth),
        (redis.url_with(secret, secret), FailureClass::Auth),
        (
            format!("redis://:{secret}@127.0.0.1:{port}/?password={secret}#{secret}"),
            FailureClass::Auth,
        ),
        (
            format!("redis://:{secret}@127.0.0.1:{port}/0?protocol=resp3"),
            FailureClass::Auth,
        ),
        (
            format!("redis://:right@127.0.0.1:{port}/99?x={secret}"),
            FailureClass::Misconfigured,
        ),
        (
            format!("redis://app:{secret}@127.0.0.1:{}/", free_port()),
            FailureClass::Unreachable,
        ),
        (
            format!("redis://app:{secret}@no-such-host.invalid/"),
            FailureClass::Dns,
        ),
        (
            format!("redis+unix:///no/such/socket?user=app&pass={secret}"),
            FailureClass::Unreachable,
        ),
    ] {
        let pool = pool(&url);
        for check in [ping(&pool), ping_url(&url, &pool)] {
            let outcome = ask(&check).await;
            fails(&outcome, class);
            let shown = format!("{outcome:?} {check:?}");
            assert!(!shown.contains(secret), "{shown}");
        }
    }
    let wrong = format!("http://app:{secret}@cache/?password={secret}");
    let outcome = ask(&ping_url(&wrong, &pool(&redis.url()))).await;
    fails(&outcome, FailureClass::Misconfigured);
    assert!(!format!("{outcome:?}").contains(secret));
    passes(&ask(&ping(&pool(&redis.url_with("default", "right")))).await);
}

#[tokio::test]
async fn a_server_that_loads_its_data_says_so() {
    let redis = Redis::that_loads();
    let pool = pool(&redis.url());
    for check in [ping(&pool), ping_url(&redis.url(), &pool)] {
        fails(&ask(&check).await, FailureClass::Loading);
    }
}

#[tokio::test]
async fn a_replica_without_its_master_is_read_only() {
    let redis = Redis::builder()
        .arg("--replicaof")
        .arg("127.0.0.1")
        .arg(free_port().to_string())
        .start();
    let pool = pool(&redis.url());
    // It answers a PING, so only one that writes sees it.
    passes(&ask(&ping(&pool)).await);
    let outcome = ask(&ping(&pool).write_too()).await;
    is(&outcome, CheckStatus::Warn, FailureClass::ReadOnly);
    assert!(outcome.message().contains("READONLY"), "{outcome:?}");
    let _ = redis.commands("CONFIG SET replica-serve-stale-data no");
    // Then it does not serve reads either.
    fails(&ask(&ping(&pool)).await, FailureClass::Unhealthy);
}

#[tokio::test]
async fn a_full_memory_is_read_only_for_one_that_writes() {
    let redis = Redis::builder().arg("--maxmemory").arg("1").start();
    let pool = pool(&redis.url());
    passes(&ask(&ping(&pool)).await);
    let outcome = ask(&ping(&pool).write_too()).await;
    is(&outcome, CheckStatus::Warn, FailureClass::ReadOnly);
    assert!(outcome.message().contains("OOM"), "{outcome:?}");
}

#[tokio::test]
async fn a_hundred_pings_leave_a_held_pool_of_one_as_it_was() {
    let redis = Redis::builder().start();
    let pool = sized_pool(&redis.url(), 1);
    let held = pool.get().await.unwrap();
    let check = ping(&pool);
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.get().await.map(drop) }
    });
    wait_until("one that waits", || async { pool.status().waiting == 1 }).await;
    for _ in 0..100 {
        let full = ask(&check).await;
        is(&full, CheckStatus::Warn, FailureClass::Saturated);
        assert!(full.message().contains("no wait timeout"), "{full:?}");
        assert_eq!(number(&full, "pool_waiting"), Some(1.0));
    }
    let status = pool.status();
    assert_eq!((status.size, status.available, status.waiting), (1, 0, 1));
    drop(held);
    waiting.await.unwrap().unwrap();
    passes(&ask(&check).await);
    assert_eq!(pool.status().size, 1);
}

#[tokio::test]
async fn a_cut_run_closes_its_connection() {
    let mut redis = Redis::builder().start();
    let pool = pool(&redis.url());
    let check = ping(&pool);
    passes(&ask(&check).await);
    let clients = |redis: &Redis| redis.commands("CLIENT LIST").matches("id=").count();
    assert_eq!(clients(&redis), 2);
    redis.pause();
    let deadline = tokio::time::Instant::now().into_std() + Duration::from_secs(60);
    let run = steadfast_core::CheckRun::new(steadfast_core::Deadline::at(deadline));
    let cut = steadfast_core::Check::run(&check, run);
    assert!(
        tokio::time::timeout(Duration::from_millis(200), cut)
            .await
            .is_err()
    );
    redis.resume();
    wait_until("the end of the probe", || async { clients(&redis) == 1 }).await;
    passes(&ask(&check).await);
    drop(TcpStream::connect(("127.0.0.1", redis.port())).unwrap());
}

#[tokio::test]
async fn the_first_answer_is_the_pools_own_first_connection() {
    let redis = Redis::builder().arg("--maxclients").arg("1").start();
    let pool = sized_pool(&redis.url(), 1);
    // The client that brought the server up may not have been forgotten yet.
    wait_until("a free slot", || async {
        let first = ask_first(&ping(&pool)).await;
        does_pass(&first) && pool.status().available == 1
    })
    .await;
    let _: () = redis::cmd("PING")
        .query_async(&mut pool.get().await.unwrap())
        .await
        .unwrap();
    let gone = pool_at_nobody();
    fails(&ask_first(&ping(&gone)).await, FailureClass::Unreachable);
}

fn pool_at_nobody() -> Pool {
    pool(&format!("redis://127.0.0.1:{}/", free_port()))
}

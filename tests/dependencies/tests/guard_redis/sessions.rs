//! Sessions that work stay, and those that lead to a demoted server do not.

use std::time::{Duration, Instant};

use dependencies_tests::{guarded::breaker, now, wait_until};
use steadfast_core::{Cause, FailureClass, plumbing::BreakerState};
use support::{Redis, RedisCluster, Relay};

use super::{LONG, Rig, SIZE, failures, read, write};

/// Makes one answer slow, so that somebody asks the server for a new session.
async fn slow_answer(rig: &Rig, relay: &Relay) {
    let taken = relay.taken();
    // Longer than the guard waits before it asks, and far from where the driver gives up.
    relay.delay_answers(Duration::from_millis(120));
    wait_until("a plain connect", || async {
        let _ = read(&rig.redis).await;
        relay.taken() > taken
    })
    .await;
    relay.delay_answers(Duration::ZERO);
}

/// Goal: a server without a free slot, or with a new password, costs no session that it
/// serves. Method: a pool that is warm, and one slow answer.
#[tokio::test]
async fn a_server_that_gives_no_new_session_keeps_those_that_work() {
    for order in ["CONFIG SET maxclients 9", "CONFIG SET requirepass rotated"] {
        let server = Redis::builder().start();
        let relay = Relay::start(server.port());
        let rig = Rig::at(&format!("redis://127.0.0.1:{}/", relay.port()), LONG);
        rig.warm().await;
        // One more than the pool has, for this order.
        let _ = server.commands(order);
        slow_answer(&rig, &relay).await;
        for _ in 0..3 * SIZE {
            write(&rig.redis).await.unwrap();
        }
        assert_eq!(rig.redis.pool().status().size, SIZE, "{order}");
        assert_eq!(breaker(&rig.cache), BreakerState::Closed, "{order}");
    }
}

/// Goal: after a failover behind one address the pool writes again within two seconds of
/// the new master's being there, with hardly more connects than it has sessions.
#[tokio::test]
async fn a_failover_behind_an_address_heals_without_a_herd() {
    let first = Redis::builder().start();
    let second = Redis::builder().replica_of(&first).start();
    second.wait_until_synchronised();
    let relay = Relay::start(first.port());
    let rig = Rig::at(&format!("redis://127.0.0.1:{}/", relay.port()), LONG);
    rig.warm().await;
    write(&rig.redis).await.unwrap();
    let taken = relay.taken();

    first.demote_to(&second);
    let began = now();
    wait_until("writes that are refused", || async {
        read(&rig.redis).await.unwrap();
        let answer = rig.app.get("/orders").await;
        answer.is_for(Cause::DependencyDown)
    })
    .await;
    assert_eq!(failures(&rig.cache), 0);
    second.promote();
    relay.lead_to(second.port());
    let there = now();
    wait_until("a write", || async { write(&rig.redis).await.is_ok() }).await;
    let took = now().saturating_duration_since(there);
    assert!(took < Duration::from_secs(10), "{took:?}");
    rig.warm().await;
    for _ in 0..3 * SIZE {
        write(&rig.redis).await.unwrap();
    }
    let opened = relay.taken() - taken;
    let scouts = scouts_since(began);
    assert!(opened <= SIZE + 2 * scouts, "{opened} with {scouts} scouts");
    println!("healed after {took:?}, with {opened} connects");
}

fn scouts_since(began: Instant) -> usize {
    let took = now().saturating_duration_since(began);
    (took.as_millis() / 500 + 1) as usize
}

#[tokio::test]
async fn a_cluster_that_has_lost_a_slot_is_down_until_it_has_it_again() {
    let cluster = RedisCluster::start(1);
    let rig = Rig::new(&cluster.nodes()[0], LONG);
    rig.warm().await;
    rig.app.get("/orders").await.is_served();
    cluster.lose_slot(0, 7);
    rig.until_open().await;
    let refusal = rig.refusal().await;
    let down = super::down(&refusal);
    assert_eq!(down.class, FailureClass::Unhealthy, "{refusal:?}");
    assert!(down.last_error.contains("CLUSTERDOWN"), "{refusal:?}");
    cluster.give_slot(0, 7);
    rig.until_closed().await;
}

/// Goal: a proxy that does not reach its server is not called full.
#[tokio::test]
async fn a_proxy_that_takes_connections_and_closes_them_is_told_as_that() {
    let server = Redis::builder().start();
    let relay = Relay::start(server.port());
    relay.close_new();
    let rig = Rig::at(&format!("redis://127.0.0.1:{}/", relay.port()), LONG);
    let refusal = rig.refusal().await;
    let down = super::down(&refusal);
    assert_eq!(down.class, FailureClass::Unreachable, "{refusal:?}");
    assert!(
        down.last_error.contains("closes them before"),
        "{refusal:?}"
    );
    relay.pass_new();
    rig.until_closed().await;
}

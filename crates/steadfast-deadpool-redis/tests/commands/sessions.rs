//! Which sessions of a pool are closed, and which are not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use super::{
    Rig, down,
    server::{Reply, role},
};
use steadfast::{FailureClass, Refusal};
use steadfast_core::Evidence;

/// Goal: a refusal of new sessions costs no session that works, and is told. Method: four idle
/// ones, one of which is slow to answer, so that somebody asks for a new one, which is refused.
/// Whoever is answered first leaves the question, so it is done until it was asked to the end.
#[tokio::test]
async fn a_refused_connect_closes_no_session_that_answers() {
    for refusal in [
        Reply::Close,
        Reply::Line("-ERR max number of clients reached"),
        Reply::Line("-WRONGPASS invalid username-password pair"),
    ] {
        let is_slow = Arc::new(AtomicBool::new(false));
        let slow = Arc::clone(&is_slow);
        let rig = Rig::new(move |session, words| match words {
            _ if session >= 4 => refusal.clone(),
            ["PING", _] if slow.swap(false, SeqCst) => Reply::Late(Duration::from_millis(400)),
            _ => Reply::Usual,
        })
        .await;
        rig.warm(4).await;
        let started_at = tokio::time::Instant::now();
        let size = || rig.redis.pool().status().size;
        let seen = loop {
            let before = size();
            is_slow.store(true, SeqCst);
            let _ = rig.ask(&["GET", "k"]).await;
            // On a slow machine the driver itself gives the slow one up.
            assert!(size() + 1 >= before);
            if let Some(seen) = rig.cache.view().sessions_refused {
                assert!(seen.still_serving as usize + 1 >= before, "{seen:?}");
                break seen;
            }
            assert!(started_at.elapsed() < super::LONG, "it is never told");
        };
        assert!(rig.server.taken() > 4, "somebody has asked for a new one");
        assert_ne!(seen.class, FailureClass::Timeout, "{seen:?}");
        for _ in 0..8 {
            rig.ask(&["GET", "k"]).await.unwrap();
        }
    }
}

/// Goal: what a full server says is told, although it resets whoever has sent something by
/// then. Method: it says it to each and closes without reading, and the pool is cold.
#[tokio::test]
async fn a_full_server_is_quoted_although_the_driver_lost_its_words() {
    for _ in 0..8 {
        let rig = Rig::new(|_, _| Reply::Line("-ERR max number of clients reached")).await;
        let error = rig.ask(&["GET", "k"]).await.unwrap_err();
        let Some(Evidence::PoolExhausted(seen)) = error.refusal().map(Refusal::evidence) else {
            panic!("{error:?}");
        };
        assert_eq!(seen.class, FailureClass::RefusedByServer, "{seen:?}");
        let text = seen.last_error.as_deref().unwrap_or_default();
        assert!(text.contains("max number of clients"), "{seen:?}");
    }
}

#[tokio::test]
async fn who_takes_connections_and_closes_them_is_not_called_full() {
    let rig = Rig::new(|_, _| Reply::Close).await;
    let (class, text) = down(&rig.ask(&["GET", "k"]).await.unwrap_err());
    assert_eq!(class, FailureClass::Unreachable);
    assert!(text.contains("closes them before it answers"), "{text}");
    assert!(!text.contains("maxclients"), "{text}");
}

#[tokio::test]
async fn a_lost_session_is_closed_and_not_given_back() {
    let rig = Rig::new(|_, words| match words {
        ["GET", ..] => Reply::Close,
        _ => Reply::Usual,
    })
    .await;
    rig.warm(2).await;
    rig.ask(&["GET", "k"]).await.unwrap_err();
    assert_eq!(rig.redis.pool().status().size, 1);
}

/// Goal: a failover heals at once, and by no more connects than sessions. Method: sessions
/// up to a number lead to a server that was demoted, and younger ones to its heir.
#[tokio::test]
async fn sessions_of_a_demoted_server_are_replaced_once_new_ones_lead_elsewhere() {
    let rig = Rig::new(|session, words| match words {
        ["SET", ..] if session < 4 => Reply::Line("-READONLY You can't write"),
        ["ROLE"] if session < 4 => Reply::Text(role("slave")),
        _ => Reply::Usual,
    })
    .await;
    rig.warm(4).await;
    rig.ask(&["SET", "k", "v"]).await.unwrap_err();
    for _ in 0..20 {
        rig.ask(&["SET", "k", "v"]).await.unwrap();
    }
    rig.warm(4).await;
    rig.ask(&["SET", "k", "v"]).await.unwrap();
    // Four, their heirs, and one that looked.
    assert!(rig.server.taken() <= 9, "{}", rig.server.taken());
}

#[tokio::test]
async fn a_session_that_was_lent_meanwhile_is_closed_when_it_comes_back() {
    let rig = Rig::new(|session, words| match words {
        ["SET", ..] if session < 2 => Reply::Line("-READONLY You can't write"),
        _ => Reply::Usual,
    })
    .await;
    let held = rig.redis.acquire().await.unwrap();
    rig.ask(&["SET", "k", "v"]).await.unwrap_err();
    rig.warm(1).await;
    rig.ask(&["SET", "k", "v"]).await.unwrap();
    drop(held);
    for _ in 0..4 {
        rig.ask(&["SET", "k", "v"]).await.unwrap();
    }
    rig.warm(2).await;
    rig.ask(&["SET", "k", "v"]).await.unwrap();
}

/// Goal: waiting for a new master is no herd of connects, and reads go on meanwhile. Method:
/// all sessions lead to a replica, then new ones do not.
#[tokio::test]
async fn while_no_new_master_is_there_sessions_stay_and_few_are_opened() {
    let first_of_heir = Arc::new(AtomicUsize::new(usize::MAX));
    let first = Arc::clone(&first_of_heir);
    let rig = Rig::new(move |session, words| match words {
        ["SET", ..] if session < first.load(SeqCst) => Reply::Line("-READONLY You can't write"),
        ["ROLE"] if session < first.load(SeqCst) => Reply::Text(role("slave")),
        _ => Reply::Usual,
    })
    .await;
    rig.warm(4).await;
    let started_at = tokio::time::Instant::now();
    for _ in 0..200 {
        rig.ask(&["SET", "k", "v"]).await.unwrap_err();
        rig.ask(&["GET", "k"]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // A scout each half second, and the session that each of them lets go.
    let scouts = started_at.elapsed().as_millis() / 500 + 1;
    let opened = rig.server.taken() - 4;
    assert!(opened as u128 <= 2 * scouts, "{opened} for {scouts} scouts");
    first_of_heir.store(rig.server.taken(), SeqCst);
    while rig.ask(&["SET", "k", "v"]).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(started_at.elapsed() < super::LONG, "it never heals");
    }
    rig.warm(4).await;
    for _ in 0..8 {
        rig.ask(&["SET", "k", "v"]).await.unwrap();
    }
}

/// Goal: a server that gives no further session costs those that stand nothing. Method: the
/// questions on the one that stands are counted; deadpool's own test of it has a number in it.
#[tokio::test]
async fn a_session_that_was_tested_is_not_asked_again_because_others_are_refused() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let rig = Rig::new(move |session, words| match (session, words) {
        (1.., ["CONNECT"]) => Reply::Line("-ERR max number of clients reached"),
        (0, ["PING"]) => {
            counted.fetch_add(1, SeqCst);
            Reply::Usual
        }
        _ => Reply::Usual,
    })
    .await;
    let held = rig.redis.acquire().await.unwrap();
    let second = tokio::spawn(rig.redis.acquire());
    let started_at = tokio::time::Instant::now();
    while rig.cache.view().sessions_refused.is_none() {
        assert!(started_at.elapsed() < super::LONG, "it is never told");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(held);
    drop(second.await.unwrap().unwrap());
    let before = asked.load(SeqCst);
    for _ in 0..20 {
        rig.ask(&["GET", "goods"]).await.unwrap();
    }
    assert_eq!(asked.load(SeqCst), before);
}

//! The probe listener answers while no thread of the main runtime does, and says so.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use axum::{Router, routing};
use e2e::{Answer, Service, get, wait_for, wait_until};
use serde_json::Value;
use steadfast::Guard;
use support::free_port;

/// Threads of the service's runtime.
const WORKERS: usize = 2;

/// When silence counts as broken.
const STALLED_AFTER: Duration = Duration::from_secs(10);

/// Reads the seconds of `runtime stalled for 10.4 s`.
fn stalled_for(health: &Answer) -> Option<f64> {
    let json: Value = serde_json::from_str(&health.body).ok()?;
    let notes = json["notes"].as_array()?;
    let mut words = notes.iter().filter_map(Value::as_str);
    words.find_map(|note| {
        let text = note.strip_prefix("runtime stalled for ")?;
        text.strip_suffix(" s")?.parse().ok()
    })
}

#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "it compares what is said with the real clock"
)]
fn it_answers_while_every_worker_is_blocked_and_says_for_how_long() {
    let probe: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let (release, held) = mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(Some(held)));
    let entered = Arc::new(AtomicUsize::new(0));
    let (blocking, has_entered) = (Arc::clone(&held), Arc::clone(&entered));
    let block = move || {
        let (held, entered) = (Arc::clone(&blocking), Arc::clone(&has_entered));
        async move {
            entered.fetch_add(1, Ordering::Relaxed);
            // Blocks the thread, as a handler must not: one waits for the channel's end,
            // the others for the lock that it holds.
            if let Some(held) = held.lock().unwrap().as_ref() {
                let _ = held.recv();
            }
            "released"
        }
    };
    let guard = Guard::builder()
        .without_signals()
        .probe_listener(probe)
        .build()
        .unwrap();
    let app = Router::new().route("/block", routing::get(block));
    let service = Service::start(&guard, app);
    let main = service.address();
    service.wait_until_ready();
    assert_eq!(get(probe, "/ready/").body, "ready\n");

    let began = Instant::now();
    let asked: Vec<JoinHandle<Answer>> = (0..WORKERS)
        .map(|_| thread::spawn(move || get(main, "/block")))
        .collect();
    wait_until("every worker blocked", || {
        service.wake();
        entered.load(Ordering::Relaxed) >= WORKERS
    });

    let mut answers = 0;
    let broken = wait_for(
        "a broken process",
        || {
            answers += 1;
            assert!(matches!(get(probe, "/ready/").status, 200 | 503));
            get(probe, "/health/")
        },
        |health| health.status == 503,
    );
    let told = stalled_for(&broken).unwrap_or_else(|| panic!("no length in {}", broken.all()));
    assert!(
        answers > 10,
        "only {answers} answers in {:?}",
        began.elapsed()
    );
    assert!(told >= STALLED_AFTER.as_secs_f64(), "{told}");
    // The last beat was before the block began, by one beat at most.
    let most = began.elapsed() + Duration::from_secs(2);
    assert!(told <= most.as_secs_f64(), "{told} of {most:?}");
    let longer = wait_for(
        "a longer length",
        || get(probe, "/health/"),
        |health| stalled_for(health).is_some_and(|later| later > told),
    );
    assert_eq!(longer.status, 503);
    let ready = get(probe, "/ready/");
    assert_eq!(ready.status, 503);
    assert!(
        ready.body.starts_with("not ready: runtime stalled for "),
        "{}",
        ready.body
    );
    let why = get(probe, "/why503/");
    assert_eq!(why.status, 200);
    assert!(why.body.contains("runtime stalled for"), "{}", why.body);
    assert!(asked.iter().all(|thread| !thread.is_finished()));

    drop(release);
    for thread in asked {
        assert_eq!(thread.join().unwrap().body, "released");
    }
    service.wait_until_ready();
    for port in [probe, main] {
        wait_for(
            "a sound process",
            || get(port, "/health/"),
            |health| health.status == 200 && health.body.contains("\"status\":\"pass\""),
        );
    }
}

//! Checks that hang, panic, block or waver.

use std::sync::atomic::AtomicBool;

use steadfast::Health;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_thousand_concurrent_probes_cause_no_dependency_call() {
    let script = Script::new(&[Does::Pass]);
    let service = start(builder().dependency(&script.named("db").build().expect("valid")));
    tokio::time::sleep(SECOND).await;
    let before = script.runs();
    let probes = (0..1000).map(|at| {
        let path = ["/ready/", "/health/", "/ready/?verbose", "/ready/db"][at % 4];
        ask(&service.app, with_token(path, &[]))
    });
    let answers = futures_util::future::join_all(probes).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(script.runs(), before);
}

#[tokio::test(start_paused = true)]
async fn failures_that_are_not_in_a_row_do_not_bring_it_down() {
    use Does::{Fail, Pass};
    let script = Script::new(&[Pass, Fail, Pass, Fail, Pass, Fail, Pass]);
    let db = script.named("db").fall(3).build().expect("valid");
    let service = start(builder().dependency(&db));
    while script.runs() < 8 {
        tokio::time::sleep(SECOND / 10).await;
        assert_eq!(db.health(), Health::Passing, "after {} runs", script.runs());
        assert_eq!(service.ready().await, (200, "ready\n".to_owned()));
    }
    // And three in a row do, two passes in a row bring it back.
    script.then(Fail);
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!(db.health(), Health::Failing);
    script.then(Pass);
    let failing_runs = script.runs();
    while script.runs() == failing_runs {
        tokio::time::sleep(SECOND / 10).await;
    }
    assert_eq!(db.health(), Health::Failing, "one success is not enough");
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(db.health(), Health::Passing);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_or_panics_becomes_unknown_by_name_and_others_go_on() {
    for does in [Does::Hang, Does::Panic] {
        let (bad, good) = (Script::new(&[Does::Pass, does]), Script::new(&[Does::Pass]));
        let db = bad.named("bad-db").build().expect("valid");
        let other = good.named("good-db").build().expect("valid");
        let service = start(builder().dependency(&db).dependency(&other));
        tokio::time::sleep(SECOND).await;
        assert_eq!(service.ready().await.0, 200);
        let good_runs = good.runs();
        // The stale window of the defaults: three intervals and a timeout, from the last
        // answer, which was within the first second.
        tokio::time::sleep(16 * SECOND).await;
        assert_eq!(db.health(), Health::Unknown, "{does:?}");
        let (status, line) = service.ready_in_full().await;
        assert_eq!(status, 200, "{does:?}");
        assert!(
            line.starts_with("degraded: bad-db unknown"),
            "{does:?}: {line}"
        );
        assert!(!line.contains("good-db"), "{line}");
        assert!(
            good.runs() >= good_runs + 2,
            "{does:?}: the other check goes on"
        );
        assert_eq!(
            bad.most_at_once.load(Ordering::SeqCst),
            1,
            "{does:?}: single flight"
        );
        assert!(bad.runs() > 2, "{does:?}: it is asked again");
        bad.then(Does::Pass);
        tokio::time::sleep(5 * SECOND).await;
        assert_eq!(
            service.ready().await.1,
            "ready\n",
            "{does:?}: and comes back"
        );
    }
}

/// Method: real time with short intervals, since a blocked thread does not know about a
/// paused clock. Nothing depends on how long the steps take.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_check_that_blocks_its_thread_becomes_unknown_by_name_and_is_not_started_again() {
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = Arc::new(Mutex::new(blocked));
    // Whether the next run does.
    let blocks = Arc::new(AtomicBool::new(false));
    let runs = Arc::new(AtomicUsize::new(0));
    let check = {
        let (runs, blocks) = (Arc::clone(&runs), Arc::clone(&blocks));
        check::closure(move || {
            runs.fetch_add(1, Ordering::SeqCst);
            let (blocks, blocked) = (Arc::clone(&blocks), Arc::clone(&blocked));
            async move {
                if blocks.swap(false, Ordering::SeqCst) {
                    let _ = blocked.lock().expect("no panic").recv();
                }
                CheckOutcome::pass()
            }
        })
    };
    let short = Duration::from_millis(20);
    let quick = |name: &str| Dependency::builder(name).interval(short).timeout(short);
    let bad = quick("bad-db").check(check).build().expect("valid");
    let good_runs = Arc::new(AtomicUsize::new(0));
    let good = quick("good-db")
        .check({
            let runs = Arc::clone(&good_runs);
            check::closure(move || {
                runs.fetch_add(1, Ordering::SeqCst);
                async { CheckOutcome::pass() }
            })
        })
        .build()
        .expect("valid");
    let service = start(builder().dependency(&bad).dependency(&good));
    until("it to pass", || bad.health() == Health::Passing).await;
    blocks.store(true, Ordering::SeqCst);
    until("it to go stale", || {
        bad.health() == Health::Unknown && !blocks.load(Ordering::SeqCst)
    })
    .await;
    let blocked_at = runs.load(Ordering::SeqCst);
    let before = good_runs.load(Ordering::SeqCst);
    until("the other check", || {
        good_runs.load(Ordering::SeqCst) > before + 5
    })
    .await;
    let (status, line) = service.ready_in_full().await;
    assert_eq!(status, 200);
    assert!(line.contains("bad-db unknown"), "{line}");
    assert_eq!(
        runs.load(Ordering::SeqCst),
        blocked_at,
        "not started again while it has not come back"
    );
    drop(release);
    until("it to come back", || bad.health() == Health::Passing).await;
    assert!(runs.load(Ordering::SeqCst) > blocked_at);
}

//! A flood of refusals: counted exactly, kept within bounds, and still found.

use steadfast_core::plumbing::RECENT_PER_STRIPE;

use super::*;

/// Refusals of each of two floods; `cargo xtask bench page` has a million.
const FLOOD: usize = 10_000;
const PATHS: usize = 1_000;
const IDS: usize = 100;
const THREADS: usize = 4;

/// Goal: the page of a process that has refused very much is as large as before, its counts are
/// exact, and what it does not show singly is counted. Method: four threads refuse at once, over
/// many paths and ids, twice; what is kept must not grow.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flood_of_refusals_is_counted_exactly_and_kept_within_bounds() {
    let (guard, app) = refusing();
    let _running = guard.start().expect("started");
    let mut kept = Vec::new();
    for round in 1..=2 {
        let floods: Vec<_> = (0..THREADS)
            .map(|thread| {
                let app = app.clone();
                tokio::spawn(async move {
                    for at in (thread..FLOOD).step_by(THREADS) {
                        let (path, id) = (format!("/{}", at % PATHS), format!("id-{}", at % IDS));
                        let asked = request("GET", &path, &[("x-request-id", &id)]);
                        assert_eq!(ask(&app, asked).await.status, 503);
                    }
                })
            })
            .collect();
        for flood in floods {
            flood.await.expect("no panic");
        }
        let page = ask(&app, with_token("/why503/", &[])).await;
        let told = page.json();
        let all = (round * FLOOD) as u64;
        assert_eq!(told["refusals"]["by_cause"]["maintenance"], all);
        assert_eq!(told["incidents"].as_array().expect("a list").len(), 1);
        let recent = told["recent"].as_array().expect("a list").len();
        let incident = told["incidents"][0]["count"].as_u64().expect("a count");
        let control = guard.control();
        let ledger = control.explain().ledger();
        // Whoever found its stripe's lock taken is in the sum, and in no run.
        assert_eq!(incident + ledger.dropped(), all);
        let not_singly = ledger.dropped() + ledger.passed_over();
        assert_eq!(told["refusals"]["not_written_down"], not_singly);
        assert!(recent as u64 + not_singly <= all, "{recent} of {all}");
        kept.push((recent, page.body.len()));
    }
    let [(before, size_before), (recent, size)] = [kept[0], kept[1]];
    // Each thread keeps some, and in a round not all of them may have had their turn.
    let most = RECENT_PER_STRIPE * THREADS;
    assert!(before <= most && recent <= most, "{kept:?}");
    let more = recent.saturating_sub(before).max(RECENT_PER_STRIPE);
    assert!(size <= size_before + more * 600, "{kept:?}");
    // The latest of an id are found, however many there were.
    let found = ask(&app, with_token("/why503/id-99", &[])).await.json();
    let found = found["refusals"].as_array().expect("a list");
    assert!(!found.is_empty() && found.len() <= recent, "{found:?}");
}

use super::*;
use crate::{refusal::evidence::Evidence, testing::origin};
use proptest::prelude::*;

const SOURCES: [Name; 2] = [Name::from_static("shed"), Name::from_static("lifecycle")];

fn recorded(number: u128, source: usize, at: Instant) -> Recorded {
    let evidence = Evidence::Draining {
        since: Duration::ZERO,
    };
    let request = RequestNote {
        line: "GET /".into(),
        request_id: Some(format!("r{}", number % 10).into()),
        trace_id: None,
    };
    Recorded {
        id: RefusalId(number),
        refusal: Refusal::new(SOURCES[source].clone(), evidence, Duration::ZERO, at),
        retry_after: Duration::from_secs(1),
        answered: Answered::Refusal,
        request,
    }
}

impl Ledger {
    fn takes(&self, stripe: usize, recorded: Recorded) -> bool {
        let refusal = recorded.refusal.clone();
        self.record_at(stripe, refusal, "/", |_| recorded)
    }
}

#[test]
fn an_incident_is_an_unbroken_run_whichever_stripes_it_was_counted_on() {
    let start = origin();
    let ledger = Ledger::new();
    let begins: Vec<_> = [(0, 0), (9, 1), (17, 0), (40, 1), (41, 0)]
        .into_iter()
        .map(|(second, stripe)| {
            let at = start + Duration::from_secs(second);
            ledger.takes(stripe, recorded(second.into(), 0, at))
        })
        .collect();
    assert_eq!(begins, [true, false, false, true, false]);
    let incidents = ledger.view().incidents;
    let seen: Vec<_> = incidents
        .iter()
        .map(|incident| {
            (
                incident.first - start,
                incident.last - start,
                incident.count,
            )
        })
        .map(|(first, last, count)| (first.as_secs(), last.as_secs(), count))
        .collect();
    assert_eq!(seen, [(40, 41, 2), (0, 17, 3)]);
}

#[test]
fn an_incident_has_one_line_whatever_is_busy_when_it_goes_on_elsewhere() {
    let start = origin();
    let ledger = Ledger::new();
    for second in 0..=30 {
        let at = start + Duration::from_secs(second);
        let begins = ledger.takes(0, recorded(second.into(), 0, at));
        assert_eq!(begins, second == 0);
    }
    // As a reader does, or a refusal on that stripe.
    let _busy = lock(&ledger.stripes[0].0);
    let at = start + Duration::from_secs(31);
    assert!(!ledger.takes(1, recorded(31, 0, at)), "said twice");
}

#[test]
fn incidents_that_begin_together_have_a_line_each() {
    let ledger = Ledger::new();
    let (said, hears) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        // As if one of another source were about to begin.
        let other = lock(&ledger.clocks);
        let ledger = &ledger;
        scope.spawn(move || said.send(ledger.takes(1, recorded(1, 0, origin()))));
        // Long enough for whoever does not wait to have lost it.
        let early = hears.recv_timeout(Duration::from_millis(50)).ok();
        drop(other);
        let begins = early.or_else(|| hears.recv().ok());
        assert_eq!(begins, Some(true), "never said");
    });
}

#[test]
fn sources_without_room_begin_nothing_and_are_counted() {
    let ledger = Ledger::new();
    let named = |number: usize| {
        let mut of = recorded(number as u128, 0, origin());
        let name = Name::new(format!("source-{number}")).expect("well formed");
        let evidence = of.refusal.evidence().clone();
        of.refusal = Refusal::new(name, evidence, Duration::ZERO, origin());
        of
    };
    let begins = |stripe, number| ledger.takes(stripe, named(number));
    assert!((0..SOURCES_MAX).all(|number| begins(0, number)));
    assert!(!begins(0, SOURCES_MAX) && !begins(1, SOURCES_MAX + 1));
    assert!(!begins(1, 0), "it goes on, on another stripe");
    assert_eq!(ledger.count(Cause::Draining), SOURCES_MAX as u64 + 3);
}

#[test]
fn a_refusal_is_found_by_any_of_its_ids() {
    let now = origin();
    let ledger = Ledger::new();
    for number in [1, 11, 2] {
        ledger.takes(0, recorded(number, 0, now));
    }
    assert_eq!(ledger.find("00000000-0000-0000-0000-00000000000b").len(), 1);
    assert_eq!(ledger.find("r1").len(), 2, "request ids repeat");
    assert_eq!(ledger.find("none").len(), 0);
    assert_eq!(ledger.find("00000000-0000-0000-0000-00000000000B").len(), 1);
    for odd in [
        "00000000-0000-0000-0000-0000000000b",
        "00000000-0000-00000000-0000-0000000b",
        "00000000-0000-0000-0000-+0000000000b",
    ] {
        assert_eq!(RefusalId::parse(odd), None, "{odd}");
    }
}

#[test]
fn in_a_storm_all_are_counted_and_a_sample_is_kept() {
    let ledger = Ledger::new();
    for number in 0..10_000 {
        ledger.takes(3, recorded(number, 0, origin()));
    }
    let view = ledger.view();
    assert_eq!(ledger.count(Cause::Draining), 10_000);
    assert_eq!(view.incidents[0].count, 10_000);
    assert_eq!(view.recent.len() as u64 + ledger.passed_over(), 10_000);
    assert!(
        view.recent.len() < RECENT_PER_STRIPE,
        "one route, one cause"
    );
}

#[test]
fn a_refusal_never_waits_for_a_reader() {
    let ledger = Ledger::new();
    let page = lock(&ledger.stripes[0].0);
    assert!(!ledger.takes(0, recorded(1, 0, origin())));
    drop(page);
    assert_eq!((ledger.dropped(), ledger.count(Cause::Draining)), (1, 1));
}

proptest! {
    /// Goal: whatever comes, every buffer keeps its bound, totals are exact, and the
    /// incidents account for each refusal.
    #[test]
    fn everything_is_bounded_and_nothing_is_miscounted(
        refusals in proptest::collection::vec((0_usize..STRIPES, 0_usize..2, 0_u64..30), 0..400),
    ) {
        let ledger = Ledger::new();
        let mut now = origin();
        for (number, (stripe, source, gap)) in refusals.iter().enumerate() {
            now += Duration::from_secs(*gap / 20 * gap);
            ledger.takes(*stripe, recorded(number as u128, *source, now));
        }
        let view = ledger.view();
        prop_assert!(view.recent.len() <= STRIPES * RECENT_PER_STRIPE);
        prop_assert_eq!(ledger.count(Cause::Draining), refusals.len() as u64);
        prop_assert_eq!(ledger.totals().iter().map(|total| total.count).sum::<u64>(), refusals.len() as u64);
        if view.incidents.len() < RUNS_PER_STRIPE {
            prop_assert_eq!(view.incidents.iter().map(|i| i.count).sum::<u64>(), refusals.len() as u64);
        }
        for pair in view.incidents.windows(2) {
            if pair[0].source == pair[1].source {
                prop_assert!(pair[0].first - pair[1].last > INCIDENT_GAP);
            }
        }
    }
}

#[test]
fn the_first_refusal_of_an_incident_asks_for_a_line_and_those_after_it_do_not() {
    let ledger = Ledger::new();
    let record = |number| {
        let recorded = recorded(number, 0, origin());
        ledger.record(recorded.refusal.clone(), "/", |_| recorded)
    };
    assert_eq!([1, 2, 3].map(record), [true, false, false]);
    assert_eq!(ledger.find("00000000-0000-0000-0000-000000000001").len(), 1);
}

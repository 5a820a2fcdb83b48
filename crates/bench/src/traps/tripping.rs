//! Traps on the way to open: what counts, what does not, and what counting costs.

use std::time::{Duration, Instant};

use super::{
    Trap, Verdict,
    call::{Answer, End},
    clock,
    subject::{Peer, Subject, Wiring},
};

pub(crate) const TRAPS: &[Trap] = &[
    Trap {
        id: "M1",
        claim: "open within one window of failures after long health",
        run: window_slides,
    },
    Trap {
        id: "M2",
        claim: "cost the same however many results the window holds",
        run: cost_does_not_grow,
    },
    Trap {
        id: "F4",
        claim: "not open on three failures of five calls",
        run: few_calls_are_no_rate,
    },
    Trap {
        id: "F4-pause",
        claim: "not open on one failure after 100 successes and a pause",
        run: a_pause_is_no_failure,
    },
    Trap {
        id: "M6",
        claim: "count calls that panic",
        run: panics_count,
    },
    Trap {
        id: "M7",
        claim: "see calls that an outer timeout cuts",
        run: outer_timeouts_count,
    },
    Trap {
        id: "F6",
        claim: "see calls that hang before the first one ends",
        run: hung_calls_count,
    },
    Trap {
        id: "F12",
        claim: "not open because clients go away",
        run: cancellations_do_not_trip,
    },
    Trap {
        id: "F13",
        claim: "not open because the caller's own pool is empty",
        run: own_pool_does_not_trip,
    },
];

fn window_slides(peer: &dyn Peer) -> Verdict {
    const HEALTHY_CALLS: u32 = 10_000;
    /// Long enough to hold what a slow machine takes for a few calls.
    const SPAN: Duration = Duration::from_secs(1);
    let failures_after_health = |breaker: &dyn Subject, silence| {
        for _ in 0..HEALTHY_CALLS {
            breaker.call(End::Good);
            breaker.pace();
        }
        breaker.pass(silence);
        breaker.failures_until_refused(2 * HEALTHY_CALLS)
    };
    let breaker = peer.make(Wiring::Window);
    let window = breaker.window_calls();
    let failures = failures_after_health(&*breaker, Duration::ZERO);
    let mut seen =
        format!("{failures} failures after {HEALTHY_CALLS} successes; its window holds {window}");
    if failures > window {
        // The default decides, but who chose the other one should know.
        let in_time = failures_after_health(&*peer.make(Wiring::Rate(SPAN)), 2 * SPAN);
        seen += &format!("; {in_time} with a window in time");
    }
    Verdict::new(failures <= window, seen)
}

fn cost_does_not_grow(peer: &dyn Peer) -> Verdict {
    const FEW: u32 = 500;
    const MANY: u32 = 32_000;
    /// A scan that grew 64 times as long costs ten times as much at least; a busy machine
    /// does not make the best of many rounds so much worse.
    const GROWTH_MAX: f64 = 5.0;
    let cost = |records| {
        let breaker = peer.make(Wiring::Records(records));
        for _ in 0..records {
            breaker.call(End::Good);
        }
        let rounds = (0..ROUNDS).map(|_| timed(|| breaker.call(End::Good)));
        rounds
            .min()
            .unwrap_or_default()
            .max(Duration::from_nanos(1))
    };
    let (few, many) = (cost(FEW), cost(MANY));
    let growth = many.as_secs_f64() / few.as_secs_f64();
    let seen = if growth > GROWTH_MAX {
        format!("a call costs {growth:.0} times as much with {MANY} results as with {FEW}")
    } else {
        format!("no more with {MANY} results than with {FEW}")
    };
    Verdict::new(growth <= GROWTH_MAX, seen)
}

fn few_calls_are_no_rate(peer: &dyn Peer) -> Verdict {
    let breaker = peer.make(Wiring::Usual);
    for end in [End::Bad, End::Good, End::Bad, End::Good, End::Bad] {
        breaker.call(end);
        breaker.pace();
    }
    let admits = breaker.admits();
    Verdict::new(admits, if admits { "stays closed" } else { "opens" })
}

/// An average that weighs results by the time between them gives the hundred next to
/// nothing and the one after the pause nearly half.
fn a_pause_is_no_failure(peer: &dyn Peer) -> Verdict {
    const WINDOW: Duration = Duration::from_secs(2);
    const PAUSE: Duration = Duration::from_millis(900);
    /// Beyond this the burst would leave the window, and there would be nothing to see.
    const PAUSE_MAX: Duration = Duration::from_millis(1_400);
    for _ in 0..TRIES {
        let breaker = peer.make(Wiring::Rate(WINDOW));
        // Some rates are silent for the first window.
        breaker.pass(WINDOW);
        let began = breaker.now();
        for _ in 0..100 {
            breaker.call(End::Good);
        }
        breaker.pass(PAUSE);
        breaker.call(End::Bad);
        let took = breaker.now().saturating_duration_since(began);
        let admits = breaker.admits();
        if took <= PAUSE_MAX {
            return Verdict::new(admits, if admits { "stays closed" } else { "opens" });
        }
    }
    Verdict::not_applicable("the machine is too busy to tell")
}

fn panics_count(peer: &dyn Peer) -> Verdict {
    let breaker = peer.make(Wiring::Usual);
    let calls = 2 * breaker.trips_after();
    let refused = tries(calls, || {
        let answer = breaker.call(End::Panic);
        breaker.pace();
        answer == Answer::Refused
    });
    Verdict::new(refused > 0, opened_or_not(refused, calls, "panicked"))
}

fn outer_timeouts_count(peer: &dyn Peer) -> Verdict {
    const TIMEOUT: Duration = Duration::from_millis(1);
    let breaker = peer.make(Wiring::Usual);
    let calls = 2 * breaker.trips_after().max(100);
    let refused = tries(calls, || {
        let call = breaker.start();
        breaker.pass(TIMEOUT);
        breaker.pace();
        call.is_refused()
    });
    Verdict::new(refused > 0, opened_or_not(refused, calls, "were cut"))
}

fn hung_calls_count(peer: &dyn Peer) -> Verdict {
    const CALLS: u32 = 20;
    let breaker = peer.make(Wiring::Usual);
    let hung = breaker.crowd(CALLS);
    breaker.outlast_by_far();
    let refused = u32::from(!breaker.admits());
    drop(hung);
    Verdict::new(refused > 0, opened_or_not(refused, CALLS, "hang"))
}

fn cancellations_do_not_trip(peer: &dyn Peer) -> Verdict {
    const CALLS: u32 = 2_000;
    let breaker = peer.make(Wiring::Usual);
    let refused = (0..CALLS)
        .filter(|call| {
            let started = breaker.start();
            let is_refused = started.is_refused();
            // One client in ten waits for its answer, and gets it.
            if call % 10 == 9 {
                started.end(End::Good);
            }
            is_refused
        })
        .count();
    let seen = format!("{refused} of {CALLS} calls refused, 9 of 10 cancelled");
    Verdict::new(refused == 0, seen)
}

fn own_pool_does_not_trip(peer: &dyn Peer) -> Verdict {
    let breaker = peer.make(Wiring::Usual);
    let calls = 3 * breaker.trips_after();
    let refused = tries(calls, || {
        let answer = breaker.call(End::OwnPool);
        breaker.pace();
        answer == Answer::Refused
    });
    let seen = if refused == 0 {
        "stays closed, being told by its classifier".to_owned()
    } else {
        "opens".to_owned()
    };
    Verdict::new(refused == 0, seen)
}

fn opened_or_not(refused: u32, calls: u32, what: &str) -> String {
    if refused > 0 {
        "opens".to_owned()
    } else {
        format!("{calls} calls {what}, none recorded: stays closed")
    }
}

/// Counts the calls that were refused.
fn tries(calls: u32, mut is_refused: impl FnMut() -> bool) -> u32 {
    (0..calls).map(|_| u32::from(is_refused())).sum()
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let began: Instant = clock::real();
    std::hint::black_box(work());
    clock::real().saturating_duration_since(began)
}

const ROUNDS: u32 = 2_000;
const TRIES: u32 = 5;

//! Traps of the handles: who shares a breaker, who moves it by hand, what it tells.

use super::{
    Trap, Verdict,
    call::{Answer, End},
    subject::{Peer, Wiring},
};

pub(crate) const TRAPS: &[Trap] = &[
    Trap {
        id: "M8",
        claim: "keep its state when its layer is applied for each request",
        run: layers_share_state,
    },
    Trap {
        id: "M9",
        claim: "stay open when a person opened it",
        run: a_timer_does_not_undo_a_person,
    },
    Trap {
        id: "F9",
        claim: "not take every instance out while a shared dependency is down",
        run: readiness_stays,
    },
    Trap {
        id: "F11",
        claim: "refuse only the key that fails",
        run: keys_are_apart,
    },
    Trap {
        id: "F15",
        claim: "tell a refusal apart from a failure",
        run: refusals_are_told,
    },
    Trap {
        id: "F18",
        claim: "not move when the clock steps back",
        run: clock_steps_move_nothing,
    },
];

fn layers_share_state(peer: &dyn Peer) -> Verdict {
    const CALLS: u32 = 20;
    match peer.layered_anew(CALLS) {
        Err(why) => Verdict::not_applicable(why),
        Ok(ways) => {
            let seen: Vec<String> = ways
                .iter()
                .map(|(way, refused)| format!("{way}: {refused} of {CALLS} failing calls refused"))
                .collect();
            Verdict::new(
                ways.iter().all(|(_, refused)| *refused > 0),
                seen.join("; "),
            )
        }
    }
}

fn a_timer_does_not_undo_a_person(peer: &dyn Peer) -> Verdict {
    let breaker = peer.make(Wiring::Usual);
    if let Err(why) = breaker.force_open() {
        return Verdict::not_applicable(why);
    }
    breaker.outlast_by_far();
    let admitted = (0..20)
        .filter(|_| breaker.call(End::Good) == Answer::Served)
        .count();
    let seen = if admitted > 0 {
        format!("{admitted} of 20 calls get through once its wait is over")
    } else {
        "refuses all the same 25 waits later".to_owned()
    };
    Verdict::new(admitted == 0, seen)
}

fn readiness_stays(peer: &dyn Peer) -> Verdict {
    let breaker = peer.make(Wiring::Usual);
    breaker.trip();
    match breaker.is_ready() {
        Err(why) => Verdict::not_applicable(why),
        Ok(true) => Verdict::new(true, "stays ready"),
        Ok(false) => Verdict::new(false, "the instance is not ready"),
    }
}

fn keys_are_apart(peer: &dyn Peer) -> Verdict {
    match peer.keyed() {
        Err(why) => Verdict::not_applicable(why),
        Ok([sick, well]) => {
            sick.trip();
            let admits = well.admits();
            let seen = if admits {
                "the other key is admitted"
            } else {
                "the other key is refused too"
            };
            Verdict::new(admits, seen)
        }
    }
}

fn refusals_are_told(peer: &dyn Peer) -> Verdict {
    let breaker = peer.make(Wiring::Usual);
    // It ends with the first call whose error has the type of a refusal.
    let most = 2 * breaker.trips_after();
    let is_told = breaker.failures_until_refused(most) < most;
    Verdict::new(is_told, breaker.refusal())
}

fn clock_steps_move_nothing(peer: &dyn Peer) -> Verdict {
    match peer.refuses_when_the_clock_steps_back() {
        Err(why) => Verdict::not_applicable(why),
        Ok(true) => Verdict::new(true, "refuses all the same"),
        Ok(false) => Verdict::new(false, "admits calls"),
    }
}

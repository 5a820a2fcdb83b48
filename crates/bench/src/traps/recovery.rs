//! Traps on the way back: who may probe, what decides, and how traffic returns.

use std::time::{Duration, Instant};

use super::{
    Trap, Verdict,
    call::{Call, End},
    subject::{Peer, Subject, Wiring},
};

pub(crate) const TRAPS: &[Trap] = &[
    Trap {
        id: "F1",
        claim: "let few probes through, whoever else waits",
        run: few_probes,
    },
    Trap {
        id: "M3",
        claim: "not let answers from before the outage decide",
        run: late_answers_do_not_decide,
    },
    Trap {
        id: "M4",
        claim: "not report itself down for ever without traffic",
        run: moves_without_traffic,
    },
    Trap {
        id: "M5",
        claim: "recover from a probe that hangs",
        run: a_hung_probe_ends,
    },
    Trap {
        id: "F2-cancelled",
        claim: "recover from probes whose clients go away",
        run: cancelled_probes_end,
    },
    Trap {
        id: "F2-panicked",
        claim: "recover from probes that panic",
        run: panicked_probes_end,
    },
    Trap {
        id: "F2-neutral",
        claim: "recover from probes that say nothing about health",
        run: neutral_probes_end,
    },
    Trap {
        id: "F13-probe",
        claim: "not close on a probe that never reached the dependency",
        run: own_pool_does_not_close,
    },
    Trap {
        id: "F7",
        claim: "let traffic back in by and by",
        run: traffic_ramps,
    },
    Trap {
        id: "F8",
        claim: "not probe in step with its fifty siblings",
        run: instances_do_not_probe_in_step,
    },
    Trap {
        id: "F14",
        claim: "not close because a shallow health check passes",
        run: a_shallow_check_does_not_close,
    },
];

fn few_probes(peer: &dyn Peer) -> Verdict {
    const CALLERS: u32 = 200;
    let breaker = waiting_for_probes(peer);
    let crowd = breaker.crowd(CALLERS);
    let reached = crowd.iter().filter(|call| call.reached()).count();
    let seen = format!("{reached} of {CALLERS} callers reach the sick dependency");
    let allowed = breaker
        .probes()
        .is_some_and(|most| reached <= most as usize);
    Verdict::new(allowed, seen)
}

fn late_answers_do_not_decide(peer: &dyn Peer) -> Verdict {
    /// Enough to end any peer's round of probes.
    const LATE: u32 = 20;
    let failures_with = |late: bool| {
        let breaker = peer.make(Wiring::Usual);
        let early = breaker.crowd(LATE);
        breaker.trip();
        breaker.outlast();
        let _probe = breaker.start();
        let early = if late {
            for call in early {
                call.end(End::Good);
            }
            Vec::new()
        } else {
            early
        };
        let failures = breaker.failures_until_refused(2 * breaker.trips_after());
        drop(early);
        failures
    };
    let (without, with) = (failures_with(false), failures_with(true));
    let seen = if with > without {
        format!(
            "closes while the probe runs: {with} failing calls get through, {without} without them"
        )
    } else {
        format!("{with} failing calls get through, as many as without them")
    };
    Verdict::new(with <= without, seen)
}

fn moves_without_traffic(peer: &dyn Peer) -> Verdict {
    let breaker = peer.make(Wiring::Usual);
    breaker.trip();
    breaker.outlast_by_far();
    match breaker.reports() {
        Ok((report, is_down)) => Verdict::new(!is_down, format!("25 waits later {report}")),
        Err(why) => Verdict::not_applicable(why),
    }
}

fn a_hung_probe_ends(peer: &dyn Peer) -> Verdict {
    const CALLERS: u32 = 50;
    let breaker = waiting_for_probes(peer);
    let hung = breaker.crowd(CALLERS);
    let running = hung.iter().filter(|call| call.reached()).count();
    breaker.outlast_by_far();
    let admits = breaker.admits_in_the_end();
    let seen = match (admits, running) {
        (false, _) => "refuses every call for as long as the probe hangs",
        (true, 50) => "refuses nobody while probes hang",
        (true, _) => "admits another probe",
    };
    Verdict::new(admits, seen)
}

fn cancelled_probes_end(peer: &dyn Peer) -> Verdict {
    probes_end(peer, drop)
}

fn panicked_probes_end(peer: &dyn Peer) -> Verdict {
    probes_end(peer, |probe| {
        probe.end(End::Panic);
    })
}

fn neutral_probes_end(peer: &dyn Peer) -> Verdict {
    probes_end(peer, |probe| {
        probe.end(End::NotFound);
    })
}

fn probes_end(peer: &dyn Peer, end: impl Fn(Call)) -> Verdict {
    const PROBES: u32 = 20;
    let breaker = waiting_for_probes(peer);
    for _ in 0..PROBES {
        end(breaker.start());
    }
    let admits = breaker.admits_in_the_end();
    let seen = if admits {
        "admits another probe"
    } else {
        "refuses every call from then on"
    };
    Verdict::new(admits, seen)
}

/// A closed breaker takes as many failures as it does at first; one that still probes
/// opens again at once.
fn own_pool_does_not_close(peer: &dyn Peer) -> Verdict {
    let breaker = waiting_for_probes(peer);
    for _ in 0..breaker.round() {
        breaker.call(End::OwnPool);
    }
    let fresh = breaker.trips_after();
    let failures = breaker.failures_until_refused(2 * fresh);
    let closes = failures + breaker.round() >= fresh;
    let seen = if closes {
        format!("closes: {failures} failing calls reach the dependency")
    } else {
        format!("{failures} failing calls reach the dependency")
    };
    Verdict::new(!closes, seen)
}

fn traffic_ramps(peer: &dyn Peer) -> Verdict {
    const CALLERS: u32 = 200;
    let breaker = waiting_for_probes(peer);
    for _ in 0..breaker.round() {
        breaker.call(End::Good);
    }
    let crowd = breaker.crowd(CALLERS);
    let reached = crowd.iter().filter(|call| call.reached()).count() as u32;
    let seen = format!("{reached} of {CALLERS} callers get through at once after the last probe");
    Verdict::new(reached <= CALLERS / 2, seen)
}

/// Every instance opens, and is then asked again and again. Each so has an interval in
/// which its wait ended; they probe in step if one length of wait lies in all of them.
fn instances_do_not_probe_in_step(peer: &dyn Peer) -> Verdict {
    const INSTANCES: u32 = 50;
    const WAIT: Duration = Duration::from_secs(1);
    /// A machine that is away for longer than this has seen nothing.
    const BLIND_MAX: Duration = Duration::from_millis(100);
    for _ in 0..TRIES {
        let mut fleet: Vec<_> = (0..INSTANCES)
            .map(|_| Instance::new(peer.make(Wiring::Wait(WAIT))))
            .collect();
        // They meet the outage together.
        while fleet.iter().any(|instance| instance.opened.is_none()) {
            fleet.iter_mut().for_each(Instance::fail);
            fleet[0].breaker.pace();
        }
        while fleet.iter().any(|instance| instance.shortest.is_none()) {
            fleet.iter_mut().for_each(Instance::ask);
            fleet[0].breaker.pass(Duration::from_millis(5));
        }
        let blind = fleet.iter().map(Instance::uncertainty).max();
        if blind.is_none_or(|blind| blind > BLIND_MAX) {
            continue;
        }
        let latest = fleet.iter().map(|instance| instance.longest_refused).max();
        let soonest = fleet.iter().filter_map(|instance| instance.shortest).min();
        let (latest, soonest) = (latest.unwrap_or_default(), soonest.unwrap_or_default());
        let in_step = latest < soonest;
        let seen = if in_step {
            format!("all {INSTANCES} wait {soonest:.1?}")
        } else {
            format!("{INSTANCES} instances wait {soonest:.1?} to {latest:.1?}")
        };
        return Verdict::new(!in_step, seen);
    }
    Verdict::not_applicable("the machine is too busy to tell")
}

struct Instance {
    breaker: Box<dyn Subject>,
    /// Between these two it opened.
    opened: Option<(Instant, Instant)>,
    /// Its wait is longer than this.
    longest_refused: Duration,
    /// Its wait is not longer than this.
    shortest: Option<Duration>,
}

impl Instance {
    fn new(breaker: Box<dyn Subject>) -> Self {
        Self {
            breaker,
            opened: None,
            longest_refused: Duration::ZERO,
            shortest: None,
        }
    }

    /// Fails once more, if it is not open yet.
    fn fail(&mut self) {
        if self.opened.is_some() {
            return;
        }
        let before = self.breaker.now();
        self.breaker.call(End::Bad);
        let after = self.breaker.now();
        if !self.breaker.admits() {
            self.opened = Some((before, after));
        }
    }

    fn ask(&mut self) {
        let (Some((before, after)), None) = (self.opened, self.shortest) else {
            return;
        };
        let asked = self.breaker.now();
        if self.breaker.admits() {
            let now = self.breaker.now();
            self.shortest = Some(now.saturating_duration_since(before));
        } else {
            self.longest_refused = asked.saturating_duration_since(after);
        }
    }

    fn uncertainty(&self) -> Duration {
        let shortest = self.shortest.unwrap_or_default();
        shortest.saturating_sub(self.longest_refused)
    }
}

fn a_shallow_check_does_not_close(peer: &dyn Peer) -> Verdict {
    let breaker = peer.make(Wiring::Usual);
    breaker.trip();
    if let Err(why) = breaker.check_passed() {
        return Verdict::not_applicable(why);
    }
    let fresh = breaker.trips_after();
    let failures = breaker.failures_until_refused(2 * fresh);
    let closes = failures + 1 >= fresh;
    let seen = if closes {
        format!("closes: {failures} failing calls reach the dependency")
    } else {
        format!("{failures} failing calls reach the dependency, as probes")
    };
    Verdict::new(!closes, seen)
}

/// A breaker whose wait is over.
fn waiting_for_probes(peer: &dyn Peer) -> Box<dyn Subject> {
    let breaker = peer.make(Wiring::Usual);
    breaker.trip();
    breaker.outlast();
    breaker
}

const TRIES: u32 = 5;

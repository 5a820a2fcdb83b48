//! How much there is to do, and what is left to do it with: the limit, the runtime, the
//! control group.

use std::time::Instant;

use steadfast_core::{Held, LAG_MAX, MemoryLevel, ShedMode, ShedSnapshot};
use steadfast_diagnosis::{Bytes, Cgroup, Evidence, Own, Ratio, Resource, Text, Tied};

use super::say;
use crate::instance::Control;

pub(super) fn gather(evidence: &mut Evidence, control: &Control, now: Instant) {
    let shed = control.shedder().snapshot();
    let waiting = shed.queue.as_ref().map_or(0, |queue| queue.len) + shed.lag.waiting;
    say(
        evidence,
        Own::Limit {
            in_flight: shed.in_flight.into(),
            limit: shed.limit.map(u64::from),
            waiting: waiting.into(),
        },
    );
    if shed.would_refuse > 0 {
        say(
            evidence,
            Own::WouldRefuse {
                count: shed.would_refuse,
            },
        );
    }
    let pulse = &control.readiness().pulse;
    say(
        evidence,
        Own::Lag {
            lag: shed.lag.lag.max(pulse.lag(now)),
            allowed: LAG_MAX,
        },
    );
    say(
        evidence,
        Own::Silent {
            since: pulse.silent_for(now),
        },
    );
    if let Some(oldest) = &shed.oldest {
        say(evidence, running_longest(oldest, &shed));
    }
    group(evidence, &shed);
}

/// Whose request has run longest. How many of its kind run beside it is not counted, so what
/// runs is taken for its kind once the place is full.
fn running_longest(oldest: &Held, shed: &ShedSnapshot) -> Own {
    let share = match shed.limit {
        Some(limit) => Ratio::of(shed.in_flight.into(), limit.into()),
        None => Ratio::new(0.0),
    };
    Own::Oldest {
        route: Text::new(&oldest.route),
        age: oldest.age,
        ratio: share,
    }
}

/// What the control group leaves, as the memory guard's sampler read it last.
fn group(evidence: &mut Evidence, shed: &ShedSnapshot) {
    let seen = &shed.memory.seen;
    if let Some(memory) = seen.memory {
        let refusing = shed.memory.mode == ShedMode::Enforce && seen.level > MemoryLevel::Fine;
        let (used, max) = (Bytes(memory.used), Bytes(memory.limit));
        say(
            evidence,
            Own::Memory {
                used,
                max,
                refusing,
            },
        );
    }
    if let Some(ratio) = seen.cpu_ratio {
        say(
            evidence,
            Own::Cpu {
                ratio: Ratio::new(ratio),
            },
        );
    }
    if let Some(throttled) = seen.throttled_ratio {
        evidence.saw(
            "cpu.stat",
            Tied::Process(std::process::id()),
            Cgroup::Cut {
                ratio: Ratio::new(throttled),
            },
        );
    }
    let each = [Resource::Cpu, Resource::Memory, Resource::Io];
    for (on, stalled) in each.into_iter().zip(seen.stalled_ratio) {
        if let Some(some) = stalled {
            let (some, full) = (Ratio::new(some), Ratio::new(0.0));
            evidence.saw("pressure", Tied::Host, Cgroup::Pressure { on, some, full });
        }
    }
}

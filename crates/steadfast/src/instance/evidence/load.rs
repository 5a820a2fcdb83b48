//! How much there is to do, and what is left to do it with: the limit, the runtime, the
//! control group.

use std::time::{Duration, Instant};

use steadfast_core::{
    ShedMode,
    plumbing::{LAG_MAX, MemoryLevel, RunningRequest, ShedSnapshot},
};
use steadfast_diagnosis::{Bytes, Cgroup, Evidence, Own, Ratio, Resource, Text, Tied};

use super::say;
use crate::instance::{Control, minutes::Minute};

pub(super) fn gather(evidence: &mut Evidence, control: &Control, now: Instant) {
    let shed = control.shedder().snapshot();
    let queues = shed.backends.iter().map(|backend| &backend.queue);
    let queues = queues.chain([&shed.queue]).flatten();
    let waiting = queues.map(|queue| queue.len).sum::<u32>() + shed.lag.waiting;
    let (in_flight, limit) = fullest(&shed);
    say(
        evidence,
        Own::Limit {
            in_flight: in_flight.into(),
            limit: limit.map(u64::from),
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
    let workers = control.workers().view(now);
    let of = workers.count as u64;
    let longest = workers
        .blocked
        .first()
        .map_or(Duration::ZERO, |(_, time)| *time);
    let workers = workers.blocked.len() as u64;
    say(
        evidence,
        Own::Blocked {
            workers,
            of,
            longest,
        },
    );
    if let Some(demand) = demand(control, now) {
        say(evidence, demand);
    }
    if let Some(oldest) = &shed.oldest {
        say(evidence, running_longest(oldest, &shed));
    }
    if let Some(tenant) = held_to_share(&shed) {
        say(evidence, tenant);
    }
    group(evidence, &shed);
}

/// How many run, and how many may, of the limit that is nearest to being met.
fn fullest(shed: &ShedSnapshot) -> (u32, Option<u32>) {
    let common = (shed.in_flight_of_common(), shed.limit);
    let backends = shed.backends.iter().map(|it| (it.in_flight, it.limit));
    let full = |(running, limit): &(u32, Option<u32>)| {
        limit.map_or(0.0, |limit| f64::from(*running) / f64::from(limit))
    };
    // Of those that are alike the first, which is the common one.
    backends.fold(
        common,
        |most, it| if full(&it) > full(&most) { it } else { most },
    )
}

/// The tenant that asks for most, if it is held to its share now.
fn held_to_share(shed: &ShedSnapshot) -> Option<Own> {
    let tenants = shed.tenants.as_ref().filter(|it| it.contended)?;
    let tenant = tenants.most.first().filter(|it| it.greedy)?;
    Some(Own::TenantHeld {
        tenant: Text::new(&tenant.name),
        asks: tenant.asks.round() as u64,
        fair: tenants.fair?.round() as u64,
        limit: shed.limit?.into(),
    })
}

/// Requests a second in the last minute, and on average in those before. A process that is
/// younger than that has no *before*.
fn demand(control: &Control, now: Instant) -> Option<Own> {
    let minutes = control.minutes().view(now);
    let asked = |minute: &Minute| minute.admitted.saturating_add(minute.refused_in_all());
    let [before @ .., last, going_on] = minutes.as_slice() else {
        return None;
    };
    let before = &before[before.len().saturating_sub(MINUTES_BEFORE)..];
    if before.len() < MINUTES_BEFORE_MIN {
        return None;
    }
    let per_sec = |count: u64, minutes: usize| count as f64 / (60.0 * minutes as f64);
    Some(Own::Demand {
        // What goes on may already be more than the whole minute before.
        now: per_sec(asked(last).max(asked(going_on)), 1),
        before: per_sec(before.iter().map(asked).sum(), before.len()),
        ratio: Ratio::new(control.minutes().demand().unwrap_or_default()),
    })
}

/// How far back *before* reaches, and how far at the least.
const MINUTES_BEFORE: usize = 10;
const MINUTES_BEFORE_MIN: usize = 2;

/// Whose request has run longest. How many of its kind run beside it is not counted, so what
/// runs is taken for its kind once the place is full.
fn running_longest(oldest: &RunningRequest, shed: &ShedSnapshot) -> Own {
    let share = match fullest(shed) {
        (in_flight, Some(limit)) => Ratio::of(in_flight.into(), limit.into()),
        (_, None) => Ratio::new(0.0),
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

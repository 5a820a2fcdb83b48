//! What the operator sees of load shedding: limit, lag, streams, and why each changed.

use serde_json::{Value, json};
use steadfast_core::{
    Held, LagSnapshot, MemorySnapshot, Priority, ReserveSnapshot, ShedMode, ShedSnapshot,
    StateChange, StreamsSnapshot, limit::Snapshot,
};

use super::render;
use crate::clock;

/// Whose changes are the history of load shedding.
const SUBJECTS: [&str; 4] = ["shed", "runtime-lag", "reserve", "resources"];

/// Describes everything, with those of the changes that are about it.
pub(super) fn describe(shed: &ShedSnapshot, changes: &[StateChange]) -> Value {
    let ours = |change: &&StateChange| SUBJECTS.contains(&change.subject.as_str());
    let history: Vec<_> = changes.iter().filter(ours).map(super::change).collect();
    json!({
        "mode": mode(shed.mode),
        "limit": shed.limit,
        "algorithm": algorithm(&shed.algorithm),
        "in_flight": shed.in_flight,
        "peak": shed.peak,
        "admitted": shed.admitted,
        "refused": shed.refused,
        "would_refuse": shed.would_refuse,
        "mean_held_ms": shed.mean_held.map(|held| held.as_secs_f64() * 1000.0),
        "oldest": shed.oldest.as_ref().map(held),
        "lag": lag(&shed.lag),
        "streams": streams(shed.streams),
        "reserve": reserve(&shed.reserve),
        "resources": resources(&shed.memory),
        "history": history,
    })
}

fn lag(lag: &LagSnapshot) -> Value {
    json!({
        "mode": lag.mode.code(),
        "phase": lag.phase.code(),
        "lag_ms": render::millis(lag.lag),
        "wait_ms": render::millis(lag.wait),
        "waiting": lag.waiting,
        "room": lag.room,
        "capacity_per_sec": lag.capacity_per_sec,
        "refused_ratio": lag.refused_ratio,
        "floor": lag.floor.map(|priority| priority.code()),
        "refused": lag.refused,
        "would_refuse": lag.would_refuse,
    })
}

fn reserve(reserve: &ReserveSnapshot) -> Value {
    let classes = Priority::ALL.map(|class| {
        let at = class.index();
        let seen = json!({
            "kept_from_it": reserve.kept[at],
            "asked_before_it": reserve.ratio[at],
            "refused": reserve.refused[at],
        });
        (class.code().to_owned(), seen)
    });
    Value::Object(classes.into_iter().collect())
}

fn resources(memory: &MemorySnapshot) -> Value {
    let seen = &memory.seen;
    let [cpu, memory_stalls, io] = seen.stalled_ratio;
    json!({
        "mode": mode(memory.mode),
        "memory": match seen.memory {
            Some(memory) => json!({
                "used_bytes": memory.used,
                "limit_bytes": memory.limit,
                "ratio": memory.ratio(),
            }),
            None if cfg!(target_os = "linux") => json!("absent"),
            None => json!("unsupported"),
        },
        "level": seen.level.code(),
        "cpu_ratio": seen.cpu_ratio,
        "cpu_throttled_ratio": seen.throttled_ratio,
        "stalled_ratio": { "cpu": cpu, "memory": memory_stalls, "io": io },
        "refused": memory.refused,
        "would_refuse": memory.would_refuse,
    })
}

const fn mode(mode: ShedMode) -> &'static str {
    match mode {
        ShedMode::Enforce => "enforce",
        ShedMode::Observe => "observe",
    }
}

fn streams(streams: StreamsSnapshot) -> Value {
    json!({
        "open": streams.open,
        "max": streams.max,
        "opened": streams.opened,
        "refused": streams.refused,
    })
}

fn algorithm(seen: &Snapshot) -> Value {
    json!({
        "phase": seen.phase.code(),
        "knee": seen.knee,
        "refused_ratio": seen.refused_ratio,
        "experiment": seen.experiment.map(|it| json!({
            "at": clock::rfc3339(it.at),
            "in_flight_low": it.in_flight_low,
            "in_flight_high": it.in_flight_high,
            "latency_ratio": it.latency_ratio,
            "error": it.error,
            "knee": it.knee,
        })),
        "change": seen.change.map(|it| json!({
            "at": clock::rfc3339(it.at),
            "from": it.from,
            "to": it.to,
            "code": it.why.code(),
            "why": it.why.to_string(),
        })),
    })
}

fn held(held: &Held) -> Value {
    json!({ "age_ms": render::millis(held.age), "route": held.route })
}

//! What the operator sees of load: limit, in flight, lag, streams, and why each changed.

use std::time::Duration;

use serde::{Serialize, Serializer, ser::SerializeMap};
use steadfast_core::{
    Priority, ShedMode,
    limit::Snapshot,
    plumbing::{
        BackendSnapshot, LagSnapshot, Memory, MemorySnapshot, PacingSnapshot, QueueSnapshot,
        ReserveSnapshot, StreamsSnapshot, TenantSnapshot, TenantsSnapshot, inert,
    },
};

use super::{Seen, entries::Change, rounded};
use crate::{clock, instance::heads::HeadsView, refusal::millis};

/// Whose changes are the history of load shedding.
const SUBJECTS: [&str; 6] = [
    "shed",
    "runtime-lag",
    "pacing",
    "reserve",
    "tenants",
    "resources",
];

/// The gate that sheds load.
#[derive(Debug, Serialize)]
pub(crate) struct Load {
    pub(crate) mode: &'static str,
    /// Absent while nothing limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<u32>,
    pub(crate) in_flight: u32,
    pub(crate) peak: u32,
    /// What is asked for, over what may run; above 1 a scaler should add instances.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) demand_ratio: Option<f64>,
    /// How long answers take to begin. Absent where none did in the last two minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) head: Option<Head>,
    /// How long a place is held, to the end of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mean_held_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) oldest: Option<Oldest>,
    pub(crate) admitted: u64,
    pub(crate) refused: u64,
    pub(crate) would_refuse: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) queue: Option<Queue>,
    pub(crate) lag: Lag,
    pub(crate) pacing: Pacing,
    pub(crate) streams: Streams,
    pub(crate) resources: Resources,
    #[serde(skip_serializing_if = "Reserve::is_idle")]
    reserve: Reserve,
    /// Absent where nobody says whose requests are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenants: Option<Tenants>,
    /// Limits of those who wait for one dependency. Absent where all share the one limit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) backends: Vec<BackendEntry>,
    pub(in crate::probe::operator) algorithm: Algorithm,
    history: Vec<Change>,
}

/// How long answers take to begin: of one in sixteen, in the last minute or two.
#[derive(Debug, Serialize)]
pub(crate) struct Head {
    pub(crate) mean_ms: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    samples: u64,
}

/// The request that has been running longest.
#[derive(Debug, Serialize)]
pub(crate) struct Oldest {
    pub(crate) route: String,
    pub(crate) age_ms: u64,
}

/// Those who wait for a place.
#[derive(Debug, Serialize)]
pub(crate) struct Queue {
    pub(crate) waiting: u32,
    pub(crate) max: u32,
    standing_ms: u64,
}

/// The lag loop.
#[derive(Debug, Serialize)]
pub(crate) struct Lag {
    mode: &'static str,
    pub(crate) phase: &'static str,
    pub(crate) lag_ms: u64,
    wait_ms: u64,
    waiting: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<u32>,
    capacity_per_sec: f64,
    refused_ratio: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    floor: Option<&'static str>,
    refused: u64,
    would_refuse: u64,
}

/// Clients that ask again as soon as they are refused.
#[derive(Debug, Serialize)]
pub(crate) struct Pacing {
    /// Absent while nobody is paced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pause_ms: Option<f64>,
    /// How many there are.
    pub(crate) hasty: f64,
    paced: u64,
}

/// Answers that are counted apart.
#[derive(Debug, Serialize)]
pub(crate) struct Streams {
    pub(crate) open: u32,
    pub(crate) max: u32,
    opened: u64,
    refused: u64,
}

/// Memory, and what else was read of the surroundings.
#[derive(Debug, Serialize)]
pub(crate) struct Resources {
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_throttled_ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_stalled_ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_stalled_ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    io_stalled_ratio: Option<f64>,
    pub(crate) memory: MemoryEntry,
    level: &'static str,
    refused: u64,
    would_refuse: u64,
}

/// The memory of the control group, or why nothing is known of it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum MemoryEntry {
    Known {
        used_bytes: u64,
        limit_bytes: u64,
        used_ratio: f64,
    },
    Unknown(&'static str),
}

/// Places that are kept for those who go first.
#[derive(Debug)]
struct Reserve([(Priority, Kept); Priority::ALL.len()]);

#[derive(Debug, Serialize)]
struct Kept {
    kept_from_it: u32,
    refused: u64,
}

/// Fair shares of the limit.
#[derive(Debug, Serialize)]
pub(crate) struct Tenants {
    /// Whether the limit was met in the last second, so that shares matter.
    pub(crate) contended: bool,
    /// Places; absent where everybody gets what they ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fair_share: Option<f64>,
    pub(crate) kept: u32,
    pub(crate) known: u32,
    pub(crate) refused: u64,
    /// Those who ask most.
    pub(crate) most: Vec<TenantEntry>,
}

/// What one tenant asks for and has lately, in places.
#[derive(Debug, Serialize)]
pub(crate) struct TenantEntry {
    pub(crate) name: String,
    pub(crate) asks: f64,
    pub(crate) has: f64,
    pub(crate) held_to_share: bool,
}

/// The limit of those who wait for one dependency.
#[derive(Debug, Serialize)]
pub(crate) struct BackendEntry {
    pub(crate) dependency: String,
    pub(crate) routes: Vec<String>,
    /// Absent while nothing limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<u32>,
    pub(crate) in_flight: u32,
    phase: &'static str,
    /// About what the algorithm has settled on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) settled_limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mean_held_ms: Option<f64>,
    admitted: u64,
    pub(crate) refused: u64,
    would_refuse: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<Queue>,
    #[serde(skip_serializing_if = "Reserve::is_idle")]
    reserve: Reserve,
}

/// Where the algorithm behind the limit stands.
#[derive(Debug, Serialize)]
pub(in crate::probe::operator) struct Algorithm {
    phase: &'static str,
    /// About what it has settled on: that stays while what is in force moves around it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::probe::operator) limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::probe::operator) knee: Option<f64>,
    refused_ratio: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    experiment: Option<Experiment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<LimitChange>,
}

#[derive(Debug, Serialize)]
struct Experiment {
    at: String,
    in_flight_low: f64,
    in_flight_high: f64,
    latency_ratio: f64,
    error: f64,
    knee: f64,
}

#[derive(Debug, Serialize)]
struct LimitChange {
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<u32>,
    code: &'static str,
    why: String,
}

impl Load {
    pub(super) fn of(seen: &Seen<'_>) -> Self {
        let shed = &seen.shed;
        let changes = seen.ledger.changes.iter();
        let ours = changes.filter(|change| SUBJECTS.contains(&change.subject.as_str()));
        Self {
            mode: mode(shed.mode),
            limit: shed.limit,
            in_flight: shed.in_flight,
            peak: shed.peak,
            demand_ratio: seen.demand.map(rounded),
            head: seen.state.control.heads().view(seen.now).map(Head::of),
            mean_held_ms: shed.mean_held.map(in_ms),
            oldest: shed.oldest.as_ref().map(|held| Oldest {
                route: inert(&held.route).into(),
                age_ms: millis(held.age),
            }),
            admitted: shed.admitted,
            refused: shed.refused,
            would_refuse: shed.would_refuse,
            queue: shed.queue.as_ref().map(Queue::of),
            lag: Lag::of(&shed.lag),
            pacing: Pacing::of(&shed.pacing),
            streams: Streams::of(shed.streams),
            resources: Resources::of(&shed.memory),
            reserve: Reserve::of(&shed.reserve),
            tenants: shed.tenants.as_ref().map(Tenants::of),
            backends: shed.backends.iter().map(BackendEntry::of).collect(),
            algorithm: Algorithm::of(&shed.algorithm),
            history: ours.map(Change::of).collect(),
        }
    }
}

impl Head {
    fn of(heads: HeadsView) -> Self {
        Self {
            mean_ms: in_ms(heads.mean),
            p50_ms: in_ms(heads.p50),
            p99_ms: in_ms(heads.p99),
            samples: heads.samples,
        }
    }
}

fn in_ms(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1000.0)
}

impl Queue {
    fn of(queue: &QueueSnapshot) -> Self {
        Self {
            waiting: queue.len,
            max: queue.max,
            standing_ms: millis(queue.standing),
        }
    }
}

impl Lag {
    fn of(lag: &LagSnapshot) -> Self {
        Self {
            mode: lag.mode.code(),
            phase: lag.phase.code(),
            lag_ms: millis(lag.lag),
            wait_ms: millis(lag.wait),
            waiting: lag.waiting,
            room: lag.room,
            capacity_per_sec: rounded(lag.capacity_per_sec),
            refused_ratio: rounded(lag.refused_ratio),
            floor: lag.floor.map(Priority::code),
            refused: lag.refused,
            would_refuse: lag.would_refuse,
        }
    }
}

impl Pacing {
    fn of(pacing: &PacingSnapshot) -> Self {
        Self {
            pause_ms: pacing.pause.map(in_ms),
            hasty: rounded(pacing.hasty),
            paced: pacing.paced,
        }
    }
}

impl Streams {
    fn of(streams: StreamsSnapshot) -> Self {
        Self {
            open: streams.open,
            max: streams.max,
            opened: streams.opened,
            refused: streams.refused,
        }
    }
}

impl Resources {
    fn of(memory: &MemorySnapshot) -> Self {
        let seen = &memory.seen;
        let [cpu, stalled, io] = seen.stalled_ratio;
        Self {
            mode: mode(memory.mode),
            cpu_ratio: seen.cpu_ratio.map(rounded),
            cpu_throttled_ratio: seen.throttled_ratio.map(rounded),
            cpu_stalled_ratio: cpu.map(rounded),
            memory_stalled_ratio: stalled.map(rounded),
            io_stalled_ratio: io.map(rounded),
            memory: MemoryEntry::of(seen.memory),
            level: seen.level.code(),
            refused: memory.refused,
            would_refuse: memory.would_refuse,
        }
    }
}

impl MemoryEntry {
    fn of(memory: Option<Memory>) -> Self {
        match memory {
            Some(memory) => Self::Known {
                used_bytes: memory.used,
                limit_bytes: memory.limit,
                used_ratio: rounded(memory.ratio()),
            },
            None if cfg!(target_os = "linux") => Self::Unknown("absent"),
            None => Self::Unknown("unsupported"),
        }
    }
}

impl Reserve {
    fn of(reserve: &ReserveSnapshot) -> Self {
        Self(Priority::ALL.map(|class| {
            let at = class.index();
            let kept = Kept {
                kept_from_it: reserve.kept[at],
                refused: reserve.refused[at],
            };
            (class, kept)
        }))
    }

    fn is_idle(&self) -> bool {
        self.0
            .iter()
            .all(|(_, it)| it.kept_from_it == 0 && it.refused == 0)
    }
}

impl Serialize for Reserve {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (class, kept) in &self.0 {
            map.serialize_entry(class.code(), kept)?;
        }
        map.end()
    }
}

impl Tenants {
    fn of(tenants: &TenantsSnapshot) -> Self {
        Self {
            contended: tenants.contended,
            fair_share: tenants.fair.map(rounded),
            kept: tenants.kept,
            known: tenants.known,
            refused: tenants.refused,
            most: tenants.most.iter().map(TenantEntry::of).collect(),
        }
    }
}

impl BackendEntry {
    fn of(seen: &BackendSnapshot) -> Self {
        Self {
            dependency: seen.backend.to_string(),
            routes: seen.routes.iter().map(|it| inert(it).into()).collect(),
            limit: seen.limit,
            in_flight: seen.in_flight,
            phase: seen.algorithm.phase.code(),
            settled_limit: seen.algorithm.limit,
            mean_held_ms: seen.mean_held.map(in_ms),
            admitted: seen.admitted,
            refused: seen.refused,
            would_refuse: seen.would_refuse,
            queue: seen.queue.as_ref().map(Queue::of),
            reserve: Reserve::of(&seen.reserve),
        }
    }
}

impl TenantEntry {
    fn of(tenant: &TenantSnapshot) -> Self {
        Self {
            name: tenant.name.clone(),
            asks: rounded(tenant.asks),
            has: rounded(tenant.has),
            held_to_share: tenant.greedy,
        }
    }
}

impl Algorithm {
    fn of(seen: &Snapshot) -> Self {
        Self {
            phase: seen.phase.code(),
            limit: seen.limit,
            knee: seen.knee.map(rounded),
            refused_ratio: rounded(seen.refused_ratio),
            experiment: seen.experiment.map(|it| Experiment {
                at: clock::rfc3339(it.at),
                in_flight_low: rounded(it.in_flight_low),
                in_flight_high: rounded(it.in_flight_high),
                latency_ratio: rounded(it.latency_ratio),
                error: rounded(it.error),
                knee: rounded(it.knee),
            }),
            change: seen.change.map(|it| LimitChange {
                at: clock::rfc3339(it.at),
                from: it.from,
                to: it.to,
                code: it.why.code(),
                why: it.why.to_string(),
            }),
        }
    }
}

const fn mode(mode: ShedMode) -> &'static str {
    match mode {
        ShedMode::Enforce => "enforce",
        ShedMode::Observe => "observe",
    }
}

//! Each dependency: what is believed of it and why, then what calls, the check and the pool
//! say, each by itself.

use std::time::Instant;

use serde::Serialize;
use serde_json::Value as Json;
use steadfast_core::{
    CallKind, CheckOutcome, Health,
    plumbing::{
        BreakerSnapshot, CallCounts, CheckView, DependencyView, LastError, PoolHeld, PoolReading,
        inert,
    },
};

use super::{Seen, rounded};
use crate::{
    clock,
    dependency::{Dependency, Outage},
    probe::health::output,
    refusal::millis,
};

/// One dependency.
#[derive(Debug, Serialize)]
pub(crate) struct DependencyEntry {
    pub(crate) name: String,
    pub(crate) health: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) class: Option<&'static str>,
    /// What it last said, while something is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<String>,
    pub(crate) requirement: &'static str,
    pub(crate) outages: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_outage: Option<OutageEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) breaker: Option<BreakerEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pool: Option<PoolEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) check: Option<CheckEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) read_only: Option<ReadOnlyEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sessions_refused: Option<SessionsEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keys: Option<KeysEntry>,
    #[serde(skip_serializing_if = "Calls::is_none")]
    pub(crate) calls: Calls,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_call_error: Option<ErrorEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_check_error: Option<ErrorEntry>,
}

/// The last time it was down.
#[derive(Debug, Serialize)]
pub(crate) struct OutageEntry {
    pub(crate) began: String,
    /// Absent while it lasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lasted_ms: Option<u64>,
    pub(crate) refused: u64,
    pub(crate) failed: u64,
}

/// The passive side: what traffic saw.
#[derive(Debug, Serialize)]
pub(crate) struct BreakerEntry {
    pub(crate) state: &'static str,
    pub(crate) mode: &'static str,
    pub(crate) since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outage_since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_probe: Option<String>,
    pub(crate) admitted_ratio: f64,
    pub(crate) window_ms: u64,
    pub(crate) calls: u32,
    pub(crate) failed: u32,
    pub(crate) slow: u32,
    pub(crate) abandoned: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) in_flight: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) oldest_ms: Option<u64>,
    pub(crate) opens_in_a_row: u32,
}

/// The pool under the most pressure.
#[derive(Debug, Serialize)]
pub(crate) struct PoolEntry {
    pub(crate) max: u32,
    pub(crate) in_use: u32,
    pub(crate) idle: u32,
    pub(crate) waiting: u32,
    pub(crate) pressure: &'static str,
    pub(crate) leaked: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_has_room_for: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) longest_held_ms: Option<u64>,
    pub(crate) waited_total_ms: u64,
    /// Who holds connections, the longest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) holders: Vec<HolderEntry>,
}

/// One connection in use.
#[derive(Debug, Serialize)]
pub(crate) struct HolderEntry {
    pub(crate) place: String,
    pub(crate) held_ms: u64,
    pub(crate) too_long: bool,
}

/// The active side: what the check saw.
#[derive(Debug, Serialize)]
pub(crate) struct CheckEntry {
    pub(crate) kind: &'static str,
    pub(crate) took_ms: f64,
    pub(crate) failures: u32,
    pub(crate) successes: u32,
    pub(crate) runs: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ran_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_pass: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) vouched_by_traffic: Option<String>,
    pub(crate) detection_max_ms: u64,
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub(crate) numbers: serde_json::Map<String, Json>,
}

/// A server that takes no writes.
#[derive(Debug, Serialize)]
pub(crate) struct ReadOnlyEntry {
    pub(crate) since: String,
    pub(crate) last: String,
    pub(crate) error: String,
    pub(crate) refusing: bool,
    pub(crate) refused: u64,
}

/// A server that opens no new session.
#[derive(Debug, Serialize)]
pub(crate) struct SessionsEntry {
    pub(crate) since: String,
    pub(crate) last: String,
    pub(crate) error: String,
    pub(crate) still_serving: u32,
    pub(crate) refused: u64,
}

/// Breakers of hosts, shards or tenants.
#[derive(Debug, Serialize)]
pub(crate) struct KeysEntry {
    pub(crate) known: u32,
    pub(crate) refusing: u32,
}

/// An error, and when it was met.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorEntry {
    pub(crate) at: String,
    pub(crate) class: &'static str,
    pub(crate) message: String,
}

/// How calls ended since the start, those of zero left out.
#[derive(Debug)]
pub(crate) struct Calls(CallCounts);

/// Returns every dependency, what is wrong first.
pub(super) fn all(seen: &Seen<'_>) -> Vec<DependencyEntry> {
    let known = seen.state.control.readiness().dependencies.iter();
    let both = known.zip(&seen.snapshot.dependencies);
    let mut all: Vec<_> = both
        .map(|(dependency, view)| DependencyEntry::of(dependency, view, seen.now))
        .collect();
    all.sort_by_key(|entry| rank(entry.health));
    all
}

fn rank(health: &str) -> u8 {
    let order = [Health::Failing, Health::Unknown, Health::Warning];
    let at = order.iter().position(|it| it.as_str() == health);
    at.map_or(u8::MAX, |at| at as u8)
}

impl DependencyEntry {
    fn of(dependency: &Dependency, view: &DependencyView, now: Instant) -> Self {
        let health = view.health(now);
        let reason = view.reason(now);
        let error = reason.as_ref().and_then(|reason| reason.error());
        let shown = || error.unwrap_or_else(|| output(view)).to_owned();
        let outages = dependency.outages(now);
        let (known, refusing) = view.keys;
        Self {
            name: view.name.to_string(),
            health: health.as_str(),
            reason: reason
                .as_ref()
                .map(|reason| inert(&reason.to_string()).into()),
            class: view.class(now).map(|class| class.code()),
            output: (health != Health::Passing)
                .then(shown)
                .map(|text| inert(&text).into()),
            since: view.since(now).map(clock::rfc3339),
            requirement: view.requirement.as_str(),
            outages: outages.count,
            last_outage: outages.last.as_ref().map(OutageEntry::of),
            breaker: view.breaker.as_ref().map(BreakerEntry::of),
            pool: view
                .pool
                .as_ref()
                .map(|pool| PoolEntry::of(pool, &dependency.state().pool_holders(now))),
            check: view.check.as_deref().map(CheckEntry::of),
            read_only: view.read_only.as_ref().map(|it| ReadOnlyEntry {
                since: clock::rfc3339(it.since),
                last: clock::rfc3339(it.last_at),
                error: inert(&it.error).into(),
                refusing: it.is_refusing,
                refused: it.refused,
            }),
            sessions_refused: view.sessions_refused.as_ref().map(|it| SessionsEntry {
                since: clock::rfc3339(it.since),
                last: clock::rfc3339(it.last_at),
                error: inert(&it.error).into(),
                still_serving: it.still_serving,
                refused: it.refused,
            }),
            keys: (known > 0).then_some(KeysEntry { known, refusing }),
            calls: Calls(dependency.state().calls()),
            last_call_error: view.last_call_error.as_ref().map(ErrorEntry::of),
            last_check_error: view.last_check_error.as_ref().map(ErrorEntry::of),
        }
    }
}

impl OutageEntry {
    fn of(last: &Outage) -> Self {
        Self {
            began: clock::rfc3339(last.began),
            lasted_ms: last.lasted.map(millis),
            refused: last.refused,
            failed: last.failed,
        }
    }
}

impl BreakerEntry {
    fn of(seen: &BreakerSnapshot) -> Self {
        Self {
            state: seen.state.code(),
            mode: seen.mode.code(),
            since: clock::rfc3339(seen.since),
            outage_since: seen.outage_since.map(clock::rfc3339),
            reason: seen.outage_since.and(seen.reason).map(|it| it.to_string()),
            next_probe: seen.next_probe_at.map(clock::rfc3339),
            admitted_ratio: rounded(seen.admitted_ratio),
            window_ms: millis(seen.window),
            calls: seen.counts.calls,
            failed: seen.counts.failed,
            slow: seen.counts.slow,
            abandoned: seen.counts.abandoned,
            in_flight: seen.in_flight,
            oldest_ms: seen.oldest.map(millis),
            opens_in_a_row: seen.opens_in_a_row,
        }
    }
}

impl PoolEntry {
    fn of(pool: &PoolReading, holders: &[PoolHeld]) -> Self {
        Self {
            max: pool.max,
            in_use: pool.in_use,
            idle: pool.idle,
            waiting: pool.waiting,
            pressure: pool.pressure.code(),
            leaked: pool.leaked,
            server_has_room_for: pool.room,
            longest_held_ms: pool.longest_held.map(millis),
            waited_total_ms: millis(pool.waited_total),
            holders: holders
                .iter()
                .map(|holder| HolderEntry {
                    place: holder.place.to_string(),
                    held_ms: millis(holder.held),
                    too_long: holder.is_long,
                })
                .collect(),
        }
    }
}

impl CheckEntry {
    fn of(check: &CheckView) -> Self {
        let numbers = check.last.iter().flat_map(CheckOutcome::numbers);
        Self {
            kind: check.kind,
            took_ms: rounded(check.took.as_secs_f64() * 1000.0),
            failures: check.failures,
            successes: check.successes,
            runs: check.runs,
            ran_at: check.ran_at.map(clock::rfc3339),
            last_pass: check.passed_at.map(clock::rfc3339),
            vouched_by_traffic: check.vouched_at.map(clock::rfc3339),
            detection_max_ms: millis(check.settings.detection_max()),
            numbers: numbers
                .map(|number| (number.name.to_owned(), rounded(number.value).into()))
                .collect(),
        }
    }
}

impl ErrorEntry {
    fn of(error: &LastError) -> Self {
        Self {
            at: clock::rfc3339(error.at),
            class: error.class.code(),
            message: inert(&error.message).into(),
        }
    }
}

impl Calls {
    fn is_none(&self) -> bool {
        CallKind::ALL.into_iter().all(|kind| self.0.of(kind) == 0)
    }
}

impl Serialize for Calls {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let each = CallKind::ALL
            .into_iter()
            .map(|kind| (kind.code(), self.0.of(kind)));
        serializer.collect_map(each.filter(|(_, count)| *count != 0))
    }
}

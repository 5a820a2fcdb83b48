//! The process itself: what it is, since when it runs, and how its runtime does.

use serde::Serialize;
use steadfast_core::plumbing::{LifecycleView, inert};

use super::Seen;
use crate::{clock, refusal::millis};

/// What runs, and since when.
#[derive(Debug, Serialize)]
pub(crate) struct Process {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    pub(crate) pid: u32,
    pub(crate) started: String,
    pub(crate) phase_since: String,
    /// How often somebody showed a wrong token.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) wrong_tokens: u64,
}

/// The main runtime.
#[derive(Debug, Serialize)]
pub(crate) struct Runtime {
    /// For how long it has not run anything, once that is longer than its heartbeat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) silent_ms: Option<u64>,
    pub(crate) workers: usize,
    pub(crate) tasks_alive: usize,
    pub(crate) tasks_queued: usize,
    /// Workers that have been in one task for long, the longest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) blocked: Vec<BlockedWorker>,
    /// The longest that a worker was seen in one task since the start, in steps of the look.
    pub(crate) longest_poll_ms: u64,
}

/// A worker thread that does not come back from a task.
#[derive(Debug, Serialize)]
pub(crate) struct BlockedWorker {
    pub(crate) worker: usize,
    pub(crate) for_ms: u64,
}

/// A maintenance that is on.
#[derive(Debug, Serialize)]
pub(crate) struct Maintenance {
    pub(crate) reason: String,
    pub(crate) since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks with a reference"
)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Process {
    pub(super) fn of(seen: &Seen<'_>) -> Self {
        let started = seen.state.control.made_at();
        let service = seen.state.profile.service.as_ref();
        Self {
            service: service.map(|(name, _)| name.clone()),
            version: seen.version().map(str::to_owned),
            pid: std::process::id(),
            started: clock::rfc3339(started),
            phase_since: clock::rfc3339(seen.snapshot.life.since),
            wrong_tokens: seen.state.attempts.ever(),
        }
    }
}

impl Runtime {
    pub(super) fn of(seen: &Seen<'_>) -> Self {
        let control = &seen.state.control;
        let workers = control.workers().view(seen.now);
        // Two beats: one that is late is lag, which has its own number.
        let silent = control.readiness().pulse.silent_for(seen.now);
        let silent = Some(silent).filter(|it| *it > 2 * steadfast_core::plumbing::BEAT);
        Self {
            silent_ms: silent.map(millis),
            workers: workers.count,
            tasks_alive: workers.tasks_alive,
            tasks_queued: workers.tasks_queued,
            blocked: workers
                .blocked
                .iter()
                .map(|(worker, time)| BlockedWorker {
                    worker: *worker,
                    for_ms: millis(*time),
                })
                .collect(),
            longest_poll_ms: millis(workers.longest),
        }
    }
}

impl Maintenance {
    /// Returns the one that is on.
    pub(crate) fn of(life: &LifecycleView) -> Option<Self> {
        life.maintenance.as_ref().map(|on| Self {
            reason: inert(&on.reason).into(),
            since: clock::rfc3339(on.since),
            until: on.until.map(clock::rfc3339),
        })
    }
}

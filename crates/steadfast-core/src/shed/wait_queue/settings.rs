//! How a wait queue is set up.

use std::time::Duration;

/// Most places of a queue. A queue that needs more hides an overload of seconds; each
/// place is memory that is there from the start.
pub const QUEUE_LEN_MAX: u32 = 1024;

/// Most places of a queue whose length follows the limit. Half of a limit above 256 would
/// only lengthen the wait of who stands last.
pub const QUEUE_LEN_DEFAULT_MAX: u32 = 128;

/// Longest that a request may wait, whatever the settings: who waits in front of a service
/// that answers in milliseconds gives up after about a second (Netflix' blocking limiter
/// waits as long, linkerd2-proxy's queue fails as fast).
pub const QUEUE_WAIT_MAX: Duration = Duration::from_secs(1);

/// How long a request may wait in a queue that has not been empty for [`INTERVAL`].
const TARGET: Duration = Duration::from_millis(5);

/// How long a request may wait otherwise, and how long a queue may last before it counts
/// as a standing one.
const INTERVAL: Duration = Duration::from_millis(100);

/// A small bounded queue in front of a limit, for bursts that are over before anybody
/// notices. Adaptive LIFO with CoDel's clock, as Facebook runs it in front of its services
/// (Maurer, "Fail at Scale", ACM Queue 13(8), 2015): while the queue has been empty within
/// the last 100 ms, the first to come is the first to run and may wait 100 ms; once it has
/// not, the wait is at most 5 ms and the last to come is the first to run, because whoever
/// has waited long is the likeliest to have left. Empty for less than 5 ms is chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct QueueSettings {
    len: Option<u32>,
    pub(super) target: Duration,
    pub(super) interval: Duration,
}

impl Default for QueueSettings {
    /// Half as many places as requests may run, at most 128.
    fn default() -> Self {
        Self {
            len: None,
            target: TARGET,
            interval: INTERVAL,
        }
    }
}

impl QueueSettings {
    /// Sets how many may wait, 1 to 1,024, whatever the limit is.
    pub const fn len_max(mut self, len: u32) -> Self {
        self.len = Some(len);
        self
    }

    /// Sets how long a request may wait in a queue that lasts. Above zero, at most the
    /// interval. Default 5 ms.
    pub const fn target(mut self, target: Duration) -> Self {
        self.target = target;
        self
    }

    /// Sets how long a request may wait in a queue that was empty a moment ago, which is
    /// also the length of that moment. At most 1 s. Default 100 ms.
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Returns what is wrong with the settings.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if let Some(len) = self.len.filter(|len| *len == 0 || *len > QUEUE_LEN_MAX) {
            faults.push(format!(
                "shed: queue of {len} places; allowed is 1 to {QUEUE_LEN_MAX}"
            ));
        }
        let (target, interval) = (self.target, self.interval);
        if target.is_zero() || target > interval {
            faults.push(format!(
                "shed: queue target {target:?}; allowed is above 0s to the interval {interval:?}"
            ));
        }
        if interval > QUEUE_WAIT_MAX {
            faults.push(format!(
                "shed: queue interval {interval:?}; allowed is up to {QUEUE_WAIT_MAX:?}"
            ));
        }
        faults
    }

    /// Places to keep ready.
    pub(super) fn places(&self) -> u32 {
        self.len
            .unwrap_or(QUEUE_LEN_DEFAULT_MAX)
            .clamp(1, QUEUE_LEN_MAX)
    }

    /// How many may wait while this many may run.
    pub(super) fn len_at(&self, limit: u32) -> u32 {
        self.len.map_or_else(
            || (limit / 2).min(QUEUE_LEN_DEFAULT_MAX),
            |len| len.min(QUEUE_LEN_MAX),
        )
    }
}

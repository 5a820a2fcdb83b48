//! When what is held says nothing about now, and the limit goes away.

use std::time::{Duration, Instant};

use super::Engaged;
use crate::shed::limit::ChangeReason;

impl Engaged {
    /// Whether what is held says nothing about now.
    pub(super) fn obsolete(&self, now: Instant, refuses: bool) -> Option<ChangeReason> {
        let since = |then: Option<Instant>| {
            then.map_or(Duration::ZERO, |then| now.saturating_duration_since(then))
        };
        let quiet = since(self.signs.last_refusal);
        if quiet >= QUIET {
            return Some(ChangeReason::Quiet(quiet));
        }
        if let Some(held) = self.slack.overdue(now) {
            return Some(ChangeReason::Changed(held));
        }
        // A process that stood still hears of those who came meanwhile before it can end anything.
        let silent = since(self.signs.last_end).saturating_sub(self.signs.gap);
        // The first to end where the limit is new are short ones, whatever the others take.
        let latency = self.latency.secs.max(self.scatter.sqrt());
        let patience = (SILENT_LATENCIES * latency).max(SILENT_SECS);
        (refuses && !self.frozen && silent.as_secs_f64() >= patience)
            .then_some(ChangeReason::Silent(silent))
    }
}

/// Without refusals for this long the limit goes away.
const QUIET: Duration = Duration::from_secs(10);
/// Refusing while nothing ends, for so many latencies and at least so long, is refusing blindly.
const SILENT_LATENCIES: f64 = 10.0;
const SILENT_SECS: f64 = 0.1;

//! What one end says: anything at all, and whether times have changed.

use std::time::Instant;

use super::{Engaged, Kept};

impl Engaged {
    /// Whether a sample says something about the queue. A client that leaves long before
    /// answers come would have left at any limit: its patience was used up elsewhere, most
    /// likely in a socket that nobody read.
    pub(super) fn tells(&self, (latency, _, abandoned): (f64, u32, bool)) -> bool {
        !abandoned || latency >= TOO_SOON * self.latency.secs
    }

    /// Notices that latency at the limit is not what it was, and looks at once.
    pub(super) fn notice(&mut self, now: Instant) {
        if self.rest.recent.n() < self.cohort_full() {
            return;
        }
        let recent = std::mem::take(&mut self.rest.recent);
        let kept = &self.rest.kept.high;
        let (before, error_squared) = if kept.sums.n() > 0.0 {
            (kept.sums, kept.error_squared())
        } else {
            let calm = *self.rest.calm.get_or_insert(recent);
            (calm, calm.error_squared())
        };
        if recent.differs_from(&before, error_squared + recent.error_squared()) {
            self.rest.kept = Kept::default();
            self.rest.calm = None;
            self.rest.until = Some(now);
        }
    }
}

/// A client that leaves in less than this share of what answers take left for no queue here:
/// at its target a limit makes requests no more than 1.4 times slower.
const TOO_SOON: f64 = 0.5;

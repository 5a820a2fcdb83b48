//! The gate's side of the reserve: who is counted, and when somebody looks.

use std::time::Instant;

use super::ShedGate;
use crate::shed::{
    reservation::{ReserveChange, Totals},
    tenants::TenantShares,
};

impl ShedGate {
    /// Takes note that somebody found no place, and says whether there may be one now. `met`
    /// says whether as many ran as may.
    pub(super) fn look_at_reserve(
        &self,
        stripe: usize,
        met: impl FnOnce() -> bool,
        now: Instant,
    ) -> bool {
        let totals = || self.totals(met());
        let changed = self.reserve.look_if_due(&self.tokens, totals, now);
        if changed {
            self.keep_changed(stripe, now);
        }
        changed
    }

    /// Looks in any case, ten times a second.
    pub(super) fn beat_reserve(&self, stripe: usize, now: Instant) {
        if self.reserve.beat(&self.tokens, self.totals(false), now) {
            self.keep_changed(stripe, now);
        }
    }

    pub(super) fn keep_changed(&self, stripe: usize, now: Instant) {
        let shares = self.tenants.as_deref().map_or(0, TenantShares::beside);
        let kept = self.reserve.beside().saturating_add(shares);
        self.driver.kept(kept, &self.tokens);
        self.offer(stripe, Some(now));
    }

    fn totals(&self, met: bool) -> Totals {
        Totals {
            served: self.admitted.sum(),
            refused: self.refused.sum(),
            met,
            queued: self.queue.is_some(),
        }
    }

    /// Takes what became of the places that are kept for those who go first since the last
    /// call, oldest first.
    #[must_use]
    pub fn take_reserve_changes(&self) -> Vec<ReserveChange> {
        self.reserve.take_changes()
    }
}

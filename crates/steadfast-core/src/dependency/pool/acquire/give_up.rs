//! When a request stops waiting for a connection, and what it is told then.

use std::time::{Duration, Instant};

use super::{Attempt, PoolAcquire, PoolDriver, Refusal};
use crate::dependency::pool::{PATIENCE_MIN, PoolSilence, attempt::settle_busy};

/// How often one who waits for a turn looks whether the breaker has opened meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl<D: PoolDriver> PoolAcquire<D> {
    /// Refuses the request because its time is over.
    pub(super) fn give_up(&mut self, now: Instant) -> Refusal {
        if self.is_past_deadline(now) && !self.attempts.is_empty() {
            return self.cut(now);
        }
        let known = self.is_kept_away(now).then(|| self.state.refusal(now));
        if let Some(refusal) = known.flatten() {
            return refusal.entered();
        }
        if self
            .attempts
            .iter()
            .any(|attempt| attempt.is_busy(&self.driver))
        {
            if let Some(permit) = self.permit.take() {
                settle_busy(permit, now);
            }
            return self.busy(now);
        }
        self.settle_neutral(now);
        self.gate.note_in_use(self.driver.in_use());
        match self.ticket.take() {
            Some(ticket) => ticket.refuse(now),
            None => self.busy(now),
        }
    }

    fn busy(&self, now: Instant) -> Refusal {
        let in_use = self.driver.in_use();
        self.gate
            .refuse_silent(PoolSilence::Busy { in_use }, self.waited(now), now)
    }

    /// Refuses the request at its own deadline, with a turn.
    ///
    /// One that spent most of its time in the queue was refused by the queue, although its
    /// turn came in the end: that the server did not answer in what was left says nothing.
    pub(super) fn cut(&self, now: Instant) -> Refusal {
        let turn_at = self
            .attempts
            .iter()
            .map(Attempt::since)
            .min()
            .unwrap_or(now);
        let (queued, worked) = (self.waited(turn_at), now.saturating_duration_since(turn_at));
        let is_busy = |attempt: &Attempt<D>| attempt.is_busy(&self.driver);
        let answers = self.attempts.iter().any(is_busy) || self.gate.works(now);
        if answers || queued > worked {
            return self.busy(now);
        }
        self.gate
            .refuse_silent(PoolSilence::Cut, self.waited(now), now)
    }

    /// Whether it has waited for as long as it may, or waits in vain.
    pub(super) fn is_patience_over(&mut self, now: Instant) -> bool {
        if self.is_past_deadline(now) {
            return true;
        }
        if self.attempts.iter().any(|attempt| !attempt.is_silent()) {
            return false;
        }
        let Some(ticket) = &self.ticket else {
            return true;
        };
        let mut until = ticket.until().instant().min(ticket.vain_at(now));
        if self.is_kept_away(now) {
            // Its turn would be refused too; an outage that is just over is waited for.
            until = until.min(self.since.unwrap_or(now) + PATIENCE_MIN);
        }
        // Nobody wakes it when the breaker opens.
        self.patient_until = Some(until.min(now + LOOK_EVERY));
        now >= until
    }

    /// Whether the breaker would refuse it a turn.
    fn is_kept_away(&self, now: Instant) -> bool {
        self.attempts.is_empty() && self.permit.is_none() && self.state.refuses(|| now)
    }
}

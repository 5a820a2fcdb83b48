//! What a request does while the server may be on its way back: see `pool/restart.rs`.

use std::time::Instant;

use super::{Failure, PoolAcquire, PoolDriver, Refusal};

impl<D: PoolDriver> PoolAcquire<D> {
    /// Others have found that there is none, and the driver goes on: so does the request, for as
    /// long as that may be a restart.
    pub(super) fn heard(&mut self, at: usize, failure: Failure, now: Instant) -> Option<Refusal> {
        let Some(until) = self.gate.restarts_until(&failure, now) else {
            return self.failed(at, &failure, now);
        };
        // A call that hangs for so long would be evidence by itself.
        self.settle_neutral(now);
        self.restart = Some((until, failure));
        None
    }

    /// Refuses one who has waited for a server that does not come back; `None` if nobody
    /// waits for that, or it may be served yet.
    pub(super) fn is_no_restart(&mut self, now: Instant) -> Option<Refusal> {
        let (_, failure) = self.restart.take_if(|(until, _)| now >= *until)?;
        if !self.gate.is_gone() {
            return None;
        }
        while !self.attempts.is_empty() {
            self.abandon(0, now);
        }
        if self.may_yet_be_served(failure.class(), now) {
            return None;
        }
        match self.ask_breaker(now) {
            Ok(permit) => self.permit = Some(permit),
            Err(refusal) => return Some(refusal),
        }
        Some(self.refuse(&failure, now))
    }
}

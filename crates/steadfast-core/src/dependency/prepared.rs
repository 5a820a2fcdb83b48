//! The evidence of an outage, made once for many refusals.
//!
//! While a dependency is down every call to it is refused, maybe ten thousand times a
//! second, and each refusal carries the same evidence but for its two lengths of time. So
//! each stripe keeps the evidence it made last, and hands it out again for a tenth of a
//! second: no allocation, no other lock and no line of another thread on that path. The
//! refusal's own hint to its client is exact each time.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use crate::{
    dependency::breaker::BreakerRefusal,
    refusal::evidence::Evidence,
    sync::{
        Mutex,
        stripe::{self, Padded, STRIPES},
        try_lock,
    },
};

/// For how long evidence is handed out again: the lengths of time in it may be late by as
/// much, which nobody can see in a number of seconds.
pub(super) const KEPT: Duration = Duration::from_millis(100);

/// What was made last, on each stripe. Empty until the first refusal, as most dependencies
/// are most of the time.
#[derive(Default)]
pub(super) struct Prepared(OnceLock<Box<[Stripe; STRIPES]>>);

type Stripe = Padded<Mutex<Option<Kept>>>;

#[derive(Debug)]
struct Kept {
    made: Instant,
    /// What the evidence was made of, but for its time.
    of: BreakerRefusal,
    evidence: Arc<Evidence>,
}

impl Prepared {
    /// Returns the evidence of this refusal, and makes it if what is kept is of another
    /// moment or another outage.
    pub(super) fn evidence(
        &self,
        refused: &BreakerRefusal,
        now: Instant,
        make: impl FnOnce() -> Evidence,
    ) -> Arc<Evidence> {
        let stripes = self.0.get_or_init(Box::default);
        let Some(mut kept) = try_lock(&stripes[stripe::current()].0) else {
            return Arc::new(make());
        };
        match &*kept {
            Some(kept) if kept.is_of(refused, now) => Arc::clone(&kept.evidence),
            _ => {
                let evidence = Arc::new(make());
                let mut of = refused.clone();
                of.transition = None;
                *kept = Some(Kept {
                    made: now,
                    of,
                    evidence: Arc::clone(&evidence),
                });
                evidence
            }
        }
    }
}

impl Kept {
    fn is_of(&self, refused: &BreakerRefusal, now: Instant) -> bool {
        let of = &self.of;
        // A clock that goes back makes it older than it is, never younger.
        now >= self.made
            && now.saturating_duration_since(self.made) < KEPT
            && of.since == refused.since
            && of.state == refused.state
            && of.mode == refused.mode
            && of.reason == refused.reason
            && of.last_failure == refused.last_failure
    }
}

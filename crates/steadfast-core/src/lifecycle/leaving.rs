//! What is noticed while the process leaves: who still comes, and whether a balancer has
//! heard that nobody should.
//!
//! Two things are made of it. The lame duck ends before its maximum once balancers have
//! been told and stay away, and the report says which of them did not listen. The share of
//! connections that are asked to end grows over the lame duck instead of jumping to all,
//! because connections that all end at one moment are all opened again at one moment, by
//! clients without a balancer on this same instance.

use std::time::{Duration, Instant};

/// The part of the lame duck over which connections are asked to end; in the rest, every
/// answer asks. Four fifths leave the last fifth for connections that are used seldom.
const RAMP_NUMERATOR: u32 = 4;
const RAMP_DENOMINATOR: u32 = 5;

/// What was noticed since the process began to leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeavingNotes {
    /// Requests that came in, probes and the operator's own left out.
    pub requests: u64,
    /// When the last of them came.
    pub last_request: Option<Instant>,
    /// Readiness probes that were told no.
    pub failing_probes: u32,
    /// When the last of them came.
    pub last_probe: Option<Instant>,
}

impl LeavingNotes {
    /// For how long no request has come, counted from `began` at the earliest.
    #[must_use]
    pub fn quiet_for(&self, began: Instant, now: Instant) -> Duration {
        now.saturating_duration_since(self.last_request.map_or(began, |last| last.max(began)))
    }
}

/// The span over which connections are asked to end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ramp {
    from: Instant,
    length: Duration,
}

impl Ramp {
    pub(super) fn new(from: Instant, lame_duck: Duration) -> Self {
        let length = lame_duck / RAMP_DENOMINATOR * RAMP_NUMERATOR;
        Self { from, length }
    }

    /// The share of answers that ask their connection to end.
    pub(super) fn ratio(&self, now: Instant) -> f64 {
        if self.length.is_zero() {
            return 1.0;
        }
        let gone = now.saturating_duration_since(self.from);
        (gone.as_secs_f64() / self.length.as_secs_f64()).min(1.0)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::testing::origin;

    #[test]
    fn the_share_grows_over_four_fifths_and_stays_whole() {
        let now = origin();
        let ramp = Ramp::new(now, Duration::from_secs(10));
        for (at, expected) in [(0, 0.0), (2, 0.25), (4, 0.5), (8, 1.0), (10, 1.0)] {
            let ratio = ramp.ratio(now + Duration::from_secs(at));
            assert!((ratio - expected).abs() < 1e-9, "{at}: {ratio}");
        }
        assert!(Ramp::new(now, Duration::ZERO).ratio(now) >= 1.0);
    }

    #[test]
    fn quiet_counts_from_the_last_request_or_the_beginning() {
        let began = origin();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut notes = LeavingNotes::default();
        assert_eq!(notes.quiet_for(began, at(3)), Duration::from_secs(3));
        notes.last_request = Some(at(2));
        assert_eq!(notes.quiet_for(began, at(3)), Duration::from_secs(1));
    }
}

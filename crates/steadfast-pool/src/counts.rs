//! What a pool counts, what earlier readings have shown, and what that means. Pure.

use std::time::{Duration, Instant};

use steadfast_core::{CheckOutcome, Failure, FailureClass};

use crate::fresh::{self, Fresh};

/// Fewest readings that make a state last; one or two are what any busy pool shows.
pub const READINGS_MIN: u32 = 3;

/// At how many readings in a row a pool has nothing left before it wants to grow. One is what
/// any busy pool shows, and drivers count a connection that they are still opening.
const EMPTY_READINGS: u32 = 2;

/// A pool's own numbers at one moment. Complete: every pool counts these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Connections that it has, or is opening.
    pub size: u32,
    /// Those that lie ready.
    pub idle: u32,
    /// How many it may have.
    pub max: u32,
}

impl Counts {
    /// Returns how many are handed out, or on their way to be opened.
    #[must_use]
    pub const fn in_use(self) -> u32 {
        self.size.saturating_sub(self.idle)
    }

    /// Whether something is in use and nothing is left.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.size > 0 && self.idle == 0
    }

    /// Whether nothing is left and nothing may be opened.
    #[must_use]
    pub const fn is_full(self) -> bool {
        self.is_empty() && self.size >= self.max
    }

    /// Adds them to what a check says.
    pub fn numbers(self, outcome: CheckOutcome) -> CheckOutcome {
        outcome
            .number("pool_size", self.size)
            .number("pool_idle", self.idle)
            .number("pool_max", self.max)
            .number("pool_in_use", self.in_use())
    }
}

/// What earlier readings have shown.
#[derive(Debug, Default)]
pub struct History {
    empty_readings: u32,
    full_readings: u32,
    full_since: Option<Instant>,
    /// What is known of new sessions.
    pub fresh: Fresh,
}

impl History {
    /// Takes a reading in.
    pub fn note(&mut self, counts: Counts, now: Instant) {
        let count = |seen: bool, so_far: u32| if seen { so_far.saturating_add(1) } else { 0 };
        self.empty_readings = count(counts.is_empty(), self.empty_readings);
        self.full_readings = count(counts.is_full(), self.full_readings);
        self.full_since = counts.is_full().then(|| self.full_since.unwrap_or(now));
    }

    /// Whether the pool has had nothing left at more than one reading.
    #[must_use]
    pub const fn is_empty_again(&self) -> bool {
        self.empty_readings >= EMPTY_READINGS
    }

    /// Whether it is time to see if the server would give one more session: now and then, and
    /// when the pool begins to want one. A connection that a pool tries to open counts as part
    /// of it, so the numbers of one that cannot grow look like those of one in full use.
    #[must_use]
    pub fn wants_session(&self, now: Instant) -> bool {
        self.empty_readings == EMPTY_READINGS || self.fresh.is_due(now)
    }

    /// Returns for how long the pool has been full at every one of several readings.
    #[must_use]
    pub fn full_for(&self, now: Instant) -> Option<Duration> {
        self.full_since
            .filter(|_| self.full_readings >= READINGS_MIN)
            .map(|since| now.saturating_duration_since(since))
    }
}

/// Says how a pool is whose server answers and refuses new sessions: one that wants another
/// and gets none fails, and one that has some to lend warns. `None` if that is no trouble of
/// this pool, because the server is full with what it has: `is_complete` says that the pool
/// has all that it wants.
#[must_use]
pub fn refused(
    failure: &Failure,
    counts: Counts,
    is_empty_again: bool,
    is_complete: bool,
) -> Option<CheckOutcome> {
    let Counts { size, max, .. } = counts;
    if size == 0 || is_empty_again && !is_complete {
        let message = failure.message();
        let text =
            format!("the pool can open no more connections (it counts {size} of {max}): {message}");
        return Some(CheckOutcome::fail(failure.class(), text));
    }
    let is_ours = failure.class() == FailureClass::RefusedByServer && is_complete;
    let text = || fresh::sentence(failure, size as usize);
    (!is_ours).then(|| CheckOutcome::warn(failure.class(), text()))
}

#[cfg(test)]
mod tests {
    use steadfast_core::CheckStatus::{Fail, Warn};

    use super::*;

    #[test]
    fn a_pool_wants_a_session_when_it_had_none_left_twice_and_is_full_when_it_was_thrice() {
        let full = Counts {
            size: 4,
            idle: 0,
            max: 4,
        };
        let (start, second) = (crate::clock::now(), Duration::from_secs(1));
        let mut history = History::default();
        history.fresh.opened(start);
        for (reading, (wants, full_for)) in [(false, None), (true, None), (false, Some(2))]
            .into_iter()
            .enumerate()
        {
            let now = start + second * u32::try_from(reading).expect("it is small");
            history.note(full, now);
            assert_eq!(history.wants_session(now), wants, "reading {reading}");
            let full_for = full_for.map(Duration::from_secs);
            assert_eq!(history.full_for(now), full_for, "reading {reading}");
        }
        history.note(Counts { idle: 1, ..full }, start);
        assert!(!history.is_empty_again());
        assert_eq!(history.full_for(start + second), None);
    }

    #[test]
    fn a_refusal_fails_a_pool_that_wants_to_grow_and_warns_one_that_serves() {
        let failure = |class| Failure::new(class, "no");
        let [full, auth] = [FailureClass::RefusedByServer, FailureClass::Auth].map(failure);
        let at = |size, idle| Counts { size, idle, max: 4 };
        for (failure, counts, is_empty_again, is_complete, expected) in [
            (&full, at(0, 0), false, false, Some(Fail)),
            (&full, at(3, 0), true, false, Some(Fail)),
            (&full, at(3, 0), false, false, Some(Warn)),
            (&full, at(4, 1), false, true, None),
            (&auth, at(4, 1), false, true, Some(Warn)),
        ] {
            let told = refused(failure, counts, is_empty_again, is_complete);
            let status = told.as_ref().map(CheckOutcome::status);
            assert_eq!(status, expected, "{failure} {counts:?}");
        }
    }
}

//! When a new session is asked for, and what is known from the last time.
//!
//! A check over its own old session sees a server that answers, and not that nobody new is
//! let in: a password was rotated, the slots are full, the name leads elsewhere. So a new
//! session is opened now and then, and takes the old one's place. Pure.

use std::time::{Duration, Instant};

use steadfast_core::Failure;

/// How old the youngest session may be before a run of the check opens another.
///
/// With it a refusal of new sessions is found within
/// [`CheckSettings::detection_max`](steadfast_core::plumbing::CheckSettings::detection_max), whatever
/// the settings are; and an instance costs its server no more than twelve connects a minute.
pub const FRESH_EVERY: Duration = Duration::from_secs(5);

/// What is known of new sessions.
#[derive(Debug, Default)]
pub struct Fresh {
    opened_at: Option<Instant>,
    refused: Option<Failure>,
}

impl Fresh {
    /// Whether this run should open one. One that was refused is asked for at each run,
    /// because a refusal is cheap.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        let is_old = |at| now.saturating_duration_since(at) >= FRESH_EVERY;
        self.refused.is_some() || self.opened_at.is_none_or(is_old)
    }

    /// Notes that one was opened.
    pub fn opened(&mut self, now: Instant) {
        self.opened_at = Some(now);
        self.refused = None;
    }

    /// Notes that none was given.
    pub fn refused(&mut self, failure: Failure) {
        self.refused = Some(failure);
    }

    /// Returns why none was given the last time.
    #[must_use]
    pub fn refusal(&self) -> Option<&Failure> {
        self.refused.as_ref()
    }
}

/// Says that new sessions are refused while `old` ones go on, in the words of the
/// dependency's own reason.
#[must_use]
pub fn sentence(failure: &Failure, old: usize) -> String {
    let message = failure.message();
    match old {
        1 => format!("new sessions are refused: {message}; 1 old one still serves"),
        _ => format!("new sessions are refused: {message}; {old} old ones still serve"),
    }
}

#[cfg(test)]
mod tests {
    use steadfast_core::{FailureClass, plumbing::CheckSettings};

    use super::*;

    #[test]
    fn a_new_session_is_due_when_none_is_young_or_the_last_was_refused() {
        let now = crate::clock::now();
        let mut fresh = Fresh::default();
        assert!(fresh.is_due(now));
        fresh.opened(now);
        assert!(!fresh.is_due(now + FRESH_EVERY / 2));
        assert!(fresh.is_due(now + FRESH_EVERY));
        fresh.refused(Failure::new(FailureClass::Auth, "no"));
        assert!(fresh.is_due(now));
        fresh.opened(now);
        assert_eq!(fresh.refusal(), None);
    }

    /// Goal: the documented bound holds for a refusal of new sessions too. Method: all
    /// settings of a grid; the longest way is a session that is nearly old enough at one
    /// run, the latest next run, and its whole time.
    #[test]
    fn the_bound_of_detection_includes_the_wait_for_a_new_session() {
        for (interval, timeout, fall) in [1, 2, 3, 4, 5, 10, 60, 3600]
            .into_iter()
            .flat_map(|interval| [1, 5].map(|timeout| (interval, timeout)))
            .flat_map(|(interval, timeout)| [1, 3].map(|fall| (interval, timeout, fall)))
        {
            let settings = CheckSettings {
                interval: Duration::from_secs(interval),
                interval_failing: Duration::from_secs(1),
                timeout: Duration::from_secs(timeout),
                fall,
                ..CheckSettings::default()
            };
            // As late as a run may come, with every second one left out.
            let run = settings.interval.mul_f64(1.2);
            let longest = (FRESH_EVERY + run).max(run * 2) + settings.timeout;
            assert!(settings.detection_max() >= longest, "{settings:?}");
        }
    }
}

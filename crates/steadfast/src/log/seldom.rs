//! A line that would fill the log if it were written whenever there is a reason.

use std::time::{Duration, Instant};

/// Lets a line through now and then, and counts those it kept.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    last: Option<Instant>,
    unsaid: u64,
}

impl Seldom {
    /// Between two lines: whoever causes them by the thousand must not fill the log.
    pub(crate) const EVERY: Duration = Duration::from_secs(10);

    /// How many were kept since the last one, if one may be said now.
    pub(crate) fn may_say(&mut self, now: Instant) -> Option<u64> {
        let early = |last: Instant| now.saturating_duration_since(last) < Self::EVERY;
        if self.last.is_some_and(early) {
            self.unsaid += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn one_line_is_let_through_and_says_how_many_were_not() {
        let (mut seldom, start) = (Seldom::default(), clock::now());
        assert_eq!(seldom.may_say(start), Some(0));
        for _ in 0..1_000 {
            assert_eq!(seldom.may_say(start + Seldom::EVERY / 2), None);
        }
        assert_eq!(seldom.may_say(start + Seldom::EVERY), Some(1_000));
        assert_eq!(seldom.may_say(start + 2 * Seldom::EVERY), Some(0));
    }
}

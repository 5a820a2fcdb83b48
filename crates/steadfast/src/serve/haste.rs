//! Whether a client asks again as soon as it is refused, and until when its connection rests
//! for that. Pure: whoever asks says what time it is.
//!
//! Only of HTTP/1, where a connection has one request at a time. A client is hasty once it has
//! been refused [`HASTY`] times in a row, and has asked again within [`AT_ONCE`] each time. An
//! answer of any other kind, or a little patience, begins anew: who honours `Retry-After`
//! waits five times as long, nobody presses a key as often, and a connection that a balancer
//! shares among many has other answers in between.

use std::time::{Duration, Instant};

/// Refusals in a row that make a client hasty: three were asked for at once.
const HASTY: u8 = 4;

/// Who waits for less after a refusal, or after the rest that it brought, has not waited. It
/// includes the time that the request lies unread, which in a flood is most of it.
const AT_ONCE: Duration = Duration::from_millis(200);

/// Longest rest of a connection on which somebody passes requests on: who asks next may be
/// somebody else.
const SHARED_MAX: Duration = Duration::from_millis(50);

/// What is known of the haste of one connection's client.
#[derive(Debug, Default)]
pub(super) struct Haste {
    /// Refusals in a row, each after the first asked for at once.
    in_a_row: u8,
    /// Whether what runs was asked for at once.
    at_once: bool,
    /// Whether requests come from somebody who passes them on.
    shared: bool,
    /// When the last refusal ended.
    refused_at: Option<Instant>,
    /// Until when nothing is read, and afterwards until when nothing was.
    until: Option<Instant>,
    rests: bool,
}

impl Haste {
    /// A request begins.
    pub(super) fn asks(&mut self, now: Instant) {
        self.rests = false;
        let from = self.until.take().or(self.refused_at);
        self.at_once = from.is_some_and(|from| now <= from + AT_ONCE);
    }

    /// Whether a refusal of what begins now would be one of a hasty client.
    pub(super) const fn is_close(&self) -> bool {
        self.at_once && self.in_a_row + 1 >= HASTY
    }

    /// The request that begins was passed on by somebody.
    pub(super) const fn is_passed_on(&mut self) {
        self.shared = true;
    }

    /// The request was refused. Returns how long after the one before, if its client is hasty.
    pub(super) fn refused(&mut self, now: Instant) -> Option<Duration> {
        let last = self.refused_at.replace(now);
        self.in_a_row = match self.at_once {
            true => (self.in_a_row + 1).min(HASTY),
            false => 1,
        };
        let last = last.filter(|_| self.in_a_row == HASTY)?;
        Some(now.saturating_duration_since(last))
    }

    /// It was answered in another way.
    pub(super) const fn answered(&mut self) {
        self.in_a_row = 0;
        self.refused_at = None;
    }

    /// The client is hasty, and the connection rests for this long.
    pub(super) fn rests(&mut self, pause: Duration, now: Instant) {
        let most = if self.shared { SHARED_MAX } else { pause };
        self.until = Some(now + pause.min(most));
        self.rests = true;
    }

    /// Until when it rests.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until.filter(|_| self.rests)
    }

    /// Whether it rests.
    pub(super) fn is_resting(&self, now: Instant) -> bool {
        self.until().is_some_and(|until| now < until)
    }

    /// Its rest is over, early or not.
    pub(super) fn goes_on(&mut self, now: Instant) {
        if std::mem::replace(&mut self.rests, false) {
            self.until = self.until.map(|until| until.min(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const PAUSE: Duration = Duration::from_millis(120);

    /// A client that is refused, asks `after` that, and is refused again, and so on. Returns
    /// after which refusal it was first called hasty.
    fn hasty_after(after: Duration, refusals: u8) -> Option<u8> {
        let (mut haste, mut now) = (Haste::default(), clock::now());
        (1..=refusals).find(|_| {
            now += after;
            haste.asks(now);
            haste.refused(now).is_some()
        })
    }

    #[test]
    fn who_asks_at_once_again_and_again_is_hasty_and_who_waits_never_is() {
        for (after, expected) in [
            (Duration::ZERO, Some(HASTY)),
            (AT_ONCE, Some(HASTY)),
            (AT_ONCE + Duration::from_nanos(1), None),
            (Duration::from_secs(1), None),
        ] {
            assert_eq!(hasty_after(after, 50), expected, "{after:?}");
        }
        assert_eq!(hasty_after(Duration::ZERO, HASTY - 1), None);
    }

    #[test]
    fn any_other_answer_begins_anew() {
        let (mut haste, now) = (Haste::default(), clock::now());
        for _ in 0..20 {
            for _ in 1..HASTY {
                haste.asks(now);
                assert_eq!(haste.refused(now), None);
            }
            haste.asks(now);
            haste.answered();
        }
    }

    #[test]
    fn a_rest_is_no_haste_but_asking_right_after_it_is() {
        let (mut haste, mut now) = (Haste::default(), clock::now());
        for _ in 0..HASTY {
            haste.asks(now);
            haste.refused(now);
        }
        haste.rests(PAUSE, now);
        assert!(haste.is_resting(now + PAUSE - Duration::from_nanos(1)));
        assert!(!haste.is_resting(now + PAUSE));
        now += PAUSE;
        haste.goes_on(now);
        assert_eq!(haste.until(), None);
        now += AT_ONCE;
        haste.asks(now);
        assert!(haste.is_close());
        let between = haste.refused(now);
        assert_eq!(between, Some(PAUSE + AT_ONCE), "from refusal to refusal");
        haste.rests(PAUSE, now);
        now += PAUSE + AT_ONCE + Duration::from_millis(1);
        haste.asks(now);
        assert_eq!((haste.refused(now), haste.is_resting(now)), (None, false));
    }

    #[test]
    fn a_rest_that_is_ended_early_is_over_and_timed_from_then() {
        let (mut haste, now) = (Haste::default(), clock::now());
        for _ in 0..HASTY {
            haste.asks(now);
            haste.refused(now);
        }
        haste.rests(10 * AT_ONCE, now);
        haste.goes_on(now);
        assert!(!haste.is_resting(now));
        haste.asks(now + 2 * AT_ONCE);
        assert_eq!(haste.refused(now + 2 * AT_ONCE), None, "it has waited");
    }

    #[test]
    fn where_requests_are_passed_on_a_rest_is_short() {
        let (mut haste, now) = (Haste::default(), clock::now());
        haste.is_passed_on();
        for (pause, expected) in [
            (4 * SHARED_MAX, SHARED_MAX),
            (SHARED_MAX / 2, SHARED_MAX / 2),
        ] {
            haste.rests(pause, now);
            assert_eq!(haste.until(), Some(now + expected));
        }
    }
}

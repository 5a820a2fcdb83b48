//! Whether the pool may open one connection more.
//!
//! A server may have less room than the pool has places: a limit of the role, of the user, of
//! the pooler in front of it, or other instances that were first. Where connections work and
//! the server gives no further one, the pool is as large as it can be, and opening more takes
//! time from requests that a connection would serve. So the gate remembers how many the
//! server gave, and asks for one more now and then.

use std::time::{Duration, Instant};

/// After how long one more is tried, once the server has refused. Others that left may have
/// made room; a second is soon for whoever waits, and no load for the server.
const RETRY_MIN: Duration = Duration::from_secs(1);

/// The same, after it has refused again and again. Each refusal costs the server a fork or a
/// thread; twice a minute is what one instance may cost one that has many.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// What is known of the server's room.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Growth {
    refused: Option<Refused>,
}

#[derive(Clone, Copy, Debug)]
struct Refused {
    /// How many connections stood when the server said that it has no more, if it said that.
    room: Option<u32>,
    retry_at: Instant,
    backoff: Duration,
}

impl Growth {
    /// Notes that the server gave no further connection; `room` is how many stood, if it said
    /// that it has no more.
    pub(super) fn refused(&mut self, room: Option<u32>, now: Instant) {
        match &mut self.refused {
            // Several were asked for at once, and all are refused at once.
            Some(refused) if now < refused.retry_at => refused.room = room.or(refused.room),
            refused => {
                let last = refused.map(|refused| refused.backoff * 2);
                let backoff = last.unwrap_or(RETRY_MIN).min(RETRY_MAX);
                *refused = Some(Refused {
                    room,
                    retry_at: now + backoff,
                    backoff,
                });
            }
        }
    }

    /// Notes that the server gave one.
    pub(super) fn worked(&mut self) {
        self.refused = None;
    }

    /// Notes that so many are in use at once: a server that has no more had at least those.
    pub(super) fn serves(&mut self, in_use: u32) {
        if let Some(room) = self.refused.as_mut().and_then(|it| it.room.as_mut()) {
            *room = in_use.max(*room);
        }
    }

    /// Whether one more may have been tried at that moment.
    pub(super) fn is_due(&self, asked_at: Instant) -> bool {
        self.refused
            .is_none_or(|refused| asked_at >= refused.retry_at)
    }

    /// Whether one more may be asked for, while so many are. After a refusal, one at a time.
    pub(super) fn may(&self, opening: u32, now: Instant) -> bool {
        self.refused
            .is_none_or(|refused| now >= refused.retry_at && opening == 0)
    }

    /// Whether the server has refused, and given none since.
    pub(super) const fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// Returns how many connections the server has room for, if it has said that there is no
    /// more.
    pub(super) fn room(&self) -> Option<u32> {
        self.refused.and_then(|refused| refused.room)
    }

    /// Returns when one more is tried, if somebody wants it then.
    pub(super) fn retry_in(&self, now: Instant) -> Option<Duration> {
        self.refused
            .map(|refused| refused.retry_at.saturating_duration_since(now))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::testing::origin;

    #[test]
    fn one_more_is_asked_for_now_and_then_and_ever_more_seldom() {
        let mut now = origin();
        let mut growth = Growth::default();
        assert!(growth.may(7, now));
        let mut waits = Vec::new();
        for _ in 0..8 {
            growth.refused(Some(3), now);
            // What was asked for with it is refused with it, and says nothing more.
            growth.refused(Some(3), now);
            assert!(!growth.may(0, now));
            let wait = growth.retry_in(now).expect("it was refused");
            waits.push(wait.as_secs());
            now += wait;
            assert!(growth.may(0, now));
            assert!(!growth.may(1, now), "one at a time");
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(growth.room(), Some(3));
        growth.serves(2);
        assert_eq!(growth.room(), Some(3));
        growth.serves(4);
        assert_eq!(
            growth.room(),
            Some(4),
            "a refusal may have come before the last was in use"
        );
        growth.worked();
        assert!(growth.may(7, now));
        assert_eq!(growth.room(), None);
    }
}

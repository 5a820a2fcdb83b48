//! How long a peer is waited for: a time that runs down while we wait, and that each byte
//! which moves buys back.
//!
//! A bound on silence alone cuts a healthy transfer whose progress cannot be seen for a
//! while: a client's buffers may hold megabytes before the server hears that it reads. A
//! bound on the rate alone never ends a peer that took much and then stops. So a byte buys as
//! much time as the slowest allowed rate gives it, up to a most: who keeps to that rate is
//! never ended, however unevenly it does so, and who has stopped is, by a bound.

use std::time::Duration;

/// How many times the bound on silence a peer may have saved up by taking much. A client
/// that reads slowly out of a large buffer of its own looks silent meanwhile: Linux opens a
/// closed window again when a sixteenth of its buffer is free, and HTTP/2 clients commonly
/// say that they have read when half of theirs is.
const SAVED_MAX: u32 = 10;

/// What is left of the time that a peer has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    left: Duration,
    most: Duration,
    nanos_per_byte: u64,
}

impl Patience {
    /// With someone who takes what we send.
    pub(super) fn to_be_read(silence: Duration, bytes_per_sec_min: u32) -> Self {
        Self::new(silence, silence * SAVED_MAX, bytes_per_sec_min)
    }

    /// With someone who sends: what has left a peer's buffers is seen, so nothing is saved up.
    pub(super) fn to_be_sent(silence: Duration, bytes_per_sec_min: u32) -> Self {
        Self::new(silence, silence, bytes_per_sec_min)
    }

    fn new(left: Duration, most: Duration, bytes_per_sec_min: u32) -> Self {
        let nanos_per_byte = 1_000_000_000 / u64::from(bytes_per_sec_min.max(1));
        Self {
            left,
            most,
            nanos_per_byte,
        }
    }

    /// Returns how long the peer may still take.
    pub(super) const fn left(&self) -> Duration {
        self.left
    }

    /// Returns how long this many bytes take at the slowest allowed rate.
    pub(super) const fn worth(&self, bytes: u64) -> Duration {
        Duration::from_nanos(bytes.saturating_mul(self.nanos_per_byte))
    }

    /// It was waited for.
    pub(super) fn waited(&mut self, length: Duration) {
        self.left = self.left.saturating_sub(length);
    }

    /// It moved this many bytes.
    pub(super) fn moved(&mut self, bytes: u64) {
        let bought = self.left.saturating_add(self.worth(bytes));
        self.left = bought.min(self.most).max(self.left);
    }

    /// Something new begins, for which it has at least this long.
    pub(super) fn at_least(&mut self, length: Duration) {
        self.left = self.left.max(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_secs(60);
    const FLOOR: u32 = 1024;

    /// Goal: whoever keeps to the floor is never ended, however unevenly bytes are seen.
    #[test]
    fn the_floor_is_enough_in_lumps_of_any_size() {
        for lump in [1_u32, 1_000, 61_000] {
            let mut patience = Patience::to_be_sent(SILENCE, FLOOR);
            let pause = Duration::from_secs_f64(f64::from(lump) / f64::from(FLOOR));
            for _ in 0..10_000 {
                patience.waited(pause);
                assert!(!patience.left().is_zero(), "lumps of {lump}");
                patience.moved(u64::from(lump));
            }
        }
    }

    #[test]
    fn half_the_floor_is_not_enough_and_what_is_saved_has_an_end() {
        let mut patience = Patience::to_be_sent(SILENCE, FLOOR);
        let mut seconds = 0;
        loop {
            patience.waited(Duration::from_secs(1));
            if patience.left().is_zero() {
                break;
            }
            patience.moved(u64::from(FLOOR) / 2);
            seconds += 1;
            assert!(seconds < 1_000, "it ends");
        }
        let mut rich = Patience::to_be_read(SILENCE, FLOOR);
        rich.moved(u64::MAX);
        assert_eq!(rich.left(), SILENCE * SAVED_MAX);
    }
}

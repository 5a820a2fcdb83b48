//! How traffic comes back: what a ramp lets in, in one word.
//!
//! `tag 12 | running 20 | succeeded 20`. The tag is the generation, so a ramp begins without
//! anybody resetting the word.
//!
//! A ramp protects a dependency that is weak, with cold caches and a queue of those who
//! waited, from a flood. Where there is no flood it must refuse nobody, and a share of all
//! calls does: at ten calls a second it refused half of those of the first ten seconds.
//! What floods a dependency is not how often it is asked but how many calls it has at once,
//! so that is what is bounded, as TCP bounds what it sends to a peer of unknown strength
//! (slow start): [`FLOOR`] calls run at once, and one more for each that succeeded. A
//! dependency that answers is asked twice as much after each answer's time, and one that
//! hangs is asked no more. Beyond that the ramp's share still lets some in, and it grows
//! with time.

use super::{
    Breaker,
    control_word::{ControlWord, TAG_BITS},
};

/// Calls that a ramp lets run at once in any case: TCP's initial window (RFC 6928), and as
/// many as a pool of the usual size, sqlx's, lets run at once at all.
#[cfg(not(loom))]
pub(super) const FLOOR: u32 = 10;
/// Two threads cannot meet a bound of ten.
#[cfg(loom)]
pub(super) const FLOOR: u32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ramp(u64);

impl Ramp {
    /// Whether one more would be no flood.
    const fn has_room(self) -> bool {
        self.running() < FLOOR.saturating_add(self.succeeded())
    }

    const fn enter(self) -> Self {
        self.with(self.running().saturating_add(1), self.succeeded())
    }

    const fn leave(self, succeeded: bool) -> Self {
        self.with(
            self.running().saturating_sub(1),
            self.succeeded().saturating_add(succeeded as u32),
        )
    }

    const fn running(self) -> u32 {
        (self.0 >> TAG_BITS) as u32 & COUNT_MAX
    }

    pub(super) const fn succeeded(self) -> u32 {
        (self.0 >> (TAG_BITS + COUNT_BITS)) as u32 & COUNT_MAX
    }

    const fn with(self, running: u32, succeeded: u32) -> Self {
        let tag = self.0 & ((1 << TAG_BITS) - 1);
        Self(tag | clip(running) << TAG_BITS | clip(succeeded) << (TAG_BITS + COUNT_BITS))
    }
}

impl Breaker {
    /// Lets a call into the ramp that `word` is in, if it is no flood or `by_share` says
    /// so. Returns `None` if the ramp is over.
    pub(super) fn enter_ramp(&self, word: ControlWord, by_share: bool) -> Option<bool> {
        let mut enters = false;
        self.edit(&self.ramp, word, |ramp| {
            enters = by_share || Ramp(ramp).has_room();
            enters.then(|| Ramp(ramp).enter().0)
        })?;
        Some(enters)
    }

    /// Takes a call out of the ramp that `word` is in.
    pub(super) fn leave_ramp(&self, word: ControlWord, succeeded: bool) -> Option<Ramp> {
        let left = |ramp| Some(Ramp(ramp).leave(succeeded).0);
        self.edit(&self.ramp, word, left).map(Ramp)
    }
}

const fn clip(count: u32) -> u64 {
    if count < COUNT_MAX {
        count as u64
    } else {
        COUNT_MAX as u64
    }
}

/// Twenty bits: a million calls at once are more than a process has, and as many successes
/// are no ramp any more.
const COUNT_BITS: u32 = 20;
const COUNT_MAX: u32 = (1 << COUNT_BITS) - 1;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_runs_at_once_grows_with_what_succeeded() {
        let mut ramp = Ramp(5);
        for _ in 0..FLOOR {
            assert!(ramp.has_room());
            ramp = ramp.enter();
        }
        assert!(!ramp.has_room());
        ramp = ramp.leave(true);
        assert!(ramp.enter().has_room(), "two for one");
        ramp = ramp.enter().enter().leave(false);
        assert!(ramp.has_room(), "its place only");
        assert!(!ramp.enter().has_room());
        assert_eq!(ramp.0 & 0xfff, 5);
    }

    #[test]
    fn counts_stay_within_their_bits() {
        let mut ramp = Ramp(5).leave(false);
        assert_eq!(ramp.running(), 0);
        ramp = ramp.with(u32::MAX, u32::MAX).enter().leave(true);
        assert_eq!(
            (ramp.running(), ramp.succeeded()),
            (COUNT_MAX - 1, COUNT_MAX)
        );
        assert_eq!(ramp.0 & 0xfff, 5);
    }
}

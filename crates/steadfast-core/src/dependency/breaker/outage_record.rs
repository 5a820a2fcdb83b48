//! What operators and refused callers are told beside the control word: why and since
//! when. Each note carries the tag of the generation it was made for.
//!
//! A note is written *before* the step it explains, so whoever sees the step also sees its
//! note; of two threads that race for one step, the first note stays, and it is as true as
//! the other. A thread that was asleep finds a newer control word and writes nothing.
//!
//! This file uses atomics.

use super::{
    control_word::{TAG_BITS, tag},
    reason::{class_at, class_index},
};
use crate::{
    FailureClass,
    sync::atomic::{
        AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed},
    },
};

#[derive(Debug, Default)]
pub(super) struct OutageRecord {
    /// Why the outage began: [`super::BreakerReason::pack`].
    pub(super) tripped: Note,
    /// When it began, plus one; zero is never.
    pub(super) outage: Note,
    /// When the present wait began.
    pub(super) opened: Note,
    last_failure: AtomicU64,
    /// When a call last failed, plus one; zero is never.
    call_failed: AtomicU64,
    /// The jitter that the latest probe brought with it.
    probe_jitter: AtomicU64,
}

impl OutageRecord {
    /// Remembers the kind of the latest failure.
    pub(super) fn failed(&self, class: FailureClass) {
        let index = class_index(class) + 1;
        // Relaxed: the value alone is the message. The look first spares the cache line
        // during an outage, when every failure is of one kind.
        if self.last_failure.load(Relaxed) != index {
            self.last_failure.store(index, Relaxed);
        }
    }

    /// Remembers when a call failed, as a probe or not, in time to decide or too late.
    pub(super) fn call_failed(&self, now_ms: u64) {
        // Relaxed, and the look first: see `failed`. A store that goes back by the skew of
        // two threads is a failure of the same moment.
        if self.call_failed.load(Relaxed) <= now_ms {
            self.call_failed.store(now_ms + 1, Relaxed);
        }
    }

    pub(super) fn last_call_failure(&self) -> Option<u64> {
        self.call_failed.load(Relaxed).checked_sub(1)
    }

    /// Remembers what spreads the wait if this probe is never heard of again.
    pub(super) fn probed(&self, jitter: u32) {
        // Relaxed: any probe's is as random as another's.
        self.probe_jitter.store(jitter.into(), Relaxed);
    }

    pub(super) fn probe_jitter(&self) -> u32 {
        self.probe_jitter.load(Relaxed) as u32
    }

    pub(super) fn last_failure(&self) -> Option<FailureClass> {
        class_at(self.last_failure.load(Relaxed).checked_sub(1)?)
    }
}

/// A value of 52 bits with the tag of its generation.
#[derive(Debug, Default)]
pub(super) struct Note(AtomicU64);

impl Note {
    pub(super) fn read(&self) -> u64 {
        // Acquire: pairs with the exchange in `write`; the reader's acquire load of the
        // control word came first and is what orders the two.
        self.0.load(Acquire) >> TAG_BITS
    }

    /// Writes the note of the step that leads to `generation`, unless it has one already
    /// or `is_current` says that the step can no longer happen. `change` gets the old value.
    pub(super) fn write(
        &self,
        generation: u32,
        change: impl Fn(u64) -> u64,
        is_current: impl Fn() -> bool,
    ) {
        // Acquire: pairs with the release below. Who finds a note of the same generation
        // publishes it again with its own release of the control word.
        let mut seen = self.0.load(Acquire);
        while seen & TAG_MASK != tag(generation) && is_current() {
            let next = tag(generation) | change(seen >> TAG_BITS) << TAG_BITS;
            // AcqRel: pairs with the same exchange in a thread that races for the step.
            match self.0.compare_exchange(seen, next, AcqRel, Acquire) {
                Ok(_) => return,
                Err(other) => seen = other,
            }
        }
    }
}

const TAG_MASK: u64 = (1 << TAG_BITS) - 1;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn of_two_notes_for_one_step_the_first_stays_and_one_that_comes_too_late_is_none() {
        let note = Note::default();
        note.write(1, |_| 7, || true);
        assert_eq!(note.read(), 7);
        note.write(1, |_| 8, || true);
        assert_eq!(note.read(), 7, "the step has its note");
        note.write(2, |_| 9, || false);
        assert_eq!(note.read(), 7, "the step can no longer happen");
        note.write(2, |kept| kept + 1, || true);
        assert_eq!(note.read(), 8, "of the old value");
    }

    #[test]
    fn the_latest_failure_is_known_by_its_kind_and_its_moment() {
        let record = OutageRecord::default();
        assert_eq!(record.last_failure(), None);
        assert_eq!(record.last_call_failure(), None);
        record.failed(FailureClass::Dns);
        record.failed(FailureClass::Timeout);
        assert_eq!(record.last_failure(), Some(FailureClass::Timeout));
        record.call_failed(0);
        assert_eq!(
            record.last_call_failure(),
            Some(0),
            "the first moment is one"
        );
        record.call_failed(50);
        record.call_failed(20);
        assert_eq!(
            record.last_call_failure(),
            Some(50),
            "the later of two threads"
        );
        record.probed(9);
        assert_eq!(record.probe_jitter(), 9);
    }
}

//! How many requests were refused, by cause: in all, over the last hour and the last day.

use serde::{Serialize, Serializer, ser::SerializeMap};
use steadfast_core::Cause;

use super::Seen;
use crate::{
    clock,
    instance::minutes::{CAUSES, MINUTES_KEPT, Minute},
};

/// Minutes in the finer of the two series.
const HOUR: usize = 60;

/// Minutes that one entry of the coarser series stands for.
const QUARTER: usize = 15;

/// What was refused.
#[derive(Debug, Serialize)]
pub(crate) struct Refusals {
    /// Since the start.
    pub(crate) by_cause: Counts,
    pub(crate) last_hour: Period,
    pub(crate) last_day: Period,
    /// Counted and answered, and not kept singly.
    pub(crate) not_written_down: u64,
}

/// A length of time that ends now, in slots.
#[derive(Debug, Serialize)]
pub(crate) struct Period {
    pub(crate) by_cause: Counts,
    pub(crate) slot_s: u64,
    /// Those in which something was refused, oldest first.
    pub(crate) slots: Vec<Slot>,
    #[serde(skip)]
    pub(crate) length: usize,
}

/// What one slot of time was like.
#[derive(Debug, Serialize)]
pub(crate) struct Slot {
    pub(crate) from: String,
    pub(crate) by_cause: Counts,
    /// How many slots ago; 0 is the one that is going on.
    #[serde(skip)]
    pub(crate) ago: usize,
}

/// A count for each cause; those of zero are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counts(pub(crate) [u64; CAUSES]);

impl Refusals {
    pub(super) fn of(seen: &Seen<'_>) -> Self {
        let ledger = seen.state.control.explain().ledger();
        let day = (MINUTES_KEPT / QUARTER) * QUARTER;
        Self {
            by_cause: Counts(Cause::ALL.map(|cause| ledger.count(cause))),
            last_hour: Period::of(seen, HOUR, 1),
            last_day: Period::of(seen, day, QUARTER),
            not_written_down: ledger.dropped() + ledger.passed_over(),
        }
    }
}

impl Period {
    /// The last `minutes`, in slots of `step` minutes that begin on whole multiples of it.
    fn of(seen: &Seen<'_>, minutes: usize, step: usize) -> Self {
        let this_minute = clock::wall(seen.now).as_secs() / 60;
        let this_slot = this_minute / step as u64;
        let length = minutes / step;
        let mut slots: Vec<Slot> = Vec::new();
        let mut by_cause = Counts::default();
        for (ago, minute) in seen.minutes.iter().rev().enumerate().rev() {
            let slot = this_minute.saturating_sub(ago as u64) / step as u64;
            let slots_ago = usize::try_from(this_slot - slot).unwrap_or(usize::MAX);
            if slots_ago >= length || minute.refused_in_all() == 0 {
                continue;
            }
            by_cause.add(minute);
            match slots.last_mut().filter(|it| it.ago == slots_ago) {
                Some(same) => same.by_cause.add(minute),
                None => {
                    let mut counts = Counts::default();
                    counts.add(minute);
                    slots.push(Slot {
                        from: clock::rfc3339_of(slot * step as u64 * 60),
                        by_cause: counts,
                        ago: slots_ago,
                    });
                }
            }
        }
        Self {
            by_cause,
            slot_s: step as u64 * 60,
            slots,
            length,
        }
    }
}

impl Counts {
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The causes that occurred, with their counts.
    pub(crate) fn each(&self) -> impl Iterator<Item = (Cause, u64)> {
        let counts = self.0;
        let all = Cause::ALL.into_iter().zip(counts);
        all.filter(|(_, count)| *count != 0)
    }

    fn add(&mut self, minute: &Minute) {
        for (sum, count) in self.0.iter_mut().zip(minute.refused) {
            *sum += count;
        }
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (cause, count) in self.each() {
            map.serialize_entry(cause.code(), &count)?;
        }
        map.end()
    }
}

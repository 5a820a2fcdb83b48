//! The last state changes, and how many there ever were.

use std::{collections::VecDeque, sync::Mutex};

use super::{Ledger, StateChange, lock, push_bounded};

/// State changes kept; the oldest goes first.
pub const CHANGES_KEPT: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Changes(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    ever: u64,
    kept: VecDeque<StateChange>,
}

impl Changes {
    pub(super) fn newest_first(&self) -> Vec<StateChange> {
        lock(&self.0).kept.iter().rev().cloned().collect()
    }
}

impl Ledger {
    /// Writes down a state change.
    pub fn note(&self, change: StateChange) {
        let mut changes = lock(&self.changes.0);
        changes.ever += 1;
        push_bounded(&mut changes.kept, change, CHANGES_KEPT);
    }

    /// Returns how many state changes there ever were, and those after the first `seen` of
    /// them, oldest first: for whoever follows them. What the ring has lost since is missing.
    #[must_use]
    pub fn changes_after(&self, seen: u64) -> (u64, Vec<StateChange>) {
        let changes = lock(&self.changes.0);
        let fresh = usize::try_from(changes.ever.saturating_sub(seen)).unwrap_or(usize::MAX);
        let known = changes.kept.len().saturating_sub(fresh);
        let after = changes.kept.iter().skip(known).cloned().collect();
        (changes.ever, after)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{name::Name, testing::origin};

    #[test]
    fn state_changes_are_bounded_and_newest_first() {
        let ledger = Ledger::new();
        for number in 0..CHANGES_KEPT + 5 {
            ledger.note(StateChange {
                at: origin(),
                subject: Name::from_static("shed"),
                from: "a".into(),
                to: number.to_string().into(),
                why: "".into(),
            });
        }
        let changes = ledger.view().changes;
        assert_eq!((changes.len(), &*changes[0].to), (CHANGES_KEPT, "260"));
        let (ever, after) = ledger.changes_after(258);
        let after: Vec<_> = after.iter().map(|change| &*change.to).collect();
        assert_eq!((ever, after), (261, vec!["258", "259", "260"]));
        assert_eq!(ledger.changes_after(0).1.len(), CHANGES_KEPT);
        assert!(ledger.changes_after(ever).1.is_empty());
    }
}

//! Which failure has been told already.
//!
//! A call through a dependency may be made of queries on a guard of the same dependency, and a
//! query that fails there is told by the guard, which knows best what it means. The error then
//! comes out of the call too, and told again it would count twice: an outage would open the
//! breaker after half as many failures as were asked for, and a failure ratio would be of
//! failures that nobody met. So whoever judges inside leaves a mark, in a thread-local, and the
//! call looks for it when it is polled to its end: an error comes out in the poll in which it
//! was met. One that comes out later is told twice, which is what was told before.

use std::cell::Cell;

use super::DependencyState;

std::thread_local! {
    static LAST: Cell<Mark> = const { Cell::new(Mark { of: 0, count: 0 }) };
}

/// The last failure that was told on this thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    /// The address of the dependency.
    of: usize,
    count: u64,
}

/// A moment on this thread, before something is polled that may tell.
#[derive(Clone, Copy, Debug)]
pub struct ToldBefore(u64);

impl ToldBefore {
    /// Returns the present moment.
    #[must_use]
    #[inline]
    pub fn now() -> Self {
        Self(last().count)
    }
}

#[inline]
fn last() -> Mark {
    LAST.try_with(Cell::get).unwrap_or(Mark { of: 0, count: 0 })
}

impl DependencyState {
    /// Says that a failure has just been told, by one who judges for a call that may be around
    /// it: a guard of a pool.
    pub(super) fn mark_told(&self) {
        let count = last().count.wrapping_add(1);
        let of = std::ptr::from_ref(self).addr();
        let _ = LAST.try_with(|last| last.set(Mark { of, count }));
    }

    /// Whether one was told of this dependency on this thread since then, as the last of all.
    #[must_use]
    #[inline]
    pub fn was_told_since(&self, before: ToldBefore) -> bool {
        let last = last();
        last.count != before.0 && last.of == std::ptr::from_ref(self).addr()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{Name, Trip, testing::origin};

    #[test]
    fn a_mark_is_of_one_dependency_and_of_what_follows() {
        let rules = Trip::default().build().expect("rules");
        let state =
            |name| DependencyState::new(Name::from_static(name), rules.clone(), 1, origin());
        let (mine, other) = (state("a"), state("b"));
        let before = ToldBefore::now();
        assert!(!mine.was_told_since(before));
        mine.mark_told();
        assert!(mine.was_told_since(before) && !other.was_told_since(before));
        let later = ToldBefore::now();
        assert!(!mine.was_told_since(later));
    }
}

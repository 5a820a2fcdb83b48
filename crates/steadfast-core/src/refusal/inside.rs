//! The refusals that are made while one request is polled.
//!
//! A refusal made inside a handler is answered by whatever the handler makes of it: passed
//! on, turned into a 500, a 404 or a 200 without the part that was missing. Only the first
//! comes by the room that explains. So whoever refuses inside a handler says
//! [`Refusal::entered`], which leaves a note in a thread-local that belongs to the request
//! being polled, and that room writes down what it finds there.
//!
//! Work that the handler moved to another task is not seen; that is a missed note.

use std::cell::{Cell, RefCell};

use super::Refusal;

/// Refusals kept of one request: one of each cause and source, and a handler that needs more
/// than eight dependencies has been told enough.
pub const REFUSALS_INSIDE_MAX: usize = 8;

std::thread_local! {
    static SLOT: Slot = const { Slot { scope: Cell::new(0), full: Cell::new(false), made: RefCell::new(None) } };
}

/// What belongs to the request being polled; the flag answers "is there one?" without a look.
struct Slot {
    scope: Cell<usize>,
    full: Cell<bool>,
    made: RefCell<Option<Box<RefusedInside>>>,
}

/// What was refused inside one request, each cause and source once.
#[derive(Clone, Debug, Default)]
pub struct RefusedInside(Vec<Refusal>);

impl RefusedInside {
    /// Runs `poll`, and adds the refusals that are made meanwhile to `found`. `scope` is
    /// whoever polls; see [`RefusedInside::scope`].
    #[inline]
    pub fn collecting<R>(
        scope: usize,
        found: &mut Option<Box<Self>>,
        poll: impl FnOnce() -> R,
    ) -> R {
        // What belongs to an outer request is put back, also when `poll` panics.
        struct Restore(usize, Option<Box<RefusedInside>>);
        impl Drop for Restore {
            fn drop(&mut self) {
                let _ = SLOT.try_with(|slot| slot.scope.set(self.0));
                if let Some(made) = self.1.take() {
                    put_back(made);
                }
            }
        }
        let outer = SLOT.try_with(|slot| slot.scope.replace(scope));
        let restore = Restore(outer.unwrap_or_default(), take());
        let result = poll();
        if let Some(made) = take() {
            match found {
                Some(found) => made.0.into_iter().for_each(|refusal| found.add(refusal)),
                None => *found = Some(made),
            }
        }
        drop(restore);
        result
    }

    /// Returns who polls the innermost request on this thread, 0 if nobody collects here.
    #[must_use]
    #[inline]
    pub fn scope() -> usize {
        SLOT.try_with(|slot| slot.scope.get()).unwrap_or_default()
    }

    /// Leaves a note for the request that this thread is polling.
    #[cold]
    pub(super) fn note(refusal: &Refusal) {
        let _ = SLOT.try_with(|slot| {
            if slot.scope.get() == 0 {
                return;
            }
            let mut made = slot.made.borrow_mut();
            made.get_or_insert_default().add(refusal.clone());
            slot.full.set(true);
        });
    }

    fn add(&mut self, refusal: Refusal) {
        if self.0.len() < REFUSALS_INSIDE_MAX && !self.has(&refusal) {
            self.0.push(refusal);
        }
    }

    /// Whether one of the same cause and source is there.
    #[must_use]
    pub fn has(&self, refusal: &Refusal) -> bool {
        let same =
            |it: &Refusal| it.cause() == refusal.cause() && it.refused_by() == refusal.refused_by();
        self.0.iter().any(same)
    }

    /// Returns them in the order in which they were made.
    pub fn into_refusals(self) -> impl Iterator<Item = Refusal> {
        self.0.into_iter()
    }
}

#[cold]
fn put_back(made: Box<RefusedInside>) {
    let _ = SLOT.try_with(|slot| {
        *slot.made.borrow_mut() = Some(made);
        slot.full.set(true);
    });
}

#[inline]
fn take() -> Option<Box<RefusedInside>> {
    SLOT.try_with(|slot| {
        if !slot.full.replace(false) {
            return None;
        }
        slot.made.borrow_mut().take()
    })
    .ok()
    .flatten()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{name::Name, refusal::evidence::Evidence, testing::origin};

    fn refused(by: &'static str) -> Refusal {
        let since = Duration::ZERO;
        let evidence = Evidence::Draining { since };
        Refusal::new(Name::from_static(by), evidence, since, origin()).entered()
    }

    fn sources(found: Option<Box<RefusedInside>>) -> Vec<String> {
        let all = found.into_iter().flat_map(|it| it.into_refusals());
        all.map(|it| it.refused_by().to_string()).collect()
    }

    #[test]
    fn each_source_is_kept_once_over_all_polls() {
        let mut found = None;
        for by in ["a", "b", "a"] {
            RefusedInside::collecting(1, &mut found, || drop(refused(by)));
        }
        assert_eq!(sources(found), ["a", "b"]);
    }

    #[test]
    fn an_inner_request_keeps_its_own_and_the_outer_one_too() {
        let (mut outer, mut inner) = (None, None);
        RefusedInside::collecting(1, &mut outer, || {
            let _ = refused("a");
            RefusedInside::collecting(2, &mut inner, || {
                assert_eq!(RefusedInside::scope(), 2);
                drop(refused("b"));
            });
            let panics = std::panic::AssertUnwindSafe(|| {
                RefusedInside::collecting(3, &mut None, || panic!("told to panic"))
            });
            assert!(std::panic::catch_unwind(panics).is_err());
            assert_eq!(RefusedInside::scope(), 1);
            drop(refused("c"));
        });
        assert_eq!(RefusedInside::scope(), 0);
        assert_eq!(sources(outer), ["a", "c"]);
        assert_eq!(sources(inner), ["b"]);
    }

    #[test]
    fn where_nobody_collects_nothing_is_kept() {
        drop(refused("a"));
        let mut found = None;
        RefusedInside::collecting(1, &mut found, || ());
        assert!(found.is_none());
    }
}

//! With which dependency a request spends its time.
//!
//! A request is a future that is polled, and between two polls it waits. Whatever it waits for
//! was polled last and was not ready: a call through a dependency, the turn at a pool. So those
//! say, while a request that is measured is polled on this thread, that it waits for them; a
//! connection that is lent says so from then until it goes back, because its queries are polled
//! by the driver. The time until the next poll is theirs. The time of the polls themselves is
//! the process's own work, and whoever polls measures it: a request for which that is most of
//! its time spends it with the [`RUNTIME`].
//!
//! What waits for two at once waits for neither in particular, so such a time is nobody's
//! either. Work that the handler moved to another task is not seen.
//!
//! Costs: who is asked and is not measured reads one thread-local word; a measured request that
//! meets no dependency reads no clock and allocates nothing.

use std::{
    cell::{Cell, RefCell},
    time::{Duration, Instant},
};

use crate::name::Name;

/// Dependencies of one request whose time is kept: one that spends its time with more of them
/// spends it with none in particular.
pub const SPENT_WITH_MAX: usize = 4;

/// The name of what a request spends its time with that computes: the threads which poll it. A
/// dependency of this name shares its limit.
pub const RUNTIME: Name = Name::from_static("runtime");

/// Says whose requests spend their time with a backend.
#[must_use]
pub fn spent_by(backend: &Name) -> String {
    match *backend == RUNTIME {
        true => "those who compute".to_owned(),
        false => format!("those who wait for {backend}"),
    }
}

/// Who computes for less than this keeps nobody waiting that anybody would notice, whatever share
/// of its time it is: a page out of memory computes for all of its 50 us.
const COMPUTES: Duration = Duration::from_millis(1);

std::thread_local! {
    static SLOT: Slot = const { Slot { measures: Cell::new(false), spent: RefCell::new(None) } };
}

/// What belongs to the request that this thread polls.
struct Slot {
    /// Whether it is measured: "no" without a look at the rest.
    measures: Cell<bool>,
    spent: RefCell<Option<Box<Spent>>>,
}

/// What one request has spent its time with so far.
#[derive(Clone, Debug, Default)]
pub struct Spent {
    with: Vec<With>,
    /// What it waits for since the last poll.
    waits: Waits,
    /// When the last poll ended.
    polled_at: Option<Instant>,
}

#[derive(Clone, Debug)]
struct With {
    name: Name,
    /// How many of its connections are lent to the request.
    held: u32,
    time: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Waits {
    /// For nobody who said so.
    #[default]
    Unknown,
    /// For the one with this number.
    One(usize),
    /// For several at once.
    Several,
}

impl Spent {
    /// Runs `poll` for a request of which `spent` is known so far, and keeps what is told
    /// meanwhile. `clock` is asked only if it has met a dependency.
    pub fn measuring<R>(
        spent: &mut Option<Box<Self>>,
        clock: impl Fn() -> Instant,
        poll: impl FnOnce() -> R,
    ) -> R {
        // What belongs to an outer request is put back, also when `poll` panics.
        struct Restore(bool, Option<Box<Spent>>);
        impl Drop for Restore {
            fn drop(&mut self) {
                replace(self.0, self.1.take());
            }
        }
        if let Some(spent) = spent.as_deref_mut() {
            spent.goes_on(clock());
        }
        let (outer, outer_spent) = replace(true, spent.take());
        let restore = Restore(outer, outer_spent);
        let result = poll();
        let (_, found) = replace(false, None);
        *spent = found;
        drop(restore);
        if let Some(spent) = spent.as_deref_mut() {
            spent.polled_at = Some(clock());
        }
        result
    }

    /// Says that whoever is polled on this thread waits for this dependency.
    #[inline]
    pub fn waits_for(name: &Name) {
        if is_measured() {
            note(|spent| spent.waits(name));
        }
    }

    /// Says that a connection of this dependency is lent to whoever is polled on this thread.
    /// Returns whether that is a request which is measured; then it has to hear of the end.
    #[inline]
    pub(crate) fn holds(name: &Name) -> bool {
        let measured = is_measured();
        if measured {
            note(|spent| spent.find(name, |with| with.held += 1));
        }
        measured
    }

    /// Says that such a connection is on its way back.
    pub(crate) fn holds_no_more(name: &Name) {
        if is_measured() {
            note(|spent| spent.find(name, |with| with.held = with.held.saturating_sub(1)));
        }
    }

    /// The dependency with which a request that took so long spent at least half of that.
    #[must_use]
    pub fn mostly(&self, whole: Duration) -> Option<&Name> {
        let most = self.with.iter().max_by_key(|with| with.time)?;
        (!most.time.is_zero() && most.time * 2 >= whole).then_some(&most.name)
    }

    /// The runtime, if a request that took so long computed for half of that or more, and for a
    /// millisecond at least.
    #[must_use]
    pub fn computing(computed: Duration, whole: Duration) -> Option<&'static Name> {
        static NAME: Name = RUNTIME;
        (computed >= COMPUTES && computed * 2 >= whole).then_some(&NAME)
    }

    /// The request is polled again, or is over.
    pub fn goes_on(&mut self, now: Instant) {
        let Some(since) = self.polled_at.take() else {
            return;
        };
        let time = now.saturating_duration_since(since);
        let with = match std::mem::take(&mut self.waits) {
            Waits::One(at) => self.with.get_mut(at),
            Waits::Several => None,
            Waits::Unknown => {
                let mut held = self.with.iter_mut().filter(|with| with.held > 0);
                let first = held.next();
                held.next().is_none().then_some(first).flatten()
            }
        };
        if let Some(with) = with {
            with.time += time;
        }
    }

    fn waits(&mut self, name: &Name) {
        let at = self.find(name, |_| ());
        self.waits = match (self.waits, at) {
            (Waits::Unknown, Some(at)) => Waits::One(at),
            (Waits::One(known), Some(at)) if known == at => Waits::One(at),
            _ => Waits::Several,
        };
    }

    /// Changes what is known of a dependency; `None` if there are too many.
    fn find(&mut self, name: &Name, change: impl FnOnce(&mut With)) -> Option<usize> {
        let known = self.with.iter().position(|with| with.name == *name);
        let at = known.or_else(|| {
            (self.with.len() < SPENT_WITH_MAX).then(|| {
                self.with.push(With {
                    name: name.clone(),
                    held: 0,
                    time: Duration::ZERO,
                });
                self.with.len() - 1
            })
        })?;
        change(&mut self.with[at]);
        Some(at)
    }
}

#[inline]
fn is_measured() -> bool {
    SLOT.try_with(|slot| slot.measures.get()).unwrap_or(false)
}

#[cold]
fn note<R>(change: impl FnOnce(&mut Spent) -> R) {
    let _ = SLOT.try_with(|slot| {
        change(slot.spent.borrow_mut().get_or_insert_default());
    });
}

/// Puts another request in the slot, and returns what was there.
fn replace(measures: bool, spent: Option<Box<Spent>>) -> (bool, Option<Box<Spent>>) {
    let replaced = SLOT.try_with(|slot| {
        let before = slot.measures.replace(measures);
        (before, slot.spent.replace(spent))
    });
    replaced.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::origin;

    static DB: Name = Name::from_static("db");
    static PAYMENTS: Name = Name::from_static("payments");

    /// A request that is polled at these milliseconds, with what happens in each poll.
    fn run(polls: &[(u64, &dyn Fn())]) -> (Option<Box<Spent>>, impl Fn(u64) -> Instant) {
        let start = origin();
        let at = move |ms| start + Duration::from_millis(ms);
        let mut spent = None;
        for (ms, poll) in polls {
            Spent::measuring(&mut spent, || at(*ms), poll);
        }
        (spent, at)
    }

    fn mostly(polls: &[(u64, &dyn Fn())], end: u64) -> Option<String> {
        let (spent, at) = run(polls);
        let mut spent = spent?;
        spent.goes_on(at(end));
        spent
            .mostly(at(end).saturating_duration_since(at(0)))
            .map(ToString::to_string)
    }

    fn nothing() {}

    #[test]
    fn who_computes_for_half_of_its_time_and_not_just_a_moment_is_with_the_runtime() {
        let computing = |computed: u64, whole: u64| {
            let [computed, whole] = [computed, whole].map(Duration::from_micros);
            Spent::computing(computed, whole)
        };
        assert_eq!(computing(5_000, 10_000), Some(&RUNTIME));
        assert_eq!(computing(4_999, 10_000), None);
        assert_eq!(computing(1_000, 1_000), Some(&RUNTIME));
        assert_eq!(computing(999, 999), None, "nobody would notice");
    }

    #[test]
    fn the_time_between_polls_is_whose_it_was_waited_for() {
        let waits = || Spent::waits_for(&DB);
        assert_eq!(
            mostly(&[(0, &waits), (60, &nothing)], 100).as_deref(),
            Some("db")
        );
        assert_eq!(
            mostly(&[(0, &waits), (40, &nothing)], 100),
            None,
            "less than half"
        );
        assert_eq!(
            mostly(&[(0, &waits), (0, &nothing)], 0),
            None,
            "no time at all"
        );
        assert_eq!(
            mostly(&[(0, &waits), (30, &waits)], 100).as_deref(),
            Some("db"),
            "abandoned"
        );
        assert_eq!(mostly(&[(0, &nothing), (60, &nothing)], 100), None);
    }

    #[test]
    fn a_connection_that_is_lent_is_waited_for_until_it_goes_back() {
        let lent = || {
            Spent::holds(&DB);
        };
        let back = || Spent::holds_no_more(&DB);
        assert_eq!(
            mostly(&[(0, &lent), (60, &back)], 100).as_deref(),
            Some("db")
        );
        assert_eq!(mostly(&[(0, &lent), (40, &back)], 100), None);
        let pays = || Spent::waits_for(&PAYMENTS);
        let polls: [(u64, &dyn Fn()); 3] = [(0, &lent), (40, &pays), (100, &back)];
        assert_eq!(
            mostly(&polls, 100).as_deref(),
            Some("payments"),
            "a call beside it"
        );
    }

    #[test]
    fn what_is_waited_for_at_once_is_nobodys() {
        let both = || {
            Spent::waits_for(&DB);
            Spent::waits_for(&PAYMENTS);
            Spent::waits_for(&DB);
        };
        assert_eq!(mostly(&[(0, &both), (90, &nothing)], 100), None);
        let lent = || {
            Spent::holds(&DB);
            Spent::holds(&PAYMENTS);
        };
        assert_eq!(mostly(&[(0, &lent), (90, &nothing)], 100), None);
    }

    #[test]
    fn more_dependencies_than_are_kept_are_nobodys_time() {
        let names = ["a", "b", "c", "d", "e"].map(Name::from_static);
        let start = origin();
        let mut spent = None;
        for name in &names {
            Spent::measuring(&mut spent, || start, || Spent::waits_for(name));
        }
        let spent = spent.expect("it was told of some");
        assert_eq!(spent.with.len(), SPENT_WITH_MAX);
        assert_eq!(spent.waits, Waits::Several);
    }

    #[test]
    fn who_is_not_measured_is_told_of_nothing_and_reads_no_clock() {
        Spent::waits_for(&DB);
        assert!(!Spent::holds(&DB));
        Spent::holds_no_more(&DB);
        let mut spent = None;
        let clock = || panic!("it has met no dependency");
        Spent::measuring(&mut spent, clock, || ());
        assert!(spent.is_none());
    }

    #[test]
    fn an_inner_request_has_its_own_time_and_a_panic_leaves_the_outer_ones() {
        let start = origin();
        let (mut outer, mut inner) = (None, None);
        Spent::measuring(
            &mut outer,
            || start,
            || {
                Spent::waits_for(&DB);
                Spent::measuring(&mut inner, || start, || Spent::waits_for(&PAYMENTS));
                let panics = std::panic::AssertUnwindSafe(|| {
                    Spent::measuring(&mut None, || start, || panic!("told to panic"))
                });
                assert!(std::panic::catch_unwind(panics).is_err());
            },
        );
        assert!(!is_measured());
        let names = |spent: Option<Box<Spent>>| spent.map(|it| it.with[0].name.clone());
        assert_eq!(names(outer), Some(DB.clone()));
        assert_eq!(names(inner), Some(PAYMENTS.clone()));
    }
}

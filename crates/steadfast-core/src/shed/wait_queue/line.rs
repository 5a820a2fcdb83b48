//! Who waits, in the order of their classes: linked lists in a table that is made once.
//!
//! Nothing here decides. Every step takes constant time, whoever leaves and from where,
//! because all of them happen under a lock that a request may be waiting for.

use std::{task::Waker, time::Instant};

use crate::{
    request::{deadline::Deadline, priority::Priority},
    shed::inflight::tokens::Token,
};

/// No place.
const NONE: u32 = u32::MAX;

/// A place in the table. It belongs to its ticket until the ticket has been told, so it
/// needs no generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PlaceNo(u32);

/// Which end of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Whoever has waited longest.
    Front,
    /// Whoever came last.
    Back,
}

/// What became of who waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It waits.
    Waiting,
    /// It may run on this token, which is its own until it says what becomes of it.
    Granted(Token),
    /// Somebody who goes first took its place.
    Displaced,
    /// It had waited for too long when its turn came.
    Late,
}

#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) fate: Fate,
    pub(super) priority: Priority,
    pub(super) entered: Instant,
    /// Until when it waits.
    pub(super) until: Instant,
    pub(super) deadline: Option<Deadline>,
    pub(super) waker: Option<Waker>,
}

#[derive(Debug)]
struct Place {
    waiter: Option<Waiter>,
    before: u32,
    /// The one behind it; of a free place, the next free one.
    behind: u32,
}

#[derive(Clone, Copy, Debug)]
struct Class {
    front: u32,
    back: u32,
    len: u32,
}

/// The table.
#[derive(Debug)]
pub(super) struct Line {
    places: Vec<Place>,
    free: u32,
    classes: [Class; Priority::ALL.len()],
    len: u32,
}

impl Line {
    pub(super) fn new(places: u32) -> Self {
        let place = |number: u32| Place {
            waiter: None,
            before: NONE,
            behind: if number + 1 == places {
                NONE
            } else {
                number + 1
            },
        };
        let nobody = Class {
            front: NONE,
            back: NONE,
            len: 0,
        };
        Self {
            places: (0..places).map(place).collect(),
            free: if places == 0 { NONE } else { 0 },
            classes: [nobody; Priority::ALL.len()],
            len: 0,
        }
    }

    /// How many wait.
    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many of this class wait.
    pub(super) const fn len_of(&self, priority: Priority) -> u32 {
        self.classes[priority.index()].len
    }

    /// Puts somebody behind the others of its class, if there is a place.
    pub(super) fn push(&mut self, waiter: Waiter) -> Option<PlaceNo> {
        let number = self.free;
        let place = self.places.get_mut(number as usize)?;
        self.free = place.behind;
        let class = &mut self.classes[waiter.priority.index()];
        (place.before, place.behind) = (class.back, NONE);
        place.waiter = Some(waiter);
        let last = std::mem::replace(&mut class.back, number);
        class.len += 1;
        self.len += 1;
        match self.places.get_mut(last as usize) {
            Some(last) => last.behind = number,
            None => class.front = number,
        }
        Some(PlaceNo(number))
    }

    /// Whether [`Line::push`] would find a place.
    pub(super) const fn has_place(&self) -> bool {
        self.free != NONE
    }

    /// Returns who is at one end of the first class, or of the last, in which anybody waits.
    pub(super) fn first(&self, end: End) -> Option<PlaceNo> {
        self.classes.iter().find_map(|class| class.at(end))
    }

    /// See [`Line::first`].
    pub(super) fn last(&self, end: End) -> Option<PlaceNo> {
        self.classes.iter().rev().find_map(|class| class.at(end))
    }

    /// Lets somebody wait no longer. Its place stays its own until [`Line::leave`].
    /// Returns who is to be woken.
    pub(super) fn decide(&mut self, number: PlaceNo, fate: Fate) -> Option<Waker> {
        self.unlink(number);
        let waiter = self.places[number.0 as usize].waiter.as_mut();
        let waiter = waiter.expect("a decision is on somebody who waits");
        waiter.fate = fate;
        waiter.waker.take()
    }

    /// Frees a place, whatever became of who had it.
    pub(super) fn leave(&mut self, number: PlaceNo) -> Waiter {
        if self.waiter(number).fate == Fate::Waiting {
            self.unlink(number);
        }
        let place = &mut self.places[number.0 as usize];
        place.behind = std::mem::replace(&mut self.free, number.0);
        place.waiter.take().expect("a place is left once")
    }

    pub(super) fn waiter(&self, number: PlaceNo) -> &Waiter {
        let waiter = self.places[number.0 as usize].waiter.as_ref();
        waiter.expect("a ticket has its place until it is told")
    }

    pub(super) fn waiter_mut(&mut self, number: PlaceNo) -> &mut Waiter {
        let waiter = self.places[number.0 as usize].waiter.as_mut();
        waiter.expect("a ticket has its place until it is told")
    }

    /// Takes the wakers of all who wait. It is rare, so it may look at every place.
    pub(super) fn take_wakers(&mut self) -> Vec<Waker> {
        let waiters = self
            .places
            .iter_mut()
            .filter_map(|place| place.waiter.as_mut());
        waiters.filter_map(|waiter| waiter.waker.take()).collect()
    }

    fn unlink(&mut self, number: PlaceNo) {
        let Place {
            waiter,
            before,
            behind,
        } = &self.places[number.0 as usize];
        let (before, behind) = (*before, *behind);
        let waiter = waiter.as_ref().expect("somebody is here");
        let class = &mut self.classes[waiter.priority.index()];
        class.len -= 1;
        self.len -= 1;
        match self.places.get_mut(before as usize) {
            Some(place) => place.behind = behind,
            None => class.front = behind,
        }
        match self.places.get_mut(behind as usize) {
            Some(place) => place.before = before,
            None => class.back = before,
        }
    }
}

impl Class {
    fn at(&self, end: End) -> Option<PlaceNo> {
        let number = match end {
            End::Front => self.front,
            End::Back => self.back,
        };
        (number != NONE).then_some(PlaceNo(number))
    }
}

//! Atomics. Which route has which lane of its own, as words that requests read without a lock.
//!
//! A word is 56 bits of a route's hash and the number of its lane, so a reader finds a route with
//! the lane that it had before or has now, or not at all, and then it meets the common limit.
//! Each of these is right: a request belongs to the lane that it was given. Lanes are made and
//! never go away, and a lane is made before its number is told.
//!
//! Whoever changes something does so with a lock of their own.

use std::sync::OnceLock;

use super::{BACKENDS_MAX, LaneId, routes::ROUTES_MAX};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Words: twice as many as routes, so that a look ends after two or three.
const WORDS: usize = 2 * ROUTES_MAX;

/// The bits of a word that are the lane's.
const LANE: u64 = 0xff;

/// See the module.
#[derive(Debug)]
pub(super) struct Directory<T> {
    /// Whether any route has a lane of its own.
    parted: AtomicBool,
    /// A route lies in the word that its hash says, or in the next that was free; zero ends the
    /// search.
    words: Box<[AtomicU64]>,
    lanes: [OnceLock<T>; BACKENDS_MAX],
}

impl<T> Directory<T> {
    pub(super) fn new() -> Self {
        Self {
            parted: AtomicBool::new(false),
            words: (0..WORDS).map(|_| AtomicU64::new(0)).collect(),
            lanes: std::array::from_fn(|_| OnceLock::new()),
        }
    }

    /// Whether any route has a lane of its own.
    #[inline]
    pub(super) fn is_parted(&self) -> bool {
        // Relaxed: what follows from it is read with an order of its own.
        self.parted.load(Ordering::Relaxed)
    }

    /// Returns the lane of a route.
    #[inline]
    pub(super) fn find(&self, hash: u64) -> LaneId {
        let first = first(hash);
        for step in 0..WORDS {
            // Acquire pairs with the release in `replace`: who sees a number sees its lane.
            let word = self.words[(first + step) % WORDS].load(Ordering::Acquire);
            if word == 0 {
                break;
            }
            if word & !LANE == hash & !LANE {
                return LaneId((word & LANE) as u8);
            }
        }
        LaneId::COMMON
    }

    /// Returns a lane; `None` for the common one, which is elsewhere.
    #[inline]
    pub(super) fn lane(&self, LaneId(id): LaneId) -> Option<&T> {
        let place = usize::from(id).checked_sub(1)?;
        let lane = self.lanes[place].get();
        Some(lane.expect("a lane is made before its number is told"))
    }

    /// Every lane that was made.
    pub(super) fn lanes(&self) -> impl Iterator<Item = &T> {
        self.lanes.iter().map_while(OnceLock::get)
    }

    /// Returns the first lane of which `is` says so, or makes one if there is room.
    pub(super) fn find_or_make(
        &self,
        is: impl Fn(&T) -> bool,
        make: impl Fn(LaneId) -> T,
    ) -> Option<LaneId> {
        let mut all = (1..).map(LaneId).zip(&self.lanes);
        let found = all.find(|(id, place)| is(place.get_or_init(|| make(*id))));
        found.map(|(id, _)| id)
    }

    /// Publishes other routes.
    pub(super) fn replace(&self, routes: impl Iterator<Item = (u64, LaneId)>) {
        let mut words = [0; WORDS];
        for (hash, LaneId(lane)) in routes {
            let mut places = (0..WORDS).map(|step| (first(hash) + step) % WORDS);
            if let Some(place) = places.find(|place| words[*place] == 0) {
                words[place] = hash & !LANE | u64::from(lane);
            }
        }
        for (place, word) in self.words.iter().zip(words) {
            // Relaxed: only whoever has the lock writes them.
            if place.load(Ordering::Relaxed) != word {
                place.store(word, Ordering::Release);
            }
        }
        self.parted.store(true, Ordering::Relaxed);
    }

    /// Publishes that no route has a lane of its own.
    pub(super) fn join(&self) {
        self.parted.store(false, Ordering::Relaxed);
    }
}

/// Where the search for a route begins.
const fn first(hash: u64) -> usize {
    (hash >> 32) as usize % WORDS
}

//! Atomics. Who has been in flight for long, and on which route.
//!
//! "All workers busy" often means that a few handlers hang. A handler that hangs says
//! nothing, so its place is written down when it starts: each stripe has a table of
//! [`PLACES`] places with a start time and the head of the path. Taking a place is one
//! exchange on the stripe's own bitmap. When a table is full, further requests on that
//! stripe are not written down until a place is free, so far beyond
//! `STRIPES x PLACES` requests in flight the table is a sample. Requests that hang stay
//! in their places, so the more there are the surer they show.

use std::time::{Duration, Instant};

use crate::sync::{
    atomic::{AtomicU64, Ordering, fence},
    origin::{Origin, nanos},
    stripe::{Padded, STRIPES},
};

/// Places for each stripe: the bits of one word.
pub const PLACES: usize = if cfg!(loom) { 1 } else { 64 };

/// Longest head of a path that is kept, in bytes.
pub const ROUTE_LEN_MAX: usize = WORDS * 8;

const WORDS: usize = if cfg!(loom) { 1 } else { 6 };

/// The start time of an empty place.
const EMPTY: u64 = 0;

/// A request that has been in flight for some time.
///
/// Complete: how long, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningRequest {
    /// For how long it has held its permit.
    pub age: Duration,
    /// The head of its path, at most [`ROUTE_LEN_MAX`] bytes, without the query.
    pub route: String,
}

#[derive(Debug)]
pub(crate) struct Running {
    origin: Origin,
    stripes: Box<[Padded<Stripe>]>,
}

#[derive(Debug)]
struct Stripe {
    /// A set bit is a free place.
    free: AtomicU64,
    places: [Place; PLACES],
}

#[derive(Debug)]
struct Place {
    /// Nanoseconds from the origin plus one; `EMPTY` when nobody is here.
    started: AtomicU64,
    route: [AtomicU64; WORDS],
}

/// Which place a permit has, if there was one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlaceId(u16);

impl PlaceId {
    pub(crate) const NONE: Self = Self(u16::MAX);
}

/// One request in the table, as two words: which place, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    place: u64,
    started: u64,
}

impl Stamp {
    pub(crate) const NONE: Self = Self {
        place: 0,
        started: EMPTY,
    };

    pub(crate) const fn to_words(self) -> [u64; 2] {
        [self.place, self.started]
    }

    pub(crate) const fn from_words([place, started]: [u64; 2]) -> Self {
        Self { place, started }
    }
}

impl Running {
    pub(crate) fn new(origin: Instant) -> Self {
        let place = || Place {
            started: AtomicU64::new(EMPTY),
            route: std::array::from_fn(|_| AtomicU64::new(0)),
        };
        let all_free = if PLACES == 64 {
            u64::MAX
        } else {
            (1 << PLACES) - 1
        };
        let stripe = || {
            Padded(Stripe {
                free: AtomicU64::new(all_free),
                places: std::array::from_fn(|_| place()),
            })
        };
        Self {
            origin: Origin::new(origin),
            stripes: (0..STRIPES).map(|_| stripe()).collect(),
        }
    }

    /// Writes down a request that starts now.
    pub(crate) fn enter(&self, stripe: usize, route: &str, now: Instant) -> PlaceId {
        let table = &self.stripes[stripe].0;
        let mut free = table.free.load(Ordering::Relaxed);
        let place = loop {
            if free == 0 {
                return PlaceId::NONE;
            }
            let bit = free.trailing_zeros() as usize;
            // Acquire pairs with the release in `leave`: the last owner has cleared the place.
            match table.free.compare_exchange_weak(
                free,
                free & !(1 << bit),
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => break bit,
                Err(now_free) => free = now_free,
            }
        };
        let entry = &table.places[place];
        // The fence pairs with the one in `read`: whoever sees one of the words below also
        // sees that the last owner has left.
        fence(Ordering::Release);
        let bytes = route.as_bytes();
        for (at, word) in entry.route.iter().enumerate() {
            let eight = word_of(bytes, at);
            // Relaxed: the store to `started` publishes them.
            word.store(eight, Ordering::Relaxed);
            // A reader stops at the first zero, so what lies behind it is nobody's.
            if eight >> 56 == 0 {
                break;
            }
        }
        // Release pairs with the acquire load in `read`.
        entry.started.store(self.stamp(now), Ordering::Release);
        PlaceId((stripe * PLACES + place) as u16)
    }

    /// Takes a request off the table.
    pub(crate) fn leave(&self, PlaceId(id): PlaceId) {
        if PlaceId(id) == PlaceId::NONE {
            return;
        }
        let (stripe, place) = (usize::from(id) / PLACES, usize::from(id) % PLACES);
        let table = &self.stripes[stripe].0;
        table.places[place].started.store(EMPTY, Ordering::Release);
        // Release pairs with the acquire in `enter`.
        table.free.fetch_or(1 << place, Ordering::Release);
    }

    /// Returns the request that has been here longest.
    pub(crate) fn oldest(&self, now: Instant) -> Option<RunningRequest> {
        self.find(self.first(Duration::ZERO, now), now)
    }

    /// Finds the request that has been here longest, if it has been here for this long.
    pub(crate) fn first(&self, age_min: Duration, now: Instant) -> Stamp {
        let mut first = Stamp::NONE;
        let places = self.stripes.iter().flat_map(|stripe| &stripe.0.places);
        for (number, place) in (0..).zip(places) {
            let started = place.started.load(Ordering::Relaxed);
            if started != EMPTY && (first == Stamp::NONE || started < first.started) {
                first = Stamp {
                    place: number,
                    started,
                };
            }
        }
        let late =
            self.origin.nanos(now) >= nanos(age_min) && first.started <= self.stamp(now - age_min);
        if late { first } else { Stamp::NONE }
    }

    /// Reads a request that was found before, if it is still here.
    pub(crate) fn find(&self, stamp: Stamp, now: Instant) -> Option<RunningRequest> {
        if stamp == Stamp::NONE {
            return None;
        }
        let number = usize::try_from(stamp.place).ok()?;
        let stripe = self.stripes.get(number / PLACES)?;
        self.read(&stripe.0.places[number % PLACES], stamp.started, now)
    }

    /// Returns everybody who is here. Visits every place: not for the request path.
    pub(crate) fn all(&self, now: Instant) -> Vec<RunningRequest> {
        let places = self.stripes.iter().flat_map(|stripe| &stripe.0.places);
        let taken = places.filter_map(|place| {
            let started = place.started.load(Ordering::Relaxed);
            (started != EMPTY).then(|| self.read(place, started, now))?
        });
        taken.collect()
    }

    /// Reads a place, or nothing if its owner changed in between (it was not old then).
    fn read(&self, place: &Place, expected: u64, now: Instant) -> Option<RunningRequest> {
        let started = place.started.load(Ordering::Acquire);
        let mut bytes = [0; ROUTE_LEN_MAX];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(&place.route) {
            chunk.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
        // The fence keeps the second look at `started` behind the words: if it has not
        // changed, the words are those of that request.
        fence(Ordering::Acquire);
        if started != expected || place.started.load(Ordering::Relaxed) != started {
            return None;
        }
        let len = bytes
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(bytes.len());
        let began = self.origin.at(started - 1);
        Some(RunningRequest {
            age: now.saturating_duration_since(began),
            route: String::from_utf8_lossy(&bytes[..len]).into_owned(),
        })
    }

    fn stamp(&self, now: Instant) -> u64 {
        self.origin.nanos(now).saturating_add(1)
    }
}

fn word_of(bytes: &[u8], at: usize) -> u64 {
    let start = (at * 8).min(bytes.len());
    let end = (start + 8).min(bytes.len());
    let mut word = [0; 8];
    word[..end - start].copy_from_slice(&bytes[start..end]);
    u64::from_le_bytes(word)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::testing::origin;

    #[test]
    fn the_oldest_is_found_with_its_route_and_age() {
        let start = origin();
        let table = Running::new(start);
        let slow = table.enter(1, "/report", start);
        let quick = table.enter(0, "/orders/42", start + Duration::from_secs(1));
        let now = start + Duration::from_secs(5);
        let seen = table.oldest(now).expect("two are here");
        assert_eq!(
            (seen.age, seen.route.as_str()),
            (Duration::from_secs(5), "/report")
        );
        table.leave(slow);
        assert_eq!(table.oldest(now).expect("one is here").route, "/orders/42");
        let all: Vec<_> = table.all(now).into_iter().map(|it| it.route).collect();
        assert_eq!(all, ["/orders/42"]);
        table.leave(quick);
        assert_eq!(table.oldest(now), None);
    }

    #[test]
    fn a_full_table_takes_no_more_and_recovers() {
        let start = origin();
        let table = Running::new(start);
        let places: Vec<_> = (0..PLACES).map(|_| table.enter(0, "/a", start)).collect();
        assert!(places.iter().all(|place| *place != PlaceId::NONE));
        assert_eq!(table.enter(0, "/b", start), PlaceId::NONE);
        table.leave(places[7]);
        assert_ne!(table.enter(0, "/b", start), PlaceId::NONE);
        table.leave(PlaceId::NONE);
    }

    #[test]
    fn a_long_path_is_cut_and_never_panics_inside_a_character() {
        let start = origin();
        let table = Running::new(start);
        table.enter(0, &"ü".repeat(60), start);
        let seen = table.oldest(start).expect("one is here");
        assert_eq!(seen.route, "ü".repeat(24));
        table.enter(0, &format!("x{}", "ü".repeat(60)), start);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::{sync::Arc, thread};

    #[test]
    fn loom_a_reader_never_mixes_two_requests() {
        let start = crate::testing::origin();
        loom::model(move || {
            let table = Arc::new(Running::new(start));
            let first = table.enter(0, "aaaa", start);
            let other = Arc::clone(&table);
            let writer = thread::spawn(move || {
                other.leave(first);
                other.enter(0, "bbbb", start + Duration::from_secs(1))
            });
            if let Some(seen) = table.oldest(start + Duration::from_secs(1)) {
                let whole = (seen.age.as_secs(), seen.route.as_str());
                assert!(whole == (1, "aaaa") || whole == (0, "bbbb"), "{whole:?}");
            }
            writer.join().expect("joined");
        });
    }
}

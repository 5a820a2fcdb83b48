//! Which dependency the requests of each route spend most of their time with. Pure.
//!
//! A route has a *score*: each sample that spent its time with the route's backend raises it by
//! one, each that did not lowers it by three. So a route comes to be sure of a backend only if
//! more than three of four of its requests are, and one that is half the one and half the other
//! never does for long. Sure, it is *apart*: it meets the limit of its backend. It stays so until
//! its score has fallen to nothing, and is then not apart again for half a minute, because each
//! change moves load from one limit to another and both have to find their place again.

use std::time::{Duration, Instant};

use crate::{
    name::Name,
    request::{
        shape::{hash, shape},
        spent::RUNTIME,
    },
};

/// Routes that are known; beyond that the one with the least evidence makes room.
pub(super) const ROUTES_MAX: usize = if cfg!(loom) { 2 } else { 64 };

/// A route is apart from this score on: eight samples of which all agree. Of a route that is half
/// the one and half the other, one run of samples in seventy comes so far.
pub(super) const SURE: i32 = 8;

/// So high can it rise: what was so for long is believed for eleven samples that deny it.
const SCORE_MAX: i32 = 32;

/// What a sample that denies it costs.
const AGAINST: i32 = 3;

/// For so long a route that was apart shares the common limit, before it may be apart again.
pub(super) const REST: Duration = Duration::from_secs(30);

/// A route that nobody has asked for this long makes room for another, sure or not.
pub(super) const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// What is known of one route.
#[derive(Clone, Debug)]
struct Route {
    hash: u64,
    shown: String,
    /// The backend that most samples named.
    with: Name,
    score: i32,
    apart: bool,
    /// When it was apart last.
    left_at: Option<Instant>,
    seen_at: Instant,
}

/// A route that is apart now, or no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) route: String,
    pub(super) backend: Name,
    pub(super) apart: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Routes(Vec<Route>);

impl Routes {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Takes a sample in: a request on this path, and the dependency with which it spent at
    /// least half of its time. Says which route is apart now, or no more, if one is.
    pub(super) fn saw(&mut self, path: &str, with: Option<&Name>, now: Instant) -> Option<Moved> {
        // What never held a dependency is known by being unknown.
        if with.is_none() && self.0.is_empty() {
            return None;
        }
        let hash = hash(path);
        let Some(at) = self.0.iter().position(|route| route.hash == hash) else {
            return self.meet(hash, path, with?, now);
        };
        let route = &mut self.0[at];
        let moved = route.saw(with, now);
        if route.score < 0 {
            self.0.swap_remove(at);
        }
        moved
    }

    /// Whether this path is one of a route that is known.
    pub(super) fn knows(&self, path: &str) -> bool {
        let hash = hash(path);
        self.0.iter().any(|route| route.hash == hash)
    }

    /// Begins to know a route.
    fn meet(&mut self, hash: u64, path: &str, with: &Name, now: Instant) -> Option<Moved> {
        let mut left = None;
        if self.0.len() >= ROUTES_MAX {
            let age = |route: &Route| now.saturating_duration_since(route.seen_at);
            let rank = |route: &Route| (age(route) < FORGOTTEN_AFTER, route.apart, route.score);
            let (at, least) = (self.0.iter().enumerate()).min_by_key(|(_, route)| rank(route))?;
            if rank(least) >= (true, true, 0) {
                return None;
            }
            left = self.0.swap_remove(at).leaves();
        }
        self.0.push(Route {
            hash,
            shown: shape(path),
            with: with.clone(),
            score: 1,
            apart: false,
            left_at: None,
            seen_at: now,
        });
        left
    }

    /// The routes that are apart, and the backend of each.
    pub(super) fn apart(&self) -> impl Iterator<Item = (u64, &Name)> {
        let apart = self.0.iter().filter(|route| route.apart);
        apart.map(|route| (route.hash, &route.with))
    }

    /// The same, for people.
    pub(super) fn all_apart(&self) -> Vec<Moved> {
        let apart = self.0.iter().filter(|route| route.apart);
        apart.map(Route::moved).collect()
    }

    /// Whether there is something to part: those that are apart wait for more than one backend,
    /// or some compute, which no limit of those who wait for something can suit.
    pub(super) fn are_to_part(&self) -> bool {
        let mut backends = self.apart().map(|(_, name)| name);
        let Some(first) = backends.next() else {
            return false;
        };
        *first == RUNTIME || backends.any(|other| other != first)
    }

    /// The routes of a backend, in order.
    pub(super) fn names_of(&self, backend: &Name) -> Vec<String> {
        let of = |route: &&Route| route.apart && route.with == *backend;
        let mut names: Vec<_> = (self.0.iter().filter(of))
            .map(|route| route.shown.clone())
            .collect();
        names.sort_unstable();
        names
    }
}

impl Route {
    fn saw(&mut self, with: Option<&Name>, now: Instant) -> Option<Moved> {
        self.seen_at = now;
        let rests = |at: Instant| now.saturating_duration_since(at) < REST;
        let rests = self.left_at.is_some_and(rests);
        if with == Some(&self.with) {
            self.score = (self.score + 1).min(SCORE_MAX);
            let parts = self.score >= SURE && !self.apart && !rests;
            return parts.then(|| self.change(true, now));
        }
        self.score -= AGAINST;
        if !self.apart {
            // Of a route that rests is remembered that it does.
            self.score = self.score.max(if rests { 0 } else { -1 });
            return None;
        }
        self.score = self.score.max(0);
        (self.score == 0).then(|| self.change(false, now))
    }

    fn change(&mut self, apart: bool, now: Instant) -> Moved {
        self.apart = apart;
        if !apart {
            self.left_at = Some(now);
        }
        self.moved()
    }

    fn moved(&self) -> Moved {
        Moved {
            route: self.shown.clone(),
            backend: self.with.clone(),
            apart: self.apart,
        }
    }

    /// What its going away means for requests.
    fn leaves(self) -> Option<Moved> {
        self.apart.then_some(Moved {
            route: self.shown,
            backend: self.with,
            apart: false,
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests;

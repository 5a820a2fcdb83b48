//! Whether a request may come in as far as the line is concerned, and what it is told if not.

use std::time::{Duration, Instant};

use super::{LagLoop, LagMode, Lagging, Published, control::room_for, costs::AVERAGE};
use crate::{request::priority::Priority, sync::atomic::Ordering};

/// What stands in line, and the room there, in requests that count so much.
pub(super) fn of_its_kind(cost: u32, standing: u64, room: u64) -> (u32, u32) {
    let requests = |work: u64| u32::try_from(work / u64::from(cost)).unwrap_or(u32::MAX);
    (requests(standing), requests(room).max(1))
}

impl LagLoop {
    /// Decides whether a request may come in, as far as lag is concerned.
    #[inline]
    pub(crate) fn arrive(
        &self,
        stripe: usize,
        (priority, path): (Priority, &str),
        arrived: impl FnOnce() -> u64,
        now: Instant,
    ) -> Result<(), Lagging> {
        if self.nanos(now) > self.due.load(Ordering::Relaxed) {
            self.look_late(arrived, now);
        }
        let word = self.published.load(Ordering::Relaxed);
        if word == Published::CALM.to_word() {
            return Ok(());
        }
        self.arrive_lined(stripe, (priority, path), Published::from_word(word), now)
    }

    #[cold]
    pub(super) fn arrive_lined(
        &self,
        stripe: usize,
        (priority, path): (Priority, &str),
        published: Published,
        now: Instant,
    ) -> Result<(), Lagging> {
        let Some(room) = published.room.map(|room| room_for(priority, room)) else {
            return Ok(());
        };
        // Critical requests go first, so only those before them are in their way.
        let standing = match priority {
            Priority::Critical => self.total(|stripe| &stripe.critical),
            _ => self.total(|stripe| &stripe.standing),
        };
        let room = u64::from(room) * u64::from(AVERAGE);
        if standing < room {
            return Ok(());
        }
        let route = self.costs.known(path);
        let cost = route.map_or(AVERAGE, |route| self.costs.of(route));
        // What nobody waits for has no share, or it would be served while others are refused.
        let shares = matches!(priority, Priority::Critical | Priority::Default);
        if shares && self.costs.has_share(route, cost, room) {
            return Ok(());
        }
        let full = of_its_kind(cost, standing, room);
        self.refuse(stripe, priority, full, Duration::ZERO, now)
    }

    /// Refuses, or only counts it.
    pub(super) fn refuse(
        &self,
        stripe: usize,
        priority: Priority,
        (waiting, room): (u32, u32),
        waited: Duration,
        now: Instant,
    ) -> Result<(), Lagging> {
        // A refusal is dear anyway; this line is for the floor that operators see.
        self.last_refused[priority.index()].store(self.nanos(now).max(1), Ordering::Relaxed);
        if self.mode() != LagMode::Enforce {
            self.would_refuse.add_at(stripe, 1);
            return Ok(());
        }
        self.refused.add_at(stripe, 1);
        Err(Lagging {
            lag: self.lag(now),
            waiting,
            room,
            waited,
            priority,
        })
    }
}

//! How large the pool should be, from what was measured.
//!
//! By Little's law the connections in use are arrivals a second times the mean hold. A pool
//! of exactly that mean would make every second request wait, because arrivals bunch;
//! square-root staffing adds twice the root of the mean, with which few requests wait
//! (Halfin and Whitt, "Heavy-traffic limits for queues with many exponential servers",
//! Operations Research 29(3), 1981). What all instances may open together must fit into
//! what the server gives.

use std::{
    fmt,
    time::{Duration, Instant},
};

use super::{PoolGate, recent::Demand};
use crate::sync::lock;

/// Fewest holds in the last two minutes from which a size is advised.
const HOLDS_MIN: u64 = 100;

/// A pool this many times larger than advised is called large: it takes slots of the server
/// that others may need, and lets more work run at once than the server does quickly.
const LARGE_FACTOR: u32 = 4;

/// What the instances share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct PoolFleet {
    instances: u32,
    server_max: u32,
    reserved: u32,
    beside: u32,
}

impl PoolFleet {
    /// So many instances, each with a pool of this size, share a server that gives so many
    /// connections (`SHOW max_connections`, `CONFIG GET maxclients`).
    pub const fn new(instances: u32, server_max: u32) -> Self {
        Self {
            instances,
            server_max,
            reserved: 0,
            beside: 0,
        }
    }

    /// Sets how many of them the server keeps for itself (PostgreSQL's
    /// `superuser_reserved_connections` and `reserved_connections`). Default 0.
    pub const fn reserved(mut self, slots: u32) -> Self {
        self.reserved = slots;
        self
    }

    /// Sets how many connections an instance opens beside its pool: a check's own, for one.
    /// Default 0.
    pub const fn beside(mut self, connections: u32) -> Self {
        self.beside = connections;
        self
    }

    /// Returns how many instances there are.
    #[must_use]
    pub const fn instances(&self) -> u32 {
        self.instances
    }

    /// Returns how many connections an instance opens beside its pool.
    #[must_use]
    pub const fn beside_pool(&self) -> u32 {
        self.beside
    }

    /// Returns how many connections the server gives to all instances together.
    #[must_use]
    pub const fn shared_max(&self) -> u32 {
        self.server_max.saturating_sub(self.reserved)
    }

    /// Returns the largest pool with which all instances fit.
    #[must_use]
    pub const fn size_max(&self) -> u32 {
        match self.shared_max().checked_div(self.instances) {
            Some(share) => share.saturating_sub(self.beside),
            None => 0,
        }
    }
}

/// How a pool's size fits what was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolFit {
    /// Too little was asked of it lately to say.
    Unknown,
    /// It fits.
    Fits,
    /// Requests wait although a larger pool would serve them at once.
    Small,
    /// It is several times larger than what is used of it.
    Large,
    /// All instances together may open more than the server gives, or it has refused this one
    /// already.
    BeyondServer,
}

/// Advice on the size of a pool; its text is for people.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct PoolAdvice {
    /// How its size fits.
    pub fit: PoolFit,
    /// The size that it has.
    pub size: u32,
    /// The size that serves what was measured.
    pub size_needed: Option<u32>,
    /// The largest size that fits into the server, if the fleet is known.
    pub size_max: Option<u32>,
    /// How many connections the server has room for, if it has said that it has no more.
    pub room: Option<u32>,
    /// Requests a second, lately.
    pub arrivals_per_sec: f64,
    /// How long a connection was held, lately.
    pub mean_hold: Duration,
    /// Most places that were ever taken at once.
    pub peak_in_use: u32,
}

impl PoolGate {
    /// Says how the pool's size fits what was measured in the last two minutes, and into
    /// what the server gives.
    #[must_use]
    pub fn advice(&self, fleet: Option<PoolFleet>, now: Instant) -> PoolAdvice {
        let slots = lock(&self.slots);
        advise(
            slots.size(),
            slots.counts.peak,
            slots.recent.demand(now),
            fleet,
            slots.growth.room(),
        )
    }
}

fn advise(
    size: u32,
    peak: u32,
    demand: Option<Demand>,
    fleet: Option<PoolFleet>,
    room: Option<u32>,
) -> PoolAdvice {
    let needed = demand
        .filter(|demand| demand.holds >= HOLDS_MIN)
        .map(|demand| {
            let busy = demand.arrivals_per_sec * demand.mean_hold.as_secs_f64();
            // Saturating: a cast of a float that does not fit takes the largest.
            (busy + 2.0 * busy.sqrt()).ceil().max(1.0) as u32
        });
    let size_max = fleet.map(|fleet| fleet.size_max());
    let fit = match (needed, size_max) {
        (_, Some(max)) if size > max => PoolFit::BeyondServer,
        _ if room.is_some_and(|room| size > room) => PoolFit::BeyondServer,
        (None, _) => PoolFit::Unknown,
        (Some(needed), _) if needed > size => PoolFit::Small,
        (Some(needed), _) if size / LARGE_FACTOR >= needed && size / LARGE_FACTOR >= peak => {
            PoolFit::Large
        }
        (Some(_), _) => PoolFit::Fits,
    };
    PoolAdvice {
        fit,
        size,
        size_needed: needed,
        size_max,
        room,
        arrivals_per_sec: demand.map_or(0.0, |demand| demand.arrivals_per_sec),
        mean_hold: demand.map_or(Duration::ZERO, |demand| demand.mean_hold),
        peak_in_use: peak,
    }
}

impl fmt::Display for PoolAdvice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { size, .. } = self;
        match self.fit {
            PoolFit::Unknown => write!(f, "too little was asked of this pool of {size} lately"),
            PoolFit::Fits => write!(f, "a pool of {size} fits"),
            PoolFit::Small => write!(f, "a pool of {size} is small"),
            PoolFit::Large => write!(f, "a pool of {size} is large"),
            PoolFit::BeyondServer => match self.room {
                Some(room) => write!(f, "the server has room for {room} of {size} connections"),
                None => write!(
                    f,
                    "pools of {size} are more than the server gives to all instances"
                ),
            },
        }?;
        if let Some(needed) = self.size_needed {
            write!(
                f,
                ": {:.1} requests a second hold a connection for {:.1} ms each, which {needed} serve",
                self.arrivals_per_sec,
                self.mean_hold.as_secs_f64() * 1e3,
            )?;
        }
        if let Some(max) = self.size_max {
            write!(f, "; at most {max} fit into the server")?;
            if self.size_needed.is_some_and(|needed| needed > max) {
                f.write_str(", so hold connections for a shorter time, or share them by a proxy")?;
            }
        }
        Ok(())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn demand(arrivals_per_sec: f64, hold_ms: u64) -> Option<Demand> {
        Some(Demand {
            arrivals_per_sec,
            mean_hold: Duration::from_millis(hold_ms),
            holds: 1_000,
        })
    }

    #[test]
    fn a_size_is_measured_by_littles_law_and_the_servers_slots() {
        let check = |size, peak, demand, fleet, fit, needed| {
            let advice = advise(size, peak, demand, fleet, None);
            assert_eq!((advice.fit, advice.size_needed), (fit, needed), "{advice}");
        };
        // 100 a second for 40 ms: 4 busy, and twice the root of 4 to spare.
        check(10, 10, demand(100.0, 40), None, PoolFit::Fits, Some(8));
        check(6, 6, demand(100.0, 40), None, PoolFit::Small, Some(8));
        check(64, 9, demand(100.0, 40), None, PoolFit::Large, Some(8));
        check(64, 40, demand(100.0, 40), None, PoolFit::Fits, Some(8));
        check(10, 0, None, None, PoolFit::Unknown, None);
        // 100 slots less 3, shared by 9, less a check's own: 9 each.
        let fleet = PoolFleet::new(9, 100).reserved(3).beside(1);
        assert_eq!(fleet.size_max(), 9);
        check(10, 0, None, Some(fleet), PoolFit::BeyondServer, None);
        check(9, 9, demand(100.0, 40), Some(fleet), PoolFit::Fits, Some(8));
        assert_eq!(PoolFleet::new(0, 100).size_max(), 0);
    }

    #[test]
    fn advice_is_a_sentence() {
        let advice = advise(6, 6, demand(100.0, 40), Some(PoolFleet::new(20, 100)), None);
        assert_eq!(
            advice.to_string(),
            "pools of 6 are more than the server gives to all instances: 100.0 requests a second \
             hold a connection for 40.0 ms each, which 8 serve; at most 5 fit into the server, so \
             hold connections for a shorter time, or share them by a proxy"
        );
    }
}

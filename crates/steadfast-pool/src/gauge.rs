//! The numbers of a pool, shown with its dependency.

use std::{fmt, sync::Arc, time::Instant};

use steadfast_core::{
    ConfigError, DependencyState, Failure,
    plumbing::{POOLS_MAX, PoolGate, PoolGauge, PoolHeld, PoolReading, PoolSettings},
};

use crate::clock::now;

/// Makes the gate of a pool, and shows its numbers with the dependency that it belongs to;
/// `idle` reads how many connections lie ready, which only the driver's pool counts.
///
/// # Errors
/// Every setting that is out of its range, and a dependency that has as many pools as it may.
pub fn attach(
    state: &DependencyState,
    settings: &PoolSettings,
    idle: impl Fn() -> u32 + Send + Sync + 'static,
) -> Result<Arc<PoolGate>, ConfigError> {
    let name = state.name();
    let gate = PoolGate::new(name.clone(), settings, now())?;
    let gauge = Gauge {
        gate: Arc::clone(&gate),
        idle,
    };
    if state.attach_pool(Arc::new(gauge)) {
        return Ok(gate);
    }
    Err(ConfigError::from(format!(
        "pool of {name}: the dependency has {POOLS_MAX} pools already, which are as many as it may"
    )))
}

/// The gate's numbers, with what only the pool counts.
struct Gauge<F> {
    gate: Arc<PoolGate>,
    idle: F,
}

impl<F: Fn() -> u32 + Send + Sync + 'static> PoolGauge for Gauge<F> {
    fn reading(&self, now: Instant) -> PoolReading {
        let mut reading = self.gate.reading(now);
        reading.idle = (self.idle)();
        reading
    }

    fn holders(&self, now: Instant) -> Vec<PoolHeld> {
        self.gate.holders(now)
    }

    fn last_trouble(&self) -> Option<(Failure, Instant)> {
        self.gate.last_trouble()
    }

    fn trouble(&self, now: Instant) -> Option<Failure> {
        // One that lies ready may work.
        let trouble = self.gate.trouble(now)?;
        ((self.idle)() == 0).then_some(trouble)
    }
}

impl<F> fmt::Debug for Gauge<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gauge").field(&self.gate).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use steadfast_core::{Name, Trip, plumbing::PoolEntry};

    use super::*;

    #[test]
    fn a_dependency_names_who_holds_connections_of_its_pool() {
        let rules = Trip::default().build().expect("the defaults are right");
        let name = Name::new("orders-db").expect("it is a name");
        let state = DependencyState::new(name, rules, 1, now());
        let gate = attach(&state, &PoolSettings::new(2), || 0).expect("there is room");
        assert!(state.pool_holders(now()).is_empty());
        let PoolEntry::Lend(mut lease) = gate.enter(None, Location::caller(), now()) else {
            panic!("the pool is free");
        };
        lease.connected(now());
        let held = state.pool_holders(now());
        assert_eq!(held.len(), 1);
        assert!(held[0].place.contains("gauge.rs"), "{held:?}");
    }
}

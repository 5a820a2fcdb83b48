//! The numbers of a pool, shown with its dependency.

use std::{fmt, sync::Arc, time::Instant};

use steadfast_core::{
    ConfigError, DependencyState, Failure, POOLS_MAX, PoolGate, PoolGauge, PoolReading,
    PoolSettings,
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

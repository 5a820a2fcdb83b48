//! The gate of a pool and the dependency behind it: what the guards of all pools have.

use std::{panic::Location, sync::Arc};

use steadfast_core::{
    ConfigError, Deadline, DependencyState,
    plumbing::{
        PoolAcquire, PoolAdvice, PoolDriver, PoolFleet, PoolGate, PoolSettings, PoolSnapshot,
    },
};

use crate::{attach, clock::now, drive::Drive};

/// The gate of a pool, and the dependency that it belongs to. Clones share them.
#[derive(Clone, Debug)]
pub struct Gated {
    gate: Arc<PoolGate>,
    state: Arc<DependencyState>,
}

impl Gated {
    /// Puts a gate in front of a pool, as [`attach`] does.
    ///
    /// # Errors
    /// As [`attach`].
    pub fn new(
        state: Arc<DependencyState>,
        settings: &PoolSettings,
        idle: impl Fn() -> u32 + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        let gate = attach(&state, settings, idle)?;
        Ok(Self { gate, state })
    }

    /// Returns the gate.
    #[must_use]
    pub const fn gate(&self) -> &Arc<PoolGate> {
        &self.gate
    }

    /// Returns what is known of the dependency.
    #[must_use]
    pub const fn state(&self) -> &Arc<DependencyState> {
        &self.state
    }

    /// Acquires a connection for whoever calls this, as long as a request waits.
    #[track_caller]
    pub fn acquire<D: PoolDriver>(&self, driver: Arc<D>, deadline: Option<Deadline>) -> Drive<D> {
        Drive::new(PoolAcquire::new(
            driver,
            Arc::clone(&self.state),
            Arc::clone(&self.gate),
            deadline,
            Location::caller(),
            fastrand::u64(..),
        ))
    }

    /// Returns the numbers, and who holds connections.
    #[must_use]
    pub fn snapshot(&self) -> PoolSnapshot {
        self.gate.snapshot(now())
    }

    /// Says how the pool's size fits what was asked of it in the last two minutes, and what
    /// the server gives to all instances.
    #[must_use]
    pub fn advice(&self, fleet: Option<PoolFleet>) -> PoolAdvice {
        self.gate.advice(fleet, now())
    }
}

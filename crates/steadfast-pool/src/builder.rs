//! Builds the guard of a pool: the settings are the same whatever the driver.
//!
//! An adapter says of its pool what only it knows ([`PoolKind`]), and calls the builder by a
//! name of its own.

use std::{fmt, sync::Arc, time::Duration};

use steadfast_core::{ConfigError, DependencyState, Failure, plumbing::PoolSettings};

use crate::Gated;

/// A pool that is about to be guarded.
pub trait PoolKind: Sized {
    /// What guards it.
    type Guard;

    /// Longest silence that may be set.
    const SILENCE_LONGEST: Duration;

    /// Returns what counts the connections that lie ready.
    fn idle(&self) -> impl Fn() -> u32 + Send + Sync + 'static;

    /// Makes the guard. `silence_max` is what was set, if anything was.
    fn guarded(self, gated: Gated, silence_max: Option<Duration>) -> Self::Guard;
}

/// A pool that can be told where its server is.
pub trait Located: PoolKind {
    /// Takes the address out of a URL, and nothing else.
    ///
    /// # Errors
    /// What is wrong with the URL.
    fn locate(&mut self, url: &str) -> Result<(), Failure>;
}

/// Builds the guard of a pool; made by the `guard` of its driver's adapter.
#[must_use]
pub struct PoolGuardBuilder<K> {
    pool: K,
    state: Arc<DependencyState>,
    settings: PoolSettings,
    silence_max: Option<Duration>,
    faults: Vec<String>,
}

impl<K: PoolKind> PoolGuardBuilder<K> {
    /// Begins with a pool, its dependency, and what the pool itself is set to.
    pub const fn new(pool: K, state: Arc<DependencyState>, settings: PoolSettings) -> Self {
        Self {
            pool,
            state,
            settings,
            silence_max: None,
            faults: Vec::new(),
        }
    }

    /// Sets how many requests may wait: see [`PoolSettings::waiters_max`].
    pub fn waiters_max(mut self, waiters: u32) -> Self {
        self.settings = self.settings.waiters_max(waiters);
        self
    }

    /// Sets the longest wait for a turn: see [`PoolSettings::wait_max`].
    pub fn wait_max(mut self, wait: Duration) -> Self {
        self.settings = self.settings.wait_max(wait);
        self
    }

    /// Sets how long the server may take to answer: see [`PoolSettings::connect_max`].
    pub fn connect_max(mut self, wait: Duration) -> Self {
        self.settings = self.settings.connect_max(wait);
        self
    }

    /// Sets when a full pool is called stuck: see [`PoolSettings::stuck_after`].
    pub fn stuck_after(mut self, after: Duration) -> Self {
        self.settings = self.settings.stuck_after(after);
        self
    }

    /// Sets when a held connection is reported: see [`PoolSettings::held_long`].
    pub fn held_long(mut self, after: Duration) -> Self {
        self.settings = self.settings.held_long(after);
        self
    }

    /// Sets how long the server may be silent when it is asked on a connection: no answer, or
    /// no further row. Above zero, and at most [`PoolKind::SILENCE_LONGEST`] of the pool;
    /// the adapter's `SILENCE_MAX_DEFAULT` without it.
    ///
    /// What is silent for longer has failed, and so has the server. A request's own deadline
    /// ends sooner what was not answered.
    pub fn silence_max(mut self, silence: Duration) -> Self {
        if silence.is_zero() || silence > K::SILENCE_LONGEST {
            let longest = K::SILENCE_LONGEST;
            let fault = format!("silence_max {silence:?}; allowed is above 0s to {longest:?}");
            self.faults.push(fault);
        }
        self.silence_max = Some(silence);
        self
    }

    /// Makes the guard, and shows its numbers with the dependency.
    ///
    /// # Errors
    /// Every setting that is out of its range, and a dependency that has as many pools as
    /// it may.
    pub fn build(self) -> Result<K::Guard, ConfigError> {
        let name = self.state.name();
        let about = |fault| format!("pool of {name}: {fault}");
        let mut faults: Vec<_> = self.faults.into_iter().map(about).collect();
        if !faults.is_empty() {
            faults.extend(self.settings.faults().into_iter().map(about));
        }
        ConfigError::check(faults)?;
        let gated = Gated::new(self.state, &self.settings, self.pool.idle())?;
        Ok(self.pool.guarded(gated, self.silence_max))
    }
}

impl<K: Located> PoolGuardBuilder<K> {
    /// Says where the server is, where the pool does not; only the address is taken. With it a
    /// server that hangs and one that is gone come apart, and a full one is quoted.
    pub fn url(mut self, url: &str) -> Self {
        if let Err(failure) = self.pool.locate(url) {
            self.faults.push(format!("url: {failure}"));
        }
        self
    }
}

impl<K> fmt::Debug for PoolGuardBuilder<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A pool's own text may show its password.
        f.debug_struct("PoolGuardBuilder")
            .field("dependency", self.state.name())
            .field("settings", &self.settings)
            .field("silence_max", &self.silence_max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use steadfast_core::{FailureClass, Name, Trip};

    use super::*;

    struct Pool;

    impl PoolKind for Pool {
        type Guard = Option<Duration>;
        const SILENCE_LONGEST: Duration = Duration::from_secs(9);

        fn idle(&self) -> impl Fn() -> u32 + Send + Sync + 'static {
            || 0
        }

        fn guarded(self, _: Gated, silence_max: Option<Duration>) -> Self::Guard {
            silence_max
        }
    }

    impl Located for Pool {
        fn locate(&mut self, url: &str) -> Result<(), Failure> {
            Err(Failure::new(FailureClass::Misconfigured, url))
        }
    }

    fn builder() -> PoolGuardBuilder<Pool> {
        let rules = Trip::default().build().expect("the defaults are right");
        let name = Name::new("cache").expect("it is a name");
        let state = DependencyState::new(name, rules, 1, crate::clock::now());
        PoolGuardBuilder::new(Pool, Arc::new(state), PoolSettings::new(2))
    }

    #[test]
    fn a_builder_tells_each_fault_at_once() {
        let secs = Duration::from_secs;
        let built = builder().silence_max(secs(9)).build();
        assert_eq!(built.expect("it is right"), Some(secs(9)));
        let wrong = builder()
            .silence_max(secs(10))
            .url("nowhere")
            .stuck_after(Duration::ZERO)
            .build();
        let text = wrong.expect_err("it is wrong").to_string();
        for part in [
            "silence_max 10s; allowed is above 0s to 9s",
            "url: nowhere",
            "stuck_after",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}

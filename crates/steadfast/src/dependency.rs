//! A named thing the service needs, and what is believed of it.
//!
//! A [`Dependency`] is a handle that the whole process shares: the guard's scheduler asks
//! its check and writes what comes back, readiness and the operator's view read it, and a
//! handler asks [`Dependency::require`] before it does work that could only fail.
//!
//! Nothing runs in the background until a guard that knows the dependency is started.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use steadfast_core::{
    Check, CheckOutcome, CheckRun, CheckSettings, CheckState, CheckView, ConfigError,
    DependencyDown, Evidence, FailureClass, Health, HealthChange, Name, Refusal, Requirement,
};

use crate::{clock, explain};

/// A check behind a pointer, so that dependencies with different checks fit in one list.
pub(crate) trait Ask: Send + Sync {
    fn ask(self: Arc<Self>, run: CheckRun) -> Pin<Box<dyn Future<Output = CheckOutcome> + Send>>;
    fn kind(&self) -> &'static str;
}

impl<C: Check> Ask for C {
    fn ask(self: Arc<Self>, run: CheckRun) -> Pin<Box<dyn Future<Output = CheckOutcome> + Send>> {
        Box::pin(async move { self.run(run).await })
    }

    fn kind(&self) -> &'static str {
        Check::kind(self)
    }
}

/// A named thing the service needs. Clones share one health.
#[derive(Clone)]
pub struct Dependency(Arc<Inner>);

struct Inner {
    name: Name,
    check: Arc<dyn Ask>,
    state: Mutex<State>,
}

struct State {
    requirement: Requirement,
    settings: CheckSettings,
    health: CheckState,
    next_run: Option<Instant>,
}

impl Dependency {
    /// Begins a dependency with this name: 1 to 63 of `a-z 0-9 . _ -`.
    pub fn builder(name: impl Into<String>) -> DependencyBuilder {
        DependencyBuilder {
            name: name.into(),
            check: None,
            requirement: Requirement::default(),
            settings: CheckSettings::default(),
        }
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.0.name
    }

    /// Returns what is believed of it now.
    #[must_use]
    pub fn health(&self) -> Health {
        self.state().health.health(clock::now())
    }

    /// Refuses the request at once while the dependency is known to be down, instead of
    /// letting it wait for a failure. *Unknown* is not down.
    ///
    /// # Errors
    /// A refusal with cause `dependency-down`; pass it on with `?` into
    /// [`crate::Error`] or your own error type.
    pub fn require(&self) -> Result<(), Refusal> {
        let now = clock::now();
        let state = self.state();
        if state.health.health(now) != Health::Failing {
            return Ok(());
        }
        let refusal = self.refusal(&state, now);
        drop(state);
        explain::note_refusal_in_handler(&refusal);
        Err(refusal)
    }

    fn refusal(&self, state: &State, now: Instant) -> Refusal {
        let view = state
            .health
            .view(&self.0.name, state.requirement, self.0.check.kind());
        let (class, last_error) = view
            .last_failure
            .as_ref()
            .map_or((FailureClass::Other, "".into()), |(_, class, error)| {
                (*class, error.clone())
            });
        let evidence = Evidence::DependencyDown(DependencyDown {
            dependency: self.0.name.clone(),
            since: now.saturating_duration_since(view.since(now)),
            class,
            last_error,
        });
        // The next run of the check is the first moment at which the answer can change.
        let hint = state
            .next_run
            .map_or(state.settings.interval_failing, |at| {
                at.saturating_duration_since(now)
            });
        Refusal::new(self.0.name.clone(), evidence, hint, now).entered()
    }

    pub(crate) fn check(&self) -> Arc<dyn Ask> {
        Arc::clone(&self.0.check)
    }

    pub(crate) fn settings(&self) -> (Requirement, CheckSettings) {
        let state = self.state();
        (state.requirement, state.settings)
    }

    /// Takes other settings, before anything runs.
    #[cfg(feature = "config")]
    pub(crate) fn configure(&self, requirement: Requirement, settings: CheckSettings) {
        let mut state = self.state();
        state.requirement = requirement;
        state.settings = settings;
        state.health = CheckState::new(settings, clock::now());
    }

    /// Takes the answer of a run. Returns the change of health and how long to wait.
    pub(crate) fn record(
        &self,
        outcome: CheckOutcome,
        took: Duration,
        now: Instant,
    ) -> (Option<HealthChange>, Duration) {
        let mut state = self.state();
        let change = state.health.record(outcome, took, now);
        let wait = state.health.next_run_in(fastrand::u64(..));
        state.next_run = Some(now + wait);
        (change, wait)
    }

    pub(crate) fn view(&self) -> CheckView {
        let state = self.state();
        state
            .health
            .view(&self.0.name, state.requirement, self.0.check.kind())
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dependency")
            .field("name", &self.0.name)
            .field("check", &self.0.check.kind())
            .field("health", &self.health())
            .finish()
    }
}

/// Builds a [`Dependency`].
#[must_use]
pub struct DependencyBuilder {
    name: String,
    check: Option<Arc<dyn Ask>>,
    requirement: Requirement,
    settings: CheckSettings,
}

impl DependencyBuilder {
    /// Sets what is asked in the background. Needed.
    pub fn check(mut self, check: impl Check) -> Self {
        self.check = Some(Arc::new(check));
        self
    }

    /// It must pass once before the instance is ready; afterwards a failure degrades. The
    /// default: it stops a bad rollout, and does not take a whole fleet out when a shared
    /// dependency blinks.
    pub const fn required_to_start(mut self) -> Self {
        self.requirement = Requirement::RequiredToStart;
        self
    }

    /// The instance is not ready while it fails. For what only this instance has.
    pub const fn required(mut self) -> Self {
        self.requirement = Requirement::Required;
        self
    }

    /// A failure degrades, also at the start.
    pub const fn degrades(mut self) -> Self {
        self.requirement = Requirement::Degrades;
        self
    }

    /// A failure is shown and changes nothing.
    pub const fn informs(mut self) -> Self {
        self.requirement = Requirement::Informs;
        self
    }

    /// Sets the time between two runs while it passes. Default 5 s; above 0 s to 1 h.
    /// The interval while it fails is brought down to it.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.settings.interval = interval;
        self.settings.interval_failing = self.settings.interval_failing.min(interval);
        self
    }

    /// Sets the time between two runs while it does not pass. Default 1 s; above 0 s, at
    /// most the interval.
    pub const fn interval_failing(mut self, interval: Duration) -> Self {
        self.settings.interval_failing = interval;
        self
    }

    /// Sets the longest run. Default 1 s; above 0 s to 1 h.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// Sets how many failures in a row mean failing. Default 3; 1 to 100.
    pub const fn fall(mut self, fall: u32) -> Self {
        self.settings.fall = fall;
        self
    }

    /// Sets how many successes in a row mean passing again. Default 2; 1 to 100.
    pub const fn rise(mut self, rise: u32) -> Self {
        self.settings.rise = rise;
        self
    }

    /// Makes the dependency.
    ///
    /// # Errors
    /// Every fault at once: a bad name, no check, settings out of range.
    pub fn build(self) -> Result<Dependency, ConfigError> {
        let mut faults = self.settings.faults(&format!("dependency {:?}", self.name));
        let name =
            Name::new(&self.name).map_err(|error| faults.push(format!("dependency {error}")));
        if self.check.is_none() {
            faults.push(format!("dependency {:?}: no check was given", self.name));
        }
        ConfigError::check(faults)?;
        let (Ok(name), Some(check)) = (name, self.check) else {
            unreachable!("both were checked above")
        };
        let health = CheckState::new(self.settings, clock::now());
        let state = State {
            requirement: self.requirement,
            settings: self.settings,
            health,
            next_run: None,
        };
        Ok(Dependency(Arc::new(Inner {
            name,
            check,
            state: Mutex::new(state),
        })))
    }
}

impl fmt::Debug for DependencyBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DependencyBuilder")
            .field("name", &self.name)
            .field("check", &self.check.as_ref().map(|check| check.kind()))
            .field("requirement", &self.requirement)
            .field("settings", &self.settings)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check;

    fn failing() -> DependencyBuilder {
        Dependency::builder("payments").check(check::closure(|| async {
            CheckOutcome::fail(FailureClass::Unreachable, "refused")
        }))
    }

    #[test]
    fn a_builder_tells_every_fault() {
        let error = Dependency::builder("Bad Name")
            .interval(Duration::ZERO)
            .fall(0)
            .build();
        let faults = error.expect_err("many faults").into_faults();
        for part in ["interval 0ns", "fall 0", "name \"Bad Name\"", "no check"] {
            assert!(
                faults.iter().any(|fault| fault.contains(part)),
                "{part}: {faults:?}"
            );
        }
    }

    #[test]
    fn only_a_dependency_known_to_be_down_refuses() {
        let payments = failing().fall(2).build().expect("valid");
        assert!(payments.require().is_ok(), "unknown is not down");
        for _ in 0..2 {
            let outcome = CheckOutcome::fail(FailureClass::Unreachable, "refused");
            payments.record(outcome, Duration::ZERO, clock::now());
        }
        let refusal = payments.require().expect_err("down");
        let Evidence::DependencyDown(down) = refusal.evidence() else {
            panic!("{refusal:?}")
        };
        assert_eq!(
            (down.class, &*down.last_error),
            (FailureClass::Unreachable, "refused")
        );
        assert!(!refusal.safe_to_retry(), "the handler was entered");
    }
}

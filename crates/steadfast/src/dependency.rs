//! A named thing the service needs, and what is believed of it.
//!
//! A [`Dependency`] is a handle that the whole process shares. The guard's scheduler asks
//! its check and writes what comes back; calls through it are counted by its breaker; and
//! readiness, refusals and the operator's view tell what both amount to
//! ([`steadfast_core::DependencyState`]).
//!
//! Nothing runs in the background until a guard that knows the dependency is started.

mod builder;
pub(crate) mod call;
pub(crate) mod call_error;
pub mod check;
pub mod classifier;
mod client;
mod error;
mod keyed;
mod log;
pub(crate) mod permit;
pub(crate) mod within;
mod writes;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use steadfast_core::{
    Check, CheckOutcome, CheckRun, DependencyState, Health, Local, Name, Refusal, Requirement,
    plumbing::{CheckDepth, CheckRecord, CheckSettings, DependencyView, PoolFleet},
};

pub use builder::DependencyBuilder;
pub use call::DependencyCall;
pub use call_error::CallError;
pub use client::{
    BodyBreakerLayer, BodyBreakerService, BreakerFuture, BreakerLayer, BreakerService, CallBody,
};
pub use error::Error;
pub use keyed::{Keyed, KeyedSettings};
pub use permit::Permit;
pub use steadfast_core::plumbing::CallTimedOut;

pub(crate) use log::{Outage, Outages};

use crate::clock;

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

/// A named thing the service needs. Clones share one state, and a clone writes no line
/// that other threads write.
///
/// Adapters and pools take the state itself, by `AsRef<Arc<DependencyState>>`.
#[derive(Clone)]
pub struct Dependency(Local<Inner>);

struct Inner {
    state: Arc<DependencyState>,
    check: Option<ScheduledCheck>,
    log: Arc<log::Log>,
    fleet: Option<PoolFleet>,
}

struct ScheduledCheck {
    check: Arc<dyn Ask>,
    depth: CheckDepth,
}

impl Dependency {
    /// Begins a dependency with this name: 1 to 63 of `a-z 0-9 . _ -`.
    pub fn builder(name: impl Into<String>) -> DependencyBuilder {
        DependencyBuilder::new(name.into())
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &Name {
        self.0.state.name()
    }

    /// Returns what is believed of it now.
    #[must_use]
    pub fn health(&self) -> Health {
        let now = clock::now();
        self.0.state.view(now).health(now)
    }

    /// Returns everything that is known of it now: both sides, and the reason.
    #[must_use]
    pub fn view(&self) -> DependencyView {
        self.0.state.view(clock::now())
    }

    /// Returns what the instances share of its server, if that was said.
    pub(crate) fn fleet(&self) -> Option<PoolFleet> {
        self.0.fleet
    }

    /// Says in the log if an outage has begun or ended, as of a view of now.
    pub(crate) fn follow(&self, view: &DependencyView, now: Instant) {
        self.0.log.follow(&self.0.state, view, now);
    }

    /// Returns how often it was down, and the last time.
    pub(crate) fn outages(&self, now: Instant) -> Outages {
        self.0.log.outages(&self.0.state, now)
    }

    /// Refuses the request at once while the dependency is known to be down, instead of
    /// letting it wait for a failure. *Unknown* is not down.
    ///
    /// # Errors
    /// A refusal with cause `dependency-down`; pass it on with `?` into
    /// [`crate::Error`] or your own error type.
    pub fn require(&self) -> Result<(), Refusal> {
        match self.0.state.refusal(clock::now()) {
            None => Ok(()),
            Some(refusal) => Err(permit::in_handler(refusal)),
        }
    }

    pub(crate) fn state(&self) -> &Arc<DependencyState> {
        &self.0.state
    }

    pub(crate) fn check(&self) -> Option<Arc<dyn Ask>> {
        self.0.check.as_ref().map(|it| Arc::clone(&it.check))
    }

    pub(crate) fn settings(&self) -> (Requirement, CheckSettings) {
        let settings = self.0.state.check_settings();
        (self.0.state.requirement(), settings.unwrap_or_default())
    }

    /// Takes other settings, before anything runs.
    #[cfg(feature = "config")]
    pub(crate) fn configure(&self, requirement: Requirement, settings: CheckSettings) {
        match &self.0.check {
            Some(asked) => self.0.state.set_check(
                asked.check.kind(),
                asked.depth,
                settings,
                requirement,
                clock::now(),
            ),
            None => self.0.state.set_requirement(requirement),
        }
    }

    /// Takes the answer of a run.
    pub(crate) fn record(
        &self,
        outcome: CheckOutcome,
        took: Duration,
        now: Instant,
    ) -> CheckRecord {
        self.0
            .state
            .record_check(outcome, took, now, fastrand::u64(..))
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0.same(&other.0)
    }
}

impl AsRef<Arc<DependencyState>> for Dependency {
    fn as_ref(&self) -> &Arc<DependencyState> {
        &self.0.state
    }
}

impl AsRef<DependencyState> for Dependency {
    fn as_ref(&self) -> &DependencyState {
        &self.0.state
    }
}

impl fmt::Debug for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dependency")
            .field("name", self.name())
            .field("check", &self.0.check.as_ref().map(|it| it.check.kind()))
            .field("health", &self.health())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependency::check;
    use steadfast_core::{Evidence, FailureClass};

    fn failing() -> DependencyBuilder {
        Dependency::builder("payments").check(check::closure(|| async {
            CheckOutcome::fail(FailureClass::Unreachable, "refused")
        }))
    }

    #[test]
    fn a_builder_tells_every_fault() {
        let error = Dependency::builder("Bad Name")
            .required()
            .interval(Duration::ZERO)
            .fall(0)
            .trip(steadfast_core::Trip::default().failure_ratio(2.0))
            .build();
        let faults = error.expect_err("many faults").into_faults();
        for part in [
            "interval 0ns",
            "fall 0",
            "name \"Bad Name\"",
            "no check",
            "failure ratio 2",
        ] {
            assert!(
                faults.iter().any(|fault| fault.contains(part)),
                "{part}: {faults:?}"
            );
        }
    }

    #[test]
    fn a_dependency_that_is_only_called_needs_no_check() {
        let payments = Dependency::builder("payments").build().expect("valid");
        assert_eq!(payments.health(), Health::Unknown);
        assert_eq!(payments.view().requirement, Requirement::Degrades);
    }

    #[test]
    fn only_a_dependency_known_to_be_down_refuses() {
        let payments = failing().fall(2).build().expect("valid");
        assert!(payments.require().is_ok(), "unknown is not down");
        for _ in 0..2 {
            let outcome = CheckOutcome::fail(FailureClass::Unreachable, "refused");
            let _ = payments.record(outcome, Duration::ZERO, clock::now());
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

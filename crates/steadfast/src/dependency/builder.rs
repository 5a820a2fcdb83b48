//! Builds a dependency, and tells every fault of its settings at once.

use std::{fmt, sync::Arc, thread, time::Duration};

use steadfast_core::{
    Check, ConfigError, DependencyState, Local, Name, Requirement, Trip,
    plumbing::{CheckDepth, CheckSettings, DependencyListener, PoolFleet},
};

use super::{Ask, Dependency, Inner, ScheduledCheck, log::Log};
use crate::clock;

/// Builds a [`Dependency`].
#[must_use]
pub struct DependencyBuilder {
    name: String,
    check: Option<Arc<dyn Ask>>,
    depth: CheckDepth,
    requirement: Option<Requirement>,
    settings: CheckSettings,
    trip: Trip,
    call_timeout: Option<Duration>,
    fleet: Option<PoolFleet>,
}

impl DependencyBuilder {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            check: None,
            depth: CheckDepth::Shallow,
            requirement: None,
            settings: CheckSettings::default(),
            trip: Trip::default(),
            call_timeout: Some(CALL_TIMEOUT_DEFAULT),
            fleet: None,
        }
    }

    /// Sets what is asked in the background. Without it, only calls tell how it is: see
    /// [`Dependency`].
    pub fn check(mut self, check: impl Check) -> Self {
        self.check = Some(Arc::new(check));
        self
    }

    /// Says that the check does what calls do, and not just asks whether somebody is
    /// there. Then its success counts like a call's, and brings the dependency back without
    /// traffic. A check that is not deep never ends an outage that calls found.
    pub const fn deep(mut self) -> Self {
        self.depth = CheckDepth::Deep;
        self
    }

    /// It must pass once before the instance is ready; afterwards a failure degrades. The
    /// default: it stops a bad rollout, and does not take a whole fleet out when a shared
    /// dependency blinks.
    pub const fn required_to_start(mut self) -> Self {
        self.requirement = Some(Requirement::RequiredToStart);
        self
    }

    /// The instance is not ready while it fails. For what only this instance has.
    pub const fn required(mut self) -> Self {
        self.requirement = Some(Requirement::Required);
        self
    }

    /// A failure degrades, also at the start.
    pub const fn degrades(mut self) -> Self {
        self.requirement = Some(Requirement::Degrades);
        self
    }

    /// A failure is shown and changes nothing.
    pub const fn informs(mut self) -> Self {
        self.requirement = Some(Requirement::Informs);
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

    /// Sets when the breaker opens, how long it waits and how it lets traffic back in.
    pub fn trip(mut self, trip: Trip) -> Self {
        self.trip = trip;
        self
    }

    /// Sets the longest call: one that takes longer is cut, and counts as failed. Default
    /// 30 s, which is more than anybody waits for a page; above 0 s to 1 h.
    ///
    /// It is inside the breaker, where it is seen; a timeout around the call only looks
    /// like an impatient client. It ends with the answer's head: a body that streams is not
    /// cut.
    pub const fn call_timeout(mut self, limit: Duration) -> Self {
        self.call_timeout = Some(limit);
        self
    }

    /// Lets calls take as long as they like: for long polls. A hang is still seen by the
    /// breaker's stall rule, and nobody is saved from it.
    pub const fn no_call_timeout(mut self) -> Self {
        self.call_timeout = None;
        self
    }

    /// Says how many instances share the server behind its pool, and how many connections that
    /// gives, so that the diagnosis can say when all pools together are larger than the server.
    /// A rollout runs old and new instances side by side: count both. Unknown by default.
    pub const fn pool_fleet(mut self, fleet: PoolFleet) -> Self {
        self.fleet = Some(fleet);
        self
    }

    /// Makes the dependency.
    ///
    /// # Errors
    /// Every fault at once: a bad name, settings out of range, a requirement to pass a
    /// check that was not given.
    pub fn build(self) -> Result<Dependency, ConfigError> {
        let of = format!("dependency {:?}", self.name);
        let mut faults = self.settings.faults(&of);
        let name =
            Name::new(&self.name).map_err(|error| faults.push(format!("dependency {error}")));
        let gates_start = self.requirement.is_some_and(Requirement::gates_start);
        if self.check.is_none() && gates_start {
            faults.push(format!(
                "{of}: required, but no check was given that could pass; allowed is degrades \
                 or informs"
            ));
        }
        let rules = self.trip.build().map_err(|error| {
            faults.extend(
                error
                    .into_faults()
                    .into_iter()
                    .map(|it| format!("{of}: {it}")),
            );
        });
        faults.extend(self.call_timeout.and_then(|limit| {
            let is_allowed = !limit.is_zero() && limit <= CheckSettings::LENGTH_MAX;
            let fault = format!("{of}: call_timeout {limit:?}; allowed is above 0s to 1h");
            (!is_allowed).then_some(fault)
        }));
        ConfigError::check(faults)?;
        let (Ok(name), Ok(rules)) = (name, rules) else {
            unreachable!("both were checked above")
        };
        let now = clock::now();
        let stripes = thread::available_parallelism().map_or(1, usize::from);
        let state = Arc::new(DependencyState::new(name, rules, stripes, now));
        let check = self.check.map(|check| ScheduledCheck {
            check,
            depth: self.depth,
        });
        match &check {
            Some(asked) => state.set_check(
                asked.check.kind(),
                asked.depth,
                self.settings,
                self.requirement.unwrap_or_default(),
                now,
            ),
            None => state.set_requirement(self.requirement.unwrap_or(Requirement::Degrades)),
        }
        let log = Arc::new(Log::default());
        state.listen(Arc::clone(&log) as Arc<dyn DependencyListener>);
        state.set_call_timeout(self.call_timeout);
        Ok(Dependency(Local::new(Inner {
            state,
            check,
            log,
            fleet: self.fleet,
        })))
    }
}

/// Longest call unless configured. The stall rule's default is as long.
const CALL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

impl fmt::Debug for DependencyBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DependencyBuilder")
            .field("name", &self.name)
            .field("check", &self.check.as_ref().map(|check| check.kind()))
            .field("requirement", &self.requirement)
            .field("settings", &self.settings)
            .field("trip", &self.trip)
            .finish()
    }
}

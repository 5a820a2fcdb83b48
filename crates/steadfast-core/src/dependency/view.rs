//! Both sides of a dependency at one moment, and what they amount to together.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    DependencyState,
    pools::{PoolPressure, PoolReading},
    read_only::ReadOnlyView,
    reason::DependencyReason,
    sessions::SessionsRefusedView,
};
use crate::{
    FailureClass,
    dependency::{
        breaker::{BreakerDoubt, BreakerMode, BreakerSnapshot, BreakerState},
        check::{
            failure::Failure,
            settings::Requirement,
            state::{CheckView, Health},
        },
    },
    name::Name,
    sync::lock,
};

/// The last error that was met, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastError {
    /// When.
    pub at: Instant,
    /// Of what kind.
    pub class: FailureClass,
    /// Its text, redacted and cut.
    pub message: Arc<str>,
}

/// What either side last met, kept apart.
#[derive(Debug, Default)]
pub(super) struct LastErrors {
    pub(super) call: Option<LastError>,
    pub(super) check: Option<LastError>,
}

impl LastErrors {
    /// Returns the later of the two.
    pub(super) fn latest(&self) -> Option<LastError> {
        later(self.check.as_ref(), self.call.as_ref()).cloned()
    }
}

fn later<'a>(check: Option<&'a LastError>, call: Option<&'a LastError>) -> Option<&'a LastError> {
    match (check, call) {
        (Some(check), Some(call)) if check.at > call.at => Some(check),
        (check, call) => call.or(check),
    }
}

/// A dependency at one moment. Readiness, the operator's view and metrics read this.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DependencyView {
    /// Its name.
    pub name: Name,
    /// What being down means for the instance.
    pub requirement: Requirement,
    /// The active side; `None` without a check.
    pub check: Option<Arc<CheckView>>,
    /// The passive side; `None` while no call has been tried.
    pub breaker: Option<BreakerSnapshot>,
    /// Keys that are known, and those of them that refuse calls.
    pub keys: (u32, u32),
    /// What is known of a server that takes no writes; `None` while it takes them.
    pub read_only: Option<ReadOnlyView>,
    /// What is known of a server that refuses new sessions; `None` while it opens them.
    pub sessions_refused: Option<SessionsRefusedView>,
    /// The attached pool under the most pressure.
    pub pool: Option<PoolReading>,
    /// Why no connection of an attached pool can be had; `None` while one works.
    pub pool_trouble: Option<Failure>,
    /// The last failure of a call.
    pub last_call_error: Option<LastError>,
    /// The last failure of the check.
    pub last_check_error: Option<LastError>,
    /// How many calls outvote a check that fails, and within which time they succeeded.
    outvoted: Option<(u32, Duration)>,
}

impl DependencyState {
    /// Describes the dependency as of `now`.
    #[must_use]
    pub fn view(&self, now: Instant) -> DependencyView {
        let (requirement, check, _) = self.check_view();
        let errors = lock(&self.errors);
        let (call_error, check_error) = (errors.call.clone(), errors.check.clone());
        drop(errors);
        let outvoted = self.outvoted(check.as_ref(), now);
        let pool_trouble = self.no_connection(check.as_ref(), now);
        DependencyView {
            name: self.name.clone(),
            requirement,
            outvoted,
            check: check.map(Arc::new),
            breaker: self.breaker.get().map(|it| it.snapshot(now)),
            keys: self.keys_out(now),
            read_only: self.read_only.view(now),
            sessions_refused: self.sessions.view(),
            pool: self.pool(now),
            pool_trouble,
            last_call_error: call_error,
            last_check_error: check_error,
        }
    }

    /// Brings the passive side of an earlier view up to date. It waits for no lock, so that
    /// a probe can.
    pub fn refresh(&self, view: &mut DependencyView, now: Instant) {
        view.breaker = self.breaker.get().map(|it| it.snapshot(now));
        view.outvoted = self.outvoted(view.check.as_deref(), now);
        view.pool = self.pool(now);
        view.pool_trouble = self.no_connection(view.check.as_deref(), now);
        self.read_only.refresh(&mut view.read_only, now);
        self.sessions.refresh(&mut view.sessions_refused);
    }

    /// Returns why no connection of a pool works, as far as is known. A proxy without a server
    /// refuses a session and lends the next, on which nobody answers: what the pool found is
    /// over for that moment, and is not.
    fn no_connection(&self, check: Option<&CheckView>, now: Instant) -> Option<Failure> {
        let passed_at = check.and_then(|check| check.passed_at);
        let trouble = self.pool_trouble(now);
        trouble.or_else(|| self.found_nobody(passed_at, now))
    }

    fn outvoted(&self, check: Option<&CheckView>, now: Instant) -> Option<(u32, Duration)> {
        let failing = check.filter(|check| check.health(now) == Health::Failing)?;
        self.breaker.get()?.outvotes(failing.failing_from, now)
    }
}

impl DependencyView {
    /// Returns what is believed of it now.
    #[must_use]
    pub fn health(&self, now: Instant) -> Health {
        self.judge(now).0
    }

    /// Returns why, `None` if nothing is wrong.
    #[must_use]
    pub fn reason(&self, now: Instant) -> Option<DependencyReason> {
        self.judge(now).1
    }

    /// Returns since when it has been so.
    #[must_use]
    pub fn since(&self, now: Instant) -> Option<Instant> {
        let outage = self.breaker.as_ref().and_then(|it| it.outage_since);
        match self.reason(now) {
            Some(DependencyReason::Breaker { .. }) => outage,
            Some(DependencyReason::ReadOnly { .. }) => self.read_only.as_ref().map(|it| it.since),
            Some(DependencyReason::SessionsRefused { .. }) => {
                self.sessions_refused.as_ref().map(|it| it.since)
            }
            _ => self.check.as_ref().map(|check| check.since(now)),
        }
    }

    /// Returns the kind of what is wrong now, `None` if nothing is or nobody knows.
    #[must_use]
    pub fn class(&self, now: Instant) -> Option<FailureClass> {
        let reason = self.reason(now)?;
        reason
            .class()
            .or_else(|| self.breaker.as_ref().and_then(|it| it.last_failure))
    }

    /// Returns the later of what calls and the check last met.
    #[must_use]
    pub fn last_error(&self) -> Option<&LastError> {
        later(
            self.last_check_error.as_ref(),
            self.last_call_error.as_ref(),
        )
    }

    /// Whether the check keeps the instance out of rotation: it fails, and no call says
    /// otherwise. One that finds a server which takes no writes does not: it still serves
    /// reads.
    #[must_use]
    pub fn check_fails(&self, now: Instant) -> bool {
        let failing = |check: &Arc<CheckView>| check.is_out(now);
        self.check.as_ref().is_some_and(failing) && self.outvoted.is_none()
    }

    /// Whether the start still waits for its check to pass once.
    #[must_use]
    pub fn gates_start(&self) -> bool {
        let check = self.check.as_ref().filter(|it| !it.ever_passed);
        check.is_some() && self.requirement.gates_start()
    }

    /// Health and reason. The breaker comes first: whoever is refused must be told the
    /// rule that refuses.
    fn judge(&self, now: Instant) -> (Health, Option<DependencyReason>) {
        if let Some(found) = self.judge_breaker() {
            return found;
        }
        let (health, reason) = self.judge_check(now);
        let told = [
            self.read_only.as_ref().map(ReadOnlyView::reason),
            self.sessions_refused
                .as_ref()
                .map(SessionsRefusedView::reason),
        ];
        let told = told.into_iter().flatten().next();
        if let Some(reason) = told.filter(|_| health != Health::Failing) {
            return (Health::Warning, Some(reason));
        }
        if let Some(reason) = self.doubt(now).filter(|_| health != Health::Failing) {
            return (Health::Warning, Some(reason));
        }
        let (known, out) = self.keys;
        if out > 0 && health != Health::Failing {
            return (Health::Warning, Some(DependencyReason::Keys { out, known }));
        }
        if health == Health::Passing {
            if let Some(reason) = self.pool_reason() {
                return (Health::Warning, Some(reason));
            }
        }
        (health, reason)
    }

    fn judge_breaker(&self) -> Option<(Health, Option<DependencyReason>)> {
        let seen = self.breaker.as_ref()?;
        let health = match (seen.mode, seen.state) {
            (BreakerMode::ForcedClosed, _) => return None,
            (BreakerMode::ForcedOpen, _) => Health::Failing,
            (_, BreakerState::Closed) => return None,
            (_, BreakerState::Open | BreakerState::Probing) => Health::Failing,
            (_, BreakerState::Ramping) => Health::Warning,
        };
        let reason = seen.reason.map(|reason| DependencyReason::Breaker {
            state: seen.state,
            reason,
        });
        Some((health, reason))
    }

    fn judge_check(&self, now: Instant) -> (Health, Option<DependencyReason>) {
        let succeeded = self.succeeded();
        let Some(check) = &self.check else {
            // A closed breaker is no evidence of anything before a call has succeeded.
            return match &self.breaker {
                Some(seen) if succeeded > 0 || seen.counts.calls == 0 => (Health::Passing, None),
                Some(_) | None => (Health::Unknown, None),
            };
        };
        let class = check.class(now);
        match check.health(now) {
            Health::Passing => (Health::Passing, None),
            Health::Warning => (Health::Warning, Some(DependencyReason::CheckWarns(class))),
            Health::Unknown if check.runs == 0 && succeeded > 0 => (Health::Passing, None),
            Health::Unknown => (Health::Unknown, Some(DependencyReason::CheckSilent(class))),
            // Its reason is given by what is known of writes.
            Health::Failing if class == Some(FailureClass::ReadOnly) => {
                (Health::Warning, Some(DependencyReason::CheckWarns(class)))
            }
            Health::Failing => {
                let class = class.unwrap_or(FailureClass::Other);
                let failures = check.failures;
                match self.outvoted {
                    Some((succeeded, window)) => {
                        let reason = DependencyReason::CheckDisagrees {
                            failures,
                            class,
                            succeeded,
                            window,
                        };
                        (Health::Warning, Some(reason))
                    }
                    None => {
                        let reason = DependencyReason::CheckFailing { failures, class };
                        (Health::Failing, Some(reason))
                    }
                }
            }
        }
    }

    /// Returns what is too little to refuse anybody: what a pool has found out comes first,
    /// because it asked the server itself.
    fn doubt(&self, now: Instant) -> Option<DependencyReason> {
        if let Some(trouble) = &self.pool_trouble {
            return Some(DependencyReason::NoConnection {
                class: trouble.class(),
                error: trouble.message().into(),
            });
        }
        let doubt = self.breaker.as_ref()?.doubt?;
        let passed_at = self.check.as_ref().and_then(|check| check.passed_at);
        let passed_for = passed_at.map(|at| now.saturating_duration_since(at));
        match doubt {
            // Long queries are silent too, and a check that has passed meanwhile says that the
            // server is not.
            BreakerDoubt::Silent { silent, .. } if passed_for.is_some_and(|it| it < silent) => None,
            doubt => Some(DependencyReason::Doubt(doubt)),
        }
    }

    fn pool_reason(&self) -> Option<DependencyReason> {
        let pool = self.pool.filter(|it| it.pressure != PoolPressure::None)?;
        Some(DependencyReason::Pool {
            pressure: pool.pressure,
            in_use: pool.in_use,
            max: pool.max,
            waiting: pool.waiting,
        })
    }

    /// Returns how many calls in the window did not fail.
    fn succeeded(&self) -> u32 {
        let counts = self.breaker.as_ref().map(|it| it.counts);
        counts.map_or(0, |counts| counts.calls.saturating_sub(counts.failed))
    }
}

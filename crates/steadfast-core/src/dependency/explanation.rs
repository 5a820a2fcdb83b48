//! Why one failed who was not refused.
//!
//! A breaker opens when waiting would fail, which takes a second or some; a dependency's health
//! says sooner that something is wrong. Whoever asks between the two is let through, fails, and
//! is told what was known already: nothing is refused that would have been served, and only the
//! telling is another.
//!
//! What is known has to be the reason of *this* failure. Calls that fail in a row are, and so is
//! a pool that can have no connection. Anything else that health warns of (a check that fails
//! while calls pass, new sessions that are refused) explains a failure of its own kind and no
//! other: a killed query is none of a rotated password's.
//!
//! A proxy without a server refuses a session and lends the next, so what health warns of may be
//! over before the query fails that shows it was not. Who finds nobody there, as the one before
//! did and with no success between, is told that much, however short the time; the one before may
//! have been a connect. Then both sides have seen it, and health goes on to warn as well.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    DependencyState,
    breaker::{BreakerDoubt, BreakerState},
    check::{failure::Failure, state::Health},
    reason::DependencyReason,
};
use crate::{
    FailureClass,
    refusal::{
        Refusal,
        evidence::{DependencyDown, Evidence},
    },
};

/// When a doubt is either over or an outage, at a call or two a second.
const DOUBT_OVER: Duration = Duration::from_secs(2);

/// For how long it explains a failure that a pool could have no connection before. While
/// somebody asks, that is seen again within one connect of each.
const LATELY: Duration = Duration::from_secs(10);

impl DependencyState {
    /// Describes what a failure is to be explained by: the outage, or what speaks against the
    /// dependency while calls still pass. `None` while all is well. Counts nothing; for those
    /// who have failed, because it looks at everything.
    #[must_use]
    #[cold]
    pub fn explanation(&self, now: Instant) -> Option<Refusal> {
        self.outage(now).or_else(|| self.known(None, now))
    }

    /// Describes the same for a failure of this class, which has been judged to be the
    /// dependency's: whatever else its health warns of explains that too, if it is of the same
    /// kind.
    #[must_use]
    #[cold]
    pub fn explanation_of(&self, class: FailureClass, now: Instant) -> Option<Refusal> {
        self.outage(now).or_else(|| self.known(Some(class), now))
    }

    fn known(&self, failed: Option<FailureClass>, now: Instant) -> Option<Refusal> {
        let view = self.view(now);
        let class = view.class(now);
        let told = view.reason(now).filter(|reason| match reason {
            DependencyReason::Doubt(_) => true,
            DependencyReason::NoConnection { .. } if self.pool_trouble(now).is_some() => true,
            // Of one key, or of this process.
            DependencyReason::Keys { .. } | DependencyReason::Pool { .. } => false,
            // Calls pass all the same, because a person said so.
            DependencyReason::Breaker { state, .. } if *state != BreakerState::Ramping => false,
            _ if view.health(now) == Health::Unknown => false,
            _ => {
                let both = failed.zip(class);
                both.is_some_and(|(failed, class)| is_alike(failed, class))
            }
        });
        let fails = || {
            failed.filter(|failed| is_absence(*failed))?;
            self.breaker.get()?.fails(now).map(DependencyReason::Doubt)
        };
        let Some(reason) = told.or_else(fails) else {
            return self.absent_lately(failed?, now);
        };
        let last = view.last_call_error.as_ref();
        let error = match (reason.error(), last) {
            (Some(error), _) => error.into(),
            (None, Some(last)) => Arc::clone(&last.message),
            (None, None) => "".into(),
        };
        let since = match &reason {
            DependencyReason::Doubt(BreakerDoubt::Failing { spread, .. }) => *spread,
            DependencyReason::Doubt(BreakerDoubt::Silent { silent, .. }) => *silent,
            DependencyReason::NoConnection { .. } => Duration::ZERO,
            _ => view
                .since(now)
                .map_or(Duration::ZERO, |since| now.saturating_duration_since(since)),
        };
        let class = class.or(failed).unwrap_or(FailureClass::Other);
        let mut down = DependencyDown::new(self.name.clone(), since, class, error);
        down.reason = Some(reason);
        let evidence = Evidence::DependencyDown(down);
        Some(Refusal::new(self.name.clone(), evidence, DOUBT_OVER, now))
    }
}

impl DependencyState {
    /// Returns why a pool could have no connection lately, if calls have found nobody there
    /// either and nothing has served since; `passed_at` is when the check last passed. Reads
    /// hardly anything while all is well, and waits for no lock.
    pub(super) fn found_nobody(&self, passed_at: Option<Instant>, now: Instant) -> Option<Failure> {
        let breaker = self.breaker.get()?;
        let failing = breaker.failing_in_a_row(now)?;
        let (failure, at) = self.last_pool_trouble()?;
        let both = is_absence(failing.class) && is_absence(failure.class());
        let is_fresh = |at| now.saturating_duration_since(at) <= LATELY;
        let passed = passed_at.is_some_and(|passed_at| passed_at > failing.last.max(at));
        let served = passed || failing.first > at && breaker.has_succeeded_since(at, now);
        (both && is_fresh(at) && is_fresh(failing.last) && !served).then_some(failure)
    }

    /// Describes what a pool found lately, for one who finds nobody there either.
    fn absent_lately(&self, failed: FailureClass, now: Instant) -> Option<Refusal> {
        let (failure, at) = self.last_pool_trouble()?;
        let since = now.saturating_duration_since(at);
        let explains = is_absence(failed) && is_absence(failure.class()) && since <= LATELY;
        let breaker = self.breaker.get();
        if !explains || breaker.is_none_or(|it| it.has_succeeded_since(at, now)) {
            return None;
        }
        let (class, said) = (failure.class(), failure.message());
        let down = DependencyDown::new(self.name.clone(), since, class, said);
        let evidence = Evidence::DependencyDown(down);
        Some(Refusal::new(self.name.clone(), evidence, DOUBT_OVER, now))
    }
}

/// Whether one explains the other: it is the same, or both say that nobody serves there.
fn is_alike(failed: FailureClass, known: FailureClass) -> bool {
    failed == known || is_absence(failed) && is_absence(known)
}

/// Whether nobody was there who could have served.
const fn is_absence(class: FailureClass) -> bool {
    use FailureClass::{Loading, Stuck, Timeout, Unreachable};
    matches!(class, Loading | Stuck | Timeout | Unreachable)
}

//! The passive side: permits for calls, and refusals.
//!
//! This file uses atomics: it reads the flag that spares gates the lock.

use std::{
    fmt,
    ops::Deref,
    time::{Duration, Instant},
};

use super::{DependencyState, calls::CallKind, keys, reason::DependencyReason, view::LastError};
use crate::{
    FailureClass,
    dependency::breaker::{
        Breaker, BreakerMode, BreakerPermit, BreakerRefusal, BreakerState, CallFailure, CallOutcome,
    },
    redact::redact,
    refusal::{
        Refusal,
        evidence::{DependencyDown, Evidence},
    },
    sync::{atomic::Ordering::Relaxed, lock, try_lock},
};

/// How long one error's text stands before another of the same kind replaces it. During an
/// outage every call fails; ten texts a second are enough for whoever reads them.
pub(super) const ERROR_KEPT: Duration = Duration::from_millis(100);

/// How long a success shows that the dependency serves somebody: a reader that comes each
/// second is seen, and one second more of errors passes for want of one.
const SERVED_LATELY: Duration = Duration::from_secs(3);

/// Permission to call the dependency once; ends in exactly one [`CallPermit::settle`].
///
/// Dropped instead, it gives back what it holds and is no evidence.
#[must_use = "a call without a settled permit is no evidence"]
pub struct CallPermit<H: AsRef<DependencyState>>(BreakerPermit<Calling<H>>);

/// A handle that leads to the breaker.
struct Calling<H>(H);

impl<H: AsRef<DependencyState>> Deref for Calling<H> {
    type Target = Breaker;

    #[inline]
    fn deref(&self) -> &Breaker {
        self.0
            .as_ref()
            .breaker
            .get()
            .expect("a permit is given by a breaker")
    }
}

impl DependencyState {
    /// Asks for a permit to call the dependency.
    ///
    /// `handle` is kept by the permit, so that a future without a lifetime can hold it.
    /// `stripe` is the caller's own small number ([`crate::sync::stripe::current`]) and `random`
    /// is uniform over `u64`; see [`Breaker::try_acquire`].
    ///
    /// # Errors
    /// Refuses with cause `dependency-down` as the breaker does. The refusal does not say
    /// yet whether a handler was entered.
    #[inline]
    pub fn try_acquire<H: AsRef<Self>>(
        handle: H,
        now: Instant,
        stripe: usize,
        random: u64,
    ) -> Result<CallPermit<H>, Refusal> {
        let state = handle.as_ref();
        match state.breaker_at(now).admit_at(now, stripe, random) {
            Ok(ticket) => {
                let mut permit = CallPermit(BreakerPermit::new(Calling(handle), ticket));
                if permit.0.is_remarkable() {
                    permit.remark();
                }
                Ok(permit)
            }
            Err(refused) => Err(state.refuse(&refused, now)),
        }
    }

    /// Asks for a permit without the time, where it plays no part: the breaker is plainly
    /// closed and no slow limit is set. A call that is answered at once then costs one
    /// reading of a clock instead of two. One that has to wait must
    /// [`CallPermit::begin`] its time, and so must one that is settled with anything but a
    /// success.
    ///
    /// # Errors
    /// Gives the handle back where the time is needed: ask [`DependencyState::try_acquire`].
    #[inline]
    pub fn try_acquire_untimed<H: AsRef<Self>>(
        handle: H,
        stripe: usize,
    ) -> Result<CallPermit<H>, H> {
        let breaker = handle.as_ref().breaker.get();
        match breaker.and_then(|breaker| breaker.admit_untimed(stripe)) {
            Some(ticket) => Ok(CallPermit(BreakerPermit::new(Calling(handle), ticket))),
            None => Err(handle),
        }
    }

    /// Looks whether a call would pass, and takes nothing: for a gate in front of whoever
    /// will make the call. Counts as a refused call if not.
    ///
    /// A dependency that nobody has called yet is judged by its check: *failing* refuses,
    /// *unknown* does not.
    #[must_use]
    #[inline]
    pub fn refusal(&self, now: Instant) -> Option<Refusal> {
        let refusal = self.outage(now)?;
        self.count(crate::sync::stripe::current(), CallKind::Refused);
        Some(refusal)
    }

    /// Whether the breaker would refuse every call. Counts and moves nothing, and asks for
    /// the time only where it matters.
    #[inline]
    pub fn refuses(&self, now: impl FnOnce() -> Instant) -> bool {
        let breaker = self.breaker.get();
        breaker.is_some_and(|breaker| breaker.refuses(now))
    }

    /// Describes the outage as a refusal would, `None` if calls pass. Counts nothing.
    #[must_use]
    #[inline]
    pub fn outage(&self, now: Instant) -> Option<Refusal> {
        match self.breaker.get() {
            Some(breaker) => {
                let refused = breaker.look(now).err()?;
                self.tell_of(&refused);
                Some(self.describe(&refused, now))
            }
            // Relaxed: only a hint to look under the lock.
            None if self.check_fails.load(Relaxed) => self.outage_by_check(now),
            None => None,
        }
    }

    /// Whether a call has succeeded within the last few seconds.
    #[must_use]
    pub fn has_served_lately(&self, now: Instant) -> bool {
        let breaker = self.breaker.get();
        breaker.is_some_and(|breaker| {
            let (_, counts) = breaker.recent(SERVED_LATELY, now);
            counts.calls > counts.failed
        })
    }

    /// Remembers the text of a call's failure, redacted and cut, for whoever asks why.
    pub fn note_failure(&self, class: FailureClass, error: &dyn fmt::Display, now: Instant) {
        // Who does not get the lock at once leaves it to the other's error.
        let Some(last) = try_lock(&self.errors) else {
            return;
        };
        let stands = last.call.as_ref().is_some_and(|last| {
            last.class == class && now.saturating_duration_since(last.at) < ERROR_KEPT
        });
        drop(last);
        if stands {
            return;
        }
        // The text is foreign code, so it is made outside the lock.
        let message = redact(&error.to_string()).into();
        if let Some(mut last) = try_lock(&self.errors) {
            last.call = Some(LastError {
                at: now,
                class,
                message,
            });
        }
    }

    /// Returns the last failure of a call.
    #[must_use]
    pub fn last_call_error(&self) -> Option<LastError> {
        lock(&self.errors).call.clone()
    }

    #[cold]
    fn refuse(&self, refused: &BreakerRefusal, now: Instant) -> Refusal {
        self.tell_of(refused);
        self.count(crate::sync::stripe::current(), CallKind::Refused);
        self.describe(refused, now)
    }

    fn tell_of(&self, refused: &BreakerRefusal) {
        if let Some(moved) = refused.transition.as_deref() {
            self.tell(moved);
        }
    }

    /// Counts a call, of a key also for the dependency as a whole.
    #[inline]
    pub(super) fn count(&self, stripe: usize, kind: CallKind) {
        self.calls.count(stripe, kind);
        if let Some(key) = &self.key {
            key.whole().calls.count(stripe, kind);
        }
    }

    #[cold]
    fn describe(&self, refused: &BreakerRefusal, now: Instant) -> Refusal {
        let make = || Evidence::DependencyDown(self.evidence(refused, now));
        let evidence = self.prepared.evidence(refused, now, make);
        Refusal::sharing(self.name.clone(), evidence, refused.retry_after, now)
    }

    fn evidence(&self, refused: &BreakerRefusal, now: Instant) -> DependencyDown {
        let last = lock(&self.errors).latest();
        let reason = refused.reason.map(|reason| DependencyReason::Breaker {
            state: refused.state,
            reason,
        });
        let class = reason
            .as_ref()
            .and_then(DependencyReason::class)
            .or(refused.last_failure)
            .or(last.as_ref().map(|last| last.class));
        DependencyDown {
            dependency: self.name.clone(),
            key: self.key.as_ref().map(keys::Key::text),
            since: now.saturating_duration_since(refused.since),
            class: class.unwrap_or(FailureClass::Other),
            last_error: last.map(|last| last.message).unwrap_or_default(),
            reason,
            next_probe: (refused.mode == BreakerMode::Auto && refused.state == BreakerState::Open)
                .then_some(refused.retry_after),
        }
    }

    #[cold]
    fn outage_by_check(&self, now: Instant) -> Option<Refusal> {
        let (_, check, next_run) = self.check_view();
        let check = check.filter(|check| check.is_out(now))?;
        let (class, message) = match &check.last_failure {
            Some((_, class, message)) => (*class, (&**message).into()),
            None => (FailureClass::Other, "".into()),
        };
        // The next run of the check is the first moment at which the answer can change.
        let hint = next_run.map_or(check.settings.interval_failing, |at| {
            at.saturating_duration_since(now)
        });
        let down = DependencyDown {
            dependency: self.name.clone(),
            key: None,
            since: now.saturating_duration_since(check.since(now)),
            class,
            last_error: message,
            reason: Some(DependencyReason::CheckFailing {
                failures: check.failures,
                class,
            }),
            next_probe: Some(hint),
        };
        let evidence = Evidence::DependencyDown(down);
        Some(Refusal::new(self.name.clone(), evidence, hint, now))
    }
}

impl<H: AsRef<DependencyState>> CallPermit<H> {
    /// Tells how the call ended.
    #[inline]
    pub fn settle(self, outcome: CallOutcome, now: Instant) {
        if let CallOutcome::Failure(failure) = outcome {
            if failure.class == FailureClass::ReadOnly {
                self.state().note_read_only(&failure.class, now);
            }
        }
        self.conclude(outcome, now);
    }

    #[inline]
    fn conclude(mut self, outcome: CallOutcome, now: Instant) {
        let moved = self.0.end(outcome, now);
        let state = self.state();
        state.count(self.0.stripe(), CallKind::of(&outcome));
        if let Some(moved) = moved {
            state.tell(&moved);
        }
    }

    /// Tells that the call succeeded; [`CallPermit::settle`] with less to look at.
    #[inline]
    pub fn succeed(mut self, now: Instant) {
        let moved = self.0.succeed(now);
        let state = self.state();
        state.count(self.0.stripe(), CallKind::Success);
        if let Some(moved) = moved {
            state.tell(&moved);
        }
    }

    /// Gives the permit back, because whoever calls next on behalf of the same request asks
    /// for one of its own: it is no evidence, and a round of probes waits for the next.
    pub fn hand_back(self) {
        self.0.hand_back();
    }

    /// Begins the time of a call that was asked for without it; nothing for any other.
    /// `random` is uniform over `u64`.
    pub fn begin(&mut self, now: Instant, random: u64) {
        if let Some(moved) = self.0.begin(now, random) {
            self.state().tell(&moved);
        }
    }

    /// Whether the call's time has begun.
    #[must_use]
    #[inline]
    pub fn has_begun(&self) -> bool {
        self.0.has_begun()
    }

    /// Tells that the head of the answer is there while its end is still to come; see
    /// [`BreakerPermit::answered`].
    pub fn answered(&mut self, now: Instant) {
        if let Some(moved) = self.0.answered(now) {
            self.state().tell(&moved);
        }
    }

    /// Tells that the call failed, and with which error.
    pub fn fail(self, failure: CallFailure, error: &dyn fmt::Display, now: Instant) {
        // Before the breaker may move, so that whoever hears of it finds the error.
        self.state().note_failure(failure.class, error, now);
        if failure.class == FailureClass::ReadOnly {
            self.state().note_read_only(error, now);
        }
        self.conclude(CallOutcome::Failure(failure), now);
    }

    /// Tells the same for one who judges inside of what may be a call of the same dependency,
    /// a guard of a pool: the call around it is not to tell it again
    /// ([`DependencyState::was_told_since`]).
    pub fn fail_inside(self, failure: CallFailure, error: &dyn fmt::Display, now: Instant) {
        self.state().mark_told();
        self.fail(failure, error, now);
    }

    /// Returns the dependency that is called.
    #[must_use]
    pub fn state(&self) -> &DependencyState {
        self.0.handle().0.as_ref()
    }

    /// Whether this call helps to decide if the dependency is back.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.0.is_probe()
    }

    /// Returns how long the dependency has let the call wait for an answer, to the
    /// millisecond.
    #[must_use]
    pub fn waited(&self, now: Instant) -> Duration {
        self.0.waited(now)
    }

    #[cold]
    fn remark(&mut self) {
        let moved = self.0.take_transition();
        let state = self.0.handle().0.as_ref();
        if let Some(moved) = moved {
            state.tell(&moved);
        }
        if self.0.is_observed_refusal() {
            state.count(self.0.stripe(), CallKind::WouldRefuse);
        }
    }
}

impl<H: AsRef<DependencyState>> fmt::Debug for CallPermit<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallPermit")
            .field("dependency", self.state().name())
            .field("permit", &self.0)
            .finish()
    }
}

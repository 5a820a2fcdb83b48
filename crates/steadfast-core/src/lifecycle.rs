//! Atomics. Where the process is in its life, and whether that lets requests in.
//!
//! `Starting → Ready → LameDuck → Draining → Stopped`, with maintenance beside `Ready`.
//! A phase only moves forward; a step may skip others (a signal during start-up goes
//! from `Starting` straight to `LameDuck`). The truth is behind a mutex that only
//! changes take; requests read one word that says "open" or "ask".
//!
//! Before [`Lifecycle::start`] the process has no phase yet: requests pass, because a
//! guard that nobody started must not turn a working service off, and readiness says
//! `not started`, because nobody checks anything. Nobody waits then either: no round of
//! checks would end the wait.
//!
//! Law kept: leaving opens no gate. What maintenance or a start that has not passed keeps
//! out before a signal, it keeps out after it: a schema that is being changed is no safer to
//! use because the process was told to end. What leaving adds is that readiness says no, and
//! that everybody is refused once the grace is over.

mod leaving;
mod phase;
mod start;

use std::time::{Duration, Instant};

pub use leaving::LeavingNotes;
pub use phase::{Declarer, LifecycleView, Maintenance, MaintenanceEnd, Phase, REASON_LEN_MAX};
pub use start::{START_WAITING_MAX, Start, StartTicket};

use crate::{
    name::Name,
    redact::redact,
    refusal::{Refusal, evidence::Evidence},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
        lock,
    },
};

/// What a client is told while draining: one second, because another instance is there
/// already. With the longest jitter, a quarter, it is still no more than that.
const DRAINING_RETRY: Duration = Duration::from_millis(800);

/// What a client is told in a maintenance without an end.
const MAINTENANCE_RETRY: Duration = Duration::from_secs(30);

const SOURCE: Name = Name::from_static("lifecycle");

/// The phase machine.
#[derive(Debug)]
pub struct Lifecycle {
    /// Whether requests pass without a look behind the mutex.
    open: AtomicBool,
    /// Whether connections should end after their answer.
    closing: AtomicBool,
    /// Whether balancers should send new work elsewhere.
    leaving: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    phase: Option<Phase>,
    since: Instant,
    /// The start, until it has passed.
    starting: Option<start::Starting>,
    /// Those who wait for it.
    waiting: start::StartQueue,
    refuse_from: Option<Instant>,
    by_operator: Option<Maintenance>,
    by_file: Option<Maintenance>,
    ramp: Option<leaving::Ramp>,
    notes: LeavingNotes,
}

/// A move that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Moved {
    /// Where it came from, `None` at the start.
    pub from: Option<Phase>,
    /// Where it is.
    pub to: Phase,
    /// How long the old phase had lasted.
    pub after: Duration,
}

impl Lifecycle {
    /// A process that has not started.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            open: AtomicBool::new(true),
            closing: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            inner: Mutex::new(Inner {
                phase: None,
                since: now,
                starting: None,
                waiting: start::StartQueue::default(),
                refuse_from: None,
                by_operator: None,
                by_file: None,
                ramp: None,
                notes: LeavingNotes::default(),
            }),
        }
    }

    /// Begins the start-up: until [`Phase::Ready`], requests are held back, for at most the
    /// hold of `start`. Returns `None` if it had started before.
    pub fn start(&self, start: Start, now: Instant) -> Option<Moved> {
        self.change(now, |inner| {
            if inner.phase.is_some() {
                return None;
            }
            inner.starting = Some(start::Starting::new(start, now));
            Some(inner.enter(Phase::Starting, now))
        })
    }

    /// Moves forward to `phase`. Returns `None`, and does nothing, if the process is
    /// there already or further on.
    pub fn advance(&self, phase: Phase, now: Instant) -> Option<Moved> {
        self.change(now, |inner| {
            if inner.phase.is_some_and(|current| current >= phase) {
                return None;
            }
            if phase == Phase::Ready {
                inner.starting = None;
            }
            Some(inner.enter(phase, now))
        })
    }

    /// Says when draining stops to admit: requests on open connections are served until
    /// then, and refused afterwards.
    pub fn refuse_from(&self, moment: Instant, now: Instant) {
        self.change(now, |inner| inner.refuse_from = Some(moment));
    }

    /// Declares maintenance. The reason is redacted, and cut to [`REASON_LEN_MAX`]
    /// characters on one line. Returns whether there was one before, of whoever, whose end
    /// nobody has been told.
    pub fn begin_maintenance(
        &self,
        by: Declarer,
        reason: &str,
        until: Option<Instant>,
        now: Instant,
    ) -> bool {
        let reason: String = redact(reason.trim())
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(REASON_LEN_MAX)
            .collect();
        self.change(now, |inner| {
            let was_declared = inner.by_operator.is_some() || inner.by_file.is_some();
            let slot = inner.slot(by);
            let since = slot
                .as_ref()
                .filter(|old| old.on(now))
                .map_or(now, |old| old.since);
            *slot = Some(Maintenance {
                reason: reason.into(),
                since,
                until,
            });
            was_declared
        })
    }

    /// Ends the maintenance that `by` declared. Returns what there is now, `None` if `by` had
    /// declared none, or its end by itself has been told by
    /// [`Lifecycle::expire_maintenance`].
    pub fn end_maintenance(&self, by: Declarer, now: Instant) -> Option<MaintenanceEnd> {
        self.change(now, |inner| {
            inner.slot(by).take()?;
            Some(inner.left(now))
        })
    }

    /// Clears a maintenance of the operator that has ended by itself. Returns what there is
    /// now, `None` if none has: so an end is told once.
    pub fn expire_maintenance(&self, now: Instant) -> Option<MaintenanceEnd> {
        let mut inner = lock(&self.inner);
        inner.by_operator.take_if(|old| !old.on(now))?;
        Some(inner.left(now))
    }

    /// Whether every request passes now, so that nobody need read the clock to ask.
    #[must_use]
    pub fn is_open(&self) -> bool {
        // Acquire pairs with the release in `publish`.
        self.open.load(Ordering::Acquire)
    }

    /// Whether the process is on its way out: from [`Phase::LameDuck`] on.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        // Relaxed: one answer more without the hint does no harm.
        self.leaving.load(Ordering::Relaxed)
    }

    /// Whether connections should end after the answer they are waiting for: from
    /// [`Phase::Draining`] on.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        // Relaxed: one answer more without the hint does no harm.
        self.closing.load(Ordering::Relaxed)
    }

    /// Says how long the lame duck lasts at most, so that the share of answers which ask
    /// their connection to end grows over it.
    pub fn ramp(&self, lame_duck: Duration, now: Instant) {
        lock(&self.inner).ramp = Some(leaving::Ramp::new(now, lame_duck));
    }

    /// Returns the share of answers that should ask their connection to end: 0 before the
    /// process leaves, 1 from [`Phase::Draining`] on, and growing in between.
    #[must_use]
    pub fn close_ratio(&self, now: Instant) -> f64 {
        if self.is_closing() {
            return 1.0;
        }
        if !self.is_leaving() {
            return 0.0;
        }
        lock(&self.inner).ramp.map_or(0.0, |ramp| ramp.ratio(now))
    }

    /// Notes a request that came although the process leaves. Does nothing before.
    #[inline]
    pub fn note_request(&self, now: Instant) {
        if self.is_leaving() {
            let notes = &mut lock(&self.inner).notes;
            notes.requests += 1;
            notes.last_request = Some(now);
        }
    }

    /// Notes a readiness probe that was told no because the process leaves. Does nothing
    /// before.
    pub fn note_failing_probe(&self, now: Instant) {
        if self.is_leaving() {
            let notes = &mut lock(&self.inner).notes;
            notes.failing_probes = notes.failing_probes.saturating_add(1);
            notes.last_probe = Some(now);
        }
    }

    /// Returns what was noted since the process began to leave.
    #[must_use]
    pub fn leaving_notes(&self) -> LeavingNotes {
        lock(&self.inner).notes
    }

    /// Lets a request pass or refuses it.
    ///
    /// # Errors
    /// The refusal, with cause `starting`, `maintenance` or `draining`.
    pub fn admit(&self, now: Instant) -> Result<(), Refusal> {
        if self.is_open() {
            return Ok(());
        }
        self.look(&lock(&self.inner), now).map_or(Ok(()), Err)
    }

    /// Returns phase and maintenance as they are.
    #[must_use]
    pub fn view(&self, now: Instant) -> LifecycleView {
        let inner = lock(&self.inner);
        LifecycleView {
            phase: inner.phase,
            since: inner.since,
            maintenance: inner.maintenance(now).cloned(),
        }
    }

    /// Changes what is behind the mutex, publishes it, and wakes who waits: the change may be
    /// what they wait for.
    fn change<R>(&self, now: Instant, make: impl FnOnce(&mut Inner) -> R) -> R {
        let mut inner = lock(&self.inner);
        let result = make(&mut inner);
        self.publish(&inner, now);
        let waiting = inner.waiting.wakers();
        drop(inner);
        waiting.into_iter().for_each(std::task::Waker::wake);
        result
    }

    fn look(&self, inner: &Inner, now: Instant) -> Option<Refusal> {
        let refusal = inner.refusal(now);
        if refusal.is_none() && !inner.may_close_later(now) {
            // What closed it has run out (the hold time, a maintenance): later requests need not ask.
            self.open.store(true, Ordering::Release);
        }
        refusal
    }

    fn publish(&self, inner: &Inner, now: Instant) {
        let open = inner.refusal(now).is_none() && !inner.may_close_later(now);
        self.open.store(open, Ordering::Release);
        let closing = matches!(inner.phase, Some(Phase::Draining | Phase::Stopped));
        self.closing.store(closing, Ordering::Relaxed);
        let leaving = inner.phase.is_some_and(Phase::is_leaving);
        self.leaving.store(leaving, Ordering::Relaxed);
    }
}

impl Inner {
    fn enter(&mut self, to: Phase, now: Instant) -> Moved {
        let moved = Moved {
            from: self.phase,
            to,
            after: now.saturating_duration_since(self.since),
        };
        self.phase = Some(to);
        self.since = now;
        moved
    }

    fn slot(&mut self, by: Declarer) -> &mut Option<Maintenance> {
        match by {
            Declarer::File => &mut self.by_file,
            Declarer::Operator => &mut self.by_operator,
        }
    }

    /// Clears what has ended by itself too: one end is told, not two.
    fn left(&mut self, now: Instant) -> MaintenanceEnd {
        self.by_operator.take_if(|old| !old.on(now));
        let left = self.maintenance(now).cloned();
        left.map_or(MaintenanceEnd::Over, MaintenanceEnd::StillOn)
    }

    fn maintenance(&self, now: Instant) -> Option<&Maintenance> {
        self.by_operator
            .iter()
            .chain(&self.by_file)
            .find(|maintenance| maintenance.on(now))
    }

    /// Whether time alone will close what is open now, so that requests must keep asking.
    fn may_close_later(&self, now: Instant) -> bool {
        self.refuse_from.is_some_and(|moment| now < moment)
    }

    /// Whether nothing is served any more.
    fn is_over(&self, now: Instant) -> bool {
        let late = self.refuse_from.is_some_and(|moment| now >= moment);
        self.phase == Some(Phase::Stopped) || (self.phase == Some(Phase::Draining) && late)
    }

    fn refusal(&self, now: Instant) -> Option<Refusal> {
        let age = |since: Instant| now.saturating_duration_since(since);
        if self.is_over(now) {
            let evidence = Evidence::Draining {
                since: age(self.since),
            };
            return Some(Refusal::new(SOURCE, evidence, DRAINING_RETRY, now));
        }
        if let Some(on) = self.maintenance(now) {
            let left = on.until.map(|until| until.saturating_duration_since(now));
            let evidence = Evidence::Maintenance {
                reason: on.reason.clone(),
                since: age(on.since),
                left,
            };
            return Some(Refusal::new(
                SOURCE,
                evidence,
                left.unwrap_or(MAINTENANCE_RETRY),
                now,
            ));
        }
        let starting = self.starting.as_ref().filter(|it| it.holds(now))?;
        Some(starting.refusal(self.waiting.len(), now))
    }
}

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::{sync::Arc, thread};

    /// Goal: no interleaving leaves somebody waiting who was not woken.
    #[test]
    fn loom_who_waits_is_told_or_woken() {
        struct Bell(std::sync::atomic::AtomicBool);
        impl std::task::Wake for Bell {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let now = crate::testing::origin();
        loom::model(move || {
            let life = std::sync::Arc::new(Lifecycle::new(now));
            life.start(Start::default(), now);
            let other = std::sync::Arc::clone(&life);
            let passes = thread::spawn(move || other.advance(Phase::Ready, now));
            let bell = std::sync::Arc::new(Bell(std::sync::atomic::AtomicBool::new(false)));
            let waker = std::task::Waker::from(std::sync::Arc::clone(&bell));
            let mut ticket = match life.ask(None, now) {
                crate::shed::Decision::Wait(ticket) => Some(ticket),
                crate::shed::Decision::Admit(()) => None,
                crate::shed::Decision::Refuse(refusal) => panic!("{refusal}"),
            };
            let waits = ticket
                .as_mut()
                .is_some_and(|ticket| ticket.poll(&waker, now).is_pending());
            passes.join().expect("joined");
            if waits {
                assert!(bell.0.load(Ordering::SeqCst), "left behind");
            }
        });
    }

    /// Goal: whoever finds that a maintenance is over opens for all later requests, and must not
    /// do so for a process that has stopped meanwhile.
    #[test]
    fn loom_what_a_look_opens_a_stop_closes_whoever_comes_first() {
        let now = crate::testing::origin();
        let later = now + Duration::from_secs(2);
        loom::model(move || {
            let life = Arc::new(Lifecycle::new(now));
            let until = Some(now + Duration::from_secs(1));
            life.begin_maintenance(Declarer::Operator, "schema", until, now);
            let other = Arc::clone(&life);
            let stopper = thread::spawn(move || other.advance(Phase::Stopped, later));
            let _ = life.admit(later);
            stopper.join().expect("joined");
            assert!(life.admit(later).is_err(), "open after the stop");
        });
    }

    #[test]
    fn loom_a_request_never_passes_after_it_has_seen_the_stop() {
        let now = crate::testing::origin();
        loom::model(move || {
            let life = Arc::new(Lifecycle::new(now));
            let other = Arc::clone(&life);
            let stopper = thread::spawn(move || other.advance(Phase::Stopped, now));
            let first = life.admit(now).is_ok();
            let second = life.admit(now).is_ok();
            assert!(first || !second, "open again after closed");
            stopper.join().expect("joined");
            assert!(life.admit(now).is_err());
        });
    }
}

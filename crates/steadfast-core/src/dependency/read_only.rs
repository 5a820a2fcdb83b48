//! A server that takes no writes: demoted, on a full disk, out of memory.
//!
//! Most of what a service does is reading, and reads go on. So this is a health of its
//! own and not an outage: the breaker stays closed, the dependency's health is *warning*
//! with the server's own words, and only writes are refused, once it is known that they
//! would fail. The breaker could not say this, because it counts all calls together: it
//! would stay closed while every write fails, or keep the reads away too.
//!
//! What is told ([`DependencyState::note_read_only`], [`DependencyState::note_writable`])
//! and what is asked ([`DependencyState::admit_write`]) come from whoever runs the writes,
//! an adapter or the application.
//!
//! - The first write that is refused by the server makes the dependency warn. It is not
//!   yet a reason to refuse another: an `INSERT` in a transaction that the application
//!   itself declared read-only gets the same error. [`AGREED`] of them without a write in
//!   between that succeeded are.
//! - While writes are refused, one passes in each [`PROBE_INTERVAL`], alone. If it
//!   succeeds, all pass again.
//! - Who was wrong, or right for a moment only, needs more the next time: a server on
//!   which some writes succeed must not have them refused because of the others.
//!
//! # Hazards
//! - A write that was sent before the server was demoted and is heard of afterwards
//!   counts as one that succeeded; the next one that fails begins anew.
//!
//! This file uses atomics: one flag that spares writes the lock. It guards no memory.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    DependencyState, calls::CallKind, keys, listener::DependencyNotice, reason::DependencyReason,
};
use crate::{
    FailureClass,
    dependency::breaker::BreakerMode,
    redact::redact,
    refusal::{
        Refusal,
        evidence::{DependencyDown, Evidence},
    },
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
        lock, try_lock,
    },
};

/// A dependency that takes no writes, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadOnlyView {
    /// When the first write was refused by the server.
    pub since: Instant,
    /// When the last one was.
    pub last_at: Instant,
    /// What the server said last, redacted and cut.
    pub error: Arc<str>,
    /// Whether later writes are refused without being tried.
    pub is_refusing: bool,
    /// Writes refused without being tried.
    pub refused: u64,
}

#[derive(Debug)]
pub(super) struct ReadOnly {
    /// Whether there is a run: a write looks here first.
    noted: AtomicBool,
    seen: Mutex<Seen>,
    origin: Instant,
}

#[derive(Debug, Default)]
struct Seen {
    run: Option<Run>,
    /// Runs in a row, each soon after the other, that ended with a write that succeeded.
    relapses: u32,
    ended_at: Option<Instant>,
}

/// An unbroken run of writes that the server refused.
#[derive(Debug)]
struct Run {
    view: ReadOnlyView,
    /// When the text was made.
    told_at: Instant,
    /// Refused by the server, without a success in between.
    in_a_row: u32,
    /// How many of them it takes.
    needed: u32,
    /// When a write may try again. Means nothing before `is_refusing`.
    probe_at: Instant,
    /// Whether one tries.
    is_probing: bool,
    evidence: Option<(Instant, Arc<Evidence>)>,
}

impl ReadOnly {
    pub(super) fn new(origin: Instant) -> Self {
        Self {
            noted: AtomicBool::new(false),
            seen: Mutex::new(Seen::default()),
            origin,
        }
    }

    #[inline]
    pub(super) fn is_noted(&self) -> bool {
        // Relaxed: only a hint to look under the lock.
        self.noted.load(Relaxed)
    }

    /// Returns what is known, without waiting for a lock.
    pub(super) fn refresh(&self, view: &mut Option<ReadOnlyView>, now: Instant) {
        if !self.is_noted() {
            *view = None;
        } else if let Some(seen) = try_lock(&self.seen) {
            *view = seen.view(now);
        }
    }

    pub(super) fn view(&self, now: Instant) -> Option<ReadOnlyView> {
        if self.is_noted() {
            lock(&self.seen).view(now)
        } else {
            None
        }
    }

    /// Spreads an interval downwards, so that it is never longer than it says, and that
    /// instances do not probe in step: the nanoseconds of the moment are as random as that
    /// needs.
    fn spread(&self, interval: Duration, now: Instant) -> Duration {
        let nanos = now.saturating_duration_since(self.origin).subsec_nanos();
        let mixed = u64::from(nanos).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        interval.mul_f64(1.0 - SPREAD * (mixed as f64 / f64::from(u32::MAX)))
    }
}

impl DependencyState {
    /// Says that the server refused a write because it takes none: read-only, demoted,
    /// full. Reads are not refused for it, and the breaker does not hear of it.
    ///
    /// Call it for each such answer. A call that fails with the class
    /// [`FailureClass::ReadOnly`] and a check that does tell it themselves.
    pub fn note_read_only(&self, error: &dyn fmt::Display, now: Instant) {
        let is_known = lock(&self.read_only.seen).keeps_text(now);
        // The text is foreign code, so it is made outside the lock.
        let text = (!is_known).then(|| Arc::from(&*redact(&error.to_string())));
        let mut seen = lock(&self.read_only.seen);
        let (was_noted, was_refusing) = (seen.view(now).is_some(), seen.is_refusing());
        let interval = self.read_only.spread(PROBE_INTERVAL, now);
        seen.fail(text, interval, now);
        self.read_only.noted.store(true, Relaxed);
        let begins = !was_noted || seen.is_refusing() != was_refusing;
        let view = seen.view(now).filter(|_| begins);
        drop(seen);
        if let Some(view) = view {
            self.notice(&DependencyNotice::ReadOnly(view), now);
        }
    }

    /// Says that the server takes writes: one succeeded, or a check asked and was told so.
    /// Costs one look while nothing is known to the contrary.
    #[inline]
    pub fn note_writable(&self, now: Instant) {
        if self.read_only.is_noted() {
            self.end_read_only(now);
        }
    }

    #[cold]
    fn end_read_only(&self, now: Instant) {
        let mut seen = lock(&self.read_only.seen);
        let view = seen.view(now);
        seen.succeed(now);
        self.read_only.noted.store(false, Relaxed);
        drop(seen);
        if let Some(view) = view {
            self.notice(&DependencyNotice::Writable(view), now);
        }
    }

    /// Returns the refusal that explains why the server refused a write, once it is known that
    /// it takes none.
    #[must_use]
    pub fn read_only_refusal(&self, now: Instant) -> Option<Refusal> {
        let view = self.view(now).read_only.filter(|view| view.is_refusing)?;
        let evidence = self.read_only_evidence(&view, PROBE_INTERVAL, now);
        Some(Refusal::new(
            self.name.clone(),
            evidence,
            PROBE_INTERVAL,
            now,
        ))
    }

    /// Asks whether a write may be sent. Costs one look while writes succeed.
    ///
    /// Ask it before the write, beside the permit for the call; and tell how the write
    /// ended, by [`DependencyState::note_writable`] or [`DependencyState::note_read_only`].
    /// One of which neither is told (the statement was wrong, its caller left) says
    /// nothing; if it was the one that tries, another does after [`PROBE_LEASE`].
    ///
    /// # Errors
    /// Refuses with cause `dependency-down`, class [`FailureClass::ReadOnly`] and the
    /// server's own words, once it is known that the server takes no writes; never in the
    /// modes [`BreakerMode::ForcedClosed`] and [`BreakerMode::Observe`].
    #[inline]
    pub fn admit_write(&self, now: Instant) -> Result<(), Refusal> {
        if self.read_only.is_noted() {
            self.admit_write_with_care(now)
        } else {
            Ok(())
        }
    }

    #[cold]
    fn admit_write_with_care(&self, now: Instant) -> Result<(), Refusal> {
        let mode = self.mode();
        if mode == BreakerMode::ForcedClosed {
            return Ok(());
        }
        let mut seen = lock(&self.read_only.seen);
        if seen.view(now).is_none() {
            // A suspicion that nobody confirmed.
            seen.run = None;
            self.read_only.noted.store(false, Relaxed);
            return Ok(());
        }
        let Some(run) = seen.run.as_mut().filter(|run| run.view.is_refusing) else {
            return Ok(());
        };
        if now >= run.probe_at {
            run.probe_at = now + PROBE_LEASE;
            run.is_probing = true;
            return Ok(());
        }
        if mode == BreakerMode::Observe {
            drop(seen);
            self.count(crate::sync::stripe::current(), CallKind::WouldRefuse);
            return Ok(());
        }
        run.view.refused += 1;
        let hint = run.probe_at.saturating_duration_since(now);
        let evidence = run.evidence(now, |seen| self.read_only_evidence(seen, hint, now));
        drop(seen);
        self.count(crate::sync::stripe::current(), CallKind::Refused);
        Err(Refusal::sharing(self.name.clone(), evidence, hint, now))
    }

    fn read_only_evidence(&self, seen: &ReadOnlyView, hint: Duration, now: Instant) -> Evidence {
        let mut down = DependencyDown::new(
            self.name.clone(),
            now.saturating_duration_since(seen.since),
            FailureClass::ReadOnly,
            Arc::clone(&seen.error),
        );
        down.key = self.key.as_ref().map(keys::Key::text);
        down.reason = Some(seen.reason());
        down.next_probe = Some(hint);
        Evidence::DependencyDown(down)
    }
}

impl ReadOnlyView {
    pub(super) fn reason(&self) -> DependencyReason {
        DependencyReason::ReadOnly {
            error: Arc::clone(&self.error),
        }
    }
}

impl Seen {
    fn is_refusing(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.view.is_refusing)
    }

    /// Returns what is known; `None` if it was never more than a suspicion and is old.
    fn view(&self, now: Instant) -> Option<ReadOnlyView> {
        let view = &self.run.as_ref()?.view;
        let age = now.saturating_duration_since(view.last_at);
        (view.is_refusing || age < SUSPECTED_FOR).then(|| view.clone())
    }

    fn keeps_text(&self, now: Instant) -> bool {
        self.run.as_ref().is_some_and(|run| {
            now.saturating_duration_since(run.told_at) < super::passive::ERROR_KEPT
        })
    }

    fn fail(&mut self, text: Option<Arc<str>>, interval: Duration, now: Instant) {
        if self.view(now).is_none() {
            self.run = None;
        }
        let is_healed = |ended: Instant| now.saturating_duration_since(ended) >= RELAPSE_WITHIN;
        if self.run.is_none() && self.ended_at.is_some_and(is_healed) {
            self.relapses = 0;
        }
        let needed = AGREED << self.relapses;
        let run = self.run.get_or_insert_with(|| Run {
            view: ReadOnlyView {
                since: now,
                last_at: now,
                error: "".into(),
                is_refusing: false,
                refused: 0,
            },
            told_at: now,
            in_a_row: 0,
            needed,
            probe_at: now,
            is_probing: false,
            evidence: None,
        });
        run.view.last_at = now;
        if let Some(text) = text {
            run.view.error = text;
            run.told_at = now;
        }
        run.in_a_row = run.in_a_row.saturating_add(1);
        if !run.view.is_refusing {
            run.view.is_refusing = run.in_a_row >= run.needed;
            run.probe_at = now + interval;
        } else if run.is_probing {
            // Writes that were under way already must not put the next probe off.
            run.is_probing = false;
            run.probe_at = now + interval;
        }
    }

    fn succeed(&mut self, now: Instant) {
        if let Some(run) = self.run.take() {
            if run.view.is_refusing {
                self.relapses = (self.relapses + 1).min(RELAPSES_MAX);
                self.ended_at = Some(now);
            }
        }
    }
}

impl Run {
    fn evidence(
        &mut self,
        now: Instant,
        make: impl FnOnce(&ReadOnlyView) -> Evidence,
    ) -> Arc<Evidence> {
        let kept = self.evidence.as_ref().filter(|(made, _)| {
            now >= *made && now.saturating_duration_since(*made) < super::prepared::KEPT
        });
        if let Some((_, evidence)) = kept {
            return Arc::clone(evidence);
        }
        let evidence = Arc::new(make(&self.view));
        self.evidence = Some((now, Arc::clone(&evidence)));
        evidence
    }
}

/// How many writes in a row the server must refuse before later ones are refused here. One
/// alone may be the statement's own fault; at one write a second two are known in a second.
pub const AGREED: u32 = 2;

/// How often one write tries whether the server takes writes again. A failover heals
/// within two: the first may meet a session with the demoted server, which is closed for
/// its answer, and the second gets a new one.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// How long the write that tries may take before another does. Longer than nearly every
/// write, and short enough that one of which nobody tells does not hold the others for
/// longer than a failover may take to heal.
pub const PROBE_LEASE: Duration = Duration::from_secs(2);

/// How much shorter than itself an interval may be.
const SPREAD: f64 = 0.2;

/// How long a suspicion lasts that no second write confirms: a breaker's window.
const SUSPECTED_FOR: Duration = Duration::from_secs(10);

/// A run that begins this soon after another ended is a relapse. Failovers are rarer.
const RELAPSE_WITHIN: Duration = Duration::from_secs(60);

/// Each relapse doubles [`AGREED`], up to sixteen: by then nearly every write fails, and
/// refusing the few that would not is the lesser harm beside failing all the others late.
const RELAPSES_MAX: u32 = 3;

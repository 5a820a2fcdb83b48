//! A circuit breaker: it stops calls to a dependency that is down, so that a request gets
//! its answer at once instead of after a timeout, and the dependency gets room to recover.
//!
//! `Closed → Open → Probing → Ramping → Closed`. It trips on failures in a row, on the
//! share of failures or slow calls in a window that truly slides, on calls that hang, and
//! on a failed check; it waits, with jitter and longer each time; it lets a few probes
//! through; and it lets traffic back in by and by, because a dependency that has just
//! come up with cold caches falls over under all of it.
//!
//! What is different from its neighbours is what cannot happen here:
//! - A result of a call that was admitted before the trip decides nothing: each permit
//!   carries the *generation* it was given under.
//! - A probe that hangs, panics or is cancelled wedges nothing: it has a lease, and a
//!   probe that found nothing out hands its slot back.
//! - A breaker without traffic still moves: [`Breaker::tick`] ends waits and leases, and
//!   [`Breaker::snapshot`] tells the state as of now either way.
//! - A dependency that hangs is seen before its first call times out.
//! - A timer never undoes what a person set: [`BreakerMode`] is apart from the state.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use steadfast_core::{CallOutcome, FailureClass, Trip, plumbing::{Breaker, BreakerState}};
//!
//! # let start = Instant::now();
//! // `start`, `now` and the random numbers come from the caller; core has no clock.
//! let rules = Trip::default().consecutive_failures(3).build()?;
//! let breaker = Breaker::new(rules, 4, start);
//!
//! for second in 0..3 {
//!     let now = start + Duration::from_secs(second);
//!     let permit = breaker.try_acquire(now, 0, 42).expect("closed");
//!     let failed = CallOutcome::Failure(FailureClass::Unreachable.into());
//!     if let Some(moved) = permit.settle(failed, now) {
//!         assert_eq!(moved.to, BreakerState::Open);
//!         assert_eq!(moved.reason.to_string(), "3 calls in a row failed within 2s");
//!     }
//! }
//!
//! let now = start + Duration::from_secs(2);
//! let refusal = breaker.try_acquire(now, 0, 42).expect_err("open");
//! assert!(refusal.retry_after <= Duration::from_millis(1_500));
//! assert_eq!(refusal.last_failure, Some(FailureClass::Unreachable));
//! # Ok::<(), steadfast_core::ConfigError>(())
//! ```
//!
//! # The life of a probe
//! ```text
//! word:   Open ─(wait is over: a call, a tick, a passed check)─▶ Probing, a new generation
//! ask     admit::decide  loads the word, and edits the round of its generation
//! slot    probe_round::start  running + 1, if the round has room; else the call is refused
//! lease   …              runs from the first probe that nobody has answered
//! head    permit::answered  judges the head of a stream: the probe becomes *heard*
//! end     settle::settle_probe, which looks whether the generation is still the word's
//!         ├ failed or slow ─▶ word: Open, level + 1, a longer wait
//!         ├ succeeded      ─▶ succeeded + 1; enough of them, and none runs ─▶ Ramping
//!         ├ said nothing   ─▶ inconclusive + 1, its slot is free; too many ─▶ Open
//!         └ late           ─▶ nothing: the lease was over, and its round with it
//! drop    settle::release  as if it had said nothing, without a time
//! silence probe_round::standing  LeaseOver, seen by the next call, look or tick ─▶ Open
//! ```
//!
//! # Hazards
//! - [`Breaker::tick`] must be called now and then ([`TripRules::tick_interval`]) for a
//!   silent probe's lease to end and for hung calls to be seen without traffic. Where
//!   nothing ticks, the next call, or the next [`Breaker::look`], ends the lease.
//! - Two steps can race; the winner of the exchange alone gets the [`BreakerTransition`].
//!   Whoever gets one must log it, or nobody will.
//! - A call that passed the look at the control word just before a trip runs although the
//!   breaker is open: at most one for each thread.
//!
//! This file uses atomics. The control word is the only one that others depend on.

mod admit;
mod control_word;
mod doubt;
mod drive;
mod faults;
mod outage_record;
mod outcome;
mod pending_calls;
pub(crate) mod period;
mod permit;
mod probe_round;
mod ramp;
mod reason;
mod refusal;
mod rules;
mod settle;
mod snapshot;
mod stage;
mod state;
mod step;
mod streak;
mod trip;
mod trip_rules;
pub(crate) mod window;

use std::{
    ops::Deref,
    time::{Duration, Instant},
};

pub use doubt::BreakerDoubt;
pub use drive::CheckDepth;
pub(crate) use drive::OUTVOTED_FOR;
pub use outcome::{CallFailure, CallOutcome};
pub use permit::BreakerPermit;
pub use reason::BreakerReason;
pub use refusal::BreakerRefusal;
pub use snapshot::BreakerSnapshot;
pub use state::{BreakerMode, BreakerState};
pub use step::BreakerTransition;
pub use trip::Trip;
pub use trip_rules::TripRules;

use crate::{
    dependency::breaker::window::Window,
    sync::{
        atomic::{AtomicU64, Ordering::Acquire},
        stripe::Padded,
    },
};

/// A circuit breaker. Shared by reference; every method takes `&self`.
#[derive(Debug)]
pub struct Breaker {
    rules: TripRules,
    origin: Instant,
    /// [`control_word::ControlWord`]: what an admission depends on.
    control: Padded<AtomicU64>,
    /// [`probe_round::ProbeRound`]: the probes of the present round.
    round: Padded<AtomicU64>,
    /// [`ramp::Ramp`]: the calls of the present ramp.
    ramp: Padded<AtomicU64>,
    streaks: Padded<streak::Streaks>,
    hush: doubt::Hush,
    record: Padded<outage_record::OutageRecord>,
    window: Window,
    /// `None` if the stall rule is off.
    pending: Option<pending_calls::PendingCalls>,
    /// Loom forgets that another thread only looked at a word when this thread looks at it
    /// and then writes it, and so never tries the other order. A relaxed write to a word
    /// of no meaning beside each look makes it try, and orders nothing.
    #[cfg(loom)]
    turn: AtomicU64,
}

impl Breaker {
    /// Makes a breaker whose time begins at `origin`.
    ///
    /// `stripes` is how many threads may count without sharing a cache line; about the
    /// number of cores, 1 for a breaker that is one of many. It is rounded up to a power
    /// of two, and at most [`STRIPES_MAX`].
    #[must_use]
    pub fn new(rules: TripRules, stripes: usize, origin: Instant) -> Self {
        let stripes = stripes.clamp(1, STRIPES_MAX);
        let pending = rules
            .stall_ms
            .map(|limit| pending_calls::PendingCalls::new(limit, stripes));
        let word = control_word::ControlWord::new(rules.mode());
        let breaker = Self {
            window: Window::new(rules.bucket_ms(), trip_rules::BUCKETS, stripes),
            pending,
            origin,
            control: Padded(AtomicU64::new(word.0)),
            round: Padded::default(),
            ramp: Padded::default(),
            streaks: Padded::default(),
            hush: doubt::Hush::default(),
            record: Padded::default(),
            rules,
            #[cfg(loom)]
            turn: AtomicU64::default(),
        };
        if word.state() == BreakerState::Open {
            breaker.note_outage(word, BreakerReason::Mode(BreakerMode::ForcedOpen), 0);
        }
        breaker
    }

    /// Asks for a permit to call the dependency.
    ///
    /// `stripe` is the caller's own small number; calls on one stripe share cache lines.
    /// `random` is uniform over `u64`: half of it decides in a ramp, the other half
    /// spreads the wait if this call trips.
    ///
    /// # Errors
    /// Refuses while open, while enough probes run, and while ramping for a part of the
    /// calls that would be too many at once; never in the modes [`BreakerMode::ForcedClosed`] and
    /// [`BreakerMode::Observe`].
    #[inline]
    pub fn try_acquire(
        &self,
        now: Instant,
        stripe: usize,
        random: u64,
    ) -> Result<BreakerPermit<&Self>, BreakerRefusal> {
        Self::try_acquire_owned(self, now, stripe, random)
    }

    /// Asks for a permit like [`Breaker::try_acquire`], one that keeps `handle`, so that a
    /// future without a lifetime can hold it.
    ///
    /// # Errors
    /// As [`Breaker::try_acquire`].
    #[inline]
    pub fn try_acquire_owned<B: Deref<Target = Self>>(
        handle: B,
        now: Instant,
        stripe: usize,
        random: u64,
    ) -> Result<BreakerPermit<B>, BreakerRefusal> {
        let ticket = handle.admit(handle.ms(now), stripe, random)?;
        Ok(BreakerPermit::new(handle, ticket))
    }

    /// Returns the rules it runs on.
    #[must_use]
    pub const fn rules(&self) -> &TripRules {
        &self.rules
    }

    #[inline]
    fn word(&self) -> control_word::ControlWord {
        #[cfg(loom)]
        self.turn
            .fetch_add(1, crate::sync::atomic::Ordering::Relaxed);
        // Acquire: pairs with the release in `Breaker::exchange`, so that the notes of a
        // step are seen by whoever sees the step.
        control_word::ControlWord(self.control.load(Acquire))
    }

    fn is_current(&self, generation: u32) -> bool {
        self.word().generation() == generation
    }

    fn ms(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.origin);
        let ms = since.as_secs().saturating_mul(1_000) + u64::from(since.subsec_millis());
        ms.min(control_word::MOMENT_MAX)
    }

    fn instant(&self, ms: u64) -> Instant {
        self.origin + Duration::from_millis(ms)
    }
}

/// The most stripes of one breaker: beyond 64 the sums of the cold path cost more than
/// sharing a line does on the hot one.
pub const STRIPES_MAX: usize = 64;

#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(all(test, not(loom)))]
mod tests;

//! Atomics. Pacing: a flood of refusals cannot keep the runtime from everything else.
//!
//! A client that asks again as soon as it is refused is answered as often as the processors
//! can. A thousand of them keep a task each in the runtime's queue, and whatever needs several
//! turns of a worker (a request that is served, a new connection, a probe) waits for all of
//! them each time. They have been told when to come again, so while the runtime is late
//! because of them, the connection of such a client is not read until a short pause is over.
//! What it sends meanwhile waits in the kernel, and is answered then; whoever comes later than
//! that sees no difference.
//!
//! Here it is only decided whether, and for how long: see `control`. Who is hasty the owner of
//! the connection knows ([`ShedGate::refused_again`], [`ShedGate::pause`]), and the heartbeat of the runtime looks
//! ([`ShedGate::pace`]).
//!
//! Laws kept: a refusal of a hasty client counts on its thread's stripe and reads a word that
//! changes ten times a second; nobody else does anything.

mod control;

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, Instant},
};

use control::{PacingControl, Seen, Told};

use super::ShedGate;
use crate::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
    lock,
    origin::nanos,
    stripe::Counter,
};

/// Changes kept until somebody collects them.
const CHANGES_KEPT: usize = 16;

#[derive(Debug)]
pub(crate) struct Pacing {
    /// Nanoseconds between two refusals of hasty clients, all together.
    between: Counter,
    paced: Counter,
    /// Nanoseconds; 0 while nobody is paced.
    pause: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    control: PacingControl,
    changes: VecDeque<PacingChange>,
}

/// What pacing says about itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PacingSnapshot {
    /// How long a connection is not read after a refusal whose client asked again at once;
    /// `None` while nobody is paced.
    pub pause: Option<Duration>,
    /// How many such clients there were, on average since the look before the last.
    pub hasty: f64,
    /// Pauses since the start.
    pub paced: u64,
}

/// Pacing has begun, or is over.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PacingChange {
    /// When.
    pub at: Instant,
    /// The pause; `None` when it is over.
    pub pause: Option<Duration>,
    /// How many clients asked again at once.
    pub hasty: f64,
    /// How late the runtime was.
    pub lag: Duration,
    /// How many tasks were in the queue that all its workers share.
    pub queued: u32,
    /// The share of their time in which its workers had something to do.
    pub busy_ratio: f64,
}

impl fmt::Display for PacingChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} clients ask again as soon as they are refused; runtime {:.1?} late, {} tasks queued, workers busy for {:.0} % of their time",
            self.hasty,
            self.lag,
            self.queued,
            self.busy_ratio * 100.0
        )
    }
}

impl Pacing {
    pub(crate) fn new() -> Self {
        Self {
            between: Counter::new(),
            paced: Counter::new(),
            pause: AtomicU64::new(0),
            inner: Mutex::new(Inner {
                control: PacingControl::new(1),
                changes: VecDeque::new(),
            }),
        }
    }

    pub(crate) fn set_workers(&self, workers: u32) {
        lock(&self.inner).control = PacingControl::new(workers);
        self.publish(None);
    }

    fn pause(&self) -> Option<Duration> {
        // Relaxed: the word means something by itself, and one that is a moment old is a
        // pause that begins or ends a moment later.
        let pause = self.pause.load(Ordering::Relaxed);
        if pause == 0 {
            return None;
        }
        self.paced.add(1);
        Some(Duration::from_nanos(pause))
    }

    fn look(&self, lag: Duration, queued: u32, busy_ratio: f64, now: Instant) {
        let mut inner = lock(&self.inner);
        let between = Duration::from_nanos(self.between.sum());
        let told = inner.control.look(Seen {
            now,
            lag,
            queued,
            busy_ratio,
            between,
        });
        let pause = inner.control.pause();
        let hasty = inner.control.hasty();
        if told != Told::Nothing {
            if inner.changes.len() == CHANGES_KEPT {
                inner.changes.pop_front();
            }
            inner.changes.push_back(PacingChange {
                at: now,
                pause,
                hasty,
                lag,
                queued,
                busy_ratio,
            });
        }
        self.publish(pause);
    }

    fn publish(&self, pause: Option<Duration>) {
        let pause = pause.map_or(0, nanos);
        self.pause.store(pause, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> PacingSnapshot {
        let inner = lock(&self.inner);
        PacingSnapshot {
            pause: inner.control.pause(),
            hasty: inner.control.hasty(),
            paced: self.paced.sum(),
        }
    }
}

impl ShedGate {
    /// Hears of a refusal of a client that asks again at once, as it did before: this long after
    /// the one before.
    pub fn refused_again(&self, after: Duration) {
        self.pacing.between.add(nanos(after));
    }

    /// Returns how long the connection of such a client is not to be read, if it is to pause,
    /// and counts that.
    #[must_use]
    pub fn pause(&self) -> Option<Duration> {
        self.pacing.pause()
    }

    /// Takes a heartbeat of the runtime that serves, as [`ShedGate::beat`] does, how many tasks
    /// are in the queue that all its workers share, and the share of their time in which they had
    /// something to do, `0.0..=1.0`. Without it nobody is paced.
    pub fn pace(&self, lag: Duration, queued: u32, busy_ratio: f64, now: Instant) {
        self.pacing.look(lag, queued, busy_ratio, now);
    }

    /// Takes what there is to tell of pacing since the last call, oldest first.
    #[must_use]
    pub fn take_pacing_changes(&self) -> Vec<PacingChange> {
        lock(&self.pacing.inner).changes.drain(..).collect()
    }
}

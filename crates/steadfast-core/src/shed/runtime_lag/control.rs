//! The controller of the lag loop: from what was seen to what is done about it. Pure.
//!
//! It has three phases. *Calm*: nothing is done. *Lined*: the runtime was seen to be late,
//! so requests stand in line once before they run (see [`super`]); this refuses nobody, and
//! shows how long work waits. *Refusing*: the line has been standing for [`PROOF`], so more
//! is asked for than the processors can do, and only so many may stand in line as are
//! served within [`WAIT_TARGET`].
//!
//! How many that are follows from Little's law: what starts a second, times the wait that
//! is aimed at. What starts a second is the capacity of whatever is being served, measured
//! while the line never ran empty. That makes the loop a bound on a queue instead of a
//! feedback on a delayed signal: it has no gain to tune, nothing to wind up, and what it
//! bounds cannot overshoot. Sources of the constants: DAGOR calls more than 20 ms of
//! queueing time overload (Zhou et al., SoCC 2018); as in CoDel it is the best moment of an
//! interval that counts, because a burst makes a long queue and only overload a standing one
//! (RFC 8289).

use std::time::{Duration, Instant};

use crate::request::priority::Priority;

/// A runtime that is later than this, or a wait longer than this, is overload if it stays.
pub const LAG_MAX: Duration = Duration::from_millis(20);

/// How long requests wait at most when some are refused. Long against what passes between two
/// looks at the sockets while somebody computes for some milliseconds, so no processor is idle;
/// twice as long only makes all answers later (docs/decisions/runtime-lag.md has the figures).
pub const WAIT_TARGET: Duration = Duration::from_millis(10);

/// For how long the line must have stood, at its shortest, before anybody is refused. A
/// pause of the process, a long poll or a burst is worked off in less by a service that has
/// capacity left.
pub const PROOF: Duration = Duration::from_millis(500);

/// Fewest starts that a proof or a capacity is made of: with fewer, one long request makes
/// all the difference.
const STARTS_MIN: u32 = 16;

/// The line must have become shorter than this share of its longest within a proof to count
/// as being worked off. Its length tells, not the waits in it: after a pause those who were
/// looked at together wait longer and longer although nobody joins.
const SHRINKING: f64 = 0.9;

/// The line stands while it holds this many for each thread, whatever their wait: behind
/// requests that take a tenth of a second, waiting for two of them is no overload.
const STANDING: u32 = 3;

/// Least room for two threads: one that runs next on each, and one after them before anybody
/// looks. With one less a tenth of what could be served at ten times the capacity is not, with
/// one more everybody waits for longer.
const LEAST_ROOM_OF_TWO: u32 = 3;

/// How many times the wait with the line full, or [`LAG_MAX`] if that is more, a request may have
/// waited when its turn comes, by class. Who waited for longer joined before anybody was refused; its client has most
/// likely gone.
const STALE: [u32; 4] = [16, 4, 4, 4];

/// After this long without a reason for a phase, it is left.
const RELAX: Duration = Duration::from_secs(1);

/// Refusing ends when less than this share of the capacity is asked for over [`ASKED_OVER`].
const ASKED_ENOUGH: f64 = 0.95;

/// Over how long that share is taken.
const ASKED_OVER: Duration = Duration::from_millis(500);

/// The share of one look in the ratio of refusals that is shown: five looks, a tenth of a
/// second, are what people see move.
const REFUSED_WEIGHT: f64 = 0.2;

/// How fast the capacity follows what is measured.
const CAPACITY_GAIN: f64 = 0.3;

/// How much the capacity is raised when the line runs empty although some are refused: then
/// it is underrated.
const CAPACITY_UP: f64 = 1.25;

/// Largest number that may stand in line: more is no bound.
const ROOM_MAX: f64 = 1_000_000.0;

/// Longest wait with the line full, in seconds; more is more than any client waits.
const FULL_WAIT_MAX: f64 = 60.0;

/// Who may still join the line when this many times the room is taken. What nobody waits
/// for stops first, and critical requests wait longer rather than be refused.
const SHARE: [f64; 4] = [4.0, 1.0, 0.5, 0.25];

/// What the lag loop does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LagPhase {
    /// Nothing.
    #[default]
    Calm,
    /// Requests stand in line once before they run; nobody is refused.
    Lined,
    /// Those for whom there is no room in the line are refused.
    Refusing,
}

impl LagPhase {
    /// Returns the stable word.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Lined => "lined",
            Self::Refusing => "refusing",
        }
    }
}

/// What was seen since the last look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) now: Instant,
    /// How late the runtime runs a task.
    pub(crate) lag: Duration,
    /// Requests that came, refused ones included.
    pub(crate) arrived: u32,
    /// Requests that were refused for lack of room.
    pub(crate) refused: u32,
    /// Requests that reached the head of the line.
    pub(crate) started: u32,
    /// The shortest wait of those.
    pub(crate) shortest: Option<Duration>,
    /// Requests that stand in line.
    pub(crate) waiting: u32,
    /// Requests that left it without a turn: their clients gave up.
    pub(crate) left: u32,
}

/// The controller.
#[derive(Clone, Debug)]
pub(crate) struct LagControl {
    workers: u32,
    phase: LagPhase,
    last: Option<Instant>,
    /// A run of looks at which the line stood.
    run: Option<Run>,
    /// When there was last a reason to be in this phase.
    reason_at: Option<Instant>,
    /// Starts a second while the line never ran empty.
    capacity: f64,
    /// What was asked for since `asked_since`.
    asked: u32,
    asked_since: Option<Instant>,
    /// Starts of standing looks that have not been made a rate of yet.
    started: u32,
    started_in: Duration,
    /// Smoothed.
    refused_ratio: f64,
    /// The shortest wait at the last look.
    wait: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    since: Instant,
    starts: u32,
    /// The most who stood in line at any look.
    most: u32,
    /// Requests that came after the first of these looks, which sees what a pause left.
    came: u32,
    /// Requests that left the line without a turn.
    left: u32,
}

impl Run {
    /// Whether the line is not being worked off, with so many in it now. One that is shorter only
    /// because clients gave up has not been, as long as more come than begin.
    fn stands(&self, waiting: u32) -> bool {
        let long = f64::from(self.most) * SHRINKING;
        let with_left = f64::from(waiting) + f64::from(self.left);
        f64::from(waiting) >= long || self.came > self.starts && with_left >= long
    }
}

impl LagControl {
    /// `workers`: threads that run requests, at least one.
    pub(crate) const fn new(workers: u32) -> Self {
        Self {
            workers: if workers == 0 { 1 } else { workers },
            phase: LagPhase::Calm,
            last: None,
            run: None,
            reason_at: None,
            capacity: 0.0,
            asked: 0,
            asked_since: None,
            started: 0,
            started_in: Duration::ZERO,
            refused_ratio: 0.0,
            wait: Duration::ZERO,
        }
    }

    /// Forgets everything but the number of threads.
    pub(crate) const fn reset(&mut self) {
        *self = Self::new(self.workers);
    }

    pub(crate) const fn phase(&self) -> LagPhase {
        self.phase
    }

    pub(crate) const fn wait(&self) -> Duration {
        self.wait
    }

    /// Starts a second while more waited.
    pub(crate) const fn capacity(&self) -> f64 {
        self.capacity
    }

    pub(crate) const fn refused_ratio(&self) -> f64 {
        self.refused_ratio
    }

    /// How many may stand in line; `None` is as many as come.
    pub(crate) fn room(&self) -> Option<u32> {
        if self.phase != LagPhase::Refusing {
            return None;
        }
        let least = f64::from(self.workers) * f64::from(LEAST_ROOM_OF_TWO) / 2.0;
        let room = (self.capacity * WAIT_TARGET.as_secs_f64()).clamp(least, ROOM_MAX);
        Some(room.ceil() as u32)
    }

    /// How long a default request waits when the room is taken.
    pub(crate) fn full_wait(&self) -> Duration {
        let room = self.room().map_or(0.0, f64::from);
        let wait = room / self.capacity.max(1.0);
        Duration::from_secs_f64(wait.min(FULL_WAIT_MAX))
    }

    /// Takes what was seen and decides on the phase.
    pub(crate) fn look(&mut self, seen: Seen) {
        let since = self.last.replace(seen.now);
        let length = since.map_or(Duration::ZERO, |last| {
            seen.now.saturating_duration_since(last)
        });
        self.wait = seen.shortest.unwrap_or(if seen.waiting == 0 {
            Duration::ZERO
        } else {
            self.wait
        });
        self.count_refused(seen);
        match self.phase {
            LagPhase::Calm => self.look_calm(seen),
            LagPhase::Lined => self.look_lined(seen),
            LagPhase::Refusing => self.look_refusing(seen, length),
        }
    }

    fn look_calm(&mut self, seen: Seen) {
        // Without requests nobody waits, however late the runtime is.
        if seen.lag > LAG_MAX && seen.arrived > 0 {
            self.enter(LagPhase::Lined, seen.now);
        }
    }

    fn look_lined(&mut self, seen: Seen) {
        if seen.waiting >= self.workers.saturating_mul(STANDING) {
            self.reason_at = Some(seen.now);
            let run = self.run.get_or_insert(Run {
                since: seen.now,
                starts: 0,
                most: seen.waiting,
                came: 0,
                left: 0,
            });
            if run.since != seen.now {
                run.came = run.came.saturating_add(seen.arrived);
                run.left = run.left.saturating_add(seen.left);
                run.starts = run.starts.saturating_add(seen.started);
            }
            run.most = run.most.max(seen.waiting);
            let length = seen.now.saturating_duration_since(run.since);
            if !length.is_zero() && run.starts >= STARTS_MIN {
                let rate = f64::from(run.starts) / length.as_secs_f64();
                // Little's law: the wait that this line stands for. A line that only begins is
                // shorter, and its proof begins later.
                let is_long = f64::from(seen.waiting) > rate * LAG_MAX.as_secs_f64();
                let has_stood = length >= PROOF;
                if is_long && has_stood && run.stands(seen.waiting) {
                    self.capacity = rate;
                    self.enter(LagPhase::Refusing, seen.now);
                } else if !is_long || has_stood {
                    // It is short for what it is, or being worked off: look again from here.
                    self.run = None;
                }
            }
        } else {
            self.run = None;
        }
        if seen.lag > LAG_MAX && seen.arrived > 0 {
            self.reason_at = Some(seen.now);
        }
        if self.is_over(seen.now) {
            self.enter(LagPhase::Calm, seen.now);
        }
    }

    fn look_refusing(&mut self, seen: Seen, length: Duration) {
        if seen.waiting > 0 {
            self.started = self.started.saturating_add(seen.started);
            self.started_in += length;
            if self.started >= STARTS_MIN && !self.started_in.is_zero() {
                let rate = f64::from(self.started) / self.started_in.as_secs_f64();
                self.capacity += CAPACITY_GAIN * (rate - self.capacity);
                self.forget_starts();
            }
        } else {
            self.forget_starts();
            if seen.refused > 0 && seen.started > 0 {
                self.capacity =
                    (self.capacity * CAPACITY_UP).min(ROOM_MAX / WAIT_TARGET.as_secs_f64());
            }
        }
        self.asked = self.asked.saturating_add(seen.arrived);
        let asked_since = *self.asked_since.get_or_insert(seen.now);
        let over = seen.now.saturating_duration_since(asked_since);
        if over >= ASKED_OVER {
            let rate = f64::from(self.asked) / over.as_secs_f64();
            if rate < self.capacity * ASKED_ENOUGH {
                self.enter(LagPhase::Lined, seen.now);
            }
            (self.asked, self.asked_since) = (0, Some(seen.now));
        }
    }

    fn count_refused(&mut self, seen: Seen) {
        if seen.arrived > 0 {
            let ratio = f64::from(seen.refused.min(seen.arrived)) / f64::from(seen.arrived);
            self.refused_ratio += REFUSED_WEIGHT * (ratio - self.refused_ratio);
        } else if self.phase != LagPhase::Refusing {
            self.refused_ratio = 0.0;
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.reason_at
            .is_none_or(|at| now.saturating_duration_since(at) >= RELAX)
    }

    fn enter(&mut self, phase: LagPhase, now: Instant) {
        self.phase = phase;
        self.run = None;
        self.reason_at = Some(now);
        (self.asked, self.asked_since) = (0, None);
        self.forget_starts();
        if phase != LagPhase::Refusing {
            self.refused_ratio = 0.0;
        }
    }

    fn forget_starts(&mut self) {
        (self.started, self.started_in) = (0, Duration::ZERO);
    }
}

/// How many may stand in line when a request of this class joins, of `room` in all.
pub(crate) fn room_for(priority: Priority, room: u32) -> u32 {
    ((f64::from(room) * SHARE[priority.index()]) as u32).max(1)
}

/// How long a request of this class may have waited when its turn comes, if `wait` is what
/// a default one waits with the line full.
pub(crate) fn wait_max(priority: Priority, wait: Duration) -> Duration {
    wait.saturating_mul(STALE[priority.index()])
}

#[cfg(all(test, not(loom)))]
mod tests;

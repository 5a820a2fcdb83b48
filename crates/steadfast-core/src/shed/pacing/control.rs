//! When those who ask again at once are made to pause, and for how long. Pure.
//!
//! What a flood costs everybody else is the number of its connections that are ready at once,
//! because the runtime has a task in its queue for each: with more than a worker's own queue
//! holds, some wait in the queue that all workers share, which a busy one looks into once in
//! dozens of tasks. How many hasty clients there are is known by Little's law: the times from
//! one refusal of each to its next, summed up over a second, are as many seconds as there are
//! clients. So the pause that leaves [`RATE`] answers a second for all of them is their number
//! over that rate, at once and however long they pause already. There is nothing to tune and
//! nothing to swing.

use std::time::{Duration, Instant};

/// Answers a second, for each thread, to those who ask again at once. A refusal over a kept
/// connection takes some 10 us of a thread, so this is a seventh of its time.
pub(crate) const RATE: f64 = 15_000.0;

/// A beat that is later than this is late: longer than a timer needs on a processor that is
/// shared, and a quarter of what the lag loop begins at.
pub(crate) const LATE: Duration = Duration::from_millis(5);

/// So many tasks in the queue that all workers share are late as well: tokio's workers move
/// half of their own queue there, 128 tasks, when that is full.
pub(crate) const QUEUED: u32 = 128;

/// Workers that had less than a tenth of their time to spare are late too: what needs several
/// of their turns waits for whatever is ready before it. The beat does not show it, because the
/// worker that sees its timer run out looks at it first.
pub(crate) const BUSY: f64 = 0.9;

/// A shorter pause changes nothing: 75 hasty clients for each thread are worked off in less.
pub(crate) const PAUSE_MIN: Duration = Duration::from_millis(5);

/// Longest pause: a quarter of the least that a refused client is told to wait.
pub(crate) const PAUSE_MAX: Duration = Duration::from_millis(250);

/// How fast the pause follows.
const GAIN: f64 = 0.5;

/// Where the runtime has been late for so many looks all the same, refusals cost more here
/// than was thought: what is aimed at becomes less, down to a quarter.
const LATE_LOOKS: u8 = 3;
const SHARE_MIN: f64 = 0.25;
const SHARE_DOWN: f64 = 0.7;
const SHARE_UP: f64 = 1.05;

/// Looks with few hasty clients after which nobody is paced any more.
const FEW_LOOKS: u8 = 5;

/// What has lasted for so many looks is told; a burst is over before.
const TOLD_LOOKS: u8 = 5;

/// What was seen at a beat.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) now: Instant,
    /// How late the beat was.
    pub(crate) lag: Duration,
    /// Tasks in the queue that all workers share.
    pub(crate) queued: u32,
    /// The share of their time in which the workers had something to do.
    pub(crate) busy_ratio: f64,
    /// The times between two refusals of hasty clients, since the start.
    pub(crate) between: Duration,
}

/// What is told of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Nothing,
    Begins,
    Ends,
}

/// The controller.
#[derive(Clone, Debug)]
pub(crate) struct PacingControl {
    workers: u32,
    last: Option<(Instant, Duration)>,
    /// In seconds; zero while nobody is paced.
    pause: f64,
    /// Hasty clients at the last look.
    hasty: f64,
    /// Of [`RATE`].
    share: f64,
    /// Looks in a row: that were late, that saw few, and since it began.
    late: u8,
    few: u8,
    lasts: u8,
}

impl PacingControl {
    /// `workers`: threads that run requests, at least one.
    pub(crate) const fn new(workers: u32) -> Self {
        Self {
            workers: if workers == 0 { 1 } else { workers },
            last: None,
            pause: 0.0,
            hasty: 0.0,
            share: 1.0,
            late: 0,
            few: 0,
            lasts: 0,
        }
    }

    /// How long a hasty client is not read; `None` while nobody is paced.
    pub(crate) fn pause(&self) -> Option<Duration> {
        (self.pause > 0.0).then(|| Duration::from_secs_f64(self.pause))
    }

    /// How many hasty clients there were between the last two looks.
    pub(crate) const fn hasty(&self) -> f64 {
        self.hasty
    }

    /// Takes what was seen. Returns what is to be told of it.
    pub(crate) fn look(&mut self, seen: Seen) -> Told {
        let Some((at, between)) = self.last.replace((seen.now, seen.between)) else {
            return Told::Nothing;
        };
        let secs = seen.now.saturating_duration_since(at).as_secs_f64();
        if secs <= 0.0 {
            self.last = Some((at, between));
            return Told::Nothing;
        }
        self.hasty = seen.between.saturating_sub(between).as_secs_f64() / secs;
        let late = seen.lag > LATE || seen.queued >= QUEUED || seen.busy_ratio >= BUSY;
        if self.pause > 0.0 {
            self.go_on(late)
        } else {
            if late && self.wanted() >= PAUSE_MIN.as_secs_f64() {
                self.pause = self.wanted();
            }
            Told::Nothing
        }
    }

    /// The pause that gives the rate which is aimed at, in seconds.
    fn wanted(&self) -> f64 {
        let rate = RATE * f64::from(self.workers) * self.share;
        (self.hasty / rate).min(PAUSE_MAX.as_secs_f64())
    }

    fn go_on(&mut self, late: bool) -> Told {
        if late {
            self.late += 1;
            if self.late == LATE_LOOKS {
                self.late = 0;
                self.share = (self.share * SHARE_DOWN).max(SHARE_MIN);
            }
        } else {
            self.late = 0;
            self.share = (self.share * SHARE_UP).min(1.0);
        }
        let wanted = self.wanted();
        self.few = match wanted < PAUSE_MIN.as_secs_f64() {
            true => self.few + 1,
            false => 0,
        };
        if self.few == FEW_LOOKS {
            let was_told = self.lasts == TOLD_LOOKS;
            (self.pause, self.share) = (0.0, 1.0);
            (self.late, self.few, self.lasts) = (0, 0, 0);
            return if was_told { Told::Ends } else { Told::Nothing };
        }
        self.pause += GAIN * (wanted - self.pause);
        if self.lasts < TOLD_LOOKS && self.few == 0 {
            self.lasts += 1;
            if self.lasts == TOLD_LOOKS {
                return Told::Begins;
            }
        }
        Told::Nothing
    }
}

#[cfg(all(test, not(loom)))]
mod tests;

//! What the surroundings leave the process: memory, processor time, and how long it stood
//! still for want of them. Text of the kernel in, numbers and a decision out; whoever reads
//! the files is outside (Linux only; elsewhere there is no sample, and nothing is decided).
//!
//! Only memory decides. A group that reaches its limit is not slowed but killed, with every
//! request in it, so close to the limit those whom nobody waits for are refused first: from
//! [`MEMORY_SOFT`] on background, from [`MEMORY_HARD`] on sheddable too (the bounds of
//! Envoy's overload manager in its example). Nobody else is: a service that uses most of
//! what it was given is not for that reason ill, and one without classes loses nothing.
//! Processor time is shown and decides nothing: a quota that is used up is no overload while
//! requests are in time, and when they are not the lag loop sees it.
//!
//! What counts as used is the group's memory without its inactive page cache, which the
//! kernel drops before it kills (the working set, as Kubernetes counts it).

mod parse;
#[cfg(all(test, not(loom)))]
mod tests;

use std::{
    fmt,
    time::{Duration, Instant},
};

pub use parse::{CpuTotals, Memory, group_path, stalled_total};

use crate::request::priority::Priority;

/// From this share of the limit on, background requests are refused.
pub const MEMORY_SOFT: f64 = 0.92;

/// From this share on, sheddable ones are too.
pub const MEMORY_HARD: f64 = 0.95;

/// A bound that was passed is left when the share is lower by this much, so that one request
/// more or less does not make it come and go.
const LEAVES_BELOW: f64 = 0.03;

/// A sample that is older than this says nothing any more: whoever reads hangs.
pub const SAMPLE_AGE_MAX: Duration = Duration::from_secs(5);

/// Shares are taken over at least this long; over less, one scheduling period is all of it.
const OVER_MIN: Duration = Duration::from_millis(500);

/// What was read at one moment. What could not be read is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ResourceSample {
    /// The group that is closest to its limit, of ours and those around it.
    pub memory: Option<Memory>,
    /// Our group's processor time.
    pub cpu: Option<CpuTotals>,
    /// For how long some task stood still for want of processor, memory and I/O, in all.
    pub stalled: [Option<Duration>; 3],
}

/// How things are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ResourceSnapshot {
    /// Memory of the group that is closest to its limit.
    pub memory: Option<Memory>,
    /// Processor time used, of the quota; may be above 1 for a moment.
    pub cpu_ratio: Option<f64>,
    /// Scheduling periods in which the group was throttled, of those that it ran in.
    pub throttled_ratio: Option<f64>,
    /// Share of the time in which some task stood still for want of processor, memory, I/O.
    pub stalled_ratio: [Option<f64>; 3],
    /// How memory is.
    pub level: MemoryLevel,
}

/// How close memory is to its limit.
///
/// Complete: the two bounds make three levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MemoryLevel {
    /// Far from it, or unknown.
    #[default]
    Fine,
    /// Above [`MEMORY_SOFT`].
    Soft,
    /// Above [`MEMORY_HARD`].
    Hard,
}

impl MemoryLevel {
    /// Returns the stable word.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Soft => "soft",
            Self::Hard => "hard",
        }
    }

    /// Whether requests of this class are refused.
    #[must_use]
    pub fn refuses(self, class: Priority) -> bool {
        match self {
            Self::Fine => false,
            Self::Soft => class >= Priority::Background,
            Self::Hard => class >= Priority::Sheddable,
        }
    }

    pub(crate) const fn from_word(word: u8) -> Self {
        match word {
            1 => Self::Soft,
            2 => Self::Hard,
            _ => Self::Fine,
        }
    }

    fn of(ratio: f64) -> Self {
        match ratio {
            ratio if ratio >= MEMORY_HARD => Self::Hard,
            ratio if ratio >= MEMORY_SOFT => Self::Soft,
            _ => Self::Fine,
        }
    }
}

/// A change of the level.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ResourceChange {
    /// The level before.
    pub from: MemoryLevel,
    /// The level since.
    pub to: MemoryLevel,
    /// The memory that decided; `None` if it cannot be read any more.
    pub memory: Option<Memory>,
}

impl fmt::Display for ResourceChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.memory {
            Some(memory) => write!(f, "memory {memory}"),
            None => f.write_str("memory cannot be read any more"),
        }
    }
}

/// Turns samples into how things are. Pure; one caller.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// What the shares are taken against.
    base: Option<(Instant, ResourceSample)>,
    seen: ResourceSnapshot,
}

impl Resources {
    /// Starts with nothing known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns how things were at the last look.
    #[must_use]
    pub const fn snapshot(&self) -> ResourceSnapshot {
        self.seen
    }

    /// Takes the latest sample and when it was made, if there is one, and decides.
    pub fn look(
        &mut self,
        sample: Option<(Instant, ResourceSample)>,
        now: Instant,
    ) -> Option<ResourceChange> {
        let fresh = |(at, _): &(Instant, ResourceSample)| {
            now.saturating_duration_since(*at) <= SAMPLE_AGE_MAX
        };
        let sample = sample.filter(fresh);
        self.seen.memory = sample.and_then(|(_, sample)| sample.memory);
        match (sample, self.base) {
            (None, _) => {
                self.seen = ResourceSnapshot {
                    level: self.seen.level,
                    ..Default::default()
                }
            }
            (Some((at, sample)), Some((since, base)))
                if at.saturating_duration_since(since) >= OVER_MIN =>
            {
                self.shares(base, sample, at.saturating_duration_since(since));
                self.base = Some((at, sample));
            }
            (Some(first), None) => self.base = Some(first),
            _ => {}
        }
        let from = self.seen.level;
        let to = self.level(from);
        self.seen.level = to;
        let memory = self.seen.memory;
        (from != to).then_some(ResourceChange { from, to, memory })
    }

    fn level(&self, before: MemoryLevel) -> MemoryLevel {
        let Some(memory) = self.seen.memory else {
            return MemoryLevel::Fine;
        };
        let ratio = memory.ratio();
        let (enters, stays) = (
            MemoryLevel::of(ratio),
            MemoryLevel::of(ratio + LEAVES_BELOW),
        );
        enters.max(before.min(stays))
    }

    fn shares(&mut self, base: ResourceSample, sample: ResourceSample, over: Duration) {
        let secs = over.as_secs_f64();
        let cpu = base.cpu.zip(sample.cpu);
        let grown = |from: Duration, to: Duration| to.saturating_sub(from).as_secs_f64();
        self.seen.cpu_ratio = cpu.and_then(|(from, to)| {
            let quota = to.quota_cpus.filter(|quota| *quota > 0.0)?;
            Some(grown(from.used?, to.used?) / secs / quota)
        });
        self.seen.throttled_ratio = cpu.and_then(|(from, to)| {
            let periods = to
                .periods
                .checked_sub(from.periods)
                .filter(|periods| *periods > 0)?;
            let throttled = to.throttled.saturating_sub(from.throttled);
            Some((throttled as f64 / periods as f64).min(1.0))
        });
        self.seen.stalled_ratio = std::array::from_fn(|of| {
            let (from, to) = base.stalled[of].zip(sample.stalled[of])?;
            Some((grown(from, to) / secs).min(1.0))
        });
    }
}

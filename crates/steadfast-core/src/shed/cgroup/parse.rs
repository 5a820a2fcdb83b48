//! The kernel's words: cgroup v1 and v2 (`Documentation/admin-guide/cgroup-v1`, `-v2.rst`)
//! and pressure stall information (`Documentation/accounting/psi.rst`).

use std::{fmt, time::Duration};

/// A v1 limit above this is none: the kernel writes the largest multiple of a page.
pub(super) const UNLIMITED_FROM: u64 = 1 << 60;

/// Memory of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// Bytes in use, without inactive page cache.
    pub used: u64,
    /// Bytes at which the kernel kills.
    pub limit: u64,
}

impl Memory {
    /// Reads a group's files: v2 `memory.current`, `memory.max` and `memory.stat`, or v1
    /// `memory.usage_in_bytes`, `memory.limit_in_bytes` and `memory.stat`. `None` if it has
    /// no limit, or says something else.
    #[must_use]
    pub fn parse(usage: &str, limit: &str, stat: &str) -> Option<Self> {
        let limit = number(limit).filter(|limit| (1..UNLIMITED_FROM).contains(limit))?;
        // v1 counts the groups below only in the totals.
        let cache = field(stat, "total_inactive_file").or_else(|| field(stat, "inactive_file"));
        let used = number(usage)?.saturating_sub(cache.unwrap_or(0));
        Some(Self { used, limit })
    }

    /// The share of the limit that is in use.
    #[must_use]
    pub fn ratio(self) -> f64 {
        self.used as f64 / self.limit.max(1) as f64
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let (used, limit) = (mib(self.used), mib(self.limit));
        write!(
            f,
            "{used:.0} of {limit:.0} MiB ({:.1} %)",
            self.ratio() * 100.0
        )
    }
}

/// Processor time of one group since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct CpuTotals {
    /// Time used by all threads together.
    pub used: Option<Duration>,
    /// Scheduling periods in which it ran.
    pub periods: u64,
    /// Those of them in which it was throttled.
    pub throttled: u64,
    /// How many processors its quota is worth; `None` is no quota.
    pub quota_cpus: Option<f64>,
}

impl CpuTotals {
    /// Reads `cpu.stat` and the quota: v2 `cpu.max`, or v1 `cpu.cfs_quota_us` and
    /// `cpu.cfs_period_us` with a space between. `used_v1` is v1's `cpuacct.usage`.
    #[must_use]
    pub fn parse(stat: &str, quota: &str, used_v1: &str) -> Option<Self> {
        let micros = field(stat, "usage_usec").map(Duration::from_micros);
        let used = micros.or_else(|| number(used_v1).map(Duration::from_nanos));
        let mut words = quota.split_whitespace();
        let (quota, period) = (words.next().and_then(number), words.next().and_then(number));
        let quota_cpus = quota
            .zip(period.filter(|period| *period > 0))
            .map(|(quota, period)| quota as f64 / period as f64);
        let (periods, throttled) = (field(stat, "nr_periods"), field(stat, "nr_throttled"));
        (used.is_some() || periods.is_some()).then_some(Self {
            used,
            periods: periods.unwrap_or(0),
            throttled: throttled.unwrap_or(0),
            quota_cpus,
        })
    }
}

/// Reads for how long some task stood still, from a file of `/proc/pressure` or a group's.
#[must_use]
pub fn stalled_total(text: &str) -> Option<Duration> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let total = some
        .split_whitespace()
        .find_map(|word| word.strip_prefix("total="))?;
    number(total).map(Duration::from_micros)
}

/// Finds our group in `/proc/self/cgroup`: of a v1 `controller`, or of v2 with `None`.
#[must_use]
pub fn group_path<'a>(text: &'a str, controller: Option<&str>) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (number, names, path) = (parts.next()?, parts.next()?, parts.next()?);
        let ours = match controller {
            Some(controller) => names.split(',').any(|name| name == controller),
            None => number == "0" && names.is_empty(),
        };
        ours.then_some(path)
    })
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        if key == name { number(value) } else { None }
    })
}

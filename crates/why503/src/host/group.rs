//! The control group of a process: version 1, version 2, or both at once.
//!
//! Each controller is looked for where it is: in a hybrid set-up the unified tree is mounted and
//! holds next to nothing. A limit may be set at any level above the process, so every level up to
//! the mount point is read.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use steadfast_diagnosis::{Bytes, Cgroup, Ratio, Resource, Tied};

use super::read;
use crate::collect::Collected;

/// Levels of the tree that are read; Kubernetes has five.
const LEVELS_MAX: usize = 16;

/// Where the controllers of a process are.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    cpu: Vec<PathBuf>,
    memory: Vec<PathBuf>,
    pids: Vec<PathBuf>,
    /// The unified tree, whatever it holds.
    unified: Vec<PathBuf>,
    /// Which of cpu, memory and pids are of version 1.
    old: [bool; 3],
}

/// One look at its counters.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    /// For each level: periods, those cut, time lost.
    cpu: Vec<Option<(u64, u64, Duration)>>,
    events: Option<(u64, u64, u64)>,
    pids_refused: u64,
}

impl Group {
    /// Finds the controllers of a process.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let lines = read(&format!("/proc/{pid}/cgroup"))?;
        let mounts = read("/proc/self/mountinfo")?;
        Some(Self::from(&lines, &mounts, &|path| path.is_dir()))
    }

    fn from(lines: &str, mounts: &str, is_dir: &dyn Fn(&Path) -> bool) -> Self {
        let mounts: Vec<Mount<'_>> = mounts.lines().filter_map(Mount::parse).collect();
        let mut group = Self::default();
        let unified = lines.lines().find_map(|it| it.strip_prefix("0::"));
        let mount = mounts.iter().find(|it| it.kind == "cgroup2");
        if let (Some(path), Some(mount)) = (unified, mount) {
            group.unified = mount.levels(path, is_dir);
        }
        for (at, controller) in ["cpu", "memory", "pids"].into_iter().enumerate() {
            let line = lines.lines().find_map(|line| {
                let mut parts = line.splitn(3, ':').skip(1);
                let named = parts.next()?.split(',').any(|it| it == controller);
                named.then(|| parts.next()).flatten()
            });
            let mount = mounts
                .iter()
                .find(|it| it.kind == "cgroup" && it.has(controller));
            let levels = match (line, mount) {
                (Some(path), Some(mount)) => {
                    group.old[at] = true;
                    mount.levels(path, is_dir)
                }
                _ => group.unified.clone(),
            };
            match controller {
                "cpu" => group.cpu = levels,
                "memory" => group.memory = levels,
                _ => group.pids = levels,
            }
        }
        group
    }

    /// Processors that the tightest quota allows.
    pub(super) fn quota(&self) -> Option<f64> {
        let quotas = self.cpu.iter().filter_map(|level| self.quota_at(level));
        quotas.min_by(f64::total_cmp)
    }

    fn quota_at(&self, level: &Path) -> Option<f64> {
        if self.old[0] {
            let quota: f64 = number(&level.join("cpu.cfs_quota_us"))?;
            let period: f64 = number(&level.join("cpu.cfs_period_us"))?;
            return (quota > 0.0 && period > 0.0).then(|| quota / period);
        }
        let line = read(level.join("cpu.max").to_str()?)?;
        let mut parts = line.split_whitespace();
        let quota: f64 = parts.next()?.parse().ok()?;
        let period: f64 = parts.next()?.parse().ok()?;
        (period > 0.0).then(|| quota / period)
    }

    /// Reads the counters.
    pub(super) fn sample(&self) -> Sample {
        let cpu = self.cpu.iter().map(|level| {
            let stat = fields(&level.join("cpu.stat"));
            let of = |name: &str| stat.iter().find(|it| it.0 == name).map(|it| it.1);
            let lost = match of("throttled_usec") {
                Some(micros) => Duration::from_micros(micros),
                None => Duration::from_nanos(of("throttled_time").unwrap_or(0)),
            };
            Some((of("nr_periods")?, of("nr_throttled")?, lost))
        });
        Sample {
            cpu: cpu.collect(),
            events: self.memory.first().and_then(|level| self.events(level)),
            pids_refused: self.pids.first().map_or(0, |level| {
                let events = fields(&level.join("pids.events"));
                events.iter().find(|it| it.0 == "max").map_or(0, |it| it.1)
            }),
        }
    }

    /// High, max and kills.
    fn events(&self, level: &Path) -> Option<(u64, u64, u64)> {
        if self.old[1] {
            let control = fields(&level.join("memory.oom_control"));
            let kills = control
                .iter()
                .find(|it| it.0 == "oom_kill")
                .map_or(0, |it| it.1);
            let failed = number(&level.join("memory.failcnt"))?;
            return Some((0, failed as u64, kills));
        }
        let events = fields(&level.join("memory.events"));
        let of = |name: &str| events.iter().find(|it| it.0 == name).map(|it| it.1);
        Some((of("high")?, of("max")?, of("oom_kill").unwrap_or(0)))
    }

    /// Says what stands now, and what happened between two looks.
    pub(super) fn tell(&self, pid: u32, before: &Sample, now: &Sample, into: &mut Collected) {
        let tied = Tied::Process(pid);
        for (at, level) in self.cpu.iter().enumerate() {
            let Some(processors) = self.quota_at(level) else {
                continue;
            };
            let file = if self.old[0] {
                "cpu.cfs_quota_us"
            } else {
                "cpu.max"
            };
            into.saw(
                &show(level, file),
                tied.clone(),
                Cgroup::Quota { processors },
            );
            let pair = before
                .cpu
                .get(at)
                .copied()
                .flatten()
                .zip(now.cpu.get(at).copied().flatten());
            if let Some((a, b)) = pair {
                let seen = Cgroup::Throttled {
                    periods: b.0.saturating_sub(a.0),
                    cut: b.1.saturating_sub(a.1),
                    lost: b.2.saturating_sub(a.2),
                };
                into.saw(&show(level, "cpu.stat"), tied.clone(), seen);
            }
        }
        if let Some((level, used, max)) = self.tightest_memory() {
            let file = if self.old[1] {
                "memory.usage_in_bytes"
            } else {
                "memory.current"
            };
            let seen = Cgroup::Memory {
                used: Bytes(used),
                max: Bytes(max),
            };
            into.saw(&show(&level, file), tied.clone(), seen);
        }
        if let (Some(a), Some(b), Some(level)) = (before.events, now.events, self.memory.first()) {
            let file = if self.old[1] {
                "memory.oom_control"
            } else {
                "memory.events"
            };
            let seen = Cgroup::MemoryEvents {
                high: b.0.saturating_sub(a.0),
                max: b.1.saturating_sub(a.1),
                oom_kill: b.2.saturating_sub(a.2),
            };
            into.saw(&show(level, file), tied.clone(), seen);
        }
        let refused = now.pids_refused.saturating_sub(before.pids_refused);
        for level in &self.pids {
            let now = number(&level.join("pids.current"));
            // `max` is no number, and no bound.
            if let (Some(now), Some(max)) = (now, number(&level.join("pids.max"))) {
                let (now, max) = (now as u64, max as u64);
                into.saw(
                    &show(level, "pids.current"),
                    tied.clone(),
                    Cgroup::Pids { now, max, refused },
                );
            }
        }
        let Some(level) = self.unified.first() else {
            return;
        };
        for (on, file) in [
            (Resource::Cpu, "cpu.pressure"),
            (Resource::Memory, "memory.pressure"),
            (Resource::Io, "io.pressure"),
        ] {
            let path = show(level, file);
            if let Some((some, full)) = super::pressure::stalls(&path) {
                into.saw(&path, tied.clone(), Cgroup::Pressure { on, some, full });
            }
        }
    }

    /// The level that is nearest to its limit, without what the kernel can take back at once.
    fn tightest_memory(&self) -> Option<(PathBuf, u64, u64)> {
        let (current, limit, cached) = if self.old[1] {
            (
                "memory.usage_in_bytes",
                "memory.limit_in_bytes",
                "total_inactive_file",
            )
        } else {
            ("memory.current", "memory.max", "inactive_file")
        };
        let levels = self.memory.iter().filter_map(|level| {
            let max = number(&level.join(limit))? as u64;
            let used = number(&level.join(current))? as u64;
            let stat = fields(&level.join("memory.stat"));
            let cached = stat.iter().find(|it| it.0 == cached).map_or(0, |it| it.1);
            // Version 1 writes the largest number there is where there is no limit.
            (max < UNLIMITED).then(|| (level.clone(), used.saturating_sub(cached), max))
        });
        levels.max_by(|a, b| {
            Ratio::of(a.1, a.2)
                .get()
                .total_cmp(&Ratio::of(b.1, b.2).get())
        })
    }
}

/// Nobody has a petabyte of memory; version 1 says eight exabytes for *no limit*.
const UNLIMITED: u64 = 1 << 50;

/// A line of `mountinfo`.
struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, point) = (before.next()?, before.next()?);
        let mut after = after.split(' ');
        Some(Self {
            root,
            point,
            kind: after.next()?,
            options: after.nth(1)?,
        })
    }

    fn has(&self, controller: &str) -> bool {
        self.options.split(',').any(|it| it == controller)
    }

    /// The directory of this path and those above it, up to the mount point.
    fn levels(&self, path: &str, is_dir: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
        let below = path
            .strip_prefix(self.root)
            .unwrap_or(path)
            .trim_start_matches('/');
        let point = Path::new(self.point);
        let leaf = point.join(below);
        // In a container the path is told from a root that is not mounted.
        let leaf = if is_dir(&leaf) {
            leaf
        } else {
            point.to_owned()
        };
        let levels = leaf.ancestors().take_while(|it| it.starts_with(point));
        levels.take(LEVELS_MAX).map(Path::to_owned).collect()
    }
}

fn show(level: &Path, file: &str) -> String {
    level.join(file).display().to_string()
}

fn number(path: &Path) -> Option<f64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// `name value`, line by line.
fn fields(path: &Path) -> Vec<(String, u64)> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let field = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "30 24 0:26 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n31 24 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
    const NEW: &str = "32 24 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";

    fn paths(group: &[PathBuf]) -> Vec<&str> {
        group.iter().filter_map(|it| it.to_str()).collect()
    }

    #[test]
    fn a_hybrid_keeps_each_controller_where_it_is() {
        let lines = "4:memory:/user/a\n3:cpu,cpuacct:/user/a\n0::/user/a\n";
        let group = Group::from(lines, &format!("{OLD}{NEW}"), &|_| true);
        assert_eq!(
            paths(&group.cpu),
            [
                "/sys/fs/cgroup/cpu,cpuacct/user/a",
                "/sys/fs/cgroup/cpu,cpuacct/user",
                "/sys/fs/cgroup/cpu,cpuacct"
            ]
        );
        assert_eq!(paths(&group.pids)[0], "/sys/fs/cgroup/unified/user/a");
        assert_eq!(group.old, [true, true, false]);
    }

    #[test]
    fn a_container_reads_what_is_mounted() {
        let mounts = "32 24 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        let group = Group::from("0::/kubepods/pod1\n", mounts, &|it| it.ends_with("cgroup"));
        assert_eq!(paths(&group.memory), ["/sys/fs/cgroup"]);
        assert_eq!(group.old, [false; 3]);
    }

    #[test]
    fn quota_and_memory_are_read_in_both_versions() {
        let dir = tempfile::tempdir().expect("a directory");
        let write =
            |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("written");
        let levels = vec![dir.path().to_owned()];
        let group = |old| Group {
            cpu: levels.clone(),
            memory: levels.clone(),
            old,
            ..Group::default()
        };
        write("cpu.max", "50000 100000\n");
        write("memory.current", "900\n");
        write("memory.max", "1000\n");
        write("memory.stat", "anon 1\ninactive_file 100\n");
        assert_eq!(group([false; 3]).quota(), Some(0.5));
        let tightest = group([false; 3])
            .tightest_memory()
            .expect("there is a limit");
        assert_eq!((tightest.1, tightest.2), (800, 1000));
        write("cpu.max", "max 100000\n");
        assert_eq!(group([false; 3]).quota(), None);
        write("cpu.cfs_quota_us", "20000\n");
        write("cpu.cfs_period_us", "100000\n");
        write(
            "cpu.stat",
            "nr_periods 15\nnr_throttled 15\nthrottled_time 1330000000\n",
        );
        assert_eq!(group([true; 3]).quota(), Some(0.2));
        let sample = group([true; 3]).sample();
        assert_eq!(sample.cpu, [Some((15, 15, Duration::from_millis(1330)))]);
        write("memory.usage_in_bytes", "5\n");
        write("memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(group([true; 3]).tightest_memory(), None);
    }
}

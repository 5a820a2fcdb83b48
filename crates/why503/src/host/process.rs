//! The processes behind the port: state, age, descriptors, processor time, workers.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use procfs::process;
use steadfast_diagnosis::{Process, RunState, Text, Tied};

use super::sockets::Sockets;
use crate::collect::{Collected, Connection};

/// Processes that share a port and are looked at one by one.
const OWNERS_MAX: usize = 256;

/// Destinations that are named, the busiest first.
const DESTINATIONS_MAX: usize = 16;

/// One look at the owners.
#[derive(Debug, Default)]
pub(super) struct Sample {
    each: BTreeMap<u32, One>,
}

#[derive(Debug)]
struct One {
    parent: u32,
    state: RunState,
    ticks: u64,
    age: Duration,
    threads: u64,
    descriptors: Option<(u64, u64)>,
    processors: Option<u64>,
}

impl Sample {
    pub(super) fn take(owners: &[u32]) -> Self {
        let owners = owners.iter().take(OWNERS_MAX);
        let each = owners.filter_map(|pid| Some((*pid, One::read(*pid)?)));
        Self {
            each: each.collect(),
        }
    }

    /// The owner that started the others: its parent owns nothing.
    pub(super) fn main(&self) -> Option<u32> {
        let first = self
            .each
            .iter()
            .find(|(_, it)| !self.each.contains_key(&it.parent));
        first.map(|(pid, _)| *pid)
    }

    /// Those whose parent is an owner too: the workers of a server that forks.
    pub(super) fn workers(&self) -> BTreeSet<u32> {
        let workers = self
            .each
            .iter()
            .filter(|(_, it)| self.each.contains_key(&it.parent));
        workers.map(|(pid, _)| *pid).collect()
    }

    /// Says what this look saw.
    pub(super) fn tell(&self, into: &mut Collected) {
        for (pid, one) in &self.each {
            let tied = Tied::Process(*pid);
            let stat = format!("/proc/{pid}/stat");
            into.saw(&stat, tied.clone(), Process::State { is: one.state });
            if let Some((used, max)) = one.descriptors {
                let source = format!("/proc/{pid}/fd, /proc/{pid}/limits");
                into.saw(&source, tied, Process::Descriptors { used, max });
            }
        }
        let Some((pid, main)) = self
            .main()
            .and_then(|pid| Some((pid, self.each.get(&pid)?)))
        else {
            return;
        };
        let tied = Tied::Process(pid);
        let stat = format!("/proc/{pid}/stat");
        into.saw(&stat, tied.clone(), Process::Age { age: main.age });
        into.saw(
            &stat,
            tied.clone(),
            Process::Threads {
                count: main.threads,
            },
        );
        if let Some(name) = super::sockets::program(pid) {
            let name = Text::new(&name);
            into.saw(
                &format!("/proc/{pid}/comm"),
                tied,
                Process::Program { name },
            );
        }
    }

    /// Says what happened between an earlier look and this one.
    pub(super) fn tell_since(
        &self,
        before: &Self,
        over: Duration,
        quota: Option<f64>,
        into: &mut Collected,
    ) {
        let Some(pid) = self.main() else {
            return;
        };
        let spent = self.each.iter().filter_map(|(pid, now)| {
            let before = before.each.get(pid)?;
            Some(now.ticks.saturating_sub(before.ticks))
        });
        let seconds = spent.sum::<u64>() as f64 / procfs::ticks_per_second() as f64;
        let allowed = self.each.get(&pid).and_then(|it| it.processors);
        let allowed = allowed
            .map_or(f64::INFINITY, |it| it as f64)
            .min(quota.unwrap_or(f64::INFINITY));
        if allowed.is_finite() && !over.is_zero() {
            let used = seconds / over.as_secs_f64();
            let source = format!(
                "/proc/{pid}/stat, utime and stime of {} processes",
                self.each.len()
            );
            into.saw(&source, Tied::Process(pid), Process::Cpu { used, allowed });
        }
    }

    /// Says how many workers hold a connection of a client.
    pub(super) fn tell_workers(&self, sockets: &Sockets, port: u16, into: &mut Collected) {
        let workers = self.workers();
        let (Some(pid), false) = (self.main(), workers.is_empty()) else {
            return;
        };
        let owners: Vec<u32> = workers.iter().copied().collect();
        let busy = sockets.busy(&owners, port).len() as u64;
        let all = workers.len() as u64;
        let source = format!("/proc/net/tcp and /proc/PID/fd of the {all} children of {pid}");
        into.saw(&source, Tied::Process(pid), Process::Workers { busy, all });
    }
}

impl One {
    fn read(pid: u32) -> Option<Self> {
        let process = process::Process::new(i32::try_from(pid).ok()?).ok()?;
        let stat = process.stat().ok()?;
        let limits = process.limits().ok().map(|it| it.max_open_files.soft_limit);
        let max = limits.map(|it| match it {
            process::LimitValue::Value(max) => max,
            process::LimitValue::Unlimited => u64::MAX,
        });
        let used = process.fd_count().ok().map(|it| it as u64);
        let status = process.status().ok();
        let ranges = status.and_then(|it| it.cpus_allowed_list);
        let processors = ranges.map(|it| it.iter().map(|(a, b)| u64::from(b - a) + 1).sum());
        let started = stat.starttime as f64 / procfs::ticks_per_second() as f64;
        let started = Duration::try_from_secs_f64(started).unwrap_or_default();
        let age = super::uptime().saturating_sub(started);
        Some(Self {
            parent: u32::try_from(stat.ppid).unwrap_or(0),
            state: state(stat.state),
            ticks: stat.utime + stat.stime,
            age,
            threads: u64::try_from(stat.num_threads).unwrap_or(0),
            descriptors: used.zip(max),
            processors,
        })
    }
}

fn state(letter: char) -> RunState {
    match letter {
        'R' => RunState::Running,
        'D' => RunState::Disk,
        'T' | 't' => RunState::Stopped,
        'Z' | 'X' | 'x' => RunState::Zombie,
        _ => RunState::Sleeping,
    }
}

/// Says where the connections of the owners lead.
pub(super) fn tell_outbound(outbound: &[Connection], main: u32, into: &mut Collected) {
    let mut count: BTreeMap<(String, bool), u64> = BTreeMap::new();
    for it in outbound {
        *count
            .entry((it.remote.to_string(), it.established))
            .or_default() += 1;
    }
    let mut count: Vec<_> = count.into_iter().collect();
    count.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for ((to, established), count) in count.into_iter().take(DESTINATIONS_MAX) {
        let to = Text::new(&to);
        let source = format!("/proc/{main}/net/tcp");
        let tied = Tied::Process(main);
        if established {
            into.saw(&source, tied, Process::Connected { to, count });
        } else {
            into.saw(&source, tied, Process::Connecting { to, count });
        }
    }
}

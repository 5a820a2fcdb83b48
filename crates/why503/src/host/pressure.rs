//! What the kernel counts for the whole host, or for the network namespace of the service.

use std::{collections::HashMap, time::Duration};

use steadfast_diagnosis::{Host, Ratio, Resource, Text, Tied};

use super::read;
use crate::collect::Collected;

/// One look at the counters.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    /// `TcpExt` of the service's namespace.
    tcp: HashMap<String, u64>,
    oom_kills: Option<u64>,
}

impl Sample {
    /// Looks; `namespace` is a process in the service's network namespace.
    pub(super) fn take(namespace: Option<u32>) -> Self {
        let file = netstat(namespace);
        let vmstat = read("/proc/vmstat").unwrap_or_default();
        let kills = vmstat.lines().find_map(|it| it.strip_prefix("oom_kill "));
        Self {
            tcp: read(&file).map_or_else(HashMap::new, |it| table(&it, "TcpExt:")),
            oom_kills: kills.and_then(|it| it.trim().parse().ok()),
        }
    }

    /// Says what happened since an earlier look.
    pub(super) fn tell_since(
        &self,
        before: &Self,
        over: Duration,
        namespace: Option<u32>,
        into: &mut Collected,
    ) {
        let source = netstat(namespace);
        let grew = |names: &[&str]| {
            let each = names.iter().map(|name| {
                let now = self.tcp.get(*name).copied().unwrap_or(0);
                now.saturating_sub(before.tcp.get(*name).copied().unwrap_or(now))
            });
            each.sum::<u64>()
        };
        if !self.tcp.is_empty() {
            let overflows = Host::ListenOverflows {
                grew: grew(&["ListenOverflows"]),
                over,
            };
            into.saw(&source, Tied::Host, overflows);
            let drops = grew(&["TCPReqQFullDrop", "TCPReqQFullDoCookies"]);
            into.saw(&source, Tied::Host, Host::SynDrops { grew: drops, over });
        }
        if let Some(value) = self
            .tcp
            .get("ListenOverflows")
            .copied()
            .filter(|it| *it > 0)
        {
            let counter = Text::new("ListenOverflows");
            into.saw(&source, Tied::Host, Host::SinceBoot { counter, value });
        }
        if let (Some(before), Some(now)) = (before.oom_kills, self.oom_kills)
            && now > before
        {
            let name = Text::new("some process");
            let seen = Host::OomKill {
                name,
                count: now - before,
                ours: false,
            };
            into.saw("/proc/vmstat", Tied::Host, seen);
        }
    }
}

/// Says how loaded the host is now.
pub(super) fn tell_load(into: &mut Collected) {
    let processors = std::thread::available_parallelism().map_or(1, |it| it.get() as u64);
    if let Some((one, tasks)) = read("/proc/loadavg").as_deref().and_then(load) {
        into.saw(
            "/proc/loadavg",
            Tied::Host,
            Host::LoadAverage { one, processors },
        );
        into.saw(
            "/proc/loadavg",
            Tied::Host,
            Host::Runnable { tasks, processors },
        );
    }
    for (on, file) in [
        (Resource::Cpu, "/proc/pressure/cpu"),
        (Resource::Memory, "/proc/pressure/memory"),
        (Resource::Io, "/proc/pressure/io"),
    ] {
        if let Some((some, full)) = stalls(file) {
            into.saw(file, Tied::Host, Host::Pressure { on, some, full });
        }
    }
}

/// The shares of the last ten seconds in which some, and in which all, waited.
pub(super) fn stalls(file: &str) -> Option<(Ratio, Ratio)> {
    let text = read(file)?;
    Some((
        share(&text, "some")?,
        share(&text, "full").unwrap_or_default(),
    ))
}

fn share(text: &str, who: &str) -> Option<Ratio> {
    let line = text.lines().find(|it| it.starts_with(who))?;
    let percent: f64 = line
        .split("avg10=")
        .nth(1)?
        .split(' ')
        .next()?
        .parse()
        .ok()?;
    Some(Ratio::new(percent / 100.0))
}

/// The first load average, and the tasks that can run, this one left out.
fn load(text: &str) -> Option<(f64, u64)> {
    let mut fields = text.split(' ');
    let one = fields.next()?.parse().ok()?;
    let running: u64 = fields.nth(2)?.split('/').next()?.parse().ok()?;
    Some((one, running.saturating_sub(1)))
}

/// Two lines with this beginning: names, then values.
fn table(text: &str, beginning: &str) -> HashMap<String, u64> {
    let mut lines = text.lines().filter_map(|it| it.strip_prefix(beginning));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
        return HashMap::new();
    };
    let pairs = names.split_whitespace().zip(values.split_whitespace());
    let pairs = pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)));
    pairs.collect()
}

fn netstat(namespace: Option<u32>) -> String {
    namespace.map_or_else(
        || "/proc/net/netstat".to_owned(),
        |pid| format!("/proc/{pid}/net/netstat"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_read_as_it_writes() {
        let psi = "some avg10=41.50 avg60=1.00 avg300=0.00 total=1\nfull avg10=3.00 avg60=0.00 avg300=0.00 total=1\n";
        assert_eq!(share(psi, "some"), Some(Ratio::new(0.415)));
        assert_eq!(share("", "some"), None);
        assert_eq!(load("50.12 40.00 9.00 3/512 4711\n"), Some((50.12, 2)));
        let netstat = "TcpExt: SyncookiesSent ListenOverflows\nTcpExt: 7 30\nIpExt: A\nIpExt: 1\n";
        assert_eq!(table(netstat, "TcpExt:").get("ListenOverflows"), Some(&30));
        assert!(table("TcpExt: a\n", "TcpExt:").is_empty());
    }
}

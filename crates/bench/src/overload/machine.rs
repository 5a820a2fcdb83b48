//! The processors during a phase: who used them, who wanted them, and neighbours that are
//! there on purpose.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use super::figures::Cores;
use crate::child::Process;

/// Threads of this process that compute until they are dropped.
pub(super) struct Neighbours {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Neighbours {
    pub(super) fn start(count: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let threads = (0..count).map(|_| {
            let over = Arc::clone(&over);
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    super::backend::spin(10_000);
                }
            })
        });
        Self {
            threads: threads.collect(),
            over,
        }
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It computes and cannot panic.
            let _ = thread.join();
        }
    }
}

/// Seconds of processor since the machine and the processes began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Used {
    client: f64,
    server: f64,
    client_waited: f64,
    server_waited: f64,
    /// By everybody.
    all: f64,
    stolen: f64,
}

impl Used {
    pub(super) fn so_far(client: &Process, server: &Process) -> Self {
        let (all, stolen) = machine(&fs::read_to_string("/proc/stat").unwrap_or_default());
        Self {
            client: client.cpu_secs(),
            server: server.cpu_secs(),
            client_waited: client.waited_secs(),
            server_waited: server.waited_secs(),
            all,
            stolen,
        }
    }

    /// Of each second since then. What others used is not known where part of the backend is
    /// `elsewhere`.
    pub(super) fn since(&self, then: &Self, secs: f64, elsewhere: bool) -> Cores {
        let each = |of: fn(&Self) -> f64| ((of(self) - of(then)) / secs).max(0.0);
        let (client, server) = (each(|it| it.client), each(|it| it.server));
        let others = each(|it| it.all) - client - server;
        Cores {
            client,
            server,
            client_waited: each(|it| it.client_waited),
            server_waited: each(|it| it.server_waited),
            others: if elsewhere { 0.0 } else { others.max(0.0) },
            stolen: each(|it| it.stolen),
        }
    }
}

/// Seconds for which the processors worked, and for which they were stolen, from the first
/// line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal.
fn machine(stat: &str) -> (f64, f64) {
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let line = stat.lines().next().unwrap_or_default();
    let fields = line.split_whitespace().skip(1);
    let secs: Vec<f64> = fields
        .map(|field| field.parse().unwrap_or(0.0) / ticks)
        .collect();
    let of = |indices: &[usize]| indices.iter().filter_map(|it| secs.get(*it)).sum();
    (of(&[0, 1, 2, 5, 6]), of(&[7]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_works_when_it_is_not_idle() {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let (worked, stolen) = machine("cpu  100 20 30 4000 50 6 7 80 0 0\ncpu0 1 1 1");
        assert!((worked - 163.0 / ticks).abs() < 1e-9, "{worked}");
        assert!((stolen - 80.0 / ticks).abs() < 1e-9, "{stolen}");
        assert_eq!(machine(""), (0.0, 0.0));
    }
}

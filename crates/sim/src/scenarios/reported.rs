//! What limits were reported to do elsewhere, and what ours does then.

use super::WORK;
use crate::rng::Dist;
use crate::scenario::{Figure, Scenario};
use crate::world::record::Record;
use crate::world::setup::{Setup, during, step};

pub(super) fn all() -> Vec<Scenario> {
    let mut all = vec![
        hiccup("hiccup-10x", 0.05, 0.0),
        hiccup("hiccup-10x-leavers", 0.05, 0.5),
        hiccup("hiccup-10x-long", 0.45, 0.5),
        short_requests(),
        collector("collector-0.5x", 0.5),
        collector("collector-2x", 2.0),
        lucky(),
        degraded(),
    ];
    for times in [0.8, 2.0, 5.0] {
        all.push(minute(times));
    }
    all
}

/// Ten times the capacity, and a process that stands still once: all that came meanwhile waits in sockets and comes at once, from clients of whom a share leaves at any moment.
fn hiccup(name: &str, secs: f64, leaves: f64) -> Scenario {
    let mut setup = Setup::pool(16, WORK, 16_000.0, 12.0);
    setup.stalls = vec![(6.0, secs)];
    setup.leaves = leaves;
    let from = 6.0 + secs + 1.0;
    Scenario::new(name, setup, move |r| {
        let usual = r.goodput(3.0, 6.0);
        vec![
            Figure::least("goodput from 1 s on", r.goodput(from, 11.9) / usual, 0.97),
            Figure::most(
                "p99 from 1 s on",
                r.latency(from, 11.9, 0.99) / WORK.p99(),
                1.5,
            ),
            Figure::most("recovery", r.recovery(6.0 + secs, 12.0, 0.95 * usual), 1.0),
        ]
    })
}

/// One worker of 25 us, whose capacity times latency is one: it must not fall below, and must come back.
fn short_requests() -> Scenario {
    let capacity = 40_000.0;
    let setup = Setup::pool(1, Dist::Lognormal(1.0 / capacity, 0.5), 0.0, 9.0)
        .rate(during(0.5 * capacity, 3.0, 6.0, 2.0 * capacity))
        .poisson();
    Scenario::new("short-25us", setup, move |r| {
        vec![
            Figure::most("refused before", r.refused(0.0, 3.0), 0.0),
            Figure::least("goodput in it", r.goodput(4.0, 6.0) / capacity, 0.95),
            Figure::least("served after", r.served(6.1, 8.9), 0.999),
        ]
    })
}

/// A process that pauses for 60 ms each second, as some collectors do.
fn collector(name: &str, times: f64) -> Scenario {
    let mut setup = Setup::pool(16, WORK, 1600.0 * times, 30.0).poisson();
    setup.stalls = (1..30).map(|second| (f64::from(second), 0.06)).collect();
    Scenario::new(name, setup, move |r| {
        let good = r.goodput(5.0, 29.0) / (1600.0 * times.min(1.0));
        if times < 1.0 {
            return vec![Figure::least("served", r.served(0.0, 29.0), 0.999)];
        }
        vec![
            Figure::least("goodput", good, 0.9),
            Figure::least("least limit", least_cap(r, 5.0, 29.0), 14.0),
        ]
    })
}

/// A service that is ten times as quick in its first seconds, as with a warm cache that is then lost.
fn lucky() -> Scenario {
    let mut setup = Setup::pool(16, WORK, 1120.0, 20.0).poisson();
    setup.slowness = step(0.1, 4.0, 1.0);
    Scenario::new("lucky-baseline", setup, |r| {
        vec![Figure::most("refused", r.refused(0.0, 20.0), 0.0)]
    })
}

/// A service that becomes four times slower for good, at 0.7 of what it then can do.
fn degraded() -> Scenario {
    let mut setup = Setup::pool(16, WORK, 280.0, 90.0).poisson();
    setup.slowness = step(1.0, 10.0, 4.0);
    Scenario::new("degraded-for-good", setup, |r| {
        vec![Figure::most("refused", r.refused(0.0, 90.0), 0.0)]
    })
}

/// A minute of a steady load, from 5 s on: how often the limit's number moves.
fn minute(times: f64) -> Scenario {
    let setup = Setup::pool(16, WORK, 1600.0 * times, 65.1).poisson();
    Scenario::new(format!("minute-{times}x"), setup, |r| {
        let moves = r.changes.iter().filter(|change| r.secs_of(change) >= 5.0);
        vec![Figure::most("moves", moves.count() as f64, 2.0)]
    })
}

fn least_cap(r: &Record, from: f64, to: f64) -> f64 {
    let caps = r.between(from, to).iter().filter_map(|bin| bin.cap);
    caps.min().map_or(f64::INFINITY, f64::from)
}

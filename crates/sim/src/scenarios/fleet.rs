//! Ten to a thousand instances of four workers behind ten balancers, each of which knows only what it sent itself.

use super::WORK;
use crate::scenario::{Figure, Scenario};
use crate::world::record::{BIN, Record};
use crate::world::setup::{Balance, Outage, Setup, during};

/// How many instances there are.
pub const SIZES: [usize; 3] = [10, 100, 1000];

/// The balancers, and what they are called.
pub const BALANCERS: [(&str, Balance); 4] = [
    ("random", Balance::Random),
    ("two-choices", Balance::TwoChoices),
    ("least", Balance::LeastConnections),
    ("peak-ewma", Balance::PeakEwma),
];

/// What happens to a fleet, and how it is judged.
type Kind = fn(&str, Balance, usize) -> Scenario;

/// The kinds of fleet, and what they are called.
pub const KINDS: [(&str, Kind); 4] = [
    ("fleet", steady),
    ("zone", zone),
    ("rolling", rolling),
    ("storm", storm),
];

pub(super) fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (kind, make) in KINDS {
        for size in SIZES {
            for (name, balance) in BALANCERS {
                all.push(make(&format!("{kind}-{size}-{name}"), balance, size));
            }
        }
    }
    all
}

/// What one instance serves each second.
const SERVES: f64 = 400.0;

fn fleet(balance: Balance, size: usize, times: f64, secs: f64) -> Setup {
    let mut setup = Setup::pool(4, WORK, times * SERVES * size as f64, secs).poisson();
    setup.instances = size;
    setup.balance = balance;
    setup.balancers = 10;
    setup.refusal = 0.001;
    setup
}

/// Half as much again as it can serve; half of the instances restart at once after 4 s.
fn steady(name: &str, balance: Balance, size: usize) -> Scenario {
    let capacity = SERVES * size as f64;
    let mut setup = fleet(balance, size, 1.5, 7.0);
    setup.restart = Some((4.0, size / 2));
    Scenario::new(name, setup, move |r| {
        vec![
            Figure::least("goodput", r.goodput(2.0, 4.0) / capacity, 0.95),
            Figure::most("p99", r.latency(2.0, 4.0, 0.99) / WORK.p99(), 2.5),
            Figure::least(
                "goodput after restart",
                r.goodput(4.5, 6.5) / capacity,
                0.94,
            ),
            Figure::most("swing of 100 ms goodput", swing(r, 2.0, 4.0), in_step(size)),
        ]
    })
}

/// At 0.8 of what it can serve a third of the instances is gone for 2.5 s. Clients try again twice.
fn zone(name: &str, balance: Balance, size: usize) -> Scenario {
    let third = size / 3;
    let left = SERVES * (size - third) as f64;
    let asked = 0.8 * SERVES * size as f64;
    let mut setup = fleet(balance, size, 0.8, 9.5);
    setup.retries = (2, 0.1);
    setup.outages = vec![Outage {
        instances: 0..third,
        from: 2.0,
        to: 4.5,
        notice: 0.25,
        warned: false,
    }];
    Scenario::new(name, setup, move |r| {
        vec![
            Figure::most(
                "refused before",
                share_refused(r, 0.0, 2.0),
                chance(balance),
            ),
            Figure::least("goodput while gone", r.goodput(3.0, 4.5) / left, 0.94),
            // The herd: all that the returned ones are sent, because they have nothing to do.
            Figure::most(
                "p99 when back",
                r.latency(4.75, 5.75, 0.99) / WORK.p99(),
                if balance == Balance::Random { 4.0 } else { 3.0 },
            ),
            Figure::most("time-outs when back", r.time_outs(4.5, 7.5), 0.0),
            Figure::least("goodput from 0.5 s on", r.goodput(5.25, 7.5) / asked, 0.97),
            Figure::most("tries from 1 s on", tries(r, 5.75, 7.5), 1.2),
            Figure::most(
                "refused from 4 s on",
                share_refused(r, 8.75, 9.5),
                chance(balance),
            ),
        ]
    })
}

/// At 0.7 of what it can serve a tenth at a time is told to leave, is replaced 0.3 s later and known to be there after 0.1 s.
fn rolling(name: &str, balance: Balance, size: usize) -> Scenario {
    let mut setup = fleet(balance, size, 0.7, 8.0);
    let tenth = size / 10;
    setup.outages = (0..10)
        .map(|batch| {
            let from = 2.0 + 0.5 * f64::from(batch);
            Outage {
                instances: batch as usize * tenth..(batch as usize + 1) * tenth,
                from,
                to: from + 0.3,
                notice: 0.1,
                warned: true,
            }
        })
        .collect();
    Scenario::new(name, setup, move |r| {
        vec![
            Figure::most("refused", share_refused(r, 0.0, 8.0), 0.2 * chance(balance)),
            Figure::most("lost", r.sum(0.0, 8.0, |b| b.lost), 0.0),
            Figure::most("p99", r.latency(2.0, 7.5, 0.99) / WORK.p99(), 2.0),
        ]
    })
}

/// At 0.8 of what it can serve everything takes twice as long for 1.5 s. Clients try again three times, so what was refused comes back on top.
fn storm(name: &str, balance: Balance, size: usize) -> Scenario {
    let capacity = SERVES * size as f64;
    let mut setup = fleet(balance, size, 0.8, 8.5);
    setup.retries = (3, 0.1);
    setup.slowness = during(1.0, 2.0, 3.5, 2.0);
    Scenario::new(name, setup, move |r| {
        vec![
            Figure::least(
                "goodput in it",
                r.goodput(2.75, 3.5) / (0.5 * capacity),
                0.92,
            ),
            Figure::info("tries in it", tries(r, 2.75, 3.5)),
            Figure::least(
                "goodput from 0.5 s on",
                r.goodput(4.0, 6.5) / (0.8 * capacity),
                0.97,
            ),
            Figure::most("tries from 1 s on", tries(r, 4.5, 6.5), 1.2),
            Figure::most(
                "refused from 4 s on",
                share_refused(r, 7.5, 8.5),
                chance(balance),
            ),
        ]
    })
}

/// The share of a load of 0.8 that four workers refuse: sent at random, some of them have more to do for a while than they can, and so they have where balancers remember for seconds that others were slow.
fn chance(balance: Balance) -> f64 {
    match balance {
        Balance::Random => 0.025,
        Balance::PeakEwma => 0.05,
        _ => 0.005,
    }
}

/// How much the goodput of 100 ms swings, in standard deviations over the mean.
#[must_use]
pub fn swing(record: &Record, from: f64, to: f64) -> f64 {
    let step = 2.0 * BIN;
    let n = ((to - from) / step).round();
    let rates: Vec<f64> = (0..n as u32)
        .map(|i| from + step * f64::from(i))
        .map(|at| record.goodput(at, at + step))
        .collect();
    let mean = rates.iter().sum::<f64>() / n;
    let variance = rates.iter().map(|r| (r - mean) * (r - mean)).sum::<f64>() / n;
    variance.sqrt() / mean
}

/// Instances that swing each for itself swing less together, by the root of how many they are; in step they would not.
/// Chance alone makes half of this.
fn in_step(size: usize) -> f64 {
    (250.0 / (size as f64).sqrt()).ceil() * 1e-3
}

/// How often a request was sent, until it was answered or given up.
fn tries(record: &Record, from: f64, to: f64) -> f64 {
    let sent = record.sum(from, to, |bin| bin.sent);
    sent / (sent - record.sum(from, to, |bin| bin.retried)).max(1.0)
}

fn share_refused(record: &Record, from: f64, to: f64) -> f64 {
    record.refused(from, to) / record.sum(from, to, |bin| bin.sent).max(1.0)
}

//! Who goes first: ten times the load, of which a tenth of the capacity is critical.

use steadfast_core::Priority;

use super::WORK;
use crate::rng::Dist;
use crate::scenario::{Figure, Scenario};
use crate::world::record::Record;
use crate::world::setup::{Route, Setup, always};

pub(super) fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    for workers in [1, 4, 16, 64] {
        all.push(flood(&format!("critical-pool-{workers}"), workers, WORK));
    }
    all.push(flood("critical-deterministic", 16, Dist::Constant(0.010)));
    all
}

/// Background requests ask for 9.9 times the capacity, critical ones for a tenth of it.
fn flood(name: &str, workers: u32, work: Dist) -> Scenario {
    let capacity = f64::from(workers) / work.mean();
    let secs = 5.0 + (40_000.0 / capacity).clamp(8.0, 400.0);
    let mut setup = Setup::pool(workers, work, 10.0 * capacity, secs).poisson();
    setup.routes = [(Priority::Critical, 0.1), (Priority::Background, 9.9)]
        .into_iter()
        .map(|(priority, weight)| Route {
            weight: always(weight),
            priority,
            tenant: 0,
            delay: always(Dist::Constant(0.0)),
            work: Some((0, work)),
        })
        .collect();
    Scenario::new(name, setup, move |r| {
        let from = 5.0;
        vec![
            Figure::least(
                "critical admitted",
                admitted(r, Priority::Critical, from, secs),
                0.999,
            ),
            Figure::most(
                "background admitted",
                admitted(r, Priority::Background, from, secs),
                0.1,
            ),
            Figure::info(
                "critical at first",
                admitted(r, Priority::Critical, 0.0, from),
            ),
            Figure::least("goodput", r.goodput(from, secs) / capacity, 0.9),
            Figure::info("p99", r.latency(from, secs, 0.99) / work.p99()),
        ]
    })
}

/// The share of a class that was not refused.
fn admitted(record: &Record, priority: Priority, from: f64, to: f64) -> f64 {
    let class = priority.index();
    let refused = record.sum(from, to, |bin| bin.refused_of[class]);
    1.0 - refused / record.sum(from, to, |bin| bin.sent_of[class]).max(1.0)
}

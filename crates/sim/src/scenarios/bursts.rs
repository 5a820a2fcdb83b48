//! Loads that come in bursts and are 0.8 of the capacity on average: what a queue would be for.

use super::WORK;
use crate::rng::Rng;
use crate::scenario::{Figure, Scenario};
use crate::world::setup::Setup;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        // Each burst leaves 48 requests behind, which is 30 ms of work,
        on_off("on-off-10ms", |t| (t % 0.05) < 0.01, 4.0),
        // and here 240, which is 150 ms.
        on_off("on-off-50ms", |t| (t % 0.25) < 0.05, 4.0),
        // A quarter of all slots of 20 ms, in no order: some follow each other.
        on_off(
            "on-off-random",
            |t| Rng::new((t / 0.02) as u64).unit() < 0.25,
            3.2,
        ),
    ]
}

/// So many times the capacity while it is on, and nothing else.
fn on_off(name: &str, on: fn(f64) -> bool, times: f64) -> Scenario {
    let rate = move |t: f64| if on(t) { 1600.0 * times } else { 0.0 };
    let setup = Setup::pool(16, WORK, 0.0, 21.0)
        .rate(Box::new(rate))
        .poisson();
    Scenario::new(name, setup, |r| {
        vec![
            Figure::info("served", r.served(1.0, 20.0)),
            Figure::info("goodput", r.goodput(1.0, 20.0) / 1600.0),
            Figure::info("p99", r.latency(1.0, 20.0, 0.99) / WORK.p99()),
            Figure::info("time-outs/s", r.time_outs(1.0, 20.0)),
        ]
    })
}

//! Loads that come in bursts and are 0.8 of the capacity on average: nobody need be refused.

use super::WORK;
use crate::rng::Rng;
use crate::scenario::{Figure, Scenario};
use crate::world::setup::Setup;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        // Each burst leaves 48 requests behind, which is 30 ms of work,
        on_off("on-off-10ms", EACH_50_MS, 0.999),
        // and here 240, which is 150 ms.
        on_off("on-off-50ms", EACH_250_MS, 0.999),
        // A quarter of all slots of 20 ms, in no order: some follow each other, and at times
        // clients wait for as long as they would at all.
        on_off(
            "on-off-random",
            |t| rate(Rng::new((t / 0.02) as u64).unit() < 0.25, 3.2),
            0.6,
        ),
        between_overloads(),
    ]
}

type Rate = fn(f64) -> f64;

const EACH_50_MS: Rate = |t| rate((t % 0.05) < 0.01, 4.0);
const EACH_250_MS: Rate = |t| rate((t % 0.25) < 0.05, 4.0);

/// So many times the capacity while it is on, and nothing else.
fn rate(on: bool, times: f64) -> f64 {
    if on { 1600.0 * times } else { 0.0 }
}

fn on_off(name: &str, rate: Rate, served: f64) -> Scenario {
    let setup = Setup::pool(16, WORK, 0.0, 21.0)
        .rate(Box::new(rate))
        .poisson();
    Scenario::new(name, setup, move |r| {
        vec![
            Figure::least("served", r.served(1.0, 20.0), served),
            Figure::info("goodput", r.goodput(1.0, 20.0) / 1600.0),
            Figure::info("p99", r.latency(1.0, 20.0, 0.99) / WORK.p99()),
            Figure::most("time-outs/s", r.time_outs(1.0, 20.0), 0.0),
        ]
    })
}

/// The limit of an overload is still held when the bursts begin, and they do not hide the next.
fn between_overloads() -> Scenario {
    let overload = |t: f64| !(3.0..12.0).contains(&t);
    let setup = Setup::pool(16, WORK, 0.0, 18.0)
        .rate(Box::new(
            move |t| {
                if overload(t) { 3200.0 } else { EACH_50_MS(t) }
            },
        ))
        .poisson();
    Scenario::new("on-off-between", setup, |r| {
        vec![
            Figure::least("served", r.served(8.0, 11.9), 0.99),
            Figure::least("goodput at 2x", r.goodput(13.0, 17.9) / 1600.0, 0.97),
            Figure::most("p99 at 2x", r.latency(13.0, 17.9, 0.99) / WORK.p99(), 1.3),
        ]
    })
}

//! Steps: of the load, of the capacity, of what is asked for; and any limit to start from.

use steadfast_core::Priority;

use super::WORK;
use crate::rng::Dist;
use crate::scenario::{Figure, Scenario};
use crate::world::setup::{Route, Server, Setup, always, during, step};

pub(super) fn all() -> Vec<Scenario> {
    let p99 = WORK.p99();
    let mut all = vec![Scenario::new(
        "spike-10x",
        Setup::pool(16, WORK, 0.0, 12.0)
            .rate(during(800.0, 4.0, 6.0, 16000.0))
            .poisson(),
        move |r| {
            vec![
                Figure::least("goodput in it", r.goodput(4.0, 6.0) / 1600.0, 0.92),
                Figure::most("p99 from 1 s on", r.latency(5.0, 6.0, 0.99) / p99, 1.3),
                Figure::most("recovery", r.recovery(6.0, 12.0, 760.0), 0.2),
                Figure::least("served after", r.served(6.2, 11.5), 0.99),
            ]
        },
    )];
    for times in [2.0, 3.0] {
        let setup = Setup::pool(16, WORK, 0.0, 12.0)
            .rate(during(800.0, 4.0, 8.0, 1600.0 * times))
            .poisson();
        all.push(Scenario::new(format!("step-{times}x"), setup, move |r| {
            vec![
                Figure::least("goodput in it", r.goodput(4.0, 8.0) / 1600.0, 0.96),
                Figure::most("p99 from 1 s on", r.latency(5.0, 8.0, 0.99) / p99, 1.3),
                Figure::least("served after", r.served(8.5, 11.5), 0.99),
            ]
        }));
    }
    all.push(Scenario::new(
        "ramp-3x",
        Setup::pool(16, WORK, 0.0, 20.0)
            .rate(Box::new(|t| {
                (800.0 + 400.0 * (t - 3.0)).clamp(800.0, 4800.0)
            }))
            .poisson(),
        move |r| {
            vec![
                Figure::least("goodput", r.goodput(8.0, 19.0) / 1600.0, 0.965),
                Figure::most("p99", r.latency(8.0, 19.0, 0.99) / p99, 1.5),
            ]
        },
    ));
    all.push(Scenario::new(
        "cold-2x",
        Setup::pool(16, WORK, 3200.0, 4.0).poisson(),
        move |r| {
            vec![
                Figure::least("goodput", r.goodput(0.1, 2.0) / 1600.0, 0.95),
                Figure::most("p99 from 1 s on", r.latency(1.0, 3.5, 0.99) / p99, 1.3),
            ]
        },
    ));
    for (name, limit) in [("start-high", 1_000), ("start-low", 2)] {
        let setup = Setup::pool(16, WORK, 4800.0, 12.0).poisson();
        let started = Scenario::new(name, setup, move |r| {
            vec![
                Figure::least("goodput from 5 s on", r.goodput(5.0, 11.0) / 1600.0, 0.97),
                Figure::most("p99 from 5 s on", r.latency(5.0, 11.0, 0.99) / p99, 1.3),
            ]
        });
        all.push(started.start(limit));
    }
    all.push(capacity(
        "capacity-4-to-1",
        |t| if t < 5.0 { 4 } else { 1 },
        250.0,
        100.0,
    ));
    all.push(capacity(
        "capacity-4-to-1-slowly",
        |t| (4.0 - 3.0 * ((t - 4.0) / 6.0).clamp(0.0, 1.0)).round() as u32,
        250.0,
        100.0,
    ));
    all.push(capacity(
        "capacity-1-to-4",
        |t| if t < 5.0 { 1 } else { 4 },
        500.0,
        400.0,
    ));
    all.push(capacity(
        "capacity-16-to-4",
        |t| if t < 5.0 { 16 } else { 4 },
        1200.0,
        400.0,
    ));
    all.push(Scenario::new("route-mix-overload", mix(), |r| {
        let limit = |t: f64| {
            let bins = &r.bins[(t * 20.0) as usize..(t * 20.0 + 60.0) as usize];
            let mut caps: Vec<u32> = bins.iter().filter_map(|b| b.cap).collect();
            caps.sort_unstable();
            caps.get(caps.len() / 2).map_or(f64::NAN, |&c| f64::from(c))
        };
        vec![
            Figure::least("goodput", r.goodput(6.0, 10.0) / 1600.0, 0.95),
            Figure::least("limit after/before", limit(11.0) / limit(7.0), 0.5),
            Figure::least("goodput after", r.goodput(12.0, 19.0) / 325.0, 0.95),
        ]
    }));
    all.push(Scenario::new("two-pools", two_pools(), |r| {
        vec![
            Figure::info("goodput of both", r.goodput(5.0, 19.0) / 1640.0),
            Figure::info("refused share", 1.0 - r.served(5.0, 19.0)),
        ]
    }));
    all
}

/// A pool of 10 ms workers that changes, at an even `rate`; judged from 1 s after 5 s.
fn capacity(name: &str, workers: fn(f64) -> u32, rate: f64, after: f64) -> Scenario {
    let mut setup = Setup::pool(1, WORK, rate, 20.0).poisson();
    setup.servers = vec![Server::Pool(Box::new(workers))];
    let p99 = WORK.p99();
    let start = if name.ends_with("slowly") { 11.0 } else { 6.0 };
    let rate = rate.min(after);
    Scenario::new(name, setup, move |r| {
        vec![
            Figure::least("goodput", r.goodput(start, 19.0) / rate, 0.94),
            Figure::most("p99", r.latency(start, 19.0, 0.99) / p99, 5.0),
        ]
    })
}

/// 2x of a pool of 16 with 2 % of long requests, then 2x with 20 %.
fn mix() -> Setup {
    let share = |t: f64| if t < 10.0 { 0.0 } else { 0.2 };
    let mut setup = Setup::pool(16, WORK, 0.0, 20.0).poisson();
    setup.routes[0].weight = Box::new(move |t| 1.0 - share(t));
    setup.routes.push(Route {
        priority: Priority::Default,
        tenant: 0,
        weight: Box::new(share),
        delay: always(Dist::Constant(0.0)),
        work: Some((0, Dist::Lognormal(0.2, 0.5))),
    });
    setup.deadline = 2.0;
    setup.rate(step(3200.0, 10.0, 666.0))
}

/// Two databases behind one limiter: 16 workers of 10 ms at 0.8x, 8 of 200 ms at 3x.
fn two_pools() -> Setup {
    let mut setup = Setup::pool(16, WORK, 1400.0, 20.0).poisson();
    setup.servers.push(Server::Pool(always(8)));
    setup.routes[0].weight = always(1280.0);
    setup.routes.push(Route {
        priority: Priority::Default,
        tenant: 0,
        weight: always(120.0),
        delay: always(Dist::Constant(0.0)),
        work: Some((1, Dist::Lognormal(0.2, 0.5))),
    });
    setup.deadline = 2.0;
    setup
}

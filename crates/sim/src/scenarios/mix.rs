//! Two routes on two pools, one of them at ten times its own capacity: what one limit cannot do,
//! without bars, and what limits by backend make of it.

use steadfast_core::Priority;

use crate::rng::Dist;
use crate::scenario::{Figure, Scenario};
use crate::world::setup::{Route, Server, Setup, always, step};

/// A quick page and a slow report: sixteen workers each.
const QUICK: Dist = Dist::Lognormal(0.002, 0.5);
const SLOW: Dist = Dist::Lognormal(0.2, 0.5);
const WORKERS: u32 = 16;

/// What each asks for before the flood, of what its pool can do.
const BEFORE: f64 = 0.9;

/// When the flood begins, from when on it is judged, and when it ends, in seconds.
const FLOOD: f64 = 10.0;
const FROM: f64 = 15.0;
const SECS: f64 = 35.0;

/// What becomes of each route, of what it could have alone.
const BAR: f64 = 0.93;

/// The same of a process that starts in the flood: a first limit may be too low, and grows slowly.
const COLD_BAR: f64 = 0.4;

pub(super) fn all() -> Vec<Scenario> {
    let rows = [
        ("mix-slow-10x", BEFORE, 10.0),
        ("mix-quick-10x", 10.0, BEFORE),
        ("mix-both-10x", 10.0, 10.0),
        ("mix-both", BEFORE, BEFORE),
    ];
    let one = rows.map(|(name, quick, slow)| mix(name, [quick, slow], FLOOD, false));
    let apart = rows.map(|(name, quick, slow)| {
        let name = name.replacen("mix", "mix-apart", 1);
        mix(&name, [quick, slow], FLOOD, true)
    });
    // A process that starts in the middle of it.
    let cold = rows[..3].iter().map(|(name, quick, slow)| {
        let name = name.replacen("mix", "mix-cold", 1);
        mix(&name, [*quick, *slow], 0.0, true)
    });
    one.into_iter().chain(apart).chain(cold).collect()
}

/// Each route asks for so many times what its pool can do, from `flood` on.
fn mix(name: &str, times: [f64; 2], flood: f64, by_backend: bool) -> Scenario {
    let can = [QUICK, SLOW].map(|work| f64::from(WORKERS) / work.mean());
    let asks = [0, 1].map(|at| [can[at] * BEFORE, can[at] * times[at]]);
    let rate = step(asks[0][0] + asks[1][0], flood, asks[0][1] + asks[1][1]);
    let mut setup = Setup::pool(WORKERS, QUICK, 0.0, SECS).poisson().rate(rate);
    setup.servers = vec![Server::Pool(always(WORKERS)), Server::Pool(always(WORKERS))];
    setup.deadline = 2.0;
    setup.by_backend = by_backend;
    let routes = [QUICK, SLOW].into_iter().zip(asks).enumerate();
    setup.routes = routes
        .map(|(server, (work, [before, after]))| Route {
            weight: step(before, flood, after),
            priority: Priority::Default,
            // One for both: what became of each route is kept where there are tenants.
            tenant: 1,
            delay: always(Dist::Constant(0.0)),
            work: Some((server, work)),
        })
        .collect();
    let bar = if flood > 0.0 { BAR } else { COLD_BAR };
    Scenario::new(name, setup, move |r| {
        let of_alone = |route: usize| {
            let done = r.route(route, FROM, SECS).latencies.len() as f64;
            done / (SECS - FROM) / (can[route] * times[route].min(1.0))
        };
        let figure = |name, route| match by_backend {
            true => Figure::least(name, of_alone(route), bar),
            false => Figure::info(name, of_alone(route)),
        };
        vec![figure("quick, of alone", 0), figure("slow, of alone", 1)]
    })
}

//! Two routes on two pools behind one limit, one of them at ten times its own capacity: what
//! one limit cannot do, without bars.

use steadfast_core::Priority;

use crate::rng::Dist;
use crate::scenario::{Figure, Scenario};
use crate::world::setup::{Route, Server, Setup, always};

/// A quick page and a slow report: sixteen workers each.
const QUICK: Dist = Dist::Lognormal(0.002, 0.5);
const SLOW: Dist = Dist::Lognormal(0.2, 0.5);
const WORKERS: u32 = 16;

pub(super) fn all() -> Vec<Scenario> {
    let rows = [
        ("mix-slow-10x", 0.9, 10.0),
        ("mix-quick-10x", 10.0, 0.9),
        ("mix-both", 0.9, 0.9),
    ];
    rows.map(|(name, quick, slow)| mix(name, quick, slow))
        .into()
}

/// Each route asks for so many times what its pool can do.
fn mix(name: &str, quick: f64, slow: f64) -> Scenario {
    let (from, secs) = (10.0, 25.0);
    let [of_quick, of_slow] = [QUICK, SLOW].map(|work| f64::from(WORKERS) / work.mean());
    let rate = of_quick * quick + of_slow * slow;
    let mut setup = Setup::pool(WORKERS, QUICK, rate, secs).poisson();
    setup.servers = vec![Server::Pool(always(WORKERS)), Server::Pool(always(WORKERS))];
    setup.deadline = 2.0;
    let asks = [of_quick * quick, of_slow * slow];
    let routes = [QUICK, SLOW].into_iter().zip(asks).enumerate();
    setup.routes = routes
        .map(|(server, (work, weight))| Route {
            weight: always(weight),
            priority: Priority::Default,
            // One for both: what became of each route is kept where there are tenants.
            tenant: 1,
            delay: always(Dist::Constant(0.0)),
            work: Some((server, work)),
        })
        .collect();
    Scenario::new(name, setup, move |r| {
        let done = |route| r.route(route, from, secs).latencies.len() as f64 / (secs - from);
        vec![
            Figure::info("quick, of alone", done(0) / (of_quick * quick.min(1.0))),
            Figure::info("slow, of alone", done(1) / (of_slow * slow.min(1.0))),
        ]
    })
}

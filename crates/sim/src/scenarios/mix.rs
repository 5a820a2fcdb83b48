//! Two routes on two pools, one of them at ten times its own capacity: what one limit cannot do,
//! without bars, and what limits by backend make of it.

use steadfast_core::Priority;

use crate::rng::Dist;
use crate::scenario::{Figure, Scenario};
use crate::world::setup::{Route, Server, Setup, always, step};

/// Two routes, a quick page and a slow report, each on workers of its own, and their clients.
#[derive(Clone, Copy)]
struct Pools {
    work: [Dist; 2],
    workers: [u32; 2],
    /// For how long clients wait, in seconds.
    patience: f64,
    /// When the flood begins, from when on it is judged, and when it ends, in seconds.
    flood: f64,
    from: f64,
    until: f64,
    by_backend: bool,
    /// What becomes of each route, of what it could have alone.
    bar: f64,
}

/// Under one limit.
const ONE: Pools = Pools {
    work: [Dist::Lognormal(0.002, 0.5), Dist::Lognormal(0.2, 0.5)],
    workers: [16, 16],
    patience: 2.0,
    flood: 10.0,
    from: 15.0,
    until: 35.0,
    by_backend: false,
    bar: 0.93,
};

/// Each route under a limit of its own.
const APART: Pools = Pools {
    by_backend: true,
    ..ONE
};

/// A process that starts in the middle of the flood: a first limit may be too low, and grows slowly.
const COLD: Pools = Pools {
    flood: 0.0,
    bar: 0.4,
    ..APART
};

/// Clients that wait for little more than twice what the slow one takes: those of `bench overload
/// --backend pools`. A queue is as long as they wait within 30 ms.
const HASTY: Pools = Pools {
    work: [Dist::Lognormal(0.002, 0.2), Dist::Lognormal(0.2, 0.2)],
    workers: [4, 32],
    patience: 0.5,
    flood: 6.0,
    from: 7.0,
    until: 18.0,
    bar: 0.85,
    ..APART
};

/// What each asks for before the flood, of what its pool can do.
const BEFORE: f64 = 0.9;

pub(super) fn all() -> Vec<Scenario> {
    let rows = [
        ("slow-10x", BEFORE, 10.0),
        ("quick-10x", 10.0, BEFORE),
        ("both-10x", 10.0, 10.0),
        ("both", BEFORE, BEFORE),
    ];
    let worlds = [
        ("mix", ONE, &rows[..]),
        ("mix-apart", APART, &rows),
        ("mix-cold", COLD, &rows[..3]),
        ("mix-hasty", HASTY, &rows),
    ];
    let of = |(name, pools, rows): (&str, Pools, &[(&str, f64, f64)])| {
        let name = name.to_owned();
        let scenario = move |(row, quick, slow): &(&str, f64, f64)| {
            mix(&format!("{name}-{row}"), pools, [*quick, *slow])
        };
        rows.iter().map(scenario).collect::<Vec<_>>()
    };
    worlds.into_iter().flat_map(of).collect()
}

/// Each route asks for so many times what its pool can do, from the flood on.
fn mix(name: &str, pools: Pools, times: [f64; 2]) -> Scenario {
    let Pools {
        work,
        workers,
        patience,
        flood,
        from,
        until,
        by_backend,
        bar,
    } = pools;
    let can = [0, 1].map(|at| f64::from(workers[at]) / work[at].mean());
    let asks = [0, 1].map(|at| [can[at] * BEFORE, can[at] * times[at]]);
    let rate = step(asks[0][0] + asks[1][0], flood, asks[0][1] + asks[1][1]);
    let mut setup = Setup::pool(workers[0], work[0], 0.0, until)
        .poisson()
        .rate(rate);
    setup.servers = workers.map(|it| Server::Pool(always(it))).into();
    setup.deadline = patience;
    setup.by_backend = by_backend;
    let routes = work.into_iter().zip(asks).enumerate();
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
    Scenario::new(name, setup, move |r| {
        let of_alone = |route: usize| {
            let done = r.route(route, from, until).latencies.len() as f64;
            done / (until - from) / (can[route] * times[route].min(1.0))
        };
        let figure = |name, route| match by_backend {
            true => Figure::least(name, of_alone(route), bar),
            false => Figure::info(name, of_alone(route)),
        };
        vec![figure("quick, of alone", 0), figure("slow, of alone", 1)]
    })
}

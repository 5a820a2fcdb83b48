//! Fair shares: one client asks for twenty times what the service can do, others for a part.

use steadfast_core::Priority;

use super::WORK;
use crate::rng::Dist;
use crate::scenario::{Figure, Scenario};
use crate::world::record::Record;
use crate::world::setup::{Over, Route, Server, Setup, always, during, step};

/// Tenants beside the one that asks for too much.
const OTHERS: usize = 6;

/// What they ask for together, of the capacity.
const OTHERS_LOAD: f64 = 0.5;

/// Seconds from which figures are taken.
const FROM: f64 = 5.0;

/// From when on the others are judged, and by what.
#[derive(Clone, Copy)]
struct Bars {
    from: f64,
    served_min: f64,
    p99_max: f64,
}

const BARS: Bars = Bars {
    from: FROM,
    served_min: 0.99,
    p99_max: 1.2,
};

pub(super) fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (workers, served_min, p99_max) in [(4, 0.95, 1.4), (16, 0.99, 1.2), (64, 0.985, 1.2)] {
        let capacity = f64::from(workers) / WORK.mean();
        let secs = FROM + (30_000.0 / capacity).clamp(10.0, 60.0);
        let bars = Bars {
            from: FROM,
            served_min,
            p99_max,
        };
        let name = format!("tenant-20x-pool-{workers}");
        all.push(noisy(&name, workers, always(20.0), WORK, secs, bars));
    }
    // From two seconds after it began: the limit is found, and the flood before it forgotten.
    let bars = Bars {
        from: 10.0,
        served_min: 0.98,
        p99_max: 1.2,
    };
    let wave = during(0.0, 8.0, 12.0, 20.0);
    all.push(noisy("tenant-20x-wave", 16, wave, WORK, 20.0, bars));
    // What the limit has to find again while most are held to a share.
    for (name, before, after) in [("less", 16, 8), ("more", 8, 16)] {
        let mut scenario = noisy(
            &format!("tenant-20x-{name}"),
            16,
            always(20.0),
            WORK,
            60.0,
            BARS,
        );
        scenario.setup.servers = vec![Server::Pool(step(before, 15.0, after))];
        let capacity = f64::from(after) / WORK.mean();
        scenario.figures = Box::new(move |r| {
            vec![
                Figure::least("goodput", r.goodput(25.0, 60.0) / capacity, 0.95),
                Figure::most("p99", r.latency(25.0, 60.0, 0.99) / WORK.p99(), 1.6),
            ]
        });
        all.push(scenario);
    }
    // It asks rarely, and for long: the others stand behind it in the queue of the workers, which
    // makes their places longer too.
    let slow = Dist::Lognormal(0.2, 0.5);
    let bars = Bars {
        from: FROM,
        served_min: 0.5,
        p99_max: f64::INFINITY,
    };
    all.push(noisy("tenant-slow", 16, always(20.0), slow, 30.0, bars));
    all.push(two());
    all.push(even());
    all
}

fn route(tenant: u32, weight: Over<f64>, work: Dist) -> Route {
    Route {
        weight,
        priority: Priority::Default,
        tenant,
        delay: always(Dist::Constant(0.0)),
        work: Some((0, work)),
    }
}

/// Route 0 is the noisy one; its weight is what it asks for, in capacities.
fn noisy(name: &str, workers: u32, asks: Over<f64>, work: Dist, secs: f64, bars: Bars) -> Scenario {
    let from = bars.from;
    let capacity = f64::from(workers) / WORK.mean();
    let slower = WORK.mean() / work.mean();
    let asks = std::rc::Rc::new(asks);
    let weight = std::rc::Rc::clone(&asks);
    let mut setup = Setup::pool(workers, WORK, 0.0, secs)
        .poisson()
        .rate(Box::new(move |t| {
            capacity * (asks(t) * slower + OTHERS_LOAD)
        }));
    setup.routes = vec![route(1, Box::new(move |t| weight(t) * slower), work)];
    for tenant in 0..OTHERS {
        let weight = always(OTHERS_LOAD / OTHERS as f64);
        setup.routes.push(route(tenant as u32 + 2, weight, WORK));
    }
    Scenario::new(name, setup, move |r| {
        let loud = r.route(0, from, secs);
        let left = (1.0 - OTHERS_LOAD) * capacity * slower * (secs - from);
        vec![
            Figure::least("others served", served(r, from, secs), bars.served_min),
            Figure::most("others p99", p99(r, from, secs), bars.p99_max),
            Figure::info("others served at first", served(r, 0.0, from)),
            Figure::info("noisy, of what is left", loud.latencies.len() as f64 / left),
            Figure::info("goodput", r.goodput(from, secs) / capacity),
        ]
    })
}

/// Two that ask for too much, one of them four times as much as the other.
fn two() -> Scenario {
    let (workers, secs) = (16, 25.0);
    let capacity = f64::from(workers) / WORK.mean();
    let mut setup = Setup::pool(workers, WORK, 25.25 * capacity, secs).poisson();
    setup.routes = vec![
        route(1, always(20.0), WORK),
        route(2, always(5.0), WORK),
        route(3, always(0.25), WORK),
    ];
    Scenario::new("tenants-20x-5x", setup, move |r| {
        let [more, less, modest] = [0, 1, 2].map(|route| r.route(route, FROM, secs));
        let done = |bin: &crate::world::record::RouteBin| bin.latencies.len() as f64;
        vec![
            Figure::least(
                "smaller over larger",
                done(&less) / done(&more).max(1.0),
                0.8,
            ),
            Figure::most(
                "smaller over larger, at most",
                done(&less) / done(&more).max(1.0),
                1.25,
            ),
            Figure::least(
                "modest served",
                done(&modest) / f64::from(modest.sent),
                0.97,
            ),
            Figure::most("modest p99", modest.latency(0.99) / WORK.p99(), 1.2),
            Figure::least("goodput", r.goodput(FROM, secs) / capacity, 0.9),
        ]
    })
}

/// Twenty alike: nobody is held to a share, and it costs nothing.
fn even() -> Scenario {
    let (workers, secs) = (16, 45.0);
    let capacity = f64::from(workers) / WORK.mean();
    let mut setup = Setup::pool(workers, WORK, 0.0, secs).poisson().rate(step(
        1.05 * capacity,
        25.0,
        2.0 * capacity,
    ));
    setup.routes = (1..=20)
        .map(|tenant| route(tenant, always(1.0), WORK))
        .collect();
    Scenario::new("tenants-even", setup, move |r| {
        vec![
            Figure::least("goodput at 1.05x", r.goodput(FROM, 25.0) / capacity, 0.95),
            Figure::least("goodput at 2x", r.goodput(30.0, secs) / capacity, 0.97),
            Figure::info("p99 at 2x", r.latency(30.0, secs, 0.99) / WORK.p99()),
        ]
    })
}

/// Requests of the others that were answered, of those sent.
fn served(record: &Record, from: f64, to: f64) -> f64 {
    let (mut sent, mut done) = (0.0, 0.0);
    for route in 1..=OTHERS {
        let bin = record.route(route, from, to);
        sent += f64::from(bin.sent);
        done += bin.latencies.len() as f64;
    }
    done / f64::max(sent, 1.0)
}

/// Their p99, as a multiple of the service's own.
fn p99(record: &Record, from: f64, to: f64) -> f64 {
    let mut all = crate::world::record::RouteBin::default();
    for route in 1..=OTHERS {
        all.latencies
            .extend(record.route(route, from, to).latencies);
    }
    all.latency(0.99) / WORK.p99()
}

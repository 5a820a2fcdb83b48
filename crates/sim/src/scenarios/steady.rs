//! Steady overload: goodput and latency once it has settled.

use super::WORK;
use crate::rng::Dist;
use crate::scenario::{Figure, Scenario};
use crate::world::setup::{Load, Server, Setup, always};

pub(super) fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    for times in [1.0, 1.05, 1.2, 2.0, 5.0, 10.0] {
        for poisson in [false, true] {
            let kind = if poisson { "poisson" } else { "even" };
            let setup = arrivals(Setup::pool(16, WORK, 1600.0 * times, 15.0), poisson);
            let (good, slow) = match (times, poisson) {
                (1.0, false) => (0.97, 1.5),
                (1.0, true) => (0.96, 1.5),
                (t, true) if t < 1.5 => (0.965, 1.5),
                (t, false) if t < 1.5 => (0.97, 1.5),
                _ => (0.97, 1.3),
            };
            all.push(settled(
                &format!("{times}x-{kind}"),
                setup,
                WORK,
                1600.0,
                (good, slow),
                5.0,
            ));
        }
    }
    for (workers, mean) in [
        (1, 0.010),
        (4, 0.010),
        (16, 0.0002),
        (16, 0.2),
        (64, 0.010),
        (512, 0.010),
        (4, 0.2),
        (64, 0.2),
        (512, 0.0002),
    ] {
        let work = Dist::Lognormal(mean, 0.5);
        let capacity = f64::from(workers) / mean;
        let secs = (8.0 + 20_000.0 / capacity).min(5.0 + 600_000.0 / capacity);
        let mut setup = Setup::pool(workers, work, 2.0 * capacity, secs).poisson();
        if mean > 0.1 {
            setup.deadline = 2.0;
        }
        let slow = if workers < 16 { 6.0 } else { 1.4 };
        let name = format!("pool-{workers}x{}us", mean * 1e6);
        all.push(settled(
            &name,
            setup,
            work,
            capacity,
            (0.95, slow),
            (secs * 0.5).min(5.0),
        ));
    }
    for (name, work) in [
        ("wild-lognormal", Dist::Lognormal(0.010, 1.5)),
        ("bimodal", Dist::Bimodal(0.9, 0.002, 0.2)),
        ("deterministic", Dist::Constant(0.010)),
    ] {
        for workers in [4, 16, 64] {
            let capacity = f64::from(workers) / work.mean();
            let mut setup = Setup::pool(workers, work, 3.0 * capacity, 20.0).poisson();
            // Long requests must have a chance, or what is left of the work is not the work.
            setup.deadline = if work.p99() > 0.05 { 3.0 } else { 0.5 };
            let good = if workers == 4 { 0.94 } else { 0.96 };
            let slow = if workers == 4 || name == "deterministic" {
                4.0
            } else {
                1.4
            };
            all.push(settled(
                &format!("{name}-{workers}"),
                setup,
                work,
                capacity,
                (good, slow),
                5.0,
            ));
        }
    }
    for times in [2.0, 5.0] {
        let mut setup = Setup::pool(16, WORK, 1600.0 * times, 15.0).poisson();
        setup.servers = vec![Server::Shared(always(16))];
        all.push(settled(
            &format!("shared-{times}x"),
            setup,
            WORK,
            1600.0,
            (0.97, 2.0),
            5.0,
        ));
    }
    all.push(settled(
        "leavers",
        {
            let mut setup = Setup::pool(16, WORK, 4800.0, 15.0).poisson();
            setup.leaves = 0.05;
            setup
        },
        WORK,
        1600.0,
        (0.95, 1.3),
        5.0,
    ));
    all.push(settled(
        "retry-storm",
        {
            let mut setup = Setup::pool(16, WORK, 2400.0, 15.0).poisson();
            setup.retries = (3, 0.05);
            setup
        },
        WORK,
        1600.0,
        (0.97, 1.3),
        5.0,
    ));
    all.push(settled(
        "clients-2000",
        {
            let mut setup = Setup::pool(16, WORK, 0.0, 15.0);
            setup.load = Load::Closed {
                clients: always(2000),
                clients_max: 2000,
                think: 0.3,
            };
            setup
        },
        WORK,
        1600.0,
        (0.97, 1.3),
        5.0,
    ));
    // Neighbours leave the process an eighth of a processor, a slice at a time.
    for times in [0.5, 1.5, 5.0, 10.0] {
        all.push(starved(times));
    }
    for (name, secs) in [("creep-3min", 180.0), ("creep-30min", 1800.0)] {
        let setup = Setup::pool(16, WORK, 4800.0, secs).poisson();
        all.push(settled(name, setup, WORK, 1600.0, (0.97, 1.3), secs - 60.0));
    }
    all
}

/// A service that waits for a processor most of the time. What it can do then depends on how
/// its slices fall, so the figures are those of a fixed limit beside it: see the claims.
fn starved(times: f64) -> Scenario {
    let mut setup = Setup::pool(16, WORK, STARVED * times, 15.0);
    setup.slices = Some((0.003, 0.021));
    Scenario::new(format!("starved-{times}x"), setup, |r| {
        vec![
            Figure::info("goodput", r.goodput(5.0, 14.0) / STARVED),
            Figure::info("p99", r.latency(5.0, 14.0, 0.99) / WORK.p99()),
            Figure::info("time-outs/s", r.time_outs(5.0, 14.0)),
        ]
    })
}

/// What sixteen workers do each second when their process runs for 3 ms in 24.
const STARVED: f64 = 600.0;

fn arrivals(setup: Setup, poisson: bool) -> Setup {
    if poisson { setup.poisson() } else { setup }
}

fn settled(
    name: &str,
    setup: Setup,
    work: Dist,
    capacity: f64,
    (good, slow): (f64, f64),
    from: f64,
) -> Scenario {
    let to = setup.secs - 1.0;
    let p99 = work.p99();
    Scenario::new(name, setup, move |r| {
        vec![
            Figure::least("goodput", r.goodput(from, to) / capacity, good),
            Figure::most("p99", r.latency(from, to, 0.99) / p99, slow),
            Figure::info("first 2 s", r.goodput(0.0, 2.0) / capacity),
        ]
    })
}

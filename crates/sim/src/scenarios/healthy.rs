//! A healthy service is never refused.

use steadfast_core::Priority;

use super::WORK;
use crate::rng::Dist;
use crate::scenario::{Figure, Scenario};
use crate::world::record::Record;
use crate::world::setup::{Load, Route, Setup, always, during, step};

pub(super) fn all() -> Vec<Scenario> {
    let mut all = vec![
        healthy("upstream-300", cold_start(300)),
        healthy("upstream-2000", cold_start(2000)),
        healthy("upstream-2000-steady", {
            let mut setup = cold_start(2000);
            setup.load = Load::Open {
                rate: always(125.0),
                poisson: true,
            };
            setup
        }),
        healthy("upstream-clients", {
            let mut setup = cold_start(0);
            setup.load = Load::Closed {
                clients: always(2000),
                clients_max: 2000,
                think: 1.0,
            };
            setup
        }),
        healthy("upstream-heavy", {
            let mut setup = Setup::upstream(Dist::Lognormal(1.0, 1.5), 500.0, 60.0);
            setup.bursts = vec![(20.0, 1000)];
            setup.poisson()
        }),
        healthy("upstream-bimodal", {
            let delay = Dist::Bimodal(0.9, 0.005, 2.0);
            let rate = during(300.0, 10.0, 20.0, 900.0);
            Setup::upstream(delay, 0.0, 40.0).rate(rate).poisson()
        }),
        healthy("long-polls", {
            let mut setup = Setup::upstream(Dist::Constant(60.0), 20.0, 100.0);
            setup.deadline = 30.0;
            setup.poisson()
        }),
        healthy("long-polls-beside", beside()),
        healthy(
            "dependency-300ms",
            slower_dependency(|t| if t < 5.0 { 0.0 } else { 0.3 }),
        ),
        healthy("dependency-300ms-blip", {
            slower_dependency(|t| if (5.0..7.0).contains(&t) { 0.3 } else { 0.0 })
        }),
        healthy("dependency-300ms-half", {
            let mut setup = slower_dependency(|t| if t < 5.0 { 0.0 } else { 0.3 });
            setup.routes[0].weight = always(0.5);
            setup.routes.push(Route {
                priority: Priority::Default,
                tenant: 0,
                weight: always(0.5),
                delay: always(Dist::Constant(0.0)),
                work: Some((0, WORK)),
            });
            setup
        }),
        healthy("dependency-gradual", {
            slower_dependency(|t| ((t - 5.0) / 10.0).clamp(0.0, 1.0) * 0.3)
        }),
        healthy("dependency-gradual-fast", {
            slower_dependency(|t| ((t - 5.0) / 2.0).clamp(0.0, 1.0) * 0.3)
        }),
        healthy("dependency-waves", {
            slower_dependency(|t| 0.15 * (1.0 - (t * 1.5).cos()))
        }),
        healthy("burst-after-idle", {
            let mut setup = Setup::upstream(Dist::Lognormal(0.05, 0.5), 0.0, 30.0);
            setup.bursts = vec![(10.0, 500), (20.0, 1000)];
            setup.rate(during(100.0, 1.0, 20.0, 0.0)).poisson()
        }),
        healthy("burst-on-pool", {
            let mut setup = Setup::pool(16, WORK, 0.0, 30.0);
            setup.bursts = vec![(10.0, 300)];
            setup.rate(step(0.0, 10.0, 1120.0)).poisson()
        }),
        healthy("pool-0.5x", Setup::pool(16, WORK, 800.0, 20.0).poisson()),
        healthy("route-mix", {
            let mut setup = Setup::pool(64, Dist::Lognormal(0.002, 0.5), 0.0, 30.0);
            setup.routes[0].weight = step(0.95, 10.0, 0.6);
            setup.routes.push(Route {
                priority: Priority::Default,
                tenant: 0,
                weight: step(0.05, 10.0, 0.4),
                delay: always(Dist::Constant(0.0)),
                work: Some((0, Dist::Lognormal(0.2, 0.5))),
            });
            setup.rate(step(1000.0, 10.0, 500.0)).poisson()
        }),
        after_overload(),
    ];
    all.push(Scenario::new(
        "pool-0.8x",
        Setup::pool(16, WORK, 1280.0, 20.0).poisson(),
        |r| vec![Figure::least("served", r.served(0.0, 19.0), 0.999)],
    ));
    all
}

fn healthy(name: &str, setup: Setup) -> Scenario {
    let secs = setup.secs;
    Scenario::new(name, setup, move |r| vec![refused(r, secs)])
}

fn refused(r: &Record, secs: f64) -> Figure {
    Figure::most("refused", r.refused(0.0, secs), 0.0)
}

/// So many requests of 2-30 s at the start, and a tenth of them each second after it.
fn cold_start(requests: u32) -> Setup {
    let mut setup = Setup::upstream(Dist::Uniform(2.0, 30.0), f64::from(requests) / 16.0, 90.0);
    setup.bursts = vec![(0.5, requests)];
    setup.poisson()
}

/// A pool of 16 at 0.8x behind a dependency that needs no worker and takes longer.
fn slower_dependency(extra: impl Fn(f64) -> f64 + 'static) -> Setup {
    let mut setup = Setup::pool(16, WORK, 1160.0, 25.0).poisson();
    setup.deadline = 5.0;
    setup.routes[0].delay = Box::new(move |t| {
        let extra = extra(t);
        if extra > 0.0 {
            Dist::Lognormal(extra, 0.2)
        } else {
            Dist::Constant(0.0)
        }
    });
    setup
}

/// Long polls beside a pool at 0.7x.
fn beside() -> Setup {
    let mut setup = Setup::pool(16, WORK, 1150.0, 60.0).poisson();
    setup.deadline = 100.0;
    setup.routes[0].weight = always(1120.0);
    setup.routes.push(Route {
        priority: Priority::Default,
        tenant: 0,
        weight: always(30.0),
        delay: always(Dist::Uniform(2.0, 30.0)),
        work: None,
    });
    setup
}

/// Overload for 5 s, then 300 clients that wait for an upstream.
fn after_overload() -> Scenario {
    let mut setup = Setup::pool(16, WORK, 0.0, 60.0).poisson();
    setup.deadline = 100.0;
    setup.routes[0].delay = step(Dist::Constant(0.0), 10.0, Dist::Uniform(2.0, 30.0));
    setup.bursts = vec![(10.5, 300)];
    setup.load = Load::Open {
        rate: Box::new(|t| match t {
            t if t < 5.0 => 3200.0,
            t if t < 10.0 => 400.0,
            _ => 20.0,
        }),
        poisson: true,
    };
    Scenario::new("upstream-after-overload", setup, |r| {
        vec![Figure::most("refused", r.refused(10.0, 60.0), 0.0)]
    })
}

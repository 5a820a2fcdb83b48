//! The service becomes eight times slower while the load stays, then heals.

use super::WORK;
use crate::rng::Dist;
use crate::scenario::{Figure, Scenario};
use crate::world::setup::{Setup, during};

pub(super) fn all() -> Vec<Scenario> {
    [
        ("from-0.5x", 800.0),
        ("from-0.8x", 1160.0),
        ("from-2x", 3200.0),
    ]
    .map(|(name, rate)| brownout(name, rate))
    .into()
}

fn brownout(name: &str, rate: f64) -> Scenario {
    let mut setup = Setup::pool(16, WORK, rate, 16.0).poisson();
    setup.slowness = during(1.0, 6.0, 12.0, 8.0);
    let p99 = Dist::Lognormal(0.080, 0.5).p99();
    let before = rate.min(1600.0);
    Scenario::new(format!("brownout-{name}"), setup, move |r| {
        vec![
            Figure::least("goodput", r.goodput(7.0, 12.0) / 200.0, 0.95),
            Figure::most("p99", r.latency(7.0, 12.0, 0.99) / p99, 1.3),
            Figure::most("time-outs/s", r.time_outs(7.0, 12.0), 0.5),
            Figure::most("recovery", r.recovery(12.0, 16.0, 0.95 * before), 0.2),
            Figure::least("after", r.goodput(13.0, 15.5) / before, 0.96),
        ]
    })
}

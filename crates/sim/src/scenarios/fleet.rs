//! A hundred instances behind a balancer.

use super::WORK;
use crate::scenario::{Figure, Scenario};
use crate::world::record::{BIN, Record};
use crate::world::setup::{Balance, Setup};

pub(super) fn all() -> Vec<Scenario> {
    vec![
        fleet("fleet-100-random", Balance::Random),
        fleet("fleet-100-two-choices", Balance::TwoChoices),
    ]
}

/// 4 workers each at 1.5x; half of them restart after 6 s.
fn fleet(name: &str, balance: Balance) -> Scenario {
    let capacity = 100.0 * 400.0;
    let mut setup = Setup::pool(4, WORK, 1.5 * capacity, 10.0).poisson();
    setup.instances = 100;
    setup.balance = balance;
    setup.restart = Some((6.0, 50));
    Scenario::new(name, setup, move |r| {
        vec![
            Figure::least("goodput", r.goodput(3.0, 6.0) / capacity, 0.95),
            Figure::least(
                "goodput after restart",
                r.goodput(6.5, 9.5) / capacity,
                0.94,
            ),
            Figure::most("swing of 100 ms goodput", swing(r), 0.025),
        ]
    })
}

fn swing(r: &Record) -> f64 {
    let rates: Vec<f64> = (30..59)
        .map(|i| r.goodput(2.0 * f64::from(i) * BIN, 2.0 * f64::from(i + 1) * BIN))
        .collect();
    let n = rates.len() as f64;
    let mean = rates.iter().sum::<f64>() / n;
    let variance = rates.iter().map(|r| (r - mean) * (r - mean)).sum::<f64>() / n;
    variance.sqrt() / mean
}

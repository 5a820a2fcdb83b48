//! Every scenario.

use crate::rng::Dist;
use crate::scenario::Scenario;

mod brownout;
mod bursts;
mod classes;
pub mod fleet;
mod healthy;
mod mix;
mod reported;
mod sequence;
mod steady;
mod steps;
mod tenants;

/// The work of the reference service: mean 10 ms, p99 28 ms.
pub const WORK: Dist = Dist::Lognormal(0.010, 0.5);

/// Every scenario, in the order of the table.
#[must_use]
pub fn all() -> Vec<Scenario> {
    let mut all = healthy::all();
    all.extend(steady::all());
    all.extend(sequence::all());
    all.extend(brownout::all());
    all.extend(bursts::all());
    all.extend(steps::all());
    all.extend(reported::all());
    all.extend(classes::all());
    all.extend(tenants::all());
    all.extend(mix::all());
    all.extend(fleet::all());
    all
}

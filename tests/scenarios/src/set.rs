//! The scenarios: what is set up, and what must be said.

mod decoys;
pub(crate) mod disk;
mod envoy;
mod haproxy;
mod host;
mod kernel;
mod nginx;
mod postgres;
mod redis;
mod servers;
mod shop;

use crate::stage::{Side, Stage};

/// One fault, and its healthy twin.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// What is set up, for the table in the docs.
    pub(crate) is: &'static str,
    /// What may be named first, all of it true; nothing for a decoy.
    pub(crate) says: &'static [&'static str],
    pub(crate) exit: &'static [u8],
    /// Whether it is one of the few that the suite runs.
    pub(crate) quick: bool,
    pub(crate) set_up: fn(Side) -> Stage,
}

/// Every one, in the order of the table.
pub(crate) fn all() -> Vec<&'static Scenario> {
    [
        host::SCENARIOS,
        kernel::SCENARIOS,
        postgres::SCENARIOS,
        redis::SCENARIOS,
        haproxy::SCENARIOS,
        nginx::SCENARIOS,
        envoy::SCENARIOS,
        servers::SCENARIOS,
        shop::SCENARIOS,
        decoys::SCENARIOS,
        // Last: the load average is slow to fall again.
        disk::SCENARIOS,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// No 503 and nothing found.
const WELL: &[u8] = &[0];
/// A 503 whose cause is proven.
const PROVEN: &[u8] = &[10];
/// A 503 that is explained, however surely.
const EXPLAINED: &[u8] = &[10, 11];
/// No 503, but a finding.
const RISK: &[u8] = &[13];
/// Nobody speaks HTTP there, or nobody is there.
const UNREACHABLE: &[u8] = &[20];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_docs_have_a_row_for_each() {
        let docs = include_str!("../../../docs/scenarios.md");
        for scenario in all() {
            let row = format!("| {} | {} |", scenario.name, scenario.is);
            assert!(
                docs.contains(&row),
                "run `cargo xtask scenarios --table`: {row}"
            );
        }
    }
}

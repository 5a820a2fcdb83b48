//! The pictures of `docs/fleets.md`: what all balancers do in one world, over each other.

use std::path::Path;

use crate::scenarios::fleet::{BALANCERS, KINDS, SIZES};
use crate::svg::{Curve, Panel, draw_panels};
use crate::world::record::{BIN, Record};

/// One colour for each curve.
const COLOURS: [&str; 4] = ["#999", "#0050c8", "#0a7d32", "#c03000"];

/// A point lasts so long, which is two bins.
const STEP: f64 = 2.0 * BIN;

/// Draws every kind of a fleet of a hundred with each balancer, and all sizes behind one of them; returns the names of the files.
///
/// # Errors
/// Where a file cannot be written.
pub fn fleets(dir: &Path) -> std::io::Result<Vec<String>> {
    std::fs::create_dir_all(dir)?;
    let mut files = Vec::new();
    for (kind, title) in [
        (
            "zone",
            "a third of 100 instances is gone from 2 s to 4.5 s, at 0.8x",
        ),
        (
            "rolling",
            "a tenth of 100 instances after the other restarts, at 0.7x",
        ),
        (
            "storm",
            "100 instances take twice as long from 2 s to 3.5 s, at 0.8x",
        ),
    ] {
        let runs = BALANCERS.map(|(name, _)| (name.to_owned(), format!("{kind}-100-{name}")));
        files.push(draw(dir, kind, title, &runs)?);
    }
    let runs = SIZES.map(|size| {
        let name = format!("{size} instances");
        (name, format!("fleet-{size}-two-choices"))
    });
    let title = "10, 100 and 1,000 instances at 1.5x; half of them restart after 4 s";
    files.push(draw(dir, "sizes", title, &runs)?);
    Ok(files)
}

/// Draws runs over each other: what they are called, and the scenarios.
fn draw(dir: &Path, name: &str, title: &str, runs: &[(String, String)]) -> std::io::Result<String> {
    let records: Vec<(&str, Record, f64)> = runs
        .iter()
        .filter_map(|(label, scenario)| {
            let (record, size) = run(scenario)?;
            Some((label.as_str(), record, size))
        })
        .collect();
    let per_instance = |count: f64, size: f64| Some(count / STEP / size);
    let panels: Vec<Panel<'_>> = (0..3)
        .map(|panel| Panel {
            unit: [
                "served each second by an instance",
                "refused or lost each second by an instance",
                "p99, ms",
            ][panel],
            curves: records
                .iter()
                .zip(COLOURS)
                .map(|((label, record, size), colour)| Curve {
                    name: label,
                    colour,
                    values: points(record)
                        .map(|at| match panel {
                            0 => per_instance(record.sum(at, at + STEP, |b| b.done), *size),
                            1 => per_instance(
                                record.sum(at, at + STEP, |b| b.refused + b.lost),
                                *size,
                            ),
                            _ => Some(1e3 * record.latency(at, at + STEP, 0.99)),
                        })
                        .collect(),
                })
                .collect(),
        })
        .collect();
    let file = format!("fleet-{name}.svg");
    std::fs::write(dir.join(&file), draw_panels(title, &panels, STEP))?;
    Ok(file)
}

fn points(record: &Record) -> impl Iterator<Item = f64> {
    (0..record.bins.len() / 2).map(|i| STEP * i as f64)
}

/// Runs a scenario of a fleet with seed 1, and says how large it is.
fn run(name: &str) -> Option<(Record, f64)> {
    let mut parts = name.splitn(3, '-');
    let (kind, size, balancer) = (parts.next()?, parts.next()?, parts.next()?);
    let size: usize = size.parse().ok()?;
    let (_, make) = KINDS.iter().find(|(known, _)| *known == kind)?;
    let (_, balance) = BALANCERS.iter().find(|(known, _)| *known == balancer)?;
    let record = make(name, *balance, size).run("adaptive", 1)?;
    Some((record, size as f64))
}

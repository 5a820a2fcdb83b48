//! Loads in a row on one process, as an operator's day has them: half the capacity, all of it, and then twice, five and ten times as much.

use crate::rng::Dist;
use crate::scenario::{Figure, Scenario};
use crate::world::record::Record;
use crate::world::setup::Setup;

/// The capacity of 16 workers as a process with a timer of milliseconds has it, each second.
const CAPACITY: f64 = 1449.0;
/// What one request needs of a worker.
const WORK: Dist = Dist::Lognormal(16.0 / CAPACITY, 0.5);

pub(super) fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    for poisson in [false, true] {
        let kind = if poisson { "poisson" } else { "even" };
        // A load is never exactly the capacity: what is measured as such misses it by some hundredths.
        for one in [0.97, 1.0, 1.03] {
            let name = format!("sequence-{one}-{kind}");
            let row = [0.5, one, 2.0, 5.0, 10.0];
            all.push(sequence(&name, &row, 4.0, poisson));
        }
        all.push(sequence(
            &format!("0.5x-2x-{kind}"),
            &[0.5, 2.0],
            4.0,
            poisson,
        ));
        all.push(sequence(&format!("cold-2x-{kind}"), &[2.0], 4.0, poisson));
        all.push(sequence(
            &format!("1x-2x-{kind}"),
            &[1.0, 2.0],
            7.0,
            poisson,
        ));
    }
    all.extend([false, true].map(lengths));
    all.extend([false, true].map(lengths_below));
    all
}

/// Nine of ten requests take 2 ms and one takes 200 ms, on the same sixteen workers.
const LENGTHS: Dist = Dist::Bimodal(0.9, 0.002, 0.2);

/// They come at eight tenths of the capacity, where queues of long ones come and go.
fn lengths_below(poisson: bool) -> Scenario {
    let capacity = 16.0 / LENGTHS.mean();
    let setup = Setup::pool(16, LENGTHS, 0.0, 20.1).rate(Box::new(move |_| 0.8 * capacity));
    let (setup, kind) = if poisson {
        (setup.poisson(), "poisson")
    } else {
        (setup, "even")
    };
    Scenario::new(format!("lengths-0.8x-{kind}"), setup, move |r| {
        vec![
            Figure::most("refused", r.refused(0.0, 20.0), 0.0),
            Figure::least("goodput", r.goodput(1.0, 20.0) / capacity / 0.8, 0.9),
        ]
    })
}

fn lengths(poisson: bool) -> Scenario {
    let work = LENGTHS;
    let capacity = 16.0 / work.mean();
    let times = |t: f64| [0.5, 1.0, 2.0, 5.0][((t / 5.0) as usize).min(3)];
    let setup = Setup::pool(16, work, 0.0, 20.1).rate(Box::new(move |t| capacity * times(t)));
    let (setup, kind) = if poisson {
        (setup.poisson(), "poisson")
    } else {
        (setup, "even")
    };
    Scenario::new(format!("lengths-{kind}"), setup, move |r| {
        let goodput = |from: f64| r.goodput(from, from + 4.0) / capacity;
        let p99 = |from: f64| r.latency(from, from + 4.0, 0.99) / work.p99();
        vec![
            Figure::most("0.5x refused", r.refused(0.0, 5.0), 0.0),
            Figure::least("1x goodput", goodput(6.0), 0.9),
            Figure::most("1x p99", p99(6.0), 2.0),
            Figure::least("2x goodput", goodput(11.0), 0.95),
            Figure::most("2x p99", p99(11.0), 2.0),
            Figure::least("5x goodput", goodput(16.0), 0.95),
            Figure::most("5x p99", p99(16.0), 2.0),
            Figure::most("time-outs/s", r.time_outs(11.0, 20.0), 1.0),
        ]
    })
}

/// So many times the capacity for `secs` each, the first second of each not judged.
fn sequence(name: &str, row: &[f64], secs: f64, poisson: bool) -> Scenario {
    let times = row.to_vec();
    let at = move |t: f64| times[((t / secs) as usize).min(times.len() - 1)];
    let setup = Setup::pool(16, WORK, 0.0, secs * row.len() as f64 + 0.1)
        .rate(Box::new(move |t| CAPACITY * at(t)));
    let setup = if poisson { setup.poisson() } else { setup };
    let row = row.to_vec();
    Scenario::new(name, setup, move |record| {
        let mut figures = Vec::new();
        for (index, &times) in row.iter().enumerate() {
            let begins = secs * index as f64;
            figures.extend(phase(record, times, begins, begins + secs));
        }
        figures
    })
}

fn phase(record: &Record, times: f64, begins: f64, ends: f64) -> Vec<Figure> {
    let from = begins + 1.0;
    let goodput = record.goodput(from, ends) / CAPACITY / times.min(1.0);
    let p99 = record.latency(from, ends, 0.99) / WORK.p99();
    let time_outs = record.time_outs(from, ends);
    let names = names(times);
    let mut figures = vec![
        Figure::least(names[0], goodput, if times < 1.5 { 0.96 } else { 0.97 }),
        Figure::most(names[1], p99, 2.0),
        Figure::most(names[2], time_outs, 0.0),
    ];
    if times < 0.9 {
        figures.push(Figure::most(
            "0.5x refused",
            record.refused(begins, ends),
            0.0,
        ));
    }
    if times >= 2.0 {
        figures.push(Figure::most(names[3], found(record, begins, ends), 1.0));
    }
    figures
}

/// Seconds from the beginning until there was a limit of at most four places for each worker,
/// and there went on to be one.
fn found(record: &Record, begins: f64, ends: f64) -> f64 {
    let good = |cap: Option<u32>| cap.is_some_and(|cap| cap <= 64);
    let bins = record.between(begins, ends);
    let last = bins.iter().rposition(|bin| !good(bin.cap));
    last.map_or(0.0, |bin| (bin + 1) as f64 * crate::world::record::BIN)
}

const fn names(times: f64) -> [&'static str; 4] {
    match times {
        t if t < 0.9 => ["0.5x goodput", "0.5x p99", "0.5x time-outs/s", ""],
        t if t < 1.5 => ["1x goodput", "1x p99", "1x time-outs/s", ""],
        t if t < 3.0 => ["2x goodput", "2x p99", "2x time-outs/s", "2x found after"],
        t if t < 7.0 => ["5x goodput", "5x p99", "5x time-outs/s", "5x found after"],
        _ => [
            "10x goodput",
            "10x p99",
            "10x time-outs/s",
            "10x found after",
        ],
    }
}

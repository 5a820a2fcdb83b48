//! Nanoseconds for each call, on one thread and on two that share the service's state.

use std::{sync::Barrier, thread};

use crate::{
    clock,
    rows::{Bench, Row},
};

/// Makes the calls of one round on a service made for it, and throws the answers away.
pub(crate) fn run(row: Row, calls: u32) {
    row.make().run(calls);
}

/// Returns for each row the median of nanoseconds for each call, on one thread and on two.
///
/// The rows take turns, round by round, so that a machine that becomes slower or faster
/// meanwhile does so for all of them.
pub(crate) fn medians(rows: &[Row], rounds: usize, calls: u32) -> Vec<(f64, f64)> {
    let services: Vec<_> = rows.iter().map(|row| row.make()).collect();
    let seconds: Vec<_> = services.iter().map(|service| service.again()).collect();
    let mut samples = vec![(Vec::new(), Vec::new()); rows.len()];
    for round in 0..=rounds {
        for (row, (one, two)) in samples.iter_mut().enumerate() {
            let alone = timed(|| services[row].run(calls)) / f64::from(calls);
            let shared = with_company(&*services[row], &*seconds[row], calls);
            // The first round warms up.
            if round > 0 {
                one.push(alone);
                two.push(shared);
            }
        }
    }
    samples
        .into_iter()
        .map(|(one, two)| (median(one), median(two)))
        .collect()
}

/// Runs a service on two threads that share its state, and takes the slower one.
fn with_company(first: &dyn Bench, second: &dyn Bench, calls: u32) -> f64 {
    let barrier = Barrier::new(2);
    thread::scope(|scope| {
        let there = scope.spawn(|| {
            barrier.wait();
            timed(|| first.run(calls))
        });
        barrier.wait();
        let here = timed(|| second.run(calls));
        let there = there.join().expect("a round does not panic");
        here.max(there) / f64::from(calls)
    })
}

/// Nanoseconds.
fn timed(work: impl FnOnce()) -> f64 {
    let began = clock::now();
    work();
    clock::secs_since(began) * 1e9
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

//! Nanoseconds for each call, on one thread and on two that share the service's state.

use std::{hint::black_box, sync::Barrier, thread, time::Instant};

use crate::rows::Row;

/// Makes the calls of one round on a service made for it, and throws the answers away.
pub(crate) fn run(row: Row, calls: u32) {
    row.make().run(calls);
}

/// Returns the median of nanoseconds for each call.
pub(crate) fn median_ns(row: Row, rounds: usize, calls: u32) -> f64 {
    let service = row.make();
    service.run(calls);
    median(
        (0..rounds)
            .map(|_| timed(|| service.run(calls)) / f64::from(calls))
            .collect(),
    )
}

/// Returns the same while a second thread does the same on the same state.
pub(crate) fn median_ns_two_threads(row: Row, rounds: usize, calls: u32) -> f64 {
    let service = row.make();
    let (first, second) = (service.again(), service);
    let samples = (0..rounds).map(|_| {
        let barrier = Barrier::new(2);
        thread::scope(|scope| {
            let here = scope.spawn(|| {
                barrier.wait();
                timed(|| first.run(calls))
            });
            barrier.wait();
            let there = timed(|| second.run(calls));
            let here = here.join().expect("a round does not panic");
            here.max(there) / f64::from(calls)
        })
    });
    median(samples.collect())
}

#[allow(
    clippy::disallowed_methods,
    reason = "a benchmark is the one place whose business is the clock"
)]
fn timed(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    black_box(work());
    began.elapsed().as_nanos() as f64
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

//! How long answers take to begin: from the moment a request has its place to the head of its
//! answer.
//!
//! How long a place is held is another number: a download or a stream holds its place until
//! its last byte. Whoever asks why people wait needs this one. One answer in sixteen is
//! measured, because measuring reads the clock and a lock is taken; whoever finds it taken is
//! not measured.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The shortest time that is told apart, and the longest.
const SHORTEST: Duration = Duration::from_micros(16);
const OCTAVES: usize = 24;

/// Steps between a time and its double, so that a time is told to within a tenth.
const STEPS: usize = 8;

/// Length of a window. The last whole one and the one that goes on are told together.
const WINDOW: Duration = Duration::from_secs(60);

/// How long answers took to begin lately.
#[derive(Debug, Default)]
pub(crate) struct Heads(Mutex<Windows>);

#[derive(Debug, Default)]
struct Windows {
    began: Option<Instant>,
    now: Window,
    before: Window,
}

#[derive(Clone, Debug)]
struct Window {
    counts: [u32; OCTAVES * STEPS],
    count: u64,
    sum: Duration,
}

/// What was measured in the last minute or two.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct HeadsView {
    pub(crate) mean: Duration,
    /// Half of the answers, and 99 in 100, began within this time.
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) samples: u64,
}

impl Heads {
    /// Takes the time of one answer.
    pub(crate) fn saw(&self, took: Duration, now: Instant) {
        let Ok(mut windows) = self.0.try_lock() else {
            return;
        };
        windows.turn(now);
        let window = &mut windows.now;
        window.counts[step_of(took)] += 1;
        window.count += 1;
        window.sum = window.sum.saturating_add(took);
    }

    /// Returns what was measured lately, if anything was.
    pub(crate) fn view(&self, now: Instant) -> Option<HeadsView> {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        windows.turn(now);
        let both = [&windows.before, &windows.now];
        let samples: u64 = both.iter().map(|window| window.count).sum();
        let sum: Duration = both.iter().map(|window| window.sum).sum();
        let counts: Vec<u64> = (0..OCTAVES * STEPS)
            .map(|step| both.iter().map(|it| u64::from(it.counts[step])).sum())
            .collect();
        let within = |percent: u64| {
            let wanted = (samples * percent).div_ceil(100);
            let mut seen = 0;
            let step = counts.iter().position(|count| {
                seen += count;
                seen >= wanted
            });
            end_of(step.unwrap_or(OCTAVES * STEPS - 1))
        };
        (samples > 0).then(|| HeadsView {
            mean: sum / u32::try_from(samples).unwrap_or(u32::MAX),
            p50: within(50),
            p99: within(99),
            samples,
        })
    }
}

impl Windows {
    /// Begins a new window where the old one is over.
    fn turn(&mut self, now: Instant) {
        let began = *self.began.get_or_insert(now);
        let age = now.saturating_duration_since(began);
        if age < WINDOW {
            return;
        }
        let last = std::mem::take(&mut self.now);
        self.before = if age < 2 * WINDOW {
            last
        } else {
            Window::default()
        };
        self.began = Some(now);
    }
}

impl Default for Window {
    fn default() -> Self {
        Self {
            counts: [0; OCTAVES * STEPS],
            count: 0,
            sum: Duration::ZERO,
        }
    }
}

fn step_of(took: Duration) -> usize {
    let times = took.as_secs_f64() / SHORTEST.as_secs_f64();
    let step = (times.max(1.0).log2() * STEPS as f64).floor() as usize;
    step.min(OCTAVES * STEPS - 1)
}

/// The longest time of a step.
fn end_of(step: usize) -> Duration {
    let times = 2.0_f64.powf((step + 1) as f64 / STEPS as f64);
    SHORTEST.mul_f64(times)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_time_is_told_to_within_a_tenth_and_forgotten_after_two_minutes() {
        let heads = Heads::default();
        let start = clock::now();
        let ms = Duration::from_millis;
        assert_eq!(heads.view(start), None);
        for at in 0..100 {
            heads.saw(
                if at < 98 { ms(10) } else { ms(2_000) },
                start + ms(at * 100),
            );
        }
        let seen = heads.view(start + ms(10_000)).expect("a hundred");
        assert_eq!(
            (seen.samples, seen.mean),
            (100, Duration::from_micros(49_800))
        );
        assert!(seen.p50 >= ms(10) && seen.p50 <= ms(11), "{seen:?}");
        assert!(seen.p99 >= ms(2_000) && seen.p99 <= ms(2_200), "{seen:?}");
        let kept = heads
            .view(start + ms(70_000))
            .expect("of the minute before");
        assert_eq!(kept.samples, 100);
        assert_eq!(heads.view(start + ms(600_000)), None);
    }

    #[test]
    fn any_time_has_a_step() {
        for took in [Duration::ZERO, Duration::MAX, Duration::from_nanos(1)] {
            assert!(step_of(took) < OCTAVES * STEPS, "{took:?}");
        }
    }
}

//! What each minute of the last day was like, for the plot on the operator's page.
//!
//! Nobody on a request's way writes here: once a second the round in the background takes
//! the difference of the exact sums that core keeps on stripes. A round that comes late,
//! because the runtime was blocked, finds what happened meanwhile in the minute it comes in.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use steadfast_core::{Cause, Ledger, plumbing::ShedSnapshot};

use crate::clock;

/// How many minutes are kept: a day, which is as far back as whoever is woken up looks.
pub(crate) const MINUTES_KEPT: usize = 24 * 60;

/// How many causes there are.
pub(crate) const CAUSES: usize = Cause::ALL.len();

/// One minute of wall time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Minute {
    /// Refusals, in the order of [`Cause::ALL`].
    pub(crate) refused: [u64; CAUSES],
    pub(crate) admitted: u64,
    /// The most that ran at a look.
    pub(crate) in_flight_max: u32,
    /// The limit at the last look.
    pub(crate) limit: Option<u32>,
    /// The longest mean time that a request held its place, of any look.
    pub(crate) held_max: Option<Duration>,
    /// How late the runtime was, at most.
    pub(crate) lag_max: Duration,
}

impl Minute {
    pub(crate) fn refused_in_all(&self) -> u64 {
        self.refused.iter().sum()
    }
}

/// The minutes of the last day.
#[derive(Debug, Default)]
pub(crate) struct Minutes(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    /// The minute of wall time that the last entry stands for.
    last: u64,
    kept: VecDeque<Minute>,
    sums: Sums,
    demand: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    refused: [u64; CAUSES],
    admitted: u64,
}

impl Minutes {
    /// Takes what has happened since the last look, and how much is asked for at present.
    pub(crate) fn observe(
        &self,
        ledger: &Ledger,
        shed: &ShedSnapshot,
        demand: Option<f64>,
        now: Instant,
    ) {
        let sums = Sums {
            refused: Cause::ALL.map(|cause| ledger.count(cause)),
            admitted: shed.admitted,
        };
        let mut ring = self.lock();
        let before = std::mem::replace(&mut ring.sums, sums);
        ring.demand = demand.or(ring.demand);
        let minute = ring.at(minute_of(now));
        for (cause, count) in minute.refused.iter_mut().enumerate() {
            *count += sums.refused[cause].saturating_sub(before.refused[cause]);
        }
        minute.admitted += sums.admitted.saturating_sub(before.admitted);
        minute.in_flight_max = minute.in_flight_max.max(shed.in_flight);
        minute.limit = shed.limit;
        minute.held_max = minute.held_max.max(shed.mean_held);
        minute.lag_max = minute.lag_max.max(shed.lag.lag);
    }

    /// Returns what was asked for at the last look, over what may run.
    pub(crate) fn demand(&self) -> Option<f64> {
        self.lock().demand.filter(|demand| demand.is_finite())
    }

    /// Returns the minutes up to now, oldest first; the last one is still going on.
    pub(crate) fn view(&self, now: Instant) -> Vec<Minute> {
        let mut ring = self.lock();
        if !ring.kept.is_empty() {
            ring.at(minute_of(now));
        }
        ring.kept.iter().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    /// Returns the entry of a minute, after empty ones for those in between.
    fn at(&mut self, minute: u64) -> &mut Minute {
        let missing = match self.kept.is_empty() {
            true => 1,
            false => minute.saturating_sub(self.last),
        };
        let missing = usize::try_from(missing).unwrap_or(usize::MAX);
        for _ in 0..missing.min(MINUTES_KEPT) {
            if self.kept.len() == MINUTES_KEPT {
                self.kept.pop_front();
            }
            self.kept.push_back(Minute::default());
        }
        self.last = self.last.max(minute);
        self.kept
            .back_mut()
            .expect("one was pushed if it was empty")
    }
}

fn minute_of(now: Instant) -> u64 {
    clock::wall(now).as_secs() / 60
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        gate::shed::{Shed, Shedder},
        refusal::refuse,
    };

    #[test]
    fn a_minute_has_what_came_since_the_last_look_and_a_day_is_kept() {
        let (minutes, ledger) = (Minutes::default(), Ledger::new());
        let shed = Shedder::new(&Shed::default()).expect("valid").snapshot();
        let start = clock::now();
        let minute = |count: u64| start + Duration::from_secs(60 * count);
        assert!(minutes.view(start).is_empty(), "nobody has looked yet");
        for (at, refusals) in [(0, 3), (0, 2), (2, 1)] {
            (0..refusals).for_each(|_| refuse(&ledger, minute(at)));
            minutes.observe(&ledger, &shed, Some(0.5), minute(at));
        }
        let seen: Vec<_> = minutes
            .view(minute(3))
            .iter()
            .map(Minute::refused_in_all)
            .collect();
        assert_eq!(seen, [5, 0, 1, 0]);
        let later = minutes.view(minute(10_000));
        assert_eq!(later.len(), MINUTES_KEPT);
        assert!(later.iter().all(|minute| minute.refused_in_all() == 0));
    }
}

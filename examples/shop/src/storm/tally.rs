//! What the clients of one stream saw.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::client::{Answer, Refused};

/// Counts, shared by the clients that write and the screen that reads.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Counts>);

/// Every request that was asked ends in exactly one of the others.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) asked: u64,
    pub(super) served: u64,
    /// By cause.
    pub(super) refused: BTreeMap<String, u64>,
    /// By status.
    pub(super) failed: BTreeMap<u16, u64>,
    pub(super) lost: u64,
    /// Not sent, because too many were under way.
    pub(super) held_back: u64,
    pub(super) served_in: Vec<Duration>,
    pub(super) refused_in: Vec<Duration>,
    /// The shortest and the longest that a client was told to wait, in seconds.
    pub(super) retry_after: Option<(u64, u64)>,
    /// The last refusal.
    pub(super) sample: Option<Refused>,
}

impl Counts {
    pub(super) fn refused_sum(&self) -> u64 {
        self.refused.values().sum()
    }

    pub(super) fn failed_sum(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Adds what another stream saw.
    pub(super) fn add(&mut self, other: &Self) {
        self.asked += other.asked;
        self.served += other.served;
        self.lost += other.lost;
        self.held_back += other.held_back;
        for (cause, count) in &other.refused {
            *self.refused.entry(cause.clone()).or_default() += count;
        }
        for (status, count) in &other.failed {
            *self.failed.entry(*status).or_default() += count;
        }
    }
}

impl Tally {
    pub(super) fn asked(&self) {
        self.with(|counts| counts.asked += 1);
    }

    pub(super) fn held_back(&self) {
        self.with(|counts| counts.held_back += 1);
    }

    /// Counts an answer that came this long after its request was due.
    pub(super) fn answered(&self, answer: Answer, after: Duration) {
        self.with(|counts| match answer {
            Answer::Served => {
                counts.served += 1;
                counts.served_in.push(after);
            }
            Answer::Refused(refused) => {
                *counts.refused.entry(refused.cause.clone()).or_default() += 1;
                counts.refused_in.push(after);
                if let Some(told) = refused.retry_after {
                    let (least, most) = counts.retry_after.unwrap_or((told, told));
                    counts.retry_after = Some((least.min(told), most.max(told)));
                }
                counts.sample = Some(refused);
            }
            Answer::Failed(status) => *counts.failed.entry(status).or_default() += 1,
            Answer::Lost => counts.lost += 1,
        });
    }

    pub(super) fn counts(&self) -> Counts {
        self.with(|counts| counts.clone())
    }

    fn with<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Returns the median and the longest.
pub(super) fn median_and_max(mut times: Vec<Duration>) -> Option<(Duration, Duration)> {
    times.sort_unstable();
    Some((*times.get(times.len() / 2)?, *times.last()?))
}

//! One experiment: which requests it takes, and when each of its steps ends.

use std::time::Instant;

use super::clusters::{Clusters, larger};
use super::sums::Sums;

/// What an experiment is doing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    /// Nothing.
    Rest,
    /// After a limit was set without one: everything admitted now is the low side.
    Verify,
    /// The high side, before the dip.
    Before,
    /// The dip, until its group is full.
    Dip,
    /// The dip goes on, so that its group does not feel what comes after.
    Hold {
        /// When it ends.
        until: Instant,
    },
    /// The high side, after the dip.
    After,
    /// The high side alone, at a limit that was just raised.
    Rise,
    /// Until all of them have ended.
    Wait {
        /// What was waited for.
        kind: Kind,
    },
}

/// Which comparison was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Verify,
    Dip,
    Rise,
}

/// One side of a comparison, with those that have not ended yet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Group {
    pub(super) sums: Sums,
    pub(super) clusters: Clusters,
    /// Variance of what requests take, as far as it is known from elsewhere: a few that happen to be short do not show it.
    pub(super) scatter: f64,
    open: f64,
    open_admitted: f64,
    open_in_flight: f64,
}

impl Group {
    pub(super) fn admitted(&mut self, at_secs: f64, in_flight: u32) {
        self.open += 1.0;
        self.open_admitted += at_secs;
        self.open_in_flight += f64::from(in_flight);
    }

    pub(super) fn ended(&mut self, at_secs: f64, in_flight: u32, sample: Option<(f64, u32, bool)>) {
        self.open -= 1.0;
        self.open_admitted -= at_secs;
        self.open_in_flight -= f64::from(in_flight);
        if let Some((latency, in_flight, abandoned)) = sample {
            self.sums.add(latency, in_flight, abandoned);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.sums.merge(&other.sums);
        self.clusters.merge(&other.clusters);
    }

    /// Squared relative error of the mean latency.
    pub(super) fn error_squared(&self) -> f64 {
        let mean = self.sums.latency().max(1e-9);
        let clusters = self.clusters.latency_spread().over(mean * mean);
        larger(self.own_error_squared(), clusters)
    }

    /// The same if each sample had a fate of its own.
    pub(super) fn own_error_squared(&self) -> f64 {
        let mean = self.sums.latency().max(1e-9);
        let known = self.scatter / (mean * mean) / self.sums.n().max(1.0);
        self.sums.error_squared().max(known)
    }

    /// Variance of the mean of the logarithms.
    pub(super) fn log_error_squared(&self) -> f64 {
        larger(self.sums.log_error_squared(), self.clusters.log_spread())
    }

    /// Counts `count` that were admitted about then.
    pub(super) fn admitted_before(&mut self, count: u32, at_secs: f64, in_flight: f64) {
        let count = f64::from(count);
        self.open += count;
        self.open_admitted += count * at_secs;
        self.open_in_flight += count * in_flight;
    }

    /// How many there are, ended or not.
    pub(super) fn len(&self) -> f64 {
        self.sums.n() + self.open
    }

    pub(super) fn open(&self) -> bool {
        self.open > 0.5
    }

    /// Counts those still open with the age they have.
    pub(super) fn close(&mut self, now_secs: f64) {
        if !self.open() {
            return;
        }
        let age = (now_secs - self.open_admitted / self.open).max(1e-7);
        let in_flight = (self.open_in_flight / self.open).round() as u32;
        for _ in 0..(self.open.min(OPEN_MAX) as u32) {
            self.sums.add(age, in_flight, false);
        }
        (self.open, self.open_admitted, self.open_in_flight) = (0.0, 0.0, 0.0);
    }
}

/// What earlier cycles saw without being sure.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kept {
    pub(super) high: Group,
    pub(super) low: Group,
}

impl Kept {
    /// Adds what was seen to a new cycle, unless the service changed its speed since: sums over two speeds fit neither.
    pub(super) fn add_to(&self, high: &mut Group, low: &mut Group) {
        let error_squared = high.error_squared() + self.high.error_squared();
        if self.high.sums.n() > 0.0 && !high.sums.differs_from(&self.high.sums, error_squared) {
            high.merge(&self.high);
            low.merge(&self.low);
        }
    }
}

/// More open ones than this change a mean no further.
const OPEN_MAX: f64 = 64.0;

#[cfg(test)]
mod tests;

//! A change of the limit and its reason, for machines and for people.

use std::fmt;
use std::time::{Duration, Instant};

/// A change of the limit that is told: see [`super::Snapshot::limit`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Change {
    /// When it happened.
    pub at: Instant,
    /// The limit before; `None` is no limit.
    pub from: Option<u32>,
    /// The limit after; `None` is no limit.
    pub to: Option<u32>,
    /// Why.
    pub why: ChangeReason,
}

impl Change {
    /// Describes a change.
    #[must_use]
    pub const fn new(at: Instant, from: Option<u32>, to: Option<u32>, why: ChangeReason) -> Self {
        Self { at, from, to, why }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} -> {}: {}",
            Bound(self.from),
            Bound(self.to),
            self.why
        )
    }
}

/// Why a limit changed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ChangeReason {
    /// Without a limit, requests became slower in step with how many were in flight.
    Saturated {
        /// In flight when the slow ones were admitted.
        in_flight: f64,
        /// How many times slower they were than those admitted with fewer in flight.
        slower: f64,
        /// How many the service can work on at once.
        knee: f64,
    },
    /// Requests admitted with fewer in flight were faster; the limit goes where that stops.
    Queueing {
        /// Their latency over that of the others.
        latency_ratio: f64,
        /// How many the service can work on at once.
        knee: f64,
    },
    /// Requests admitted with fewer in flight were no faster, so nobody queues.
    NoQueue {
        /// Their latency over that of the others.
        latency_ratio: f64,
    },
    /// Most clients went away before they were answered.
    Abandoned {
        /// The share that did.
        ratio: f64,
    },
    /// Nobody was refused for this long.
    Quiet(Duration),
    /// Requests were refused while nothing at all ended for this long: what was known no longer holds.
    Silent(Duration),
    /// For this long more ran than what came explains: the service is not the one that was measured.
    Changed(Duration),
    /// A rule of the algorithm's own, named by its code.
    Other(&'static str),
}

impl ChangeReason {
    /// Returns the stable code, for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Saturated { .. } => "saturated",
            Self::Queueing { .. } => "queueing",
            Self::NoQueue { .. } => "no-queue",
            Self::Abandoned { .. } => "abandoned",
            Self::Quiet(_) => "quiet",
            Self::Silent(_) => "silent",
            Self::Changed(_) => "changed",
            Self::Other(code) => code,
        }
    }
}

impl fmt::Display for ChangeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Saturated {
                in_flight,
                slower,
                knee,
            } => write!(
                f,
                "requests were {slower:.1} times slower with {in_flight:.0} in flight, so about {knee:.0} run at once"
            ),
            Self::Queueing {
                latency_ratio,
                knee,
            } => write!(
                f,
                "with fewer in flight requests took {latency_ratio:.2} of the time, so about {knee:.0} run at once"
            ),
            Self::NoQueue { latency_ratio } => write!(
                f,
                "with fewer in flight requests took {latency_ratio:.2} of the time, so nobody queues"
            ),
            Self::Abandoned { ratio } => write!(
                f,
                "{:.0} % of the clients went away before an answer",
                ratio * 100.0
            ),
            Self::Quiet(quiet) => write!(f, "nobody was refused for {quiet:.1?}"),
            Self::Silent(silent) => write!(
                f,
                "nothing ended for {silent:.1?} while requests were refused"
            ),
            Self::Changed(held) => write!(
                f,
                "for {held:.1?} more were in flight than so few arrivals explain, so requests take longer than was measured"
            ),
            Self::Other(code) => f.write_str(code),
        }
    }
}

struct Bound(Option<u32>);

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(limit) => write!(f, "{limit}"),
            None => f.write_str("no limit"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::origin;

    #[test]
    fn a_change_is_told_to_machines_by_a_code_and_to_people_in_a_sentence() {
        let secs = Duration::from_secs;
        for (reason, code, says) in [
            (
                ChangeReason::Saturated {
                    in_flight: 40.4,
                    slower: 2.55,
                    knee: 15.7,
                },
                "saturated",
                "requests were 2.5 times slower with 40 in flight, so about 16 run at once",
            ),
            (
                ChangeReason::Queueing {
                    latency_ratio: 0.654,
                    knee: 15.7,
                },
                "queueing",
                "with fewer in flight requests took 0.65 of the time, so about 16 run at once",
            ),
            (
                ChangeReason::NoQueue {
                    latency_ratio: 0.987,
                },
                "no-queue",
                "with fewer in flight requests took 0.99 of the time, so nobody queues",
            ),
            (
                ChangeReason::Abandoned { ratio: 0.755 },
                "abandoned",
                "76 % of the clients went away before an answer",
            ),
            (
                ChangeReason::Quiet(secs(10)),
                "quiet",
                "nobody was refused for 10.0s",
            ),
            (
                ChangeReason::Silent(secs(2)),
                "silent",
                "nothing ended for 2.0s while requests were refused",
            ),
            (ChangeReason::Other("own"), "own", "own"),
        ] {
            let change = Change::new(origin(), Some(40), None, reason);
            assert_eq!(reason.code(), code);
            assert_eq!(change.to_string(), format!("40 -> no limit: {says}"));
        }
    }
}

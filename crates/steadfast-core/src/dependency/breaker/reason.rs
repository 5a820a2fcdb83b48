//! Why a breaker moved, with the numbers of the moment.

use std::{fmt, time::Duration};

use super::{
    state::BreakerMode,
    trip_rules::{TripRules, ms},
};
use crate::FailureClass;

/// Why a breaker moved. Display is a sentence for the operator's page and the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakerReason {
    /// This many calls in a row failed.
    ConsecutiveFailures {
        /// Failures in a row.
        failures: u32,
        /// From the first of them to the last.
        spread: Duration,
    },
    /// Too large a share of the calls failed.
    FailureRatio {
        /// Calls that failed.
        failed: u32,
        /// Calls that were judged.
        calls: u32,
        /// The length of the window they were counted in.
        window: Duration,
    },
    /// Too large a share of the calls was slow.
    SlowRatio {
        /// Calls that were slow.
        slow: u32,
        /// Calls that were judged.
        calls: u32,
        /// The length of the window they were counted in.
        window: Duration,
    },
    /// Calls hang, and nothing has been answered since they started.
    Stalled {
        /// Calls older than the stall limit.
        calls: u32,
        /// About the age of the oldest.
        oldest: Duration,
    },
    /// Callers left, and nothing has been answered for a whole window, or for less if that is
    /// far longer than answers take.
    Unanswered {
        /// Calls whose caller left.
        abandoned: u32,
        /// For how long nothing was answered; at most the length of the window.
        window: Duration,
    },
    /// The dependency said itself when to come back, and calls are not answered otherwise.
    Throttled {
        /// Calls that failed.
        failed: u32,
        /// How long it asked to be left alone.
        asked: Duration,
    },
    /// A check of the dependency failed while no call succeeded.
    CheckFailed(FailureClass),
    /// The wait was over, and probes may run.
    ProbeDue,
    /// A check passed before the wait was over, and probes may run.
    CheckPassed,
    /// As many probes succeeded as were asked for.
    ProbesPassed {
        /// Probes that succeeded.
        probes: u32,
    },
    /// A probe failed.
    ProbeFailed(FailureClass),
    /// A probe was slow.
    ProbeSlow,
    /// A probe did not answer within its lease.
    ProbeSilent {
        /// The lease.
        lease: Duration,
    },
    /// Probes ended without saying anything about the dependency.
    ProbesInconclusive {
        /// Probes that ended so.
        probes: u32,
    },
    /// The ramp was over, and everything passes.
    RampOver,
    /// A person set the mode.
    Mode(BreakerMode),
}

impl BreakerReason {
    /// Returns the stable token, for logs and metric labels.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ConsecutiveFailures { .. } => "consecutive-failures",
            Self::FailureRatio { .. } => "failure-ratio",
            Self::SlowRatio { .. } => "slow-ratio",
            Self::Stalled { .. } => "stalled",
            Self::Unanswered { .. } => "unanswered",
            Self::Throttled { .. } => "throttled",
            Self::CheckFailed(_) => "check-failed",
            Self::ProbeDue => "probe-due",
            Self::CheckPassed => "check-passed",
            Self::ProbesPassed { .. } => "probes-passed",
            Self::ProbeFailed(_) => "probe-failed",
            Self::ProbeSlow => "probe-slow",
            Self::ProbeSilent { .. } => "probe-silent",
            Self::ProbesInconclusive { .. } => "probes-inconclusive",
            Self::RampOver => "ramp-over",
            Self::Mode(_) => "mode",
        }
    }

    /// Packs what a note or a permit can carry into 52 bits; everything else is zero.
    pub(super) fn pack(self) -> u64 {
        let (rule, first, second) = match self {
            Self::ConsecutiveFailures { failures, spread } => (1, clip(failures), millis(spread)),
            Self::FailureRatio { failed, calls, .. } => (2, clip(failed), clip(calls)),
            Self::SlowRatio { slow, calls, .. } => (3, clip(slow), clip(calls)),
            Self::Stalled { calls, oldest } => (4, clip(calls), millis(oldest)),
            Self::CheckFailed(class) => (5, class_index(class), 0),
            Self::Mode(BreakerMode::ForcedOpen) => (6, 0, 0),
            Self::Unanswered { abandoned, window } => (7, clip(abandoned), millis(window)),
            Self::ProbeDue => (8, 0, 0),
            Self::RampOver => (9, 0, 0),
            Self::ProbesPassed { probes } => (10, clip(probes), 0),
            Self::ProbeSilent { lease } => (11, 0, millis(lease)),
            Self::ProbesInconclusive { probes } => (12, clip(probes), 0),
            Self::Throttled { failed, asked } => (13, clip(failed), millis(asked)),
            // These are returned by the one who took the step, at once and whole.
            Self::CheckPassed | Self::ProbeFailed(_) | Self::ProbeSlow | Self::Mode(_) => (0, 0, 0),
        };
        rule | first << RULE_BITS | second << (RULE_BITS + NUMBER_BITS)
    }

    pub(super) fn unpack(packed: u64, rules: &TripRules) -> Option<Self> {
        let first = packed >> RULE_BITS & NUMBER_MAX;
        let second = packed >> (RULE_BITS + NUMBER_BITS) & NUMBER_MAX;
        let (count, of) = (first as u32, second as u32);
        let window = rules.window();
        Some(match packed & ((1 << RULE_BITS) - 1) {
            1 => Self::ConsecutiveFailures {
                failures: count,
                spread: Duration::from_millis(second),
            },
            2 => Self::FailureRatio {
                failed: count,
                calls: of,
                window,
            },
            3 => Self::SlowRatio {
                slow: count,
                calls: of,
                window,
            },
            4 => Self::Stalled {
                calls: count,
                oldest: Duration::from_millis(second),
            },
            5 => Self::CheckFailed(class_at(first).unwrap_or(FailureClass::Other)),
            6 => Self::Mode(BreakerMode::ForcedOpen),
            7 => Self::Unanswered {
                abandoned: count,
                window: Duration::from_millis(second),
            },
            8 => Self::ProbeDue,
            9 => Self::RampOver,
            10 => Self::ProbesPassed { probes: count },
            11 => Self::ProbeSilent {
                lease: Duration::from_millis(second),
            },
            12 => Self::ProbesInconclusive { probes: count },
            13 => Self::Throttled {
                failed: count,
                asked: Duration::from_millis(second),
            },
            _ => return None,
        })
    }
}

impl fmt::Display for BreakerReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConsecutiveFailures { failures, spread } => {
                write!(f, "{failures} calls in a row failed within {spread:?}")
            }
            Self::FailureRatio {
                failed,
                calls,
                window,
            } => write!(f, "{failed} of {calls} calls failed in {window:?}"),
            Self::SlowRatio {
                slow,
                calls,
                window,
            } => write!(f, "{slow} of {calls} calls were slow in {window:?}"),
            Self::Stalled { calls, oldest } => write!(
                f,
                "{calls} calls hang, the oldest for {oldest:?}, and none was answered since"
            ),
            Self::Unanswered { abandoned, window } => write!(
                f,
                "{abandoned} callers left in {window:?}, and no call was answered"
            ),
            Self::Throttled { failed, asked } => write!(
                f,
                "{failed} calls failed, and it asked to be left alone for {asked:?}"
            ),
            Self::CheckFailed(class) => write!(f, "a check failed ({class})"),
            Self::ProbeDue => f.write_str("the wait is over"),
            Self::CheckPassed => f.write_str("a check passed"),
            Self::ProbesPassed { probes } => write!(f, "{probes} probes succeeded"),
            Self::ProbeFailed(class) => write!(f, "a probe failed ({class})"),
            Self::ProbeSlow => f.write_str("a probe was slow"),
            Self::ProbeSilent { lease } => write!(f, "a probe was silent for {lease:?}"),
            Self::ProbesInconclusive { probes } => write!(f, "{probes} probes were inconclusive"),
            Self::RampOver => f.write_str("the ramp is over"),
            Self::Mode(mode) => write!(f, "the mode was set to {mode}"),
        }
    }
}

/// Returns a number for a class that fits into a word.
pub(super) fn class_index(class: FailureClass) -> u64 {
    CLASSES
        .iter()
        .position(|known| *known == class)
        .map_or(0, |position| position as u64)
}

/// Finds the class with this number.
pub(super) fn class_at(index: u64) -> Option<FailureClass> {
    CLASSES.get(usize::try_from(index).ok()?).copied()
}

fn clip(count: u32) -> u64 {
    u64::from(count).min(NUMBER_MAX)
}

fn millis(duration: Duration) -> u64 {
    ms(duration).min(NUMBER_MAX)
}

/// Bits of a packed reason.
pub(super) const REASON_BITS: u32 = RULE_BITS + 2 * NUMBER_BITS;
const RULE_BITS: u32 = 4;
const NUMBER_BITS: u32 = 24;
const NUMBER_MAX: u64 = (1 << NUMBER_BITS) - 1;
/// A class that is missing here is remembered as the first.
const CLASSES: [FailureClass; 16] = [
    FailureClass::Other,
    FailureClass::Auth,
    FailureClass::Dns,
    FailureClass::Loading,
    FailureClass::Misconfigured,
    FailureClass::Overloaded,
    FailureClass::Panicked,
    FailureClass::ReadOnly,
    FailureClass::RefusedByServer,
    FailureClass::Saturated,
    FailureClass::Stale,
    FailureClass::Stuck,
    FailureClass::Timeout,
    FailureClass::Tls,
    FailureClass::Unhealthy,
    FailureClass::Unreachable,
];

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::Trip;

    #[test]
    fn what_a_note_or_a_permit_carries_keeps_its_numbers() {
        let rules = Trip::default().build().expect("defaults");
        let window = rules.window();
        let second = Duration::from_secs(1);
        for reason in [
            BreakerReason::ConsecutiveFailures {
                failures: 5,
                spread: second,
            },
            BreakerReason::FailureRatio {
                failed: 37,
                calls: 50,
                window,
            },
            BreakerReason::SlowRatio {
                slow: 19,
                calls: 20,
                window,
            },
            BreakerReason::Stalled {
                calls: 3,
                oldest: second,
            },
            BreakerReason::Unanswered {
                abandoned: 20,
                window,
            },
            BreakerReason::Throttled {
                failed: 2,
                asked: Duration::from_secs(60),
            },
            BreakerReason::CheckFailed(FailureClass::Unreachable),
            BreakerReason::Mode(BreakerMode::ForcedOpen),
            BreakerReason::ProbeDue,
            BreakerReason::RampOver,
            BreakerReason::ProbesPassed { probes: 2 },
            BreakerReason::ProbeSilent { lease: second },
            BreakerReason::ProbesInconclusive { probes: 5 },
        ] {
            assert_eq!(BreakerReason::unpack(reason.pack(), &rules), Some(reason));
        }
        assert_eq!(BreakerReason::unpack(0, &rules), None);
    }

    #[test]
    fn a_reason_reads_as_a_sentence_with_numbers() {
        let reason = BreakerReason::FailureRatio {
            failed: 37,
            calls: 50,
            window: Duration::from_secs(10),
        };
        assert_eq!(reason.to_string(), "37 of 50 calls failed in 10s");
    }
}

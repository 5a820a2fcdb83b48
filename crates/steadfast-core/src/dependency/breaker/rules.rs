//! What one call's end says about the dependency, and when a share is large enough to be
//! believed.

use std::time::Duration;

use super::{
    outcome::CallOutcome,
    trip_rules::{TripRules, ms},
};
use crate::{FailureClass, dependency::breaker::window::Sample};

/// What a call's end says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) finding: Finding,
    pub(super) sample: Sample,
    /// Whether the dependency answered anything, be it an error.
    pub(super) answered: bool,
    pub(super) retry_after: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    Good,
    Slow { answered: bool },
    Bad { class: FailureClass, in_a_row: bool },
    Nothing,
}

impl TripRules {
    pub(super) fn judge(&self, outcome: CallOutcome, elapsed_ms: u64) -> Verdict {
        let is_slow = self.slow_ms.is_some_and(|limit| elapsed_ms >= limit);
        match outcome {
            CallOutcome::Success if is_slow => slow(true),
            CallOutcome::Slow if self.slow_ms.is_some() => slow(true),
            CallOutcome::Success | CallOutcome::Slow => Verdict {
                finding: Finding::Good,
                sample: CALL,
                answered: true,
                retry_after: None,
            },
            // Nothing free in a pool of our own is our own shortage.
            CallOutcome::Failure(failure) if failure.class == FailureClass::Saturated => {
                nothing(false)
            }
            // It answered, and goes on serving reads; its writes are another health.
            CallOutcome::Failure(failure) if failure.class == FailureClass::ReadOnly => {
                self.judge(CallOutcome::Success, elapsed_ms)
            }
            CallOutcome::Failure(failure) => Verdict {
                finding: Finding::Bad {
                    class: failure.class,
                    in_a_row: failure.class != FailureClass::Overloaded,
                },
                sample: Sample {
                    failed: true,
                    slow: is_slow,
                    ..CALL
                },
                answered: !is_silence(failure.class),
                retry_after: failure.retry_after,
            },
            CallOutcome::Neutral => nothing(true),
            CallOutcome::Abandoned { elapsed } => self.judge_abandoned(elapsed),
        }
    }

    fn judge_abandoned(&self, elapsed: Duration) -> Verdict {
        let elapsed_ms = ms(elapsed);
        let is_over = |limit: Option<u64>| limit.is_some_and(|limit| elapsed_ms >= limit);
        let verdict = if is_over(self.stall_ms) {
            Verdict {
                finding: Finding::Bad {
                    class: FailureClass::Timeout,
                    in_a_row: true,
                },
                sample: Sample {
                    failed: true,
                    slow: is_over(self.slow_ms),
                    ..CALL
                },
                answered: false,
                retry_after: None,
            }
        } else if is_over(self.slow_ms) {
            slow(false)
        } else {
            nothing(false)
        };
        Verdict {
            sample: Sample {
                abandoned: true,
                ..verdict.sample
            },
            ..verdict
        }
    }
}

/// Returns the lower bound of Wilson's score interval for `hits` of `calls`, one-sided,
/// with 95 % confidence (E. B. Wilson, "Probable inference, the law of succession, and
/// statistical inference", 1927).
///
/// Unlike the plain ratio it is low while there is little evidence: 3 of 5 gives 0.27,
/// 5 of 5 gives 0.65.
pub(super) fn wilson_lower(hits: u32, calls: u32) -> f64 {
    if calls == 0 {
        return 0.0;
    }
    let n = f64::from(calls);
    // A sum over stripes is not one moment: hits may be ahead of calls by a thread or two.
    let share = (f64::from(hits) / n).min(1.0);
    let z2 = Z * Z;
    let middle = share + z2 / (2.0 * n);
    let reach = Z * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    (middle - reach) / (1.0 + z2 / n)
}

fn slow(answered: bool) -> Verdict {
    Verdict {
        finding: Finding::Slow { answered },
        sample: Sample { slow: true, ..CALL },
        answered,
        retry_after: None,
    }
}

pub(super) fn nothing(answered: bool) -> Verdict {
    Verdict {
        finding: Finding::Nothing,
        sample: Sample::default(),
        answered,
        retry_after: None,
    }
}

/// Whether a failure of this class means that nothing came back.
fn is_silence(class: FailureClass) -> bool {
    matches!(
        class,
        FailureClass::Panicked | FailureClass::Stale | FailureClass::Stuck | FailureClass::Timeout
    )
}

/// The normal distribution's 95th percentile.
const Z: f64 = 1.644_853_626_951_472_2;
const CALL: Sample = Sample {
    call: true,
    failed: false,
    slow: false,
    abandoned: false,
};

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::Trip;

    #[test]
    fn little_evidence_does_not_exceed_a_ratio() {
        for (hits, calls, exceeds_half) in [
            (3, 5, false),
            (5, 5, true),
            (13, 20, false),
            (14, 20, true),
            (110, 200, false),
            (120, 200, true),
            (0, 0, false),
            (7, 5, true),
        ] {
            assert_eq!(
                wilson_lower(hits, calls) > 0.5,
                exceeds_half,
                "{hits} of {calls}"
            );
        }
        assert!((wilson_lower(3, 5) - 0.27).abs() < 0.01);
        assert!((wilson_lower(5, 5) - 0.65).abs() < 0.01);
    }

    #[test]
    fn every_call_end_is_judged_by_its_kind_and_its_time() {
        use CallOutcome::{Abandoned, Failure, Neutral, Slow, Success};
        let rules = Trip::default()
            .slow_limit(Duration::from_millis(100))
            .build()
            .expect("rules");
        let abandoned = |ms| Abandoned {
            elapsed: Duration::from_millis(ms),
        };
        let bad = |class| Finding::Bad {
            class,
            in_a_row: true,
        };
        for (outcome, elapsed, finding, answered) in [
            (Success, 99, Finding::Good, true),
            (Success, 100, Finding::Slow { answered: true }, true),
            (Slow, 0, Finding::Slow { answered: true }, true),
            (Neutral, 0, Finding::Nothing, true),
            (
                Failure(FailureClass::Saturated.into()),
                999,
                Finding::Nothing,
                false,
            ),
            (
                Failure(FailureClass::ReadOnly.into()),
                0,
                Finding::Good,
                true,
            ),
            (
                Failure(FailureClass::Timeout.into()),
                0,
                bad(FailureClass::Timeout),
                false,
            ),
            (
                Failure(FailureClass::Unhealthy.into()),
                0,
                bad(FailureClass::Unhealthy),
                true,
            ),
            (abandoned(99), 99, Finding::Nothing, false),
            (
                abandoned(100),
                100,
                Finding::Slow { answered: false },
                false,
            ),
            (abandoned(200), 200, bad(FailureClass::Timeout), false),
        ] {
            let verdict = rules.judge(outcome, elapsed);
            assert_eq!(verdict.finding, finding, "{outcome:?} after {elapsed}");
            assert_eq!(verdict.answered, answered, "{outcome:?} after {elapsed}");
            assert_eq!(verdict.sample.call, finding != Finding::Nothing);
        }
    }
}

//! What is told when the server answers: pure, from what was seen.

use std::time::Duration;

use steadfast_core::{CheckOutcome, Failure, FailureClass};
use steadfast_pool::counts::{self, Counts};

use crate::{fresh, gauges::Sessions};

/// What was seen beside the server's answer.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) counts: Counts,
    /// For how long the pool has been full at every one of several readings.
    pub(crate) full_for: Option<Duration>,
    /// Why no new session was given the last time.
    pub(crate) refused: Option<Failure>,
    /// Whether the pool has had nothing left at more than one reading.
    pub(crate) is_empty_again: bool,
    pub(crate) sessions: Option<Sessions>,
    /// After how long without a sign of life a full pool is stuck.
    pub(crate) stuck_after: Duration,
}

/// Says how the pool is, knowing that the server answers.
pub(crate) fn answered(seen: &Seen) -> CheckOutcome {
    let counts = seen.counts;
    if let Some(failure) = &seen.refused {
        let told = counts::refused(failure, counts, seen.is_empty_again, is_complete(seen));
        if let Some(told) = told {
            return told;
        }
    }
    let max = counts.max;
    if !seen.counts.is_full() {
        return CheckOutcome::pass();
    }
    match (&seen.sessions, seen.full_for) {
        (Some(sessions), Some(full_for)) if is_stuck(sessions, full_for, seen.stuck_after) => {
            CheckOutcome::fail(
                FailureClass::Stuck,
                format!(
                    "all {max} connections are in use and none has done anything for {:.0} s; \
                     the longest is '{}' for {:.0} s",
                    sessions.quiet_secs, sessions.longest_state, sessions.longest_secs
                ),
            )
        }
        (sessions, full_for) => CheckOutcome::warn(
            FailureClass::Saturated,
            saturated(max, full_for, sessions.as_ref()),
        ),
    }
}

/// Whether the pool has the connections that it wants. One that is in full use may count
/// such as it is trying to open, so there the server has to say how many there are.
fn is_complete(seen: &Seen) -> bool {
    let Counts { size, max, .. } = seen.counts;
    let has_all = |sessions: &Sessions| sessions.count >= u64::from(size);
    size >= max && (!seen.counts.is_full() || seen.sessions.as_ref().is_some_and(has_all))
}

/// Says how it is when the server refuses the probe a session.
pub(crate) fn refused(failure: &Failure, counts: Counts) -> CheckOutcome {
    let Counts { size, idle, max } = counts;
    // A server that says why it lets nobody in serves those who are in.
    let speaks = matches!(
        failure.class(),
        FailureClass::RefusedByServer | FailureClass::Auth | FailureClass::Misconfigured
    );
    if idle > 0 && speaks {
        return CheckOutcome::warn(failure.class(), fresh::sentence(failure, size as usize));
    }
    if !speaks {
        return CheckOutcome::fail(failure.class(), failure.message());
    }
    let message = format!(
        "the server gives no new session (the pool holds {size} of {max}, none idle): {}",
        failure.message()
    );
    CheckOutcome::fail(failure.class(), message)
}

fn is_stuck(sessions: &Sessions, full_for: Duration, after: Duration) -> bool {
    sessions.count > 0 && full_for >= after && sessions.quiet_secs >= after.as_secs_f64()
}

fn saturated(max: u32, full_for: Option<Duration>, sessions: Option<&Sessions>) -> String {
    let mut text = format!("all {max} connections of the pool are in use; the server answers");
    if let Some(full_for) = full_for {
        text.push_str(&format!(
            "; full at each reading for {} s",
            full_for.as_secs()
        ));
    }
    if let Some(sessions) = sessions {
        text.push_str(&format!(
            "; the longest is '{}' for {:.0} s",
            sessions.longest_state, sessions.longest_secs
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use steadfast_core::CheckStatus::{self, Fail, Pass, Warn};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn seen(size: u32, idle: u32) -> Seen {
        Seen {
            counts: Counts { size, idle, max: 4 },
            full_for: None,
            refused: None,
            is_empty_again: true,
            sessions: None,
            stuck_after: Duration::from_secs(30),
        }
    }

    fn sessions(count: u64, quiet_secs: f64) -> Option<Sessions> {
        Some(Sessions {
            count,
            quiet_secs,
            longest_secs: 60.0,
            longest_state: "idle in transaction".to_owned(),
        })
    }

    #[track_caller]
    fn check(seen: &Seen, status: CheckStatus, class: Option<FailureClass>) {
        let outcome = answered(seen);
        assert_eq!(
            (outcome.status(), outcome.class()),
            (status, class),
            "{seen:?}"
        );
    }

    #[test]
    fn a_full_pool_is_saturated_until_nothing_moves_in_it() {
        let saturated = Some(FailureClass::Saturated);
        check(&seen(0, 0), Pass, None);
        check(&seen(4, 1), Pass, None);
        check(&seen(3, 0), Pass, None);
        check(&seen(4, 0), Warn, saturated);
        let full = |full_for, sessions| Seen {
            full_for,
            sessions,
            ..seen(4, 0)
        };
        check(&full(Some(MINUTE), None), Warn, saturated);
        check(&full(Some(MINUTE), sessions(4, 1.0)), Warn, saturated);
        check(&full(None, sessions(4, 60.0)), Warn, saturated);
        check(
            &full(Some(MINUTE), sessions(4, 60.0)),
            Fail,
            Some(FailureClass::Stuck),
        );
    }

    #[test]
    fn a_pool_that_cannot_grow_fails_with_the_reason() {
        let refused = FailureClass::RefusedByServer;
        let tried = |size, sessions| Seen {
            refused: Some(Failure::new(refused, "too many clients")),
            sessions,
            ..seen(size, 0)
        };
        check(&tried(2, None), Fail, Some(refused));
        check(&tried(2, sessions(2, 0.0)), Fail, Some(refused));
        check(&tried(4, sessions(2, 0.0)), Fail, Some(refused));
        check(
            &tried(4, sessions(4, 0.0)),
            Warn,
            Some(FailureClass::Saturated),
        );
    }

    #[test]
    fn a_refusal_is_a_warning_while_the_pool_has_connections_to_spare() {
        let failure = Failure::new(FailureClass::RefusedByServer, "too many clients");
        let outcome = |size, idle| refused(&failure, Counts { size, idle, max: 4 });
        assert_eq!(outcome(2, 1).status(), Warn);
        assert_eq!(
            outcome(2, 1).message(),
            "new sessions are refused: too many clients; 2 old ones still serve"
        );
        assert_eq!(outcome(2, 0).status(), Fail);
        assert_eq!(outcome(0, 0).status(), Fail);
        let gone = Failure::new(FailureClass::Unreachable, "refused");
        let counts = Counts {
            size: 2,
            idle: 2,
            max: 4,
        };
        assert_eq!(refused(&gone, counts).status(), Fail);
    }

    #[test]
    fn a_refusal_of_new_sessions_is_a_warning_while_old_ones_serve() {
        let refused = |class, size, idle| Seen {
            refused: Some(Failure::new(class, "no")),
            is_empty_again: false,
            ..seen(size, idle)
        };
        let auth = FailureClass::Auth;
        check(&refused(auth, 4, 4), Warn, Some(auth));
        check(&refused(auth, 2, 0), Warn, Some(auth));
        check(&refused(auth, 0, 0), Fail, Some(auth));
        let full = FailureClass::RefusedByServer;
        check(&refused(full, 2, 1), Warn, Some(full));
        // It has all that it may have.
        check(&refused(full, 4, 1), Pass, None);
    }
}

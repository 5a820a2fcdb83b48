//! Why there is no connection, from what the pool counts.

use std::time::Duration;

use crate::{Failure, FailureClass};

/// What was counted when a connection was asked for in vain.
#[derive(Clone, Debug)]
pub(super) struct Seen<'a> {
    pub(super) size: u32,
    /// Places with a connection that answered.
    pub(super) lent: u32,
    /// How long ago a connection last came back or answered.
    pub(super) quiet: Duration,
    /// Why none could be opened lately, unless one was since.
    pub(super) trouble: Option<&'a Failure>,
    /// The same, however long ago that was.
    pub(super) last_trouble: Option<&'a Failure>,
    pub(super) stuck_after: Duration,
}

/// What that means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Diagnosis {
    /// All connections are in use; some come back, or may yet.
    Saturated,
    /// All connections are in use and none has come back for too long.
    Stuck,
    /// The pool is not full of connections in use: it cannot get them.
    Failed(Failure),
}

pub(super) fn diagnose(seen: &Seen<'_>) -> Diagnosis {
    match seen.trouble {
        Some(failure) if seen.lent < seen.size => Diagnosis::Failed(failure.clone()),
        _ if seen.lent == 0 => Diagnosis::Failed(seen.last_trouble.cloned().unwrap_or_else(|| {
            let text = "every place of the pool waits for an answer of the server";
            Failure::new(FailureClass::Timeout, text)
        })),
        _ if seen.quiet >= seen.stuck_after => Diagnosis::Stuck,
        _ => Diagnosis::Saturated,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_four_meanings_of_no_connection_are_told_apart() {
        let refused = Failure::new(FailureClass::RefusedByServer, "too many clients (53300)");
        let check = |lent, quiet_secs, trouble: Option<&Failure>, expected: &Diagnosis| {
            let seen = Seen {
                size: 4,
                lent,
                quiet: Duration::from_secs(quiet_secs),
                trouble,
                last_trouble: trouble,
                stuck_after: Duration::from_secs(10),
            };
            assert_eq!(&diagnose(&seen), expected, "{seen:?}");
        };
        let failed = Diagnosis::Failed(refused.clone());
        check(4, 0, None, &Diagnosis::Saturated);
        check(4, 9, None, &Diagnosis::Saturated);
        check(4, 10, None, &Diagnosis::Stuck);
        check(2, 0, None, &Diagnosis::Saturated);
        check(2, 0, Some(&refused), &failed);
        check(2, 60, Some(&refused), &failed);
        // A full pool needs no further connection, so an old failure explains nothing.
        check(4, 0, Some(&refused), &Diagnosis::Saturated);
        check(0, 0, Some(&refused), &failed);
        let seen = |last_trouble| Seen {
            size: 4,
            lent: 0,
            quiet: Duration::ZERO,
            trouble: None,
            last_trouble,
            stuck_after: Duration::from_secs(10),
        };
        // While none is there, the last reason is the reason, however old.
        assert_eq!(diagnose(&seen(Some(&refused))), failed);
        assert!(matches!(
            diagnose(&seen(None)),
            Diagnosis::Failed(failure) if failure.class() == FailureClass::Timeout
        ));
    }
}

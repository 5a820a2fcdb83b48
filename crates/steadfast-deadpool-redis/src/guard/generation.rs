//! Which sessions lead to a server that was demoted, and whether new ones lead elsewhere.
//!
//! After a failover the address of a pool leads to the new server, and the sessions that
//! stand still lead to the old one, which answers each `PING` and takes no writes. So one
//! `READONLY` accuses its session and all that stand at that moment. Whether it helps to
//! open new ones is found out by one alone, a *scout*, beside the pool: it asks a new session for
//! its `ROLE`. If that leads to a master, the accused are closed, idle ones at once and
//! others when they come back, and the pool opens new ones as they are needed. If it does
//! not, the accused go on serving reads, and another scout is sent [`SCOUT_EVERY`] while
//! there are requests. So waiting for a new master costs two connects a second, whatever
//! the load and the size of the pool.
//!
//! Pure: it is handed the time.

use std::time::{Duration, Instant};

/// How often a scout is sent at most. A failover heals within two seconds of the new
/// master's being there, of which this is the wait for the scout, and a write that tries
/// the rest.
pub(super) const SCOUT_EVERY: Duration = Duration::from_millis(500);

/// What is known of the sessions of a pool.
#[derive(Debug, Default)]
pub(super) struct Generation {
    /// Until when the accused were opened; `None` while nobody is accused.
    accused_until: Option<Instant>,
    /// Whether new sessions lead to a better server.
    is_over: bool,
    /// When the last scout was sent.
    scouted_at: Option<Instant>,
    /// Whether only those writes are refused that need memory.
    pub(super) only_growth: bool,
}

/// What to do with a session that is about to be lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lending {
    /// Lend it.
    Lend,
    /// Close it, and take another.
    Close,
    /// Send a scout first, and decide then.
    Scout,
}

/// What a scout found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A master, or a server that does not say what it is.
    Better,
    /// No session, or a replica too.
    NoBetter,
}

impl Generation {
    /// Takes in that a session which was opened at `created` leads to a demoted server.
    /// Returns whether it is to be closed: it is, unless a new one was found to lead to no
    /// better place a moment ago.
    pub(super) fn accuse(&mut self, created: Instant, now: Instant) -> bool {
        if !self.is_accused(created) {
            self.accused_until = Some(now);
            self.is_over = false;
        }
        self.is_over || self.is_scout_due(now)
    }

    /// Says what to do with a session that was opened at `created` and is about to be lent.
    /// A scout that it asks for counts as sent.
    pub(super) fn lending(&mut self, created: Instant, now: Instant) -> Lending {
        if !self.is_accused(created) {
            return Lending::Lend;
        }
        if self.is_over {
            return Lending::Close;
        }
        if self.is_scout_due(now) {
            self.scouted_at = Some(now);
            return Lending::Scout;
        }
        Lending::Lend
    }

    /// Takes in what a scout found.
    pub(super) fn scouted(&mut self, found: Found) {
        self.is_over |= found == Found::Better;
    }

    /// Whether a session that was opened at `created` is to be closed when it comes back.
    pub(super) fn is_over_for(&self, created: Instant) -> bool {
        self.is_over && self.is_accused(created)
    }

    fn is_accused(&self, created: Instant) -> bool {
        self.accused_until.is_some_and(|until| created <= until)
    }

    fn is_scout_due(&self, now: Instant) -> bool {
        let since = |at| now.saturating_duration_since(at) >= SCOUT_EVERY;
        self.scouted_at.is_none_or(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Rig {
        origin: Instant,
        sessions: Generation,
    }

    impl Rig {
        fn new() -> Self {
            Self {
                origin: crate::clock::now(),
                sessions: Generation::default(),
            }
        }

        fn at(&self, ms: u64) -> Instant {
            self.origin + Duration::from_millis(ms)
        }

        fn accuse(&mut self, created: u64, now: u64) -> bool {
            let (created, now) = (self.at(created), self.at(now));
            self.sessions.accuse(created, now)
        }

        fn lending(&mut self, created: u64, now: u64) -> Lending {
            let (created, now) = (self.at(created), self.at(now));
            self.sessions.lending(created, now)
        }
    }

    #[test]
    fn nobody_is_accused_until_one_says_so_and_then_all_that_stand() {
        let mut rig = Rig::new();
        assert_eq!(rig.lending(5, 10), Lending::Lend);
        assert!(rig.accuse(5, 10), "it is closed");
        assert_eq!(rig.lending(11, 11), Lending::Lend, "it is younger");
        assert_eq!(rig.lending(6, 11), Lending::Scout);
        rig.sessions.scouted(Found::Better);
        assert_eq!(rig.lending(5, 12), Lending::Close);
        assert_eq!(rig.lending(3, 12), Lending::Close);
        assert!(rig.accuse(4, 13), "nothing new");
        assert!(rig.sessions.is_over_for(rig.at(4)));
        assert!(!rig.sessions.is_over_for(rig.at(11)));
    }

    #[test]
    fn while_nothing_is_better_sessions_stay_and_one_scout_goes_at_a_time() {
        let mut rig = Rig::new();
        assert!(rig.accuse(5, 10));
        assert_eq!(rig.lending(1, 11), Lending::Scout);
        assert_eq!(rig.lending(1, 12), Lending::Lend, "one is on its way");
        rig.sessions.scouted(Found::NoBetter);
        let scouts = (12..2_012).filter(|&now| rig.lending(2, now) == Lending::Scout);
        assert_eq!(scouts.count(), 4, "two a second");
        assert!(!rig.accuse(5, 2_012), "a new one would be no better");
    }

    #[test]
    fn a_second_failover_begins_anew() {
        let mut rig = Rig::new();
        rig.accuse(5, 10);
        assert_eq!(rig.lending(5, 10), Lending::Scout);
        rig.sessions.scouted(Found::Better);
        assert_eq!(rig.lending(20, 9_000), Lending::Lend);
        assert!(rig.accuse(20, 9_000));
        assert_eq!(rig.lending(20, 9_001), Lending::Scout);
    }
}

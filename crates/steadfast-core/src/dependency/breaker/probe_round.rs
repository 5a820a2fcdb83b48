//! A round of probes (*half-open*) in one word: how many run, how many succeeded, how many
//! found nothing out, and until when the round waits for the next answer.
//!
//! `tag 12 | running 4 | succeeded 4 | inconclusive 4 | lease 38`. The tag is the round's
//! generation, so a round begins without anybody resetting the word. A failed probe is not
//! counted: it ends the round by a step of the control word.

use super::control_word::{MOMENT_MAX, TAG_BITS};

/// The most probes, successes and inconclusive probes of one round.
pub(super) const ROUND_COUNT_MAX: u32 = (1 << COUNT_BITS) - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProbeRound(pub(super) u64);

/// The bounds of a round.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoundLimits {
    /// Probes that may run at once.
    pub(super) probes: u32,
    /// Successes that end the round well.
    pub(super) successes: u32,
    /// Inconclusive probes that end it without a finding.
    pub(super) inconclusive: u32,
    /// How long the round waits for an answer.
    pub(super) lease_ms: u64,
    /// How long a probe may be silent before another may start beside it; longer than any lease
    /// for whoever has set that.
    pub(super) silent_ms: u64,
}

/// How a round stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// A probe may start.
    Free,
    /// Enough probes run, or one does that must end before the successes count.
    Full,
    /// Enough probes succeeded, and none runs.
    Passed,
    /// A probe has been silent past its lease.
    LeaseOver,
    /// Too many probes found nothing out.
    Exhausted,
}

impl ProbeRound {
    pub(super) const fn fresh(tag: u64) -> Self {
        Self(tag)
    }

    pub(super) const fn standing(self, limits: &RoundLimits, now_ms: u64) -> Standing {
        if self.running() > 0 && now_ms >= self.lease() {
            Standing::LeaseOver
        } else if self.succeeded() >= limits.successes {
            // Checks alone get here beside a probe that runs. They do not speak for it.
            if self.running() > 0 {
                Standing::Full
            } else {
                Standing::Passed
            }
        } else if self.inconclusive() >= limits.inconclusive {
            Standing::Exhausted
        } else {
            // Who is silent keeps nobody from asking, a little later.
            let silent = self.silent(limits, now_ms);
            let heard = self.running().saturating_sub(silent);
            if heard < limits.probes && heard + self.succeeded() < limits.successes {
                Standing::Free
            } else {
                Standing::Full
            }
        }
    }

    /// Returns how many of those that run are taken for silent: one for each [`RoundLimits::silent_ms`] since
    /// the last answer, and at most [`SILENT_MAX`].
    const fn silent(self, limits: &RoundLimits, now_ms: u64) -> u32 {
        if self.running() == 0 {
            return 0;
        }
        let since = self.lease().saturating_sub(limits.lease_ms);
        let silent = now_ms.saturating_sub(since) / limits.silent_ms;
        if silent < SILENT_MAX as u64 {
            silent as u32
        } else {
            SILENT_MAX
        }
    }

    /// Starts a probe. The lease runs from the first probe that nobody has answered.
    pub(super) const fn start(self, limits: &RoundLimits, now_ms: u64) -> Self {
        let lease = if self.running() == 0 {
            now_ms.saturating_add(limits.lease_ms)
        } else {
            self.lease()
        };
        self.with(
            self.running() + 1,
            self.succeeded(),
            self.inconclusive(),
            lease,
        )
    }

    /// Ends a probe that succeeded. The answer gives those that still run a new lease, unless
    /// it is one that was asked because they are silent: those are lost then, and not waited for.
    pub(super) const fn succeed(self, limits: &RoundLimits, now_ms: u64) -> Self {
        let silent = self.silent(limits, now_ms);
        self.with(
            self.running().saturating_sub(1).saturating_sub(silent),
            self.succeeded() + 1,
            self.inconclusive(),
            now_ms.saturating_add(limits.lease_ms),
        )
    }

    /// Counts a success that took no slot: a deep check passed.
    pub(super) const fn succeed_by_check(self) -> Self {
        self.with(
            self.running(),
            self.succeeded() + 1,
            self.inconclusive(),
            self.lease(),
        )
    }

    /// Takes back that a probe runs.
    pub(super) const fn leave(self) -> Self {
        self.with(
            self.running().saturating_sub(1),
            self.succeeded(),
            self.inconclusive(),
            self.lease(),
        )
    }

    /// Ends a probe that found nothing out: its slot is free again.
    pub(super) const fn give_back(self) -> Self {
        self.with(
            self.running().saturating_sub(1),
            self.succeeded(),
            self.inconclusive() + 1,
            self.lease(),
        )
    }

    /// Ends a probe that was answered and found nothing out: its slot is free again, and
    /// the answer gives those that still run a new lease.
    pub(super) const fn hear_nothing(self, limits: &RoundLimits, now_ms: u64) -> Self {
        let next = self.give_back();
        next.with(
            next.running(),
            next.succeeded(),
            next.inconclusive(),
            now_ms.saturating_add(limits.lease_ms),
        )
    }

    pub(super) const fn tag(self) -> u64 {
        self.0 & ((1 << TAG_BITS) - 1)
    }

    pub(super) const fn running(self) -> u32 {
        self.count(0)
    }

    pub(super) const fn succeeded(self) -> u32 {
        self.count(1)
    }

    pub(super) const fn inconclusive(self) -> u32 {
        self.count(2)
    }

    pub(super) const fn lease(self) -> u64 {
        self.0 >> LEASE_SHIFT & MOMENT_MAX
    }

    const fn count(self, position: u32) -> u32 {
        (self.0 >> (TAG_BITS + position * COUNT_BITS)) as u32 & ROUND_COUNT_MAX
    }

    const fn with(self, running: u32, succeeded: u32, inconclusive: u32, lease: u64) -> Self {
        let lease = if lease < MOMENT_MAX {
            lease
        } else {
            MOMENT_MAX
        };
        Self(
            self.tag()
                | clip(running) << TAG_BITS
                | clip(succeeded) << (TAG_BITS + COUNT_BITS)
                | clip(inconclusive) << (TAG_BITS + 2 * COUNT_BITS)
                | lease << LEASE_SHIFT,
        )
    }
}

const fn clip(count: u32) -> u64 {
    if count < ROUND_COUNT_MAX {
        count as u64
    } else {
        ROUND_COUNT_MAX as u64
    }
}

/// How long a probe may be silent before another may start beside it. A dependency that hung
/// and is back answers those that come now, and often never those that came before; one call a
/// second is no burden to one that hangs.
pub(super) const SILENT_MS: u64 = 1_000;
/// Most that are taken for silent at a time.
const SILENT_MAX: u32 = 4;

const COUNT_BITS: u32 = 4;
const LEASE_SHIFT: u32 = TAG_BITS + 3 * COUNT_BITS;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const LIMITS: RoundLimits = RoundLimits {
        probes: 2,
        successes: 3,
        inconclusive: 2,
        lease_ms: 100,
        silent_ms: u64::MAX,
    };

    #[test]
    fn no_more_probes_run_than_are_allowed_or_needed() {
        let round = ProbeRound::fresh(5).start(&LIMITS, 0);
        assert_eq!(round.standing(&LIMITS, 0), Standing::Free);
        let round = round.start(&LIMITS, 0);
        assert_eq!(round.standing(&LIMITS, 0), Standing::Full);
        let round = round.succeed(&LIMITS, 0).succeed(&LIMITS, 0);
        let round = round.start(&LIMITS, 0);
        assert_eq!(round.standing(&LIMITS, 0), Standing::Full);
        assert_eq!(
            round.succeed(&LIMITS, 0).standing(&LIMITS, 0),
            Standing::Passed
        );
        assert_eq!(round.tag(), 5);
    }

    #[test]
    fn a_lease_runs_from_the_first_unanswered_probe() {
        let round = ProbeRound::fresh(5).start(&LIMITS, 0).start(&LIMITS, 90);
        assert_eq!(round.standing(&LIMITS, 99), Standing::Full);
        assert_eq!(round.standing(&LIMITS, 100), Standing::LeaseOver);
        let answered = round.succeed(&LIMITS, 95);
        assert_eq!(answered.standing(&LIMITS, 194), Standing::Free);
        assert_eq!(answered.standing(&LIMITS, 195), Standing::LeaseOver);
        let heard = answered.hear_nothing(&LIMITS, 150);
        assert_eq!(heard.start(&LIMITS, 151).lease(), 251, "nobody waits");
        let beside = round.hear_nothing(&LIMITS, 95);
        assert_eq!((beside.running(), beside.lease()), (1, 195));
        let idle = answered.give_back();
        assert_eq!(idle.standing(&LIMITS, 9_999), Standing::Free);
    }

    /// Goal: a dependency that hung and is back is not waited for by those who ask what it will
    /// never answer. Method: a probe that is silent, then one beside it that succeeds, twice.
    #[test]
    fn a_silent_probe_keeps_nobody_from_asking_a_second_later() {
        let limits = RoundLimits {
            probes: 1,
            successes: 2,
            inconclusive: 5,
            lease_ms: 5_000,
            silent_ms: SILENT_MS,
        };
        let round = ProbeRound::fresh(5).start(&limits, 0);
        assert_eq!(round.standing(&limits, SILENT_MS - 1), Standing::Full);
        assert_eq!(round.standing(&limits, SILENT_MS), Standing::Free);
        let beside = round.start(&limits, SILENT_MS);
        assert_eq!(beside.standing(&limits, 2 * SILENT_MS - 1), Standing::Full);
        assert_eq!(beside.standing(&limits, 5_000), Standing::LeaseOver);
        let answered = beside.succeed(&limits, SILENT_MS + 5);
        assert_eq!((answered.running(), answered.succeeded()), (0, 1));
        let second = answered.start(&limits, SILENT_MS + 6);
        let passed = second.succeed(&limits, SILENT_MS + 7);
        assert_eq!(passed.standing(&limits, SILENT_MS + 7), Standing::Passed);
        // What the first one says in the end is as welcome as any.
        assert_eq!(passed.give_back().running(), 0);
    }

    #[test]
    fn a_check_does_not_outvote_a_probe_that_runs() {
        let mut round = ProbeRound::fresh(5).start(&LIMITS, 0);
        for _ in 0..5 {
            round = round.succeed_by_check();
        }
        assert_eq!(round.standing(&LIMITS, 99), Standing::Full);
        assert_eq!(round.standing(&LIMITS, 100), Standing::LeaseOver);
        assert_eq!(round.give_back().standing(&LIMITS, 100), Standing::Passed);
    }

    #[test]
    fn a_round_ends_after_too_many_inconclusive_probes() {
        let round = ProbeRound::fresh(5).start(&LIMITS, 0).give_back();
        assert_eq!(round.standing(&LIMITS, 0), Standing::Free);
        let round = round.start(&LIMITS, 0).give_back();
        assert_eq!(round.standing(&LIMITS, 0), Standing::Exhausted);
    }
}

//! Why a call may not run now, with the numbers that a refusal shows.

use std::time::{Duration, Instant};

use super::{
    Breaker,
    control_word::{ControlWord, tag},
    probe_round::{ProbeRound, Standing},
    reason::BreakerReason,
    state::{BreakerMode, BreakerState},
    step::BreakerTransition,
};
use crate::{FailureClass, sync::atomic::Ordering::Acquire};

/// Why a breaker refused a call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BreakerRefusal {
    /// Where the breaker is.
    pub state: BreakerState,
    /// Who decides.
    pub mode: BreakerMode,
    /// Which rule began the outage, with its numbers.
    pub reason: Option<BreakerReason>,
    /// When the outage began, which may be several openings ago.
    pub since: Instant,
    /// When it may be worth to come again: the next probe, the end of the present probe's
    /// lease, or a tenth of the ramp. It carries the jitter of the wait.
    pub retry_after: Duration,
    /// The kind of the latest failure.
    pub last_failure: Option<FailureClass>,
    /// The step that this attempt made, if it made one. Boxed because that is rare, and a
    /// refusal is moved around often.
    pub transition: Option<Box<BreakerTransition>>,
}

impl Breaker {
    /// Looks whether a call would pass, and takes nothing: no permit and no probe's slot.
    /// For a gate in front of the handler that will make the call; a ramp's share is left
    /// to the call itself, which would otherwise be diced for twice.
    ///
    /// The one step it takes is to end a round whose probe is silent past its lease, or
    /// whose probes found nothing out. A gate keeps away the calls that would end it, and
    /// where nothing ticks either, nobody else comes by.
    ///
    /// # Errors
    /// Refuses while open and while enough probes run; never in the modes
    /// [`BreakerMode::ForcedClosed`] and [`BreakerMode::Observe`].
    pub fn look(&self, now: Instant) -> Result<(), BreakerRefusal> {
        let word = self.word();
        if word.is_plain_closed() {
            return Ok(());
        }
        self.look_with_care(word, self.ms(now))
    }

    /// Whether a look would refuse, for who needs no reason and takes no step.
    #[inline]
    pub(crate) fn refuses(&self, now: impl FnOnce() -> Instant) -> bool {
        let word = self.word();
        !word.is_plain_closed() && self.refuses_at(word, self.ms(now()))
    }

    #[cold]
    fn refuses_at(&self, word: ControlWord, now_ms: u64) -> bool {
        match (word.mode(), word.state_at(now_ms)) {
            (BreakerMode::ForcedClosed | BreakerMode::Observe, _) => false,
            (BreakerMode::ForcedOpen, _) | (_, BreakerState::Open) => true,
            (_, BreakerState::Closed | BreakerState::Ramping) => false,
            (_, BreakerState::Probing) => {
                let standing = self.read_round(word).standing(&self.rules.round, now_ms);
                !matches!(standing, Standing::Free | Standing::Passed)
            }
        }
    }

    #[cold]
    fn look_with_care(&self, word: ControlWord, now_ms: u64) -> Result<(), BreakerRefusal> {
        let state = match word.mode() {
            BreakerMode::ForcedClosed | BreakerMode::Observe => return Ok(()),
            BreakerMode::ForcedOpen => BreakerState::Open,
            BreakerMode::Auto => word.state_at(now_ms),
        };
        match state {
            BreakerState::Closed | BreakerState::Ramping => Ok(()),
            BreakerState::Open => Err(self.refusal(word, now_ms, None)),
            BreakerState::Probing => {
                match self.read_round(word).standing(&self.rules.round, now_ms) {
                    Standing::Free | Standing::Passed => Ok(()),
                    Standing::Full => Err(self.refusal(word, now_ms, None)),
                    over @ (Standing::LeaseOver | Standing::Exhausted) => {
                        let jitter = self.record.probe_jitter();
                        let moved = self.end_round(word, over, jitter, now_ms);
                        Err(self.refusal(self.word(), now_ms, moved))
                    }
                }
            }
        }
    }

    #[cold]
    pub(super) fn refusal(
        &self,
        word: ControlWord,
        now_ms: u64,
        transition: Option<BreakerTransition>,
    ) -> BreakerRefusal {
        let began = self.record.outage.read().checked_sub(1);
        BreakerRefusal {
            state: word.state_at(now_ms),
            mode: word.mode(),
            reason: self.outage_reason(word),
            since: self.instant(began.unwrap_or(now_ms)),
            retry_after: self.retry_after(word, now_ms),
            last_failure: self.record.last_failure(),
            transition: transition.map(Box::new),
        }
    }

    pub(super) fn outage_reason(&self, word: ControlWord) -> Option<BreakerReason> {
        if word.mode() == BreakerMode::ForcedOpen {
            return Some(BreakerReason::Mode(BreakerMode::ForcedOpen));
        }
        BreakerReason::unpack(self.record.tripped.read(), &self.rules)
    }

    /// Reads the round that `word` is in, without writing it down if it is new.
    pub(super) fn read_round(&self, word: ControlWord) -> ProbeRound {
        let tag = tag(word.generation());
        // Acquire: pairs with the exchange in `Breaker::edit_round`.
        let round = ProbeRound(self.round.load(Acquire));
        if word.state() == BreakerState::Probing && round.tag() == tag {
            round
        } else {
            ProbeRound::fresh(tag)
        }
    }

    fn retry_after(&self, word: ControlWord, now_ms: u64) -> Duration {
        if word.mode() == BreakerMode::ForcedOpen {
            // Nobody knows when a person will lift it.
            return self.rules.open_max();
        }
        let left = |until: u64| Duration::from_millis(until.saturating_sub(now_ms));
        match word.state() {
            BreakerState::Closed => Duration::ZERO,
            BreakerState::Open => left(word.moment()),
            BreakerState::Probing => {
                left(self.read_round(word).lease()).min(self.rules.open_base())
            }
            BreakerState::Ramping => Duration::from_millis(self.rules.ramp_ms / 10),
        }
    }
}

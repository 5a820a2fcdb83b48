//! How far a call is, from the permit to the answer's end: what is kept of its time, and
//! when it counts as one that might hang.
//!
//! A call can be asked for without the time ([`Stage::Asked`]): where the breaker is plainly
//! closed and nobody asks what is slow, a call that is answered at once needs no start, which
//! is half of what a call costs here: 301 instructions from permit to success, and 619 with a
//! start (docs/decisions/closed-breaker-cost.md). Its time begins when it first has to wait. An answer whose end is far (a stream) takes its
//! call out of those that might hang as soon as its head is there ([`Stage::Answered`]).

use super::{
    Breaker,
    admit::{Kind, Ticket},
    outcome::CallOutcome,
    step::BreakerTransition,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has not had to wait, so nobody has looked at the clock.
    Asked,
    /// It waits for an answer since the ticket's start.
    Underway,
    /// The head of the answer is there.
    Answered,
}

impl Ticket {
    /// Returns for how long the dependency has let the call wait for an answer.
    pub(super) const fn waited_ms(&self, now_ms: u64) -> u64 {
        match self.stage {
            Stage::Asked => 0,
            Stage::Underway => now_ms.saturating_sub(self.started_ms),
            Stage::Answered => self.waited_ms as u64,
        }
    }
}

impl Breaker {
    /// Admits where the time plays no part, `None` where it might.
    #[inline]
    pub(crate) fn admit_untimed(&self, stripe: usize) -> Option<Ticket> {
        let word = self.word();
        (word.is_plain_closed() && self.rules.slow_ms.is_none())
            .then(|| Ticket::untimed(word, stripe))
    }

    /// Begins the time of a call that was admitted without it. Looks for calls that hang
    /// now and then; this one goes on in any case.
    pub(super) fn begin(
        &self,
        ticket: &mut Ticket,
        now_ms: u64,
        random: u64,
    ) -> Option<BreakerTransition> {
        if ticket.stage != Stage::Asked || ticket.kind == Kind::Over {
            return None;
        }
        ticket.stage = Stage::Underway;
        ticket.started_ms = now_ms;
        ticket.jitter = (random >> 32) as u32;
        let pending = self.pending.as_ref()?;
        if pending.start(ticket.stripe(), now_ms) {
            self.trip_if_stalled(self.word(), ticket.jitter, now_ms)
        } else {
            None
        }
    }

    /// Takes the head of an answer whose end is still to come. A probe is judged by it:
    /// the end of a stream may be hours away, and its round has a lease.
    pub(super) fn answer(&self, ticket: &mut Ticket, now_ms: u64) -> Option<BreakerTransition> {
        if ticket.stage == Stage::Answered || ticket.kind == Kind::Over {
            return None;
        }
        let waited_ms = ticket.waited_ms(now_ms);
        if let Some(pending) = &self.pending {
            if ticket.stage == Stage::Underway {
                pending.end(ticket.stripe(), ticket.started_ms);
            }
            pending.stream(ticket.stripe(), now_ms);
        }
        ticket.stage = Stage::Answered;
        ticket.waited_ms = u32::try_from(waited_ms).unwrap_or(u32::MAX);
        let word = self.word();
        if ticket.kind != Kind::Probe || word.generation() != ticket.generation {
            return None;
        }
        ticket.kind = Kind::Heard;
        let verdict = self.rules.judge(CallOutcome::Success, waited_ms);
        self.settle_probe(word, *ticket, verdict, now_ms)
    }

    /// Takes a call out of those under way.
    pub(super) fn land(&self, ticket: &Ticket) {
        let Some(pending) = &self.pending else { return };
        match ticket.stage {
            Stage::Asked => {}
            Stage::Underway => pending.end(ticket.stripe(), ticket.started_ms),
            Stage::Answered => pending.end_stream(ticket.stripe()),
        }
    }
}

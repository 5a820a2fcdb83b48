//! The right to run, and how it ends.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use super::ShedGate;
use crate::{
    refusal::Refusal,
    request::priority::Priority,
    shed::{
        inflight::{running::PlaceId, tokens::Token},
        lanes::LaneId,
        limit::Ending,
        limiter::Sampled,
        runtime_lag::{Line, Timed},
        tenants::TenantMark,
    },
    sync::{local::Local, stripe},
};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Nobody waited for the end: the client left, or the handler panicked.
    Abandoned,
    /// It was answered in full.
    Done,
    /// It failed on the way: its body ended with an error.
    Failed,
}

/// The right to run. Ends in [`ShedPermit::settle`]; a drop only releases.
#[derive(Debug)]
#[must_use = "a permit that is dropped at once lets everything run"]
pub struct ShedPermit<T: AsRef<ShedGate> + Send + Sync + 'static = ShedGate> {
    pub(super) owner: Local<T>,
    /// Whose token it is.
    pub(super) lane: LaneId,
    pub(super) token: Token,
    pub(super) place: PlaceId,
    pub(super) sampled: Sampled,
    pub(super) line: Line,
    /// Whether it is to be told what the request computes: it stood in line.
    pub(super) timed: Option<Timed>,
    pub(super) priority: Priority,
    /// Whose, where that is weighed.
    pub(super) tenant: Option<TenantMark>,
    pub(super) since: Instant,
    /// How long it stood in line, in microseconds.
    pub(super) lined: u32,
    /// Whether the token is one of the streams'.
    pub(super) stream: bool,
    pub(super) ended: bool,
}

impl<T: AsRef<ShedGate> + Send + Sync + 'static> ShedPermit<T> {
    /// Says that the head of the answer is there: the work is done, whatever time the body
    /// takes. Without it, [`ShedPermit::settle`] is taken for the moment of the answer.
    #[inline]
    pub fn answered(&mut self, ending: Ending, now: Instant) {
        self.tell(ending, now);
    }

    /// Whether the algorithm waits to hear of the answer, so that nobody need read the
    /// clock otherwise.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.sampled.is_sampled()
    }

    /// Whether the gate wants to hear for how long the request computes:
    /// [`ShedPermit::computed`]. It stood in line, so the runtime is late.
    #[must_use]
    #[inline]
    pub const fn is_timed(&self) -> bool {
        self.timed.is_some()
    }

    /// Says for how long whatever serves the request was polled in all; once, when that is over,
    /// on the thread that polled it last.
    pub fn computed(&mut self, computed: Duration, now: Instant) {
        if let Some(timed) = self.timed.take() {
            let gate: &ShedGate = (*self.owner).as_ref();
            gate.lag.computed(timed, computed, stripe::current(), now);
        }
    }

    /// Whether the request has to give way before it begins: see [`ShedPermit::gives_way`].
    #[must_use]
    #[inline]
    pub fn is_in_line(&self) -> bool {
        self.line != Line::Out
    }

    /// Whether the request has to give way now: if so, whoever polls it hands its waker to
    /// the runtime, to be woken when that has looked at everything else, and asks again then.
    /// Asked before that, because something else woke the task, it may let the request begin
    /// although nobody has looked at anything.
    ///
    /// `ready` says how many ready tasks the runtime has that none of its threads has taken, who
    /// stands in line among them; it is only called if others would go first.
    #[must_use]
    pub fn gives_way(&mut self, ready: impl FnOnce() -> usize, now: Instant) -> bool {
        let gate: &ShedGate = (*self.owner).as_ref();
        let joined = (self.priority, self.since);
        let on = stripe::current();
        (gate.lag).gives_way(&mut self.line, on, joined, ready, now)
    }

    /// The turn of a request that stood in line has come; of another it says nothing.
    ///
    /// # Errors
    /// A refusal, if it stood there for so long that its client has most likely gone and
    /// others are being refused. Nothing has been done for it; drop the permit.
    pub fn turn(&mut self, now: Instant) -> Result<(), Refusal> {
        if !self.is_in_line() {
            return Ok(());
        }
        let line = self.leave_line();
        let lined = now.saturating_duration_since(self.since).as_micros();
        self.lined = u32::try_from(lined).unwrap_or(u32::MAX);
        let gate: &ShedGate = (*self.owner).as_ref();
        gate.lag
            .turn(line, self.priority, self.since, || gate.arrived(), now)
            .map_err(|lagging| gate.refuse_for_lag(lagging, now))?;
        let lane = gate.lanes.at(self.lane);
        let stripe = stripe::current();
        let measures = !lane.lines_most();
        self.sampled = lane
            .driver
            .arrived(stripe, measures, lane.counts(&gate.lag), now);
        // The algorithm may just have raised the limit.
        lane.offer(stripe, Some(now));
        Ok(())
    }

    /// It is in line no more, as far as its limit is concerned.
    #[inline]
    fn leave_line(&mut self) -> Line {
        let line = std::mem::replace(&mut self.line, Line::Out);
        if line != Line::Out {
            let gate: &ShedGate = (*self.owner).as_ref();
            gate.lanes.at(self.lane).line_up(-1);
        }
        line
    }

    fn tell(&mut self, ending: Ending, now: Instant) {
        let gate: &ShedGate = (*self.owner).as_ref();
        let sampled = std::mem::replace(&mut self.sampled, Sampled::NONE);
        if sampled.is_sampled() {
            let lane = gate.lanes.at(self.lane);
            // What it waited for in line is the runtime's doing, and says nothing of the limit.
            let began = self.since + Duration::from_micros(self.lined.into());
            lane.driver
                .answered(sampled, began, ending, &lane.tokens, now);
            // What it learnt may have raised the limit.
            lane.offer(stripe::current(), Some(now));
        }
    }

    /// Ends the permit with what became of the request.
    pub fn settle(mut self, outcome: Outcome, now: Instant) {
        self.tell(
            match outcome {
                Outcome::Abandoned => Ending::Abandoned,
                Outcome::Done => Ending::Completed,
                // An error before any answer: its time says nothing about the work.
                Outcome::Failed => Ending::Irrelevant,
            },
            now,
        );
        let stripe = self.release(Some(now));
        self.tenant_ended(stripe, outcome != Outcome::Abandoned, now);
        // An abandoned request was cut short: its time says nothing about how long one takes.
        if outcome != Outcome::Abandoned && !self.stream {
            let gate: &ShedGate = (*self.owner).as_ref();
            let lane = gate.lanes.at(self.lane);
            lane.note_held(stripe, self.since, now);
        }
    }

    /// Returns since when it has been held.
    #[must_use]
    pub const fn since(&self) -> Instant {
        self.since
    }

    /// Returns what the permit was made from.
    #[must_use]
    pub const fn owner(&self) -> &Local<T> {
        &self.owner
    }

    /// Counts the time that its tenant had the place; once, a stream that began has done so.
    #[inline]
    pub(super) fn tenant_ended(&mut self, stripe: usize, whole: bool, now: Instant) {
        if let Some(mark) = self.tenant.take() {
            let gate: &ShedGate = (*self.owner).as_ref();
            let held = now.saturating_duration_since(self.since);
            let lane = gate.lanes.at(self.lane);
            lane.tenant_ended(stripe, mark, held, whole);
        }
    }

    fn release(&mut self, now: Option<Instant>) -> usize {
        self.ended = true;
        let stripe = stripe::current();
        let line = self.leave_line();
        let gate: &ShedGate = (*self.owner).as_ref();
        gate.running.leave(self.place);
        gate.lag.leave(line, self.priority);
        if self.stream {
            gate.streams.give_back(stripe, self.token);
        } else {
            let lane = gate.lanes.at(self.lane);
            lane.give_back(stripe, self.token, now);
        }
        stripe
    }
}

impl<T: AsRef<ShedGate> + Send + Sync + 'static> Drop for ShedPermit<T> {
    fn drop(&mut self) {
        if !self.ended {
            self.release(None);
            // No moment is known here; the algorithm hears that there is nothing to learn.
            // It may panic, and this may be the drop of a handler that did: a second panic
            // would end the process, so this one ends here, when it has been reported.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                self.tell(Ending::Irrelevant, self.since);
            }));
        }
    }
}

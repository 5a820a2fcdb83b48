//! Takes the end of a call as evidence.

use std::time::Duration;

use super::{
    Breaker,
    admit::{Kind, Ticket},
    control_word::{ControlWord, Event},
    outcome::CallOutcome,
    probe_round::Standing,
    reason::BreakerReason,
    rules::{self, Finding, Verdict},
    stage::Stage,
    state::BreakerState,
    step::BreakerTransition,
    trip_rules::ms,
};

impl Breaker {
    pub(super) fn settle(
        &self,
        ticket: Ticket,
        outcome: CallOutcome,
        now_ms: u64,
    ) -> Option<BreakerTransition> {
        let is_stream = ticket.stage == Stage::Answered;
        let verdict = match outcome {
            // Whoever leaves a stream has had an answer, and how long it went on is no fault.
            CallOutcome::Abandoned { .. } if is_stream => rules::nothing(false),
            outcome => self.rules.judge(outcome, ticket.waited_ms(now_ms)),
        };
        self.land(&ticket);
        if let (Some(pending), true) = (&self.pending, verdict.answered) {
            pending.answered(ticket.stripe(), now_ms);
            pending.took(ticket.stripe(), ticket.waited_ms(now_ms), now_ms);
        }
        if let Finding::Bad { class, .. } = verdict.finding {
            self.record.failed(class);
            self.record.call_failed(now_ms);
        }
        let word = self.word();
        if word.generation() != ticket.generation {
            // The result is late: the evidence it belongs to has had its verdict.
            return None;
        }
        match ticket.kind {
            Kind::Call => self.settle_call(word, ticket, verdict, now_ms),
            Kind::Probe => self.settle_probe(word, ticket, verdict, now_ms),
            // The round is still on: a bad end takes back what the head of the answer said.
            Kind::Heard => match verdict.finding {
                Finding::Bad { .. } => self.settle_probe(word, ticket, verdict, now_ms),
                Finding::Good | Finding::Slow { .. } | Finding::Nothing => None,
            },
            Kind::Bystander | Kind::Over => None,
        }
    }

    /// Takes a success as evidence: what nearly every call is, and where nothing is judged
    /// but the time.
    #[inline]
    pub(super) fn succeed(&self, ticket: Ticket, now_ms: u64) -> Option<BreakerTransition> {
        let word = self.word();
        let is_plain = word.is_plain_closed()
            && word.generation() == ticket.generation
            && ticket.kind == Kind::Call
            && self.rules.slow_ms.is_none();
        if !is_plain {
            return self.settle(ticket, CallOutcome::Success, now_ms);
        }
        if let Some(pending) = &self.pending {
            if ticket.stage != Stage::Asked {
                self.land(&ticket);
                pending.took(ticket.stripe(), ticket.waited_ms(now_ms), now_ms);
            }
            pending.answered(ticket.stripe(), now_ms);
        }
        self.window.record_success(ticket.stripe(), now_ms);
        self.streaks.succeed(ticket.generation);
        None
    }

    /// Gives back what a permit holds that ends without an outcome, and without a time.
    pub(super) fn release(&self, ticket: Ticket) {
        self.land(&ticket);
        let word = self.word();
        if word.generation() != ticket.generation {
            return;
        }
        if ticket.kind == Kind::Call && word.state() == BreakerState::Ramping {
            let _ = self.leave_ramp(word, false);
        }
        if ticket.kind == Kind::Probe {
            // If that was one inconclusive probe too many, the next call or tick, which has
            // a time, ends the round.
            self.edit_round(word, |round| Some(round.give_back()));
        }
    }

    /// Gives back what a permit holds whose call is still to ask for its own: its time at
    /// the dependency is not over, so it has not found nothing out.
    pub(super) fn hand_back(&self, ticket: Ticket) {
        if ticket.kind != Kind::Probe {
            return self.release(ticket);
        }
        self.land(&ticket);
        let word = self.word();
        if word.generation() == ticket.generation {
            self.edit_round(word, |round| Some(round.leave()));
        }
    }

    /// Trips if enough calls hang.
    pub(super) fn trip_if_stalled(
        &self,
        word: ControlWord,
        jitter: u32,
        now_ms: u64,
    ) -> Option<BreakerTransition> {
        let pending = self.pending.as_ref().filter(|_| word.is_ruled())?;
        let seen = pending.look(now_ms);
        if seen.stalled < self.rules.stalled_calls() {
            return None;
        }
        let reason = BreakerReason::Stalled {
            calls: seen.stalled,
            oldest: Duration::from_millis(seen.stalled_ms),
        };
        self.trip(word.generation(), reason, None, jitter, now_ms)
    }

    fn settle_call(
        &self,
        word: ControlWord,
        ticket: Ticket,
        verdict: Verdict,
        now_ms: u64,
    ) -> Option<BreakerTransition> {
        let generation = word.generation();
        self.window.record(ticket.stripe(), verdict.sample, now_ms);
        if word.state() == BreakerState::Ramping {
            let moved = self.settle_in_ramp(word, ticket, verdict, now_ms);
            if moved.is_some() {
                return moved;
            }
        }
        let streak = match verdict.finding {
            // A success is never a reason to open, so it looks at no rule.
            Finding::Good => {
                self.streaks.succeed(generation);
                return None;
            }
            Finding::Nothing if verdict.sample.abandoned => {
                return self.trip_if_unanswered(word, ticket.jitter, now_ms);
            }
            Finding::Nothing => return None,
            Finding::Slow { answered } => {
                if answered {
                    self.streaks.succeed(generation);
                }
                None
            }
            Finding::Bad { in_a_row, .. } => {
                let is_current = || self.is_current(generation);
                self.streaks.miss(generation, now_ms, is_current);
                let failures = &self.streaks.failures;
                if in_a_row {
                    failures.fail(generation, now_ms, is_current)
                } else {
                    None
                }
            }
        };
        if !word.is_ruled() {
            return None;
        }
        let reason = match streak {
            Some(run) if self.rules.streak_trips(run.failures, run.spread_ms) => {
                BreakerReason::ConsecutiveFailures {
                    failures: run.failures,
                    spread: Duration::from_millis(run.spread_ms),
                }
            }
            _ => self
                .throttle_reason(verdict, now_ms)
                .or_else(|| self.ratio_reason(now_ms))?,
        };
        self.trip(
            generation,
            reason,
            verdict.retry_after,
            ticket.jitter,
            now_ms,
        )
    }

    /// Takes the end of a call out of the ramp. In one that a check began, the first calls
    /// are what probes are elsewhere: enough successes confirm it, a failure ends it.
    fn settle_in_ramp(
        &self,
        word: ControlWord,
        ticket: Ticket,
        verdict: Verdict,
        now_ms: u64,
    ) -> Option<BreakerTransition> {
        let is_good = verdict.finding == Finding::Good;
        let succeeded = self.leave_ramp(word, is_good)?.succeeded();
        if !word.is_unproven() {
            return None;
        }
        if let Finding::Bad { class, .. } = verdict.finding {
            let reason = BreakerReason::ProbeFailed(class);
            let wait = verdict.retry_after;
            return self.trip(word.generation(), reason, wait, ticket.jitter, now_ms);
        }
        if is_good && succeeded >= self.rules.round.successes {
            // The state is the same, so there is nothing to tell. Who loses the race looks
            // at a word that is confirmed, or at an outage.
            let _ = self.advance(word, Event::Confirmed, BreakerReason::RampOver, now_ms);
        }
        None
    }

    /// Trips if callers leave and nothing comes back: a timeout outside the call that is
    /// shorter than every limit here looks like one impatient client after the other, and
    /// only the silence tells the two apart.
    fn trip_if_unanswered(
        &self,
        word: ControlWord,
        jitter: u32,
        now_ms: u64,
    ) -> Option<BreakerTransition> {
        // While ramping, the probes' answers are recent.
        let pending = self
            .pending
            .as_ref()
            .filter(|_| word.is_ruled() && word.state() == BreakerState::Closed)?;
        // A breaker that has just closed has had no time to hear an answer.
        let quiet_since = word.moment().max(pending.last_answer().unwrap_or(0));
        let quiet_ms = now_ms.saturating_sub(quiet_since);
        let abandoned = self.window.counts_after_record(now_ms).abandoned;
        let is_window = quiet_ms >= ms(self.rules.window()) && abandoned >= self.rules.calls_min();
        // Where it is known what answers take, less is enough: who left had waited for it.
        let is_hush = quiet_ms >= HUSH_MS
            && abandoned >= HUSH_ABANDONED
            && self.silence_ms(now_ms).is_some_and(|ms| ms >= HUSH_MS);
        if !is_window && !is_hush {
            return None;
        }
        let window = Duration::from_millis(quiet_ms).min(self.rules.window());
        let reason = BreakerReason::Unanswered { abandoned, window };
        self.trip(word.generation(), reason, None, jitter, now_ms)
    }

    /// Believes a dependency that says itself when to come back, before there are calls
    /// enough for a ratio. One such answer on a dependency that serves the others is one
    /// tenant's, one route's or one moment's; so most calls of the window must have failed,
    /// a bucket apart at least, and none of its last third may have succeeded.
    fn throttle_reason(&self, verdict: Verdict, now_ms: u64) -> Option<BreakerReason> {
        let asked = verdict.retry_after?.min(self.rules.retry_after_max());
        if asked.is_zero() {
            return None;
        }
        let counts = self.window.counts_after_record(now_ms);
        let lately = self.window.counts_of(THROTTLED_BUCKETS, now_ms);
        let of_now = self.window.counts_of(2, now_ms);
        (counts.failed > of_now.failed
            && lately.failed >= lately.calls
            && self.rules.failures_exceed(counts.failed, counts.calls))
        .then_some(BreakerReason::Throttled {
            failed: counts.failed,
            asked,
        })
    }

    fn ratio_reason(&self, now_ms: u64) -> Option<BreakerReason> {
        let counts = self.window.counts_after_record(now_ms);
        let window = self.rules.window();
        if self.rules.failures_trip(counts.failed, counts.calls) {
            return Some(BreakerReason::FailureRatio {
                failed: counts.failed,
                calls: counts.calls,
                window,
            });
        }
        self.rules
            .slow_calls_trip(counts.slow, counts.calls)
            .then_some(BreakerReason::SlowRatio {
                slow: counts.slow,
                calls: counts.calls,
                window,
            })
    }

    pub(super) fn settle_probe(
        &self,
        word: ControlWord,
        ticket: Ticket,
        verdict: Verdict,
        now_ms: u64,
    ) -> Option<BreakerTransition> {
        let limits = &self.rules.round;
        let reason = match verdict.finding {
            Finding::Bad { class, .. } => Some(BreakerReason::ProbeFailed(class)),
            Finding::Slow { .. } => Some(BreakerReason::ProbeSlow),
            Finding::Good | Finding::Nothing => None,
        };
        if let Some(reason) = reason {
            self.record.call_failed(now_ms);
            return self.fail_round(word, reason, verdict.retry_after, ticket.jitter, now_ms);
        }
        let mut is_late = false;
        let round = self.edit_round(word, |round| {
            is_late = round.standing(limits, now_ms) == Standing::LeaseOver;
            (!is_late).then(|| match verdict.finding {
                Finding::Good => round.succeed(limits, now_ms),
                Finding::Nothing if verdict.answered => round.hear_nothing(limits, now_ms),
                Finding::Nothing | Finding::Slow { .. } | Finding::Bad { .. } => round.give_back(),
            })
        })?;
        self.end_round(word, round.standing(limits, now_ms), ticket.jitter, now_ms)
    }
}

/// How long calls must have waited without one answer, and how many callers must have left, to
/// trip before a whole window is over: five seconds are what people and proxies wait at least.
const HUSH_MS: u64 = 5_000;
const HUSH_ABANDONED: u32 = 5;

/// Buckets in which no call may have succeeded meanwhile: two or three seconds of the
/// default window, in which a dependency that serves has served somebody.
const THROTTLED_BUCKETS: u64 = 3;

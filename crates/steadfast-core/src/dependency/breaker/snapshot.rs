//! What an operator sees of a breaker.

use std::time::{Duration, Instant};

use super::{
    Breaker,
    doubt::BreakerDoubt,
    reason::BreakerReason,
    state::{BreakerMode, BreakerState},
    trip_rules::ms,
};
use crate::{FailureClass, dependency::breaker::window::WindowCounts};

/// A breaker at one moment. Numbers of different words may be a call or two apart.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BreakerSnapshot {
    /// Where it is as of the moment: a wait that is over is over, with or without traffic.
    pub state: BreakerState,
    /// Who decides.
    pub mode: BreakerMode,
    /// Since when it is in this state.
    pub since: Instant,
    /// Since when it has not been closed; `None` while it is.
    pub outage_since: Option<Instant>,
    /// What began the present outage, or the last one while it is closed.
    pub reason: Option<BreakerReason>,
    /// How often evidence has begun anew.
    pub generation: u32,
    /// What the window holds. It says nothing while open or probing.
    pub counts: WindowCounts,
    /// The length of the window.
    pub window: Duration,
    /// Openings in a row, 31 for more; it falls by one for each healthy interval.
    pub opens_in_a_row: u32,
    /// When the wait is over; `None` unless it waits.
    pub next_probe_at: Option<Instant>,
    /// Probes under way.
    pub probes_running: u32,
    /// Probes of this round that succeeded.
    pub probes_succeeded: u32,
    /// The share of calls that pass whatever runs beside them: 1 while closed, 0 while open
    /// or probing.
    pub admitted_ratio: f64,
    /// Calls that wait for an answer, or whose answer goes on; `None` if the stall rule is off.
    pub in_flight: Option<u32>,
    /// Age of the oldest call that waits for an answer, to a quarter of the stall limit.
    pub oldest: Option<Duration>,
    /// The kind of the latest failure.
    pub last_failure: Option<FailureClass>,
    /// What speaks against the dependency although it is closed; `None` if nothing does.
    pub doubt: Option<BreakerDoubt>,
}

impl Breaker {
    /// Returns where the breaker is, and what the last `length` of its window holds, in
    /// whole buckets and no longer than the window.
    pub(crate) fn recent(&self, length: Duration, now: Instant) -> (BreakerState, WindowCounts) {
        let now_ms = self.ms(now);
        let buckets = ms(length).div_ceil(self.rules.bucket_ms());
        (
            self.word().state_at(now_ms),
            self.window.counts_of(buckets, now_ms),
        )
    }

    /// Whether a call has succeeded since then, or shortly before: buckets are whole.
    pub(crate) fn has_succeeded_since(&self, at: Instant, now: Instant) -> bool {
        let length = now.saturating_duration_since(at);
        let buckets = ms(length).div_ceil(self.rules.bucket_ms()) + 1;
        let counts = self.window.counts_of(buckets, self.ms(now));
        counts.calls > counts.failed
    }

    /// Returns where the breaker is as of `now`, and nothing else.
    #[must_use]
    pub fn state(&self, now: Instant) -> BreakerState {
        self.word().state_at(self.ms(now))
    }

    /// Describes the breaker as of `now`. It reads and moves nothing.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> BreakerSnapshot {
        let now_ms = self.ms(now);
        let word = self.word();
        let state = word.state_at(now_ms);
        let round = self.read_round(word);
        let under_way = self.pending.as_ref().map(|pending| pending.look(now_ms));
        let began = self.record.outage.read().checked_sub(1);
        let rules = &self.rules;
        let since_ms = match (word.state(), state) {
            (BreakerState::Open, BreakerState::Open) => self.record.opened.read(),
            (BreakerState::Ramping, BreakerState::Ramping) => {
                word.moment().saturating_sub(rules.ramp_ms)
            }
            _ => word.moment(),
        };
        let admitted_ratio = match (word.mode(), state) {
            (BreakerMode::ForcedClosed | BreakerMode::Observe, _) | (_, BreakerState::Closed) => {
                1.0
            }
            (_, BreakerState::Ramping) => rules.ramp_share(word.moment().saturating_sub(now_ms)),
            (_, BreakerState::Open | BreakerState::Probing) => 0.0,
        };
        BreakerSnapshot {
            state,
            mode: word.mode(),
            since: self.instant(since_ms),
            outage_since: began
                .filter(|_| state != BreakerState::Closed)
                .map(|ms| self.instant(ms)),
            reason: self.outage_reason(word),
            generation: word.generation(),
            counts: self.window.counts(now_ms),
            window: rules.window(),
            opens_in_a_row: match state {
                BreakerState::Closed => word.level_at(now_ms, rules.heal_ms, rules.level_max),
                BreakerState::Open | BreakerState::Probing | BreakerState::Ramping => word.level(),
            },
            next_probe_at: (state == BreakerState::Open && word.is_ruled())
                .then(|| self.instant(word.moment())),
            probes_running: round.running(),
            probes_succeeded: round.succeeded(),
            admitted_ratio,
            in_flight: under_way.map(|seen| seen.calls),
            oldest: under_way
                .and_then(|seen| seen.oldest_ms)
                .map(Duration::from_millis),
            last_failure: self.record.last_failure(),
            doubt: self.doubt(now),
        }
    }
}

//! What the gate asks before it looks for a place: whether the process can take more work
//! at all.
//!
//! A refusal made here says nothing about the number of requests in flight, so the
//! algorithm of the limit never hears of it.

use std::time::{Duration, Instant};

use super::{Ask, ShedGate, gate::SOURCE, lane::Lane};
use crate::{
    name::Name,
    refusal::{
        Refusal,
        cause::Rule,
        evidence::{Evidence, Overloaded, Pressure},
    },
    shed::runtime_lag::{LagChange, LagMode, Lagging},
    sync::stripe,
};

/// The retry hint of a refusal for pressure, which lasts for seconds or goes away.
pub(super) const HINT: Duration = Duration::from_secs(1);

/// The algorithm of the limit hears of a heartbeat that is later than this. As long as two
/// answers of a fast service, and what DAGOR takes for an overload of the process (Zhou et
/// al., SoCC 2018).
const LATE: Duration = Duration::from_millis(20);

impl ShedGate {
    /// Refuses a request that the process cannot take.
    #[inline]
    pub(super) fn press(&self, ask: Ask<'_>, stripe: usize, now: Instant) -> Result<(), Refusal> {
        if ask.stream {
            self.foresee_stream(stripe, now)?;
        }
        self.press_memory(ask.priority, stripe, now)?;
        let arrived = || self.arrived();
        self.lag
            .arrive(stripe, (ask.priority, ask.route), arrived, now)
            .map_err(|lagging| self.refuse_for_lag(lagging, now))
    }

    #[cold]
    pub(super) fn refuse_for_lag(&self, lagging: Lagging, now: Instant) -> Refusal {
        self.refuse_for(SOURCE, Rule::RuntimeLag, Pressure::Lag(lagging), HINT, now)
    }

    pub(super) fn refuse_for(
        &self,
        source: Name,
        rule: Rule,
        pressure: Pressure,
        hint: Duration,
        now: Instant,
    ) -> Refusal {
        // Both of one limit, or more would run than may.
        let common = &self.lanes.common().tokens;
        let overloaded = Overloaded {
            rule,
            in_flight: common.in_flight(),
            limit: common.limit(),
            stuck: None,
            queue: None,
            pressure: Some(pressure),
            backend: None,
        };
        Refusal::new(source, Evidence::Overloaded(overloaded), hint, now)
    }

    /// Everything that came, whatever became of it.
    pub(super) fn arrived(&self) -> u64 {
        let lanes = self.lanes.all().map(Lane::arrived);
        lanes.fold(self.lag.refused(), u64::wrapping_add)
    }

    /// Takes a heartbeat of the runtime that serves: a task on it ran `lag` later than it
    /// should have. Ten times a second ([`crate::BEAT`]); without it the lag loop is idle.
    pub fn beat(&self, lag: Duration, now: Instant) {
        self.note_peak();
        let stripe = stripe::current();
        for lane in self.lanes.all() {
            lane.beat(stripe, now);
            if lag > LATE {
                lane.late(lag, stripe, now);
            }
        }
        self.lag.beat(self.arrived(), lag, now);
    }

    /// Says how many threads run requests; one without it. Called once, before the first
    /// beat.
    pub fn set_workers(&self, workers: u32) {
        self.lag.set_workers(workers);
        self.pacing.set_workers(workers);
    }

    /// Obeys the lag loop, only observes it, or does without.
    pub fn set_lag_mode(&self, mode: LagMode) {
        self.lag.set_mode(mode);
    }

    /// Takes the changes of the lag loop's phase since the last call, oldest first.
    #[must_use]
    pub fn take_lag_changes(&self) -> Vec<LagChange> {
        self.lag.take_changes()
    }
}

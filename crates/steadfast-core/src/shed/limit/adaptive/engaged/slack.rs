//! Places lent to bursts, where a queue would not last.
//!
//! A load that comes in bursts and is less than the capacity on average needs no limit as tight
//! as a lasting overload does: what a burst leaves behind is served before the next comes.
//! The limit only ever sees the bursts, and would refuse a part of each of them for ever.
//! So while it is held a queue is kept on paper. Whoever comes joins it, admitted or not, and it
//! is served at the rate of the service while that has a queue (in flight over latency, by
//! Little's law). When it becomes empty the load is less than the capacity, and the limit lends
//! as many places as are served while a burst may last ([`burst_secs`]); when it holds twice that
//! work, that is an overload, and nothing is lent until it was empty again.

use std::time::{Duration, Instant};

use super::super::burst_secs;

/// The queue on paper.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slack {
    seen: Option<Instant>,
    /// How long what is in it would take.
    secs: f64,
    lends: bool,
    /// Since when lent places are in use though the queue on paper is empty.
    held: Option<Instant>,
    service: Service,
}

/// What is known of a service.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Service {
    /// What it ends each second while it has a queue; 0 while that is not known.
    pub(super) capacity: f64,
    /// What a request takes that does not wait.
    pub(super) secs: f64,
}

impl Slack {
    /// Nothing is known yet, so nothing is lent.
    pub(super) const NONE: Self = Self {
        seen: None,
        secs: f64::INFINITY,
        lends: false,
        held: None,
        service: Service {
            capacity: 0.0,
            secs: 0.0,
        },
    };

    /// Takes in how many came since the last call, and whether some hold lent places.
    pub(super) fn arrived(&mut self, now: Instant, arrivals: f64, service: Service, beyond: bool) {
        self.service = service;
        let known = service.capacity > 0.0;
        let Some(before) = self.seen.replace(now).filter(|_| known) else {
            return;
        };
        let passed = now.saturating_duration_since(before).as_secs_f64();
        self.secs = (self.secs + arrivals / service.capacity - CERTAIN * passed).max(0.0);
        self.lends = self.secs <= 0.0 || self.lends && self.secs < DEEP * self.burst_secs();
        if !self.lends {
            self.secs = self.secs.min(self.burst_secs());
        }
        self.held = (beyond && self.lends && self.secs <= 0.0).then(|| self.held.unwrap_or(now));
    }

    /// For how long lent places have been held that should have been free, if that is longer than a burst explains: the service is not the one that was measured.
    pub(super) fn overdue(&self, now: Instant) -> Option<Duration> {
        let held = now.saturating_duration_since(self.held?);
        (held.as_secs_f64() > DEEP * self.burst_secs()).then_some(held)
    }

    /// How many places are lent.
    pub(super) fn places(&self) -> f64 {
        if self.lends {
            self.burst_secs() * self.service.capacity
        } else {
            0.0
        }
    }

    fn burst_secs(&self) -> f64 {
        burst_secs(self.service.secs)
    }
}

/// The share of the measured rate that is counted on: it is known to a few hundredths.
const CERTAIN: f64 = 0.95;
/// More than so many bursts' work on paper is an overload.
const DEEP: f64 = 2.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::origin;

    const CAPACITY: f64 = 1600.0;
    const SERVICE: Service = Service {
        capacity: CAPACITY,
        secs: 0.01,
    };
    const BURST_SECS: f64 = 0.25;
    const MS: Duration = Duration::from_millis(1);

    /// A load of so many each millisecond, for so many of them.
    fn load(slack: &mut Slack, now: &mut Instant, each_ms: f64, ms: u32) {
        for _ in 0..ms {
            *now += MS;
            slack.arrived(*now, each_ms, SERVICE, false);
        }
    }

    /// A tenth of the time five times as much as comes on average, for so many times 50 ms.
    fn bursts(slack: &mut Slack, now: &mut Instant, share: f64, times: u32) {
        for _ in 0..times {
            load(slack, now, 5.0 * share * CAPACITY / 1000.0, 10);
            *now += 40 * MS;
        }
    }

    #[test]
    fn a_load_below_the_capacity_is_lent_what_is_served_in_a_burst_s_time() {
        let (mut slack, mut now) = (Slack::NONE, origin());
        bursts(&mut slack, &mut now, 0.8, 20);
        assert_eq!(slack.places(), 0.0, "it must be seen for a while");
        bursts(&mut slack, &mut now, 0.8, 20);
        assert_eq!(slack.places(), BURST_SECS * CAPACITY);
    }

    #[test]
    fn a_load_of_the_capacity_is_lent_nothing_however_it_comes() {
        let (mut slack, mut now) = (Slack::NONE, origin());
        bursts(&mut slack, &mut now, 1.0, 2_000);
        assert_eq!(slack.places(), 0.0);
        load(&mut slack, &mut now, 1.6, 100_000);
        assert_eq!(slack.places(), 0.0);
    }

    #[test]
    fn an_overload_is_lent_nothing_any_more_after_twice_a_burst_s_time_of_work() {
        let (mut slack, mut now) = (Slack::NONE, origin());
        load(&mut slack, &mut now, 0.8, 1_000);
        assert!(slack.places() > 0.0);
        // Twice the capacity: a second of work each second, and 5 % that is not counted on.
        load(&mut slack, &mut now, 3.2, 450);
        assert!(slack.places() > 0.0);
        load(&mut slack, &mut now, 3.2, 50);
        assert_eq!(slack.places(), 0.0);
        // However long it lasts, it is forgotten as soon as any other.
        load(&mut slack, &mut now, 16.0, 100_000);
        load(&mut slack, &mut now, 0.8, 600);
        assert!(slack.places() > 0.0);
    }

    #[test]
    fn of_a_service_whose_rate_is_not_known_nothing_is_lent() {
        let (mut slack, mut now) = (Slack::NONE, origin());
        for _ in 0..10_000 {
            now += MS;
            slack.arrived(now, 0.1, Service::default(), false);
        }
        assert_eq!(slack.places(), 0.0);
    }

    #[test]
    fn lent_places_that_are_held_for_longer_than_the_load_explains_are_noticed() {
        let (mut slack, mut now) = (Slack::NONE, origin());
        load(&mut slack, &mut now, 0.8, 1_000);
        for _ in 0..502 {
            assert_eq!(slack.overdue(now), None);
            now += MS;
            slack.arrived(now, 0.02, SERVICE, true);
        }
        assert_eq!(slack.overdue(now), Some(501 * MS));
        // A burst explains them.
        slack.arrived(now, 100.0, SERVICE, true);
        assert_eq!(slack.overdue(now), None);
    }
}

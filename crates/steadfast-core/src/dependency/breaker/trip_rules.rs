//! Checked settings, and the arithmetic that depends on nothing else.

use std::time::Duration;

use super::{
    control_word::LEVEL_MAX, probe_round::RoundLimits, rules::wilson_lower, state::BreakerMode,
    trip::Trip,
};
use crate::FailureClass;

/// Checked settings: what [`Trip::build`] makes and a breaker runs on.
#[derive(Clone, Debug)]
pub struct TripRules {
    pub(super) trip: Trip,
    pub(super) round: RoundLimits,
    pub(super) level_max: u32,
    pub(super) slow_ms: Option<u64>,
    pub(super) stall_ms: Option<u64>,
    pub(super) ramp_ms: u64,
    pub(super) heal_ms: u64,
}

impl TripRules {
    /// Returns the length of the window that ratios are taken over.
    #[must_use]
    pub const fn window(&self) -> Duration {
        self.trip.window
    }

    /// Returns from when on a call is slow, `None` if the slow rule is off.
    #[must_use]
    pub const fn slow_limit(&self) -> Option<Duration> {
        self.trip.slow_limit
    }

    /// Returns from when on a call hangs, `None` if the stall rule is off.
    #[must_use]
    pub fn stall_limit(&self) -> Option<Duration> {
        self.stall_ms.map(Duration::from_millis)
    }

    /// Returns how long a probe may be silent.
    #[must_use]
    pub const fn probe_lease(&self) -> Duration {
        self.trip.probe_lease
    }

    /// Returns how often [`Breaker::tick`](crate::Breaker::tick) should be called: often
    /// enough that nothing is late by more than a quarter of its limit, but not more than
    /// ten times a second.
    #[must_use]
    pub fn tick_interval(&self) -> Duration {
        let shortest = [Some(self.round.lease_ms), self.stall_ms]
            .into_iter()
            .flatten()
            .chain([ms(self.trip.open_base)])
            .min()
            .unwrap_or(1_000);
        Duration::from_millis((shortest / 4).clamp(100, 1_000))
    }

    /// Returns the settings that these were made of.
    pub const fn settings(&self) -> &Trip {
        &self.trip
    }

    /// Returns who decides at first.
    #[must_use]
    pub const fn mode(&self) -> BreakerMode {
        self.trip.mode
    }

    pub(super) fn bucket_ms(&self) -> u64 {
        ms(self.trip.window) / BUCKETS as u64
    }

    pub(super) const fn calls_min(&self) -> u32 {
        self.trip.calls_min
    }

    pub(super) const fn stalled_calls(&self) -> u32 {
        self.trip.stalled_calls
    }

    pub(super) const fn open_base(&self) -> Duration {
        self.trip.open_base
    }

    pub(super) const fn open_max(&self) -> Duration {
        self.trip.open_max
    }

    /// Whether this many failures in a row, this far apart, trip.
    pub(super) fn streak_trips(&self, failures: u32, spread_ms: u64) -> bool {
        self.trip.consecutive.is_some_and(|needed| {
            failures >= needed
                && (spread_ms >= ms(self.trip.consecutive_spread)
                    || failures >= self.trip.calls_min)
        })
    }

    /// Whether this share of failures trips.
    pub(super) fn failures_trip(&self, failed: u32, calls: u32) -> bool {
        self.trip
            .failure_ratio
            .is_some_and(|ratio| self.share_trips(failed, calls, ratio))
    }

    /// Whether this share of failures is above the ratio, however few they are; above half
    /// of all calls without one.
    pub(super) fn failures_exceed(&self, failed: u32, calls: u32) -> bool {
        let ratio = self.trip.failure_ratio.unwrap_or(0.5);
        f64::from(failed) > f64::from(calls) * ratio
    }

    /// Returns how much of a dependency's own hint is respected.
    pub(super) const fn retry_after_max(&self) -> Duration {
        self.trip.retry_after_max
    }

    /// Whether this share of slow calls trips.
    pub(super) fn slow_calls_trip(&self, slow: u32, calls: u32) -> bool {
        self.slow_ms.is_some() && self.share_trips(slow, calls, self.trip.slow_ratio)
    }

    fn share_trips(&self, hits: u32, calls: u32, ratio: f64) -> bool {
        calls >= self.trip.calls_min && wilson_lower(hits, calls) > ratio
    }

    /// Returns how long to wait after `level` openings in a row. `random` is uniform.
    pub(super) fn wait_ms(&self, level: u32, retry_after: Option<Duration>, random: u32) -> u64 {
        let own = self.own_wait_ms(level);
        self.spread_ms(own, retry_after, random)
    }

    fn own_wait_ms(&self, level: u32) -> u64 {
        ms(self.trip.open_base)
            .saturating_mul(1 << level.min(LEVEL_MAX))
            .min(ms(self.trip.open_max))
    }

    /// Whether it is asked again so often that not each time is news.
    pub(super) const fn retries_often(&self) -> bool {
        self.trip.waits_by_default
    }

    /// Returns how long to wait until a call may ask again whether the dependency can be
    /// reached, if it could not be for this reason and nobody has set the waits.
    pub(super) fn eager_wait_ms(
        &self,
        class: FailureClass,
        retry_after: Option<Duration>,
        random: u32,
    ) -> Option<u64> {
        let wait = absence_wait(class).filter(|_| self.trip.waits_by_default)?;
        Some(self.spread_ms(ms(wait), retry_after, random))
    }

    fn spread_ms(&self, own: u64, retry_after: Option<Duration>, random: u32) -> u64 {
        let unit = f64::from(random) / (f64::from(u32::MAX) + 1.0);
        let jitter = self.trip.jitter_ratio;
        // Spread after the cap: a fleet that has reached the longest wait must not fall
        // into step there.
        let own = own as f64 * (1.0 - jitter + 2.0 * jitter * unit);
        let asked = retry_after.map_or(0, ms).min(ms(self.trip.retry_after_max));
        // Spread upward only: the dependency asked not to be called earlier.
        let asked = asked as f64 * (1.0 + jitter * unit);
        (own.max(asked) as u64).max(1)
    }

    /// Returns the share of calls that passes `left_ms` before the end of a ramp.
    pub(super) fn ramp_share(&self, left_ms: u64) -> f64 {
        if self.ramp_ms == 0 {
            return 1.0;
        }
        let start = self.trip.ramp_start_ratio;
        let done = 1.0 - (left_ms.min(self.ramp_ms) as f64 / self.ramp_ms as f64);
        start + (1.0 - start) * done
    }
}

/// Returns how long a dependency is left alone of which a failure of this class says that
/// nobody was there who could have had work of it.
const fn absence_wait(class: FailureClass) -> Option<Duration> {
    match class {
        FailureClass::Unreachable => Some(UNREACHABLE_WAIT),
        FailureClass::Loading => Some(LOADING_WAIT),
        _ => None,
    }
}

/// With the jitter less than what lies between two calls at ten a second, so that the first
/// after its return probes. A connect that is refused costs a packet each way.
pub(super) const UNREACHABLE_WAIT: Duration = Duration::from_millis(50);

/// One that comes up makes a session for each that asks it, only to say so.
pub(super) const LOADING_WAIT: Duration = Duration::from_millis(250);

/// Returns the level from which on the wait is the longest.
pub(super) fn level_max(base: Duration, max: Duration) -> u32 {
    (0..LEVEL_MAX)
        .find(|level| ms(base).saturating_mul(1 << level) >= ms(max))
        .unwrap_or(LEVEL_MAX)
}

/// Returns whole milliseconds.
pub(super) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Buckets of a window: Hystrix, Polly and Linkerd all use ten, and a tenth of the window
/// is as fine as a trip needs to be.
#[cfg(not(loom))]
pub(super) const BUCKETS: usize = 10;
/// Loom looks at every bucket of every sum.
#[cfg(loom)]
pub(super) const BUCKETS: usize = 1;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn rules(of: impl FnOnce(Trip) -> Trip) -> TripRules {
        of(Trip::default().calls_min(10).jitter_ratio(0.0))
            .build()
            .expect("the test's settings are right")
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn failures_in_a_row_trip_when_they_are_spread_or_as_many_as_a_ratio_needs() {
        let rules = rules(|trip| trip.consecutive_failures(3).consecutive_spread(SECOND));
        for (failures, spread_ms, trips) in [
            (2, 1_000, false),
            (3, 999, false),
            (3, 1_000, true),
            (9, 0, false),
            (10, 0, true),
        ] {
            let tripped = rules.streak_trips(failures, spread_ms);
            assert_eq!(tripped, trips, "{failures} within {spread_ms} ms");
        }
    }

    #[test]
    fn a_share_trips_once_there_are_calls_enough_to_be_sure_of_it() {
        let rules = rules(|trip| trip.failure_ratio(0.5));
        assert!(!rules.failures_trip(9, 9), "too few calls");
        assert!(rules.failures_trip(10, 10));
        assert!(!rules.failures_trip(6, 10), "it may be chance");
        assert!(rules.failures_trip(600, 1_000));
        assert!(!rules.slow_calls_trip(10, 10), "nobody asks what is slow");
        // However few they are, as a hint and not as a rule.
        assert!(rules.failures_exceed(2, 3));
        assert!(!rules.failures_exceed(1, 2), "half is not above half");
    }

    #[test]
    fn a_wait_doubles_with_each_opening_until_the_longest() {
        let rules = rules(|trip| trip.open_base(SECOND).open_max(10 * SECOND));
        let waits: Vec<_> = (0..6).map(|level| rules.wait_ms(level, None, 0)).collect();
        assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
        assert_eq!(rules.level_max, 4, "from there on it does not grow");
        assert_eq!(level_max(SECOND, SECOND), 0);
        assert_eq!(level_max(SECOND, 8 * SECOND), 3);
    }

    #[test]
    fn instances_spread_their_waits_around_their_own_and_above_what_they_were_asked_for() {
        let rules = rules(|trip| {
            let trip = trip.open_base(SECOND).open_max(10 * SECOND);
            trip.jitter_ratio(0.5).retry_after_max(4 * SECOND)
        });
        let wait = |asked, random| rules.wait_ms(0, asked, random);
        assert_eq!(wait(None, 0), 500);
        assert_eq!(wait(None, 1 << 31), 1_000);
        assert_eq!(wait(None, u32::MAX), 1_499);
        let asked = Some(2 * SECOND);
        assert_eq!(wait(asked, 0), 2_000, "never earlier than asked");
        assert_eq!(wait(asked, 1 << 31), 2_500);
        assert_eq!(wait(Some(60 * SECOND), 0), 4_000, "as long as is respected");
        assert_eq!(wait(Some(Duration::ZERO), 0), 500);
    }

    #[test]
    fn who_is_not_there_is_asked_again_soon_unless_somebody_has_set_the_wait() {
        let by_default = rules(|trip| trip);
        let eager = |rules: &TripRules, class| rules.eager_wait_ms(class, None, 0);
        assert_eq!(eager(&by_default, FailureClass::Unreachable), Some(50));
        assert_eq!(eager(&by_default, FailureClass::Loading), Some(250));
        assert_eq!(eager(&by_default, FailureClass::Timeout), None);
        assert!(by_default.retries_often());
        let set = rules(|trip| trip.open_base(SECOND).open_max(10 * SECOND));
        assert_eq!(eager(&set, FailureClass::Unreachable), None);
        assert!(!set.retries_often());
    }

    #[test]
    fn a_ramp_lets_in_ever_more_from_its_first_share_to_all() {
        let rules = rules(|trip| trip.ramp(10 * SECOND).ramp_start_ratio(0.2));
        for (left_ms, share) in [(10_000, 0.2), (60_000, 0.2), (5_000, 0.6), (0, 1.0)] {
            let found = rules.ramp_share(left_ms);
            assert!(
                (found - share).abs() < 1e-9,
                "{found} with {left_ms} ms left"
            );
        }
    }

    #[test]
    fn whoever_ticks_comes_often_enough_for_the_shortest_bound_and_no_oftener() {
        for (lease, stall, base, tick_ms) in [
            (20, Some(20), 20, 1_000),
            (2, Some(20), 20, 500),
            (20, Some(1), 20, 250),
            (20, None, 3, 750),
        ] {
            let rules = rules(|trip| {
                let trip = trip.probe_lease(lease * SECOND);
                let trip = trip.open_base(base * SECOND).open_max(60 * SECOND);
                match stall {
                    Some(stall) => trip.stall_limit(stall * SECOND),
                    None => trip.no_stall(),
                }
            });
            let tick = rules.tick_interval();
            assert_eq!(
                tick,
                Duration::from_millis(tick_ms),
                "{lease} {stall:?} {base}"
            );
        }
    }
}

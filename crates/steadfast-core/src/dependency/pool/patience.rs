//! How long it makes sense to wait, as far as is known: only evidence ends a wait that the
//! driver's own pool would go on with.
//!
//! A connect that is under way is no failure. How long the server may take for it is not known
//! until it has given a connection; then what the last ones took is known, and a silence that is
//! far longer is evidence. One who waits for a connection to come back does so for as long as
//! some do: a pool whose holders wait for each other gives none back.

use std::time::{Duration, Instant};

use super::{
    PROBE_AFTER, PoolSettings,
    settings::{NONE_BACK_MAX, PATIENCE_MIN},
    slots::Slots,
};

/// How many times as long as usual a connect may take before its silence is evidence: a server
/// that is busy takes twice as long, and one that hangs takes for ever.
const CONNECT_TIMES: u32 = 3;

/// The same for a hold.
const HOLD_TIMES: u32 = 2;

/// How many times as long as usual an idle connection may take to answer before somebody else is
/// asked. A server far away, or behind a slow network, takes longer than [`PROBE_AFTER`] for each
/// answer: to take a second connection for each request, and to open a session beside the pool
/// for each question, is to double what it has to do.
const TEST_TIMES: u32 = 2;

/// How long the last connects and holds took, the longer ones for longer.
#[derive(Debug)]
pub(super) struct Patience {
    connect_max: Duration,
    connect_slow_max: Duration,
    stuck_after: Duration,
    /// `None` until the server has given a connection.
    connect: Option<Duration>,
    /// What tests of idle connections take; zero until one was answered.
    test: Duration,
    hold: Duration,
}

impl Patience {
    pub(super) fn new(settings: &PoolSettings) -> Self {
        let slow_max = settings.connect_slow_max.min(settings.wait_max);
        Self {
            connect_max: settings.connect_max,
            connect_slow_max: slow_max.max(settings.connect_max),
            stuck_after: settings.stuck_after,
            connect: None,
            test: Duration::ZERO,
            hold: Duration::ZERO,
        }
    }

    /// Notes what a connect took. A quick one makes slow ones half forgotten.
    pub(super) fn connected(&mut self, took: Duration) {
        let before = self.connect.unwrap_or_default();
        self.connect = Some(took.max(before / 2));
    }

    /// Notes what an idle connection took to answer. A quick one makes slow ones half forgotten.
    pub(super) fn tested(&mut self, took: Duration) {
        self.test = took.max(self.test / 2);
    }

    /// Returns how long an idle connection may take to answer before it is late, and no longer
    /// than leaves half of its time for what is found out then.
    pub(super) fn test(&self) -> Duration {
        let longest = (self.connect_max / 2).max(PROBE_AFTER);
        self.test
            .saturating_mul(TEST_TIMES)
            .clamp(PROBE_AFTER, longest)
    }

    /// Returns what a connect takes; `None` until the server has given a connection.
    pub(super) const fn usual_connect(&self) -> Option<Duration> {
        self.connect
    }

    /// Returns what the test of an idle connection takes.
    pub(super) fn usual_test(&self) -> Duration {
        self.test.min(self.connect_max / 2)
    }

    /// Notes for how long a connection was held.
    pub(super) fn held(&mut self, hold: Duration) {
        self.hold = hold.max(self.hold * 15 / 16);
    }

    /// Returns how long a connect may be silent.
    pub(super) fn connect(&self) -> Duration {
        let usual = |took: Duration| took.saturating_mul(CONNECT_TIMES);
        let patience = self.connect.map_or(self.connect_slow_max, usual);
        patience.clamp(self.connect_max, self.connect_slow_max)
    }

    /// Returns for how long nothing may come back.
    fn none_back(&self) -> Duration {
        let usual = self.hold.saturating_mul(HOLD_TIMES);
        usual.max(NONE_BACK_MAX).min(self.stuck_after)
    }
}

impl Slots {
    /// Returns how long a connect may be silent.
    pub(super) fn connect_patience(&self) -> Duration {
        self.patience.connect()
    }

    /// Returns from when on one who waits since then waits in vain, unless something happens: no
    /// connection has come back or answered for too long, and none is being opened.
    pub(super) fn vain_at(&self, since: Instant, now: Instant) -> Instant {
        if let Some(at) = self.gone_for_good_at(since) {
            return at;
        }
        let still = if self.lent() > 0 {
            now + self.patience.none_back().saturating_sub(self.quiet(now))
        } else if self.used() > 0 {
            // Of those that somebody else has, nobody here sees how they come back.
            since + self.patience.none_back()
        } else {
            now + self.patience.connect_max.saturating_sub(self.quiet(now))
        };
        let opened = self.last_opening(now);
        let opened = opened.map_or(now, |since| since + self.connect_patience());
        (since + PATIENCE_MIN).max(still).max(opened)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);

    fn patience() -> Patience {
        let settings = PoolSettings::new(4).wait_max(30 * SECOND);
        let mut settings = settings.connect_max(SECOND);
        settings.connect_slow_max = 10 * SECOND;
        Patience::new(&settings)
    }

    #[test]
    fn a_connect_may_be_silent_for_three_times_what_the_last_ones_took() {
        let mut patience = patience();
        assert_eq!(patience.connect(), 10 * SECOND, "nobody knows yet");
        for (took_ms, silent_ms) in [
            (2_000, 6_000),
            (20, 3_000), // half of what the slow one took is remembered
            (20, 1_500),
            (20, 1_000),      // never less than a connect may take
            (60_000, 10_000), // never more than a slow one may
        ] {
            patience.connected(took_ms * MS);
            assert_eq!(patience.connect(), silent_ms * MS, "after {took_ms} ms");
        }
    }

    #[test]
    fn an_idle_connection_is_late_after_twice_what_tests_take() {
        let mut patience = patience();
        assert_eq!(patience.test(), PROBE_AFTER, "none was answered yet");
        patience.tested(SECOND);
        assert_eq!(patience.test(), SECOND / 2, "one was slow");
        for _ in 0..20 {
            patience.tested(150 * MS);
        }
        let late = patience.test();
        assert!(late > 295 * MS && late < 305 * MS, "{late:?}");
        for _ in 0..20 {
            patience.tested(10 * SECOND);
        }
        assert_eq!(
            patience.test(),
            SECOND / 2,
            "half of a connect's time is left"
        );
    }

    #[test]
    fn nothing_may_come_back_for_twice_a_hold_and_no_longer_than_makes_a_pool_stuck() {
        let settings = PoolSettings::new(4).stuck_after(NONE_BACK_MAX * 4);
        let mut patience = Patience::new(&settings);
        assert_eq!(patience.none_back(), NONE_BACK_MAX);
        patience.held(NONE_BACK_MAX);
        assert_eq!(patience.none_back(), NONE_BACK_MAX * 2);
        patience.held(MS);
        let less = patience.none_back();
        assert!(less < NONE_BACK_MAX * 2 && less > NONE_BACK_MAX, "{less:?}");
        patience.held(NONE_BACK_MAX * 100);
        assert_eq!(patience.none_back(), NONE_BACK_MAX * 4);
    }
}

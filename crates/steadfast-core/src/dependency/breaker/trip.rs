//! When a breaker trips, how long it waits and how it lets traffic back in.
//!
//! The defaults lie between Hystrix, Finagle and Linkerd. Those of resilience4j (100 calls,
//! 60 s) and Polly (100 calls) are too slow for services with little traffic.
//!
//! ```
//! use std::time::Duration;
//! use steadfast_core::Trip;
//!
//! let rules = Trip::default()
//!     .failure_ratio(0.3)
//!     .slow_limit(Duration::from_millis(800)) // turns the slow rule on
//!     .build()?;
//! assert_eq!(rules.stall_limit(), Some(Duration::from_millis(1_600)));
//! # Ok::<(), steadfast_core::ConfigError>(())
//! ```

use std::time::Duration;

use super::{
    faults::Faults,
    probe_round::{ROUND_COUNT_MAX, RoundLimits, SILENT_MS},
    state::BreakerMode,
    trip_rules::{TripRules, level_max, ms},
};
use crate::ConfigError;

/// Settings of a breaker. Every one has a default; [`Trip::build`] checks them together.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Trip {
    pub(super) mode: BreakerMode,
    pub(super) window: Duration,
    pub(super) calls_min: u32,
    pub(super) failure_ratio: Option<f64>,
    pub(super) consecutive: Option<u32>,
    pub(super) consecutive_spread: Duration,
    pub(super) slow_limit: Option<Duration>,
    pub(super) slow_ratio: f64,
    pub(super) stall: bool,
    pub(super) stalled_calls: u32,
    pub(super) stall_limit: Option<Duration>,
    pub(super) open_base: Duration,
    pub(super) open_max: Duration,
    open_max_is_set: bool,
    /// Whether the waits are those that nobody has set.
    pub(super) waits_by_default: bool,
    pub(super) jitter_ratio: f64,
    pub(super) heal_interval: Duration,
    pub(super) retry_after_max: Duration,
    pub(super) probes: u32,
    pub(super) probe_successes: u32,
    pub(super) probe_lease: Duration,
    probe_lease_is_set: bool,
    pub(super) inconclusive_max: u32,
    pub(super) ramp: Duration,
    pub(super) ramp_start_ratio: f64,
}

impl Default for Trip {
    fn default() -> Self {
        Self {
            mode: BreakerMode::Auto,
            window: Duration::from_secs(10),
            calls_min: 20,
            failure_ratio: Some(0.5),
            consecutive: Some(5),
            consecutive_spread: Duration::from_secs(1),
            slow_limit: None,
            slow_ratio: 0.8,
            stall: true,
            stalled_calls: 3,
            stall_limit: None,
            open_base: Duration::from_secs(1),
            open_max: OPEN_MAX_DEFAULT,
            open_max_is_set: false,
            waits_by_default: true,
            jitter_ratio: 0.5,
            heal_interval: Duration::from_secs(10),
            retry_after_max: Duration::from_secs(60),
            probes: 1,
            probe_successes: 2,
            probe_lease: Duration::from_secs(5),
            probe_lease_is_set: false,
            inconclusive_max: 5,
            ramp: Duration::from_secs(10),
            ramp_start_ratio: 0.1,
        }
    }
}

impl Trip {
    /// Sets who decides at first; [`BreakerMode::Auto`] by default.
    pub fn mode(mut self, mode: BreakerMode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets the length of the window that ratios are taken over; 1 s to 1 h, 10 s by
    /// default (Hystrix, Linkerd). It is counted in ten buckets.
    pub fn window(mut self, length: Duration) -> Self {
        self.window = length;
        self
    }

    /// Sets how many calls a ratio needs; 1 to 10,000, 20 by default (Hystrix).
    ///
    /// Fewer are no trap here, because the ratio must be exceeded with 95 % confidence.
    pub fn calls_min(mut self, calls: u32) -> Self {
        self.calls_min = calls;
        self
    }

    /// Sets the share of failed calls that trips; above 0, below 1; 0.5 by default
    /// (Hystrix, resilience4j).
    ///
    /// It trips when the lower bound of Wilson's interval (one-sided, 95 %) lies above the
    /// ratio: with 0.5, 14 failures of 20 trip and 110 of 200 do not, but 120 of 200 do.
    pub fn failure_ratio(mut self, ratio: f64) -> Self {
        self.failure_ratio = Some(ratio);
        self
    }

    /// Turns the failure ratio off.
    pub fn no_failure_ratio(mut self) -> Self {
        self.failure_ratio = None;
        self
    }

    /// Sets how many failures in a row trip; 1 to 10,000, 5 by default (Envoy, Finagle).
    pub fn consecutive_failures(mut self, failures: u32) -> Self {
        self.consecutive = Some(failures);
        self
    }

    /// Turns the rule of failures in a row off.
    pub fn no_consecutive_failures(mut self) -> Self {
        self.consecutive = None;
        self
    }

    /// Sets how long failures in a row must be apart, the first from the last; up to 1 h,
    /// 1 s by default.
    ///
    /// Five calls that one reset connection took with it are one event. As many failures
    /// as [`Trip::calls_min`] trip whatever their spread.
    pub fn consecutive_spread(mut self, spread: Duration) -> Self {
        self.consecutive_spread = spread;
        self
    }

    /// Sets from when on a call is slow, and so turns the slow rule on; 1 ms to 1 h, off
    /// by default, because only the caller knows what slow is.
    pub fn slow_limit(mut self, limit: Duration) -> Self {
        self.slow_limit = Some(limit);
        self
    }

    /// Sets the share of slow calls that trips; above 0, below 1; 0.8 by default.
    ///
    /// It is higher than the failure ratio, because a slow answer is still an answer.
    pub fn slow_ratio(mut self, ratio: f64) -> Self {
        self.slow_ratio = ratio;
        self
    }

    /// Sets how many calls must hang to trip; 1 to 10,000, 3 by default: one or two may be
    /// lost connections.
    pub fn stalled_calls(mut self, calls: u32) -> Self {
        self.stalled_calls = calls;
        self
    }

    /// Sets from when on a call without any answer beside it hangs; 10 ms to 1 h, not
    /// below the slow limit; twice the slow limit by default, and 30 s without one.
    ///
    /// 30 s is what sqlx waits for a connection and more than a person waits for a page.
    /// A dependency whose *every* call is a long poll needs a longer limit or
    /// [`Trip::no_stall`]; long calls beside short ones do not, since each answer clears
    /// the calls that started before it.
    pub fn stall_limit(mut self, limit: Duration) -> Self {
        self.stall = true;
        self.stall_limit = Some(limit);
        self
    }

    /// Turns the stall rule off, and with it the count of calls in flight and the rule that
    /// trips when [`Trip::calls_min`] callers left and nothing was answered for a whole
    /// window. It saves two atomic writes for each call.
    pub fn no_stall(mut self) -> Self {
        self.stall = false;
        self
    }

    /// Sets the first wait; 10 ms to [`Trip::open_max`], 1 s by default (Linkerd). It
    /// doubles with each opening in a row, up to [`Trip::open_max`], which is no shorter than
    /// this while nobody has set it.
    ///
    /// While neither this nor [`Trip::open_max`] is set, a dependency that cannot be reached
    /// ([`FailureClass::Unreachable`](crate::FailureClass::Unreachable)) is probed each 50 ms
    /// instead, and one that still loads ([`FailureClass::Loading`](crate::FailureClass::Loading))
    /// each 250 ms, if calls come: the one call that probes costs it less than the calls that a
    /// breaker keeps away, and whoever asks after its return is served.
    pub fn open_base(mut self, wait: Duration) -> Self {
        if !self.open_max_is_set {
            self.open_max = OPEN_MAX_DEFAULT.max(wait);
        }
        self.open_base = wait;
        self.waits_by_default = false;
        self
    }

    /// Sets the longest wait before jitter; up to 1 h, 1 s by default.
    ///
    /// It is the longest that a dependency which is back is kept from those who call it, and
    /// with the jitter and two probes a service that is asked twice a second is served within
    /// two seconds. One call a second harms no dependency that was sent all of them before.
    /// Linkerd's 60 s refuse everything for up to 90 s after an outage is over.
    pub fn open_max(mut self, wait: Duration) -> Self {
        self.open_max = wait;
        self.open_max_is_set = true;
        self.waits_by_default = false;
        self
    }

    /// Sets how far a wait is spread both ways; 0 to 0.9, 0.5 by default (Linkerd), so that
    /// the instances of a fleet do not probe in step.
    pub fn jitter_ratio(mut self, ratio: f64) -> Self {
        self.jitter_ratio = ratio;
        self
    }

    /// Sets how long closed takes one opening off the count; 100 ms to 1 h, 10 s by
    /// default (gRPC's outlier detection, A50). A dependency that flaps so meets longer
    /// waits although each recovery looked good.
    pub fn heal_interval(mut self, interval: Duration) -> Self {
        self.heal_interval = interval;
        self
    }

    /// Sets how much of a dependency's `Retry-After` is respected; up to 1 h, 60 s by
    /// default. Zero ignores it.
    ///
    /// A dependency that names a time is believed without [`Trip::calls_min`] calls: when
    /// those that failed are more than the failure ratio's share of the window, lie a tenth
    /// of it apart, and none succeeded in its last third.
    pub fn retry_after_max(mut self, wait: Duration) -> Self {
        self.retry_after_max = wait;
        self
    }

    /// Sets how many probes run at once; 1 to 15, 1 by default: a sick dependency is
    /// helped by few.
    pub fn probes(mut self, probes: u32) -> Self {
        self.probes = probes;
        self
    }

    /// Sets how many probes must succeed; 1 to 15, 2 by default, since one success may be
    /// luck.
    pub fn probe_successes(mut self, successes: u32) -> Self {
        self.probe_successes = successes;
        self
    }

    /// Sets how long a probe may be silent before that is a failure; 10 ms to 1 h, 5 s by
    /// default. It must be above what a healthy call takes.
    ///
    /// While nobody sets it, another probe may start beside one that has been silent for a
    /// second: a dependency that hung and is back answers those who come now.
    pub fn probe_lease(mut self, lease: Duration) -> Self {
        self.probe_lease = lease;
        self.probe_lease_is_set = true;
        self
    }

    /// Sets how many probes of a round may end without a finding; 1 to 15, 5 by default.
    /// Then the breaker waits again, as long as before.
    pub fn inconclusive_max(mut self, probes: u32) -> Self {
        self.inconclusive_max = probes;
        self
    }

    /// Sets how long traffic takes to come back; up to 1 h, 10 s by default, one window.
    /// Zero lets everything in at once.
    ///
    /// A ramp refuses only where more than ten calls, and one for each that succeeded in it,
    /// would run at once; of the others the share that passes grows with time.
    pub fn ramp(mut self, length: Duration) -> Self {
        self.ramp = length;
        self
    }

    /// Sets the share of calls that pass when the ramp starts; above 0, up to 1, 0.1 by
    /// default (Envoy's slow start begins there too).
    pub fn ramp_start_ratio(mut self, ratio: f64) -> Self {
        self.ramp_start_ratio = ratio;
        self
    }

    /// Returns every fault, to list them under a parent's own; empty if there is none.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Faults::default();
        self.check_rules(&mut faults);
        self.check_recovery(&mut faults);
        faults.into_list()
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// Lists every setting outside its range and every pair that contradicts itself.
    pub fn build(self) -> Result<TripRules, ConfigError> {
        ConfigError::check(self.faults())?;
        Ok(TripRules {
            level_max: level_max(self.open_base, self.open_max),
            stall_ms: self.stall_limit_or_default().map(ms),
            round: RoundLimits {
                probes: self.probes,
                successes: self.probe_successes,
                inconclusive: self.inconclusive_max,
                lease_ms: ms(self.probe_lease),
                silent_ms: if self.probe_lease_is_set {
                    u64::MAX
                } else {
                    SILENT_MS
                },
            },
            slow_ms: self.slow_limit.map(ms),
            ramp_ms: ms(self.ramp),
            heal_ms: ms(self.heal_interval),
            trip: self,
        })
    }

    fn stall_limit_or_default(&self) -> Option<Duration> {
        let default = self
            .slow_limit
            .map_or(STALL_LIMIT_DEFAULT, |limit| limit.saturating_mul(2));
        self.stall
            .then(|| self.stall_limit.unwrap_or(default).max(STALL_LIMIT_MIN))
    }

    fn check_rules(&self, faults: &mut Faults) {
        faults.duration("window", self.window, SECOND, HOUR);
        faults.count("calls min", self.calls_min, CALLS_MAX);
        if let Some(ratio) = self.failure_ratio {
            faults.ratio("failure ratio", ratio);
        }
        if let Some(failures) = self.consecutive {
            faults.count("consecutive failures", failures, CALLS_MAX);
        }
        let spread = self.consecutive_spread;
        faults.duration("consecutive spread", spread, Duration::ZERO, HOUR);
        if let Some(limit) = self.slow_limit {
            faults.duration("slow limit", limit, MILLISECOND, HOUR);
        }
        faults.ratio("slow ratio", self.slow_ratio);
        faults.count("stalled calls", self.stalled_calls, CALLS_MAX);
        if let Some(limit) = self.stall_limit {
            faults.duration("stall limit", limit, STALL_LIMIT_MIN, HOUR);
            let slow = self.slow_limit.unwrap_or_default();
            faults.check(limit >= slow, || {
                format!("stall limit {limit:?} is below slow limit {slow:?}")
            });
        }
    }

    fn check_recovery(&self, faults: &mut Faults) {
        let (base, max) = (self.open_base, self.open_max);
        faults.duration("open base", base, MILLISECOND * 10, HOUR);
        faults.duration("open max", max, MILLISECOND * 10, HOUR);
        faults.check(base <= max, || {
            format!("open base {base:?} is above open max {max:?}")
        });
        let jitter = self.jitter_ratio;
        faults.check((0.0..=0.9).contains(&jitter), || {
            format!("jitter ratio {jitter} is not allowed; allowed are 0 to 0.9")
        });
        let heal = self.heal_interval;
        faults.duration("heal interval", heal, MILLISECOND * 100, HOUR);
        let wait = self.retry_after_max;
        faults.duration("retry-after max", wait, Duration::ZERO, HOUR);
        faults.count("probes", self.probes, ROUND_COUNT_MAX);
        faults.count("probe successes", self.probe_successes, ROUND_COUNT_MAX);
        faults.duration("probe lease", self.probe_lease, MILLISECOND * 10, HOUR);
        faults.count("inconclusive max", self.inconclusive_max, ROUND_COUNT_MAX);
        faults.duration("ramp", self.ramp, Duration::ZERO, HOUR);
        let start = self.ramp_start_ratio;
        faults.check(start > 0.0 && start <= 1.0, || {
            format!("ramp start ratio {start} is not allowed; allowed are above 0, up to 1")
        });
    }
}

/// More calls than this before a verdict would be an outage before a verdict; also what a
/// streak can count.
const CALLS_MAX: u32 = 10_000;
/// See [`Trip::open_max`].
const OPEN_MAX_DEFAULT: Duration = Duration::from_secs(1);
const STALL_LIMIT_DEFAULT: Duration = Duration::from_secs(30);
/// A quarter of it is a time slot, which must be a millisecond at least.
const STALL_LIMIT_MIN: Duration = Duration::from_millis(10);
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

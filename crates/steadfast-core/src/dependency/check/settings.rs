//! How a check runs, and what its failure means for the instance.

use std::time::Duration;

use crate::dependency::{SKIPS_MAX, breaker::OUTVOTED_FOR};

/// What a failing check means for the instance.
///
/// Complete: every reader of readiness decides on each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Requirement {
    /// It must pass once before the instance becomes ready, which stops a bad rollout;
    /// afterwards a failure degrades. For everything that other instances share.
    #[default]
    RequiredToStart,
    /// The instance is not ready while it fails. For what only this instance has: its
    /// disk, its certificate, its sidecar.
    Required,
    /// A failure degrades, also at the start.
    Degrades,
    /// A failure is shown and changes nothing.
    Informs,
}

impl Requirement {
    /// Returns the stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RequiredToStart => "required-to-start",
            Self::Required => "required",
            Self::Degrades => "degrades",
            Self::Informs => "informs",
        }
    }

    /// Finds the requirement with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [
            Self::RequiredToStart,
            Self::Required,
            Self::Degrades,
            Self::Informs,
        ]
        .into_iter()
        .find(|requirement| requirement.as_str() == word)
    }

    /// Whether the first round must have passed it.
    #[must_use]
    pub const fn gates_start(self) -> bool {
        matches!(self, Self::RequiredToStart | Self::Required)
    }
}

/// How early and how late a run may come, of its interval: checks and instances do not run
/// in step.
pub(super) const EARLIEST: f64 = 0.8;
pub(super) const LATEST: f64 = 1.2;

/// How often a check runs and how its answers are counted.
///
/// Complete: builders fill in every setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckSettings {
    /// Between two runs while it passes; jittered by ±20 %. Default 5 s: it costs a database
    /// 0.2 queries a second, and with `fall` it finds a dead dependency in about 11 s, at
    /// the latest in [`CheckSettings::detection_max`].
    pub interval: Duration,
    /// Between two runs while it does not pass. Default 1 s, so that a start and a
    /// recovery take two seconds and not ten.
    pub interval_failing: Duration,
    /// Longest run. Default 1 s, which is also a kubelet's patience with a probe.
    pub timeout: Duration,
    /// Failures in a row until it is failing. Default 3 (HAProxy's, Kubernetes').
    pub fall: u32,
    /// Successes in a row until it passes again. Default 2 (HAProxy's).
    pub rise: u32,
}

impl Default for CheckSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            interval_failing: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            fall: 3,
            rise: 2,
        }
    }
}

impl CheckSettings {
    /// Longest interval and timeout: a check that runs less than once an hour explains
    /// nothing.
    pub const LENGTH_MAX: Duration = Duration::from_secs(3600);

    /// Most answers that a streak may need.
    pub const STREAK_MAX: u32 = 100;

    /// Returns after how long without an answer the state is unknown: three intervals and
    /// a timeout.
    #[must_use]
    pub fn stale_after(&self) -> Duration {
        self.interval * 3 + self.timeout
    }

    /// Returns the longest time from the death of a dependency to the answer that calls it
    /// failing, for a check that sees the death: with the longest jitter, as many runs left
    /// out as traffic may stand in for ([`SKIPS_MAX`]), a run that was under way and had
    /// its good answer already, and each later one ending in a timeout.
    ///
    /// Calls that succeed after the check has begun to fail keep it a warning.
    #[must_use]
    pub fn detection_max(&self) -> Duration {
        let under_way = self.timeout;
        let first = self.interval.mul_f64(LATEST) * (SKIPS_MAX + 1) + self.timeout;
        let next = self.interval_failing.mul_f64(LATEST) + self.timeout;
        let by_checks = under_way + first + next * self.fall.saturating_sub(1);
        by_checks.max(OUTVOTED_FOR)
    }

    /// Returns what is wrong with the settings, each fault starting with `of`.
    #[must_use]
    pub fn faults(&self, of: &str) -> Vec<String> {
        let mut faults = Vec::new();
        for (key, value) in [
            ("interval", self.interval),
            ("interval_failing", self.interval_failing),
            ("timeout", self.timeout),
        ] {
            if value.is_zero() || value > Self::LENGTH_MAX {
                faults.push(format!("{of}: {key} {value:?}; allowed is above 0s to 1h"));
            }
        }
        if self.interval_failing > self.interval {
            faults.push(format!(
                "{of}: interval_failing {:?} is above interval {:?}",
                self.interval_failing, self.interval
            ));
        }
        for (key, value) in [("fall", self.fall), ("rise", self.rise)] {
            if value == 0 || value > Self::STREAK_MAX {
                let max = Self::STREAK_MAX;
                faults.push(format!("{of}: {key} {value}; allowed is 1 to {max}"));
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_settings_are_told_all_at_once() {
        let settings = CheckSettings {
            interval: Duration::ZERO,
            fall: 0,
            rise: 1000,
            ..CheckSettings::default()
        };
        let faults = settings.faults("check db");
        assert_eq!(faults.len(), 4, "{faults:?}");
        assert!(faults.iter().all(|fault| fault.starts_with("check db: ")));
    }

    #[test]
    fn settings_that_nobody_checked_break_no_arithmetic() {
        let settings = CheckSettings {
            fall: 0,
            rise: 0,
            ..CheckSettings::default()
        };
        assert!(settings.detection_max() > settings.interval);
        assert!(settings.stale_after() > settings.interval);
    }
}

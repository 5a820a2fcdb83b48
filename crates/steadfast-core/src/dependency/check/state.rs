//! What a check's answers amount to, one dependency at a time.
//!
//! Answers flow into a [`CheckState`], which keeps hysteresis in both directions: *fall*
//! failures in a row make it failing, *rise* successes in a row make it pass again, and a
//! success in between starts the count anew (F,S,F,S,F with fall 3 stays up). The
//! hysteresis is here and not in the balancer because some balancers have none for an
//! answer that is not 200 (Envoy ejects a host on the first one).
//!
//! Silence is not health: when no answer has come for three intervals and a timeout, the
//! state is *unknown*, by name, whatever it was. What the states of all checks mean for
//! the whole process is in [`crate::readiness`].

use std::time::{Duration, Instant};

use crate::{
    dependency::check::{
        CheckOutcome, CheckStatus, FailureClass,
        settings::{CheckSettings, EARLIEST, LATEST, Requirement},
    },
    name::Name,
};

/// What is believed of a dependency, from its check.
///
/// Complete: every reader of readiness decides on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// It does not work.
    Failing,
    /// It works.
    Passing,
    /// There is no answer, or none that is fresh.
    Unknown,
    /// It works, but somebody should look.
    Warning,
}

impl Health {
    /// Returns the stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Passing => "passing",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
        }
    }

    /// Whether the dependency can be used.
    #[must_use]
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Passing | Self::Warning)
    }
}

/// A change of what is believed.
///
/// Complete: what was and what is, with a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthChange {
    /// What was believed.
    pub from: Health,
    /// What is believed.
    pub to: Health,
}

/// The answers of one check, and what they amount to.
#[derive(Clone, Debug)]
pub struct CheckState {
    settings: CheckSettings,
    health: Health,
    since: Instant,
    failing_from: Option<Instant>,
    failures: u32,
    successes: u32,
    ever_passed: bool,
    answered_at: Option<Instant>,
    passed_at: Option<Instant>,
    ran_at: Option<Instant>,
    vouched_at: Option<Instant>,
    took: Duration,
    last: Option<CheckOutcome>,
    last_failure: Option<(Instant, FailureClass, Box<str>)>,
    runs: u64,
}

impl CheckState {
    /// A check that has not answered yet.
    #[must_use]
    pub const fn new(settings: CheckSettings, now: Instant) -> Self {
        Self {
            settings,
            health: Health::Unknown,
            since: now,
            failing_from: None,
            failures: 0,
            successes: 0,
            ever_passed: false,
            answered_at: None,
            passed_at: None,
            ran_at: None,
            vouched_at: None,
            took: Duration::ZERO,
            last: None,
            last_failure: None,
            runs: 0,
        }
    }

    /// Takes the answer of a run that took `took` and ended now. Returns the change of
    /// what is believed, if there is one.
    pub fn record(
        &mut self,
        outcome: CheckOutcome,
        took: Duration,
        now: Instant,
    ) -> Option<HealthChange> {
        let before = self.health(now);
        if before == Health::Unknown && self.health != Health::Unknown {
            // It had gone stale: old streaks prove nothing about the present.
            self.enter(Health::Unknown, now);
            (self.failures, self.successes) = (0, 0);
            self.failing_from = None;
        }
        self.runs += 1;
        self.took = took;
        self.ran_at = Some(now);
        match outcome.status() {
            CheckStatus::Pass => self.success(Health::Passing, now),
            CheckStatus::Warn => self.success(Health::Warning, now),
            CheckStatus::Fail => self.failure(&outcome, now),
            CheckStatus::Unknown => {}
        }
        self.last = Some(outcome);
        let after = self.health(now);
        (before != after).then_some(HealthChange {
            from: before,
            to: after,
        })
    }

    fn success(&mut self, kind: Health, now: Instant) {
        self.answered_at = Some(now);
        self.passed_at = Some(now);
        self.ever_passed = true;
        self.failing_from = None;
        self.failures = 0;
        self.successes = self.successes.saturating_add(1);
        if self.health != Health::Failing || self.successes >= self.settings.rise {
            self.enter(kind, now);
        }
    }

    fn failure(&mut self, outcome: &CheckOutcome, now: Instant) {
        self.answered_at = Some(now);
        self.successes = 0;
        self.failing_from.get_or_insert(now);
        self.failures = self.failures.saturating_add(1);
        let class = outcome.class().unwrap_or(FailureClass::Other);
        self.last_failure = Some((now, class, outcome.message().into()));
        if self.failures >= self.settings.fall {
            self.enter(Health::Failing, now);
        }
    }

    /// Takes it that the dependency was seen to work without this check: what is believed
    /// stays, and stays fresh.
    pub fn vouch(&mut self, now: Instant) {
        if self.answered_at.is_some() {
            self.answered_at = Some(now);
            self.vouched_at = Some(now);
        }
    }

    /// Whether nothing but success has been heard lately, so that one run more or less
    /// tells nothing new.
    #[must_use]
    pub fn is_steady(&self, now: Instant) -> bool {
        let last_passed = self
            .last
            .as_ref()
            .is_some_and(|last| last.status() == CheckStatus::Pass);
        last_passed && self.health(now) == Health::Passing
    }

    /// Returns when it last failed.
    #[must_use]
    pub fn failed_at(&self) -> Option<Instant> {
        self.last_failure.as_ref().map(|(at, ..)| *at)
    }

    /// Returns when the failures in a row began, if the last answer was one.
    #[must_use]
    pub const fn failing_from(&self) -> Option<Instant> {
        self.failing_from
    }

    /// Returns of what kind the last failure was.
    #[must_use]
    pub fn failed_class(&self) -> Option<FailureClass> {
        self.last_failure.as_ref().map(|(_, class, _)| *class)
    }

    fn enter(&mut self, health: Health, now: Instant) {
        if self.health != health {
            self.health = health;
            self.since = now;
        }
    }

    /// Returns what is believed now.
    #[must_use]
    pub fn health(&self, now: Instant) -> Health {
        match self.stale_since() {
            Some(moment) if now >= moment => Health::Unknown,
            _ => self.health,
        }
    }

    /// Returns when the last answer goes stale, if there was one.
    #[must_use]
    pub fn stale_since(&self) -> Option<Instant> {
        self.answered_at.map(|at| at + self.settings.stale_after())
    }

    /// Returns how long to wait until the next run, spread by ±20 % so that checks and
    /// instances do not run in step.
    #[must_use]
    pub fn next_run_in(&self, random: u64) -> Duration {
        let passing = self.health.is_up() && self.failures == 0;
        let base = if passing {
            self.settings.interval
        } else {
            self.settings.interval_failing
        };
        let unit = (random >> 11) as f64 / (1_u64 << 53) as f64;
        base.mul_f64(EARLIEST + (LATEST - EARLIEST) * unit)
    }

    /// Returns everything there is to show.
    #[must_use]
    pub fn view(&self, name: &Name, requirement: Requirement, kind: &'static str) -> CheckView {
        CheckView {
            name: name.clone(),
            requirement,
            kind,
            settings: self.settings,
            health: self.health,
            since: self.since,
            failing_from: self.failing_from,
            stale_since: self.stale_since(),
            ever_passed: self.ever_passed,
            failures: self.failures,
            successes: self.successes,
            runs: self.runs,
            ran_at: self.ran_at,
            passed_at: self.passed_at,
            vouched_at: self.vouched_at,
            took: self.took,
            last: self.last.clone(),
            last_failure: self.last_failure.clone(),
        }
    }
}

/// A check as it was when it last ran. Ask [`CheckView::health`] with the present time:
/// a view that nobody renews goes stale by itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CheckView {
    /// The dependency's name.
    pub name: Name,
    /// What a failure means.
    pub requirement: Requirement,
    /// What is asked.
    pub kind: &'static str,
    /// How it runs.
    pub settings: CheckSettings,
    health: Health,
    /// Since when it has been so.
    pub since: Instant,
    /// When the failures in a row began, if the last answer was one.
    pub failing_from: Option<Instant>,
    stale_since: Option<Instant>,
    /// Whether it ever passed.
    pub ever_passed: bool,
    /// Failures in a row.
    pub failures: u32,
    /// Successes in a row.
    pub successes: u32,
    /// Runs since the start.
    pub runs: u64,
    /// When the last run ended.
    pub ran_at: Option<Instant>,
    /// When it last passed.
    pub passed_at: Option<Instant>,
    /// When traffic last stood in for a run of the check.
    pub vouched_at: Option<Instant>,
    /// How long the last run took.
    pub took: Duration,
    /// What the last run answered.
    pub last: Option<CheckOutcome>,
    /// The last failure: when, of what kind, and its message.
    pub last_failure: Option<(Instant, FailureClass, Box<str>)>,
}

impl CheckView {
    /// Returns what is believed now.
    #[must_use]
    pub fn health(&self, now: Instant) -> Health {
        match self.stale_since {
            Some(moment) if now >= moment => Health::Unknown,
            _ => self.health,
        }
    }

    /// Whether it fails in a way that leaves nothing to use: who takes no writes still
    /// serves reads.
    #[must_use]
    pub fn is_out(&self, now: Instant) -> bool {
        self.health(now) == Health::Failing && self.class(now) != Some(FailureClass::ReadOnly)
    }

    /// Returns since when it has been so: the moment it went stale, if it has.
    #[must_use]
    pub fn since(&self, now: Instant) -> Instant {
        self.stale_since
            .filter(|moment| now >= *moment)
            .unwrap_or(self.since)
    }

    /// Returns the kind of what is wrong now, `None` if nothing is.
    #[must_use]
    pub fn class(&self, now: Instant) -> Option<FailureClass> {
        match self.health(now) {
            Health::Passing => None,
            Health::Warning => self.last.as_ref().and_then(CheckOutcome::class),
            Health::Failing => self.last_failure.as_ref().map(|(_, class, _)| *class),
            Health::Unknown => {
                // What the check itself reported last beats the bare word "stale".
                let last = self
                    .last
                    .as_ref()
                    .filter(|last| last.status() != CheckStatus::Pass);
                last.and_then(CheckOutcome::class)
                    .or(self.stale_since.map(|_| FailureClass::Stale))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::origin;
    use proptest::prelude::*;

    const SEC: Duration = Duration::from_secs(1);

    fn answer(letter: char) -> CheckOutcome {
        match letter {
            'S' => CheckOutcome::pass(),
            'W' => CheckOutcome::warn(FailureClass::Saturated, "full"),
            'F' => CheckOutcome::fail(FailureClass::Unreachable, "refused"),
            'U' => CheckOutcome::unknown(FailureClass::Panicked, "panicked"),
            other => panic!("no such answer: {other}"),
        }
    }

    /// Feeds one answer a second and returns the letters of what was believed after each.
    fn believed(answers: &str) -> String {
        let start = origin();
        let mut state = CheckState::new(CheckSettings::default(), start);
        let mut now = start;
        answers
            .chars()
            .map(|letter| {
                now += SEC;
                state.record(answer(letter), SEC / 100, now);
                match state.health(now) {
                    Health::Failing => 'F',
                    Health::Passing => 'P',
                    Health::Unknown => '?',
                    Health::Warning => 'W',
                }
            })
            .collect()
    }

    #[test]
    fn hysteresis_counts_only_unbroken_streaks() {
        for (answers, expected) in [
            ("S", "P"),
            ("FSFSF", "?PPPP"),
            ("SFFSFFSFF", "PPPPPPPPP"),
            ("SFFF", "PPPF"),
            ("FFF", "??F"),
            ("SFFFS", "PPPFF"),
            ("SFFFSS", "PPPFFP"),
            ("SFFFSFS", "PPPFFFF"),
            ("SWS", "PWP"),
            ("SFUFUF", "PPPPPF"),
            ("UUU", "???"),
        ] {
            assert_eq!(believed(answers), expected, "{answers}");
        }
    }

    #[test]
    fn silence_becomes_unknown_and_old_streaks_are_forgotten() {
        let start = origin();
        let mut state = CheckState::new(CheckSettings::default(), start);
        state.record(answer('S'), SEC, start);
        let stale = start + CheckSettings::default().stale_after();
        assert_eq!(state.health(stale - SEC), Health::Passing);
        assert_eq!(state.health(stale), Health::Unknown);
        let view = state.view(&Name::from_static("db"), Requirement::default(), "test");
        assert_eq!(
            (view.health(stale), view.class(stale)),
            (Health::Unknown, Some(FailureClass::Stale))
        );
        state.record(answer('F'), SEC, stale + SEC);
        assert_eq!(
            state.health(stale + SEC),
            Health::Unknown,
            "one failure is not three"
        );
        assert!(state.record(answer('S'), SEC, stale + 2 * SEC).is_some());
    }

    #[test]
    fn a_hang_or_panic_becomes_unknown_within_the_stale_window_and_says_so() {
        let start = origin();
        let mut state = CheckState::new(CheckSettings::default(), start);
        state.record(answer('S'), SEC, start);
        let mut now = start;
        while now < start + CheckSettings::default().stale_after() {
            now += SEC;
            state.record(answer('U'), SEC, now);
        }
        let view = state.view(&Name::from_static("db"), Requirement::default(), "test");
        assert_eq!(
            (view.health(now), view.class(now)),
            (Health::Unknown, Some(FailureClass::Panicked))
        );
    }

    proptest! {
        #[test]
        fn failing_needs_fall_failures_at_the_end(answers in "[SWFU]{0,60}") {
            let seen = believed(&answers);
            let streak = answers.replace('U', "");
            for at in 0..seen.len() {
                if seen[at..].starts_with('F') && !seen[..at].ends_with('F') {
                    prop_assert!(answers[..=at].replace('U', "").ends_with("FFF"), "{answers} {seen}");
                }
            }
            if streak.ends_with("FFF") {
                prop_assert!(seen.ends_with('F') , "{answers} {seen}");
            }
            if streak.ends_with("SS") {
                prop_assert!(seen.ends_with('P'), "{answers} {seen}");
            }
        }

        #[test]
        fn the_next_run_is_within_a_fifth_of_the_interval(random in any::<u64>()) {
            let start = origin();
            let mut state = CheckState::new(CheckSettings::default(), start);
            state.record(answer('S'), SEC, start);
            let wait = state.next_run_in(random).as_secs_f64();
            prop_assert!((4.0..=6.0).contains(&wait), "{wait}");
        }
    }
}

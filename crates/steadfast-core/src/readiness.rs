//! Whether the instance should get traffic, and why.
//!
//! One pure function of the phase, the checks and the runtime's pulse. The order of
//! precedence: stopping, maintenance, starting, a required check that fails, a stalled
//! runtime, overload (opt-in), degraded, ready. The first that holds names the verdict;
//! the others are listed behind it.
//!
//! A `required` check that fails for a cause that all instances share would take the whole
//! fleet out at once. So being not ready for such a cause has a budget, after which the
//! instance *fails open*: it says degraded, and that it does so for this reason.

use std::{
    fmt,
    time::{Duration, Instant},
};

use crate::{
    dependency::{
        DependencyReason, DependencyView,
        check::{FailureClass, settings::Requirement, state::Health},
    },
    lifecycle::{LifecycleView, Phase},
    name::Name,
};

/// How long an instance stays not ready for a cause that others share, unless configured.
/// Longer than a database fail-over (30 to 120 s), short against an outage.
pub const UNREADY_BUDGET_DEFAULT: Duration = Duration::from_secs(300);

/// How long the runtime may be silent before the process counts as broken. Lag of a few
/// hundred milliseconds is overload; ten seconds is a blocked runtime.
pub const STALLED_AFTER: Duration = Duration::from_secs(10);

/// Whether the instance should get traffic.
///
/// Complete: a balancer knows no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Standing {
    /// Yes.
    Ready,
    /// Yes, but something is wrong.
    Degraded,
    /// No.
    NotReady,
}

impl Standing {
    /// Returns the words of the `/ready/` body.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::NotReady => "not ready",
        }
    }
}

/// One reason why an instance is not simply ready.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The process is on its way out.
    Leaving(Phase),
    /// Maintenance is on.
    Maintenance {
        /// Why.
        reason: Box<str>,
    },
    /// Nobody has started the guard.
    NotStarted,
    /// These checks have not passed yet.
    Starting {
        /// Their names.
        waiting_for: Vec<Name>,
    },
    /// A required check fails.
    CheckFailing {
        /// Whose.
        name: Name,
        /// Of what kind.
        class: FailureClass,
    },
    /// The runtime has not run for this long.
    Stalled(Duration),
    /// The service refuses more than it may while staying ready.
    Overloaded,
    /// Something is wrong that does not stop traffic.
    Degraded {
        /// Whose.
        name: Name,
        /// What is believed of it.
        health: Health,
        /// Of what kind.
        class: Option<FailureClass>,
        /// The rule that keeps calls away or slows them, if one does.
        rule: Option<DependencyReason>,
    },
    /// A required check fails for a shared cause, for longer than the budget.
    FailedOpen {
        /// Whose.
        name: Name,
        /// Of what kind.
        class: FailureClass,
    },
}

impl Reason {
    /// Returns a word that names nobody: what a stranger sees.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Leaving(_) => "draining",
            Self::Maintenance { .. } => "maintenance",
            Self::NotStarted => "not started",
            Self::Starting { .. } => "starting",
            Self::CheckFailing { .. } => "check failing",
            Self::Stalled(_) => "stalled",
            Self::Overloaded => "overloaded",
            Self::Degraded { .. } => "degraded",
            Self::FailedOpen { .. } => "failed open",
        }
    }

    /// Returns the names behind the reason: what the authorised see.
    #[must_use]
    pub fn names(&self) -> &[Name] {
        match self {
            Self::Starting { waiting_for } => waiting_for,
            Self::CheckFailing { name, .. }
            | Self::Degraded { name, .. }
            | Self::FailedOpen { name, .. } => std::slice::from_ref(name),
            _ => &[],
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Maintenance { reason } if !reason.is_empty() => {
                write!(f, "maintenance: {reason}")
            }
            Self::Starting { waiting_for } if !waiting_for.is_empty() => {
                f.write_str("starting, waiting for ")?;
                for (at, name) in waiting_for.iter().enumerate() {
                    write!(f, "{}{name}", if at == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
            Self::CheckFailing { name, class } => write!(f, "{name} failing ({class})"),
            Self::Stalled(length) => write!(f, "runtime stalled for {:.1} s", length.as_secs_f64()),
            Self::Degraded {
                name,
                health,
                rule: Some(rule),
                ..
            } => write!(f, "{name} {}: {rule}", health.as_str()),
            Self::Degraded {
                name,
                health,
                class: Some(class),
                rule: None,
            } => {
                write!(f, "{name} {} ({class})", health.as_str())
            }
            Self::Degraded {
                name,
                health,
                class: None,
                rule: None,
            } => write!(f, "{name} {}", health.as_str()),
            Self::FailedOpen { name, class } => {
                write!(f, "{name} failing ({class}), failed open")
            }
            other => f.write_str(other.word()),
        }
    }
}

/// The verdict and everything behind it, the strongest reason first.
///
/// Complete: a standing and its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the instance should get traffic.
    pub standing: Standing,
    /// Why not, or why only just. Empty when ready.
    pub reasons: Vec<Reason>,
}

/// What the verdict is made of, beside phase and checks.
///
/// Complete: whoever asks for a verdict fills in all of it.
#[derive(Clone, Copy, Debug)]
pub struct Signals {
    /// For how long the main runtime has been silent.
    pub silent_for: Duration,
    /// Whether the service refuses more than it was told to bear while ready (opt-in).
    pub overloaded: bool,
    /// How long it may be not ready for a shared cause.
    pub unready_budget: Duration,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            silent_for: Duration::ZERO,
            overloaded: false,
            unready_budget: UNREADY_BUDGET_DEFAULT,
        }
    }
}

/// Whether every check that gates the start has passed once.
#[must_use]
pub fn start_is_complete(dependencies: &[DependencyView]) -> bool {
    dependencies.iter().all(|it| !it.gates_start())
}

/// Whether every check that gates the start has answered once, well or badly.
#[must_use]
pub fn first_round_is_over(dependencies: &[DependencyView]) -> bool {
    dependencies
        .iter()
        .filter(|it| it.gates_start())
        .all(|it| it.check.as_ref().is_none_or(|check| check.runs > 0))
}

/// Returns the verdict at one moment.
#[must_use]
pub fn verdict(
    life: &LifecycleView,
    dependencies: &[DependencyView],
    signals: Signals,
    now: Instant,
) -> Verdict {
    let mut stop = Vec::new();
    let mut degrade = Vec::new();
    match life.phase {
        Some(phase) if phase.is_leaving() => stop.push(Reason::Leaving(phase)),
        _ => {}
    }
    if let Some(maintenance) = &life.maintenance {
        stop.push(Reason::Maintenance {
            reason: maintenance.reason.clone(),
        });
    }
    match life.phase {
        None => stop.push(Reason::NotStarted),
        Some(Phase::Starting) => {
            let waiting = dependencies
                .iter()
                .filter(|it| it.gates_start())
                .map(|it| it.name.clone());
            stop.push(Reason::Starting {
                waiting_for: waiting.collect(),
            });
        }
        Some(_) => {}
    }
    for dependency in dependencies {
        judge(dependency, signals, now, &mut stop, &mut degrade);
    }
    if signals.silent_for >= STALLED_AFTER {
        stop.push(Reason::Stalled(signals.silent_for));
    }
    if signals.overloaded {
        stop.push(Reason::Overloaded);
    }
    let standing = match (stop.is_empty(), degrade.is_empty()) {
        (false, _) => Standing::NotReady,
        (true, false) => Standing::Degraded,
        (true, true) => Standing::Ready,
    };
    stop.append(&mut degrade);
    Verdict {
        standing,
        reasons: stop,
    }
}

fn judge(
    dependency: &DependencyView,
    signals: Signals,
    now: Instant,
    stop: &mut Vec<Reason>,
    degrade: &mut Vec<Reason>,
) {
    let health = dependency.health(now);
    let class = dependency.class(now);
    let check = dependency.check.as_ref();
    let wrong = match health {
        Health::Passing => false,
        // Nothing has been heard yet: the start waits for it, or it is neutral.
        Health::Unknown => {
            check.is_some_and(|it| it.runs > 0 && (it.ever_passed || class.is_some()))
        }
        Health::Failing | Health::Warning => true,
    };
    if !wrong || dependency.requirement == Requirement::Informs {
        return;
    }
    let name = dependency.name.clone();
    // An open breaker alone never makes the instance unready: it cannot tell a cause of
    // this instance from one that all share, and it already keeps requests from waiting.
    if let Some(check) = check
        .filter(|_| dependency.requirement == Requirement::Required && dependency.check_fails(now))
    {
        let class = check.class(now).unwrap_or(FailureClass::Other);
        let lasted = now.saturating_duration_since(check.since(now));
        // Failing open needs a start that was complete: before it, staying out is the point.
        if class.is_shared() && check.ever_passed && lasted >= signals.unready_budget {
            degrade.push(Reason::FailedOpen { name, class });
        } else {
            stop.push(Reason::CheckFailing { name, class });
        }
        return;
    }
    degrade.push(Reason::Degraded {
        name,
        health,
        class,
        rule: dependency
            .reason(now)
            .filter(DependencyReason::is_of_traffic),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dependency::{
            DependencyState,
            breaker::{CheckDepth, Trip},
            check::{CheckOutcome, settings::CheckSettings},
        },
        lifecycle::Maintenance,
        testing::origin,
    };

    const SEC: Duration = Duration::from_secs(1);

    fn check(requirement: Requirement, answers: &str, start: Instant) -> DependencyView {
        let rules = Trip::default().build().expect("defaults are valid");
        let state = DependencyState::new(Name::from_static("db"), rules, 1, start);
        let settings = CheckSettings::default();
        state.set_check("test", CheckDepth::Shallow, settings, requirement, start);
        for letter in answers.chars() {
            let outcome = match letter {
                'S' => CheckOutcome::pass(),
                'D' => CheckOutcome::fail(FailureClass::Dns, "no such host"),
                'R' => CheckOutcome::fail(FailureClass::ReadOnly, "no writes"),
                'W' => CheckOutcome::warn(FailureClass::Saturated, "full"),
                _ => CheckOutcome::fail(FailureClass::Unreachable, "refused"),
            };
            let _ = state.record_check(outcome, SEC / 100, start, 0);
        }
        state.view(start)
    }

    fn at(phase: Option<Phase>, now: Instant) -> LifecycleView {
        LifecycleView {
            phase,
            since: now,
            maintenance: None,
        }
    }

    fn judged(phase: Phase, requirement: Requirement, answers: &str) -> Standing {
        let now = origin();
        let checks = [check(requirement, answers, now)];
        verdict(&at(Some(phase), now), &checks, Signals::default(), now).standing
    }

    #[test]
    fn each_requirement_means_what_it_says() {
        use Requirement::{Degrades, Informs, Required, RequiredToStart};
        use Standing::{Degraded, NotReady, Ready};
        for (phase, requirement, answers, expected) in [
            (Phase::Starting, RequiredToStart, "", NotReady),
            (Phase::Ready, RequiredToStart, "S", Ready),
            (Phase::Ready, RequiredToStart, "SFFF", Degraded),
            (Phase::Ready, Required, "SFFF", NotReady),
            (Phase::Ready, Required, "SFF", Ready),
            (Phase::Ready, Degrades, "FFF", Degraded),
            (Phase::Ready, Degrades, "", Ready),
            (Phase::Ready, Informs, "FFF", Ready),
            (Phase::Ready, RequiredToStart, "W", Degraded),
            (Phase::LameDuck, RequiredToStart, "S", NotReady),
        ] {
            assert_eq!(
                judged(phase, requirement, answers),
                expected,
                "{requirement:?} {answers}"
            );
        }
    }

    #[test]
    fn the_strongest_reason_comes_first() {
        let now = origin();
        let mut life = at(Some(Phase::Starting), now);
        life.maintenance = Some(Maintenance {
            reason: "move".into(),
            since: now,
            until: None,
        });
        let checks = [
            check(Requirement::Required, "FFF", now),
            check(Requirement::Degrades, "FFF", now),
        ];
        let signals = Signals {
            silent_for: 15 * SEC,
            overloaded: true,
            ..Signals::default()
        };
        let words = |life: &LifecycleView| -> Vec<_> {
            verdict(life, &checks, signals, now)
                .reasons
                .iter()
                .map(Reason::word)
                .collect()
        };
        assert_eq!(
            words(&life),
            [
                "maintenance",
                "starting",
                "check failing",
                "stalled",
                "overloaded",
                "degraded"
            ]
        );
        life.phase = Some(Phase::Draining);
        assert_eq!(words(&life)[0], "draining");
    }

    #[test]
    fn a_required_server_that_takes_no_writes_degrades_and_is_not_out() {
        let now = origin();
        let checks = [check(Requirement::Required, "SRRR", now)];
        let ready = at(Some(Phase::Ready), now);
        let verdict = verdict(&ready, &checks, Signals::default(), now);
        assert_eq!(verdict.standing, Standing::Degraded);
        assert_eq!(checks[0].health(now), Health::Warning);
    }

    #[test]
    fn a_shared_cause_fails_open_after_its_budget_and_a_local_one_never() {
        let start = origin();
        let late = start + 10 * SEC;
        let signals = Signals {
            unready_budget: 5 * SEC,
            ..Signals::default()
        };
        let standing = |answers, now| {
            let checks = [check(Requirement::Required, answers, start)];
            verdict(&at(Some(Phase::Ready), start), &checks, signals, now).standing
        };
        assert_eq!(standing("SFFF", start + SEC), Standing::NotReady);
        assert_eq!(standing("SFFF", late), Standing::Degraded);
        assert_eq!(standing("SDDD", late), Standing::NotReady);
        assert_eq!(standing("FFF", late), Standing::NotReady, "it never passed");
    }

    #[test]
    fn without_a_start_it_is_not_ready_and_says_so() {
        let now = origin();
        let verdict = verdict(&at(None, now), &[], Signals::default(), now);
        assert_eq!(
            (verdict.standing, verdict.reasons[0].word()),
            (Standing::NotReady, "not started")
        );
    }
}

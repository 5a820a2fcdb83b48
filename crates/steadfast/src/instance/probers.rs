//! Who asks whether this instance is well, how often, and what they were told last.
//!
//! A probe never waits here: who finds the table taken is not written down, because the next
//! probe of the same prober is.

use std::{
    sync::{Mutex, PoisonError, TryLockError},
    time::{Duration, Instant},
};

use steadfast_core::plumbing::inert;

/// Probers that are told apart; a node has one kubelet and a few balancers.
const PROBERS_MAX: usize = 16;

/// So many times on end the time between two probes must have been about what it was before: a
/// person who looks now and then has no period, and a few looks may lie alike by chance.
const ALIKE_MIN: u32 = 3;

/// Longest name kept of one, in characters.
const AGENT_LEN_MAX: usize = 64;

/// Those who probe.
#[derive(Debug, Default)]
pub(crate) struct Probers(Mutex<Vec<Prober>>);

/// One of them: a user agent at one of the two probes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Prober {
    /// Its `user-agent`, or `unnamed`.
    pub(crate) agent: String,
    pub(crate) asks: ProbeKind,
    pub(crate) count: u64,
    pub(crate) last: Instant,
    /// Between its last two probes.
    between: Option<Duration>,
    /// How often on end that was about what it was before.
    alike: u32,
    /// Whether it was told yes.
    pub(crate) was_ok: bool,
}

/// Which probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProbeKind {
    Ready,
    Health,
}

impl Probers {
    /// Writes a probe down.
    pub(crate) fn saw(&self, agent: Option<&str>, asks: ProbeKind, was_ok: bool, now: Instant) {
        let mut known = match self.0.try_lock() {
            Ok(known) => known,
            Err(TryLockError::Poisoned(poison)) => poison.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let agent = agent.filter(|agent| !agent.is_empty()).unwrap_or("unnamed");
        let same = known
            .iter_mut()
            .find(|it| it.asks == asks && it.is_called(agent));
        if let Some(prober) = same {
            prober.count += 1;
            let between = now.saturating_duration_since(prober.last);
            let before = prober.between.replace(between);
            let is_alike = before.is_some_and(|it| it <= 2 * between && between <= 2 * it);
            prober.alike = if is_alike { prober.alike + 1 } else { 0 };
            (prober.last, prober.was_ok) = (now, was_ok);
            return;
        }
        if known.len() == PROBERS_MAX {
            let oldest = known.iter().enumerate().min_by_key(|(_, it)| it.last);
            let at = oldest.map_or(0, |(at, _)| at);
            known.swap_remove(at);
        }
        known.push(Prober {
            agent: kept(agent),
            asks,
            count: 1,
            last: now,
            between: None,
            alike: 0,
            was_ok,
        });
    }

    /// Returns who has probed, the latest first.
    pub(crate) fn view(&self) -> Vec<Prober> {
        let mut known = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        known.sort_by_key(|it| std::cmp::Reverse(it.last));
        known
    }
}

impl Prober {
    /// How often it asks, if it asks again and again.
    pub(crate) fn period(&self) -> Option<Duration> {
        self.between.filter(|_| self.alike >= ALIKE_MIN)
    }

    fn is_called(&self, agent: &str) -> bool {
        self.agent == agent || self.agent == kept(agent)
    }
}

fn kept(agent: &str) -> String {
    inert(agent).chars().take(AGENT_LEN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn probers_are_told_apart_and_bounded() {
        let probers = Probers::default();
        let start = clock::now();
        for second in [0, 10, 21, 30, 40] {
            let at = start + Duration::from_secs(second);
            probers.saw(Some("kube-probe/1.31"), ProbeKind::Ready, second == 0, at);
        }
        probers.saw(None, ProbeKind::Health, true, start);
        let seen = probers.view();
        assert_eq!(seen.len(), 2);
        let kubelet = &seen[0];
        assert_eq!((kubelet.count, kubelet.was_ok), (5, false));
        assert_eq!(kubelet.period(), Some(Duration::from_secs(10)));
        assert_eq!(seen[1].agent, "unnamed");
        for number in 0..1000 {
            let agent = format!("agent-{number}-{}", "x".repeat(10_000));
            probers.saw(Some(&agent), ProbeKind::Ready, true, start);
        }
        let seen = probers.view();
        assert_eq!(seen.len(), PROBERS_MAX);
        assert!(
            seen.iter()
                .all(|it| it.agent.chars().count() <= AGENT_LEN_MAX)
        );
    }

    #[test]
    fn who_looks_now_and_then_has_no_period() {
        let probers = Probers::default();
        let start = clock::now();
        for second in [0, 2, 3, 63, 64, 70, 130, 190] {
            let at = start + Duration::from_secs(second);
            probers.saw(Some("curl/8.5"), ProbeKind::Ready, true, at);
        }
        assert_eq!(probers.view()[0].period(), None);
    }
}

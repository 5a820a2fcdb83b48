//! What stands around the guard and the process, as far as it shows from inside: layers that
//! hide its answers, who probes through them, the host's bounds and its clock.
//!
//! Written by whoever meets it: counts on stripes, everything else under a lock that is held
//! for a few words, by probes and by the round in the background. Read by the diagnosis.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use steadfast_core::plumbing::{Counter, inert};

/// Routes of the application that are kept of those which the guard hides.
const SHADOWED_MAX: usize = 16;

/// Longest route that is kept, in characters.
const ROUTE_LEN_MAX: usize = 128;

/// File systems that are looked at.
pub(crate) const DISKS_MAX: usize = 16;

/// For how long the slowest answer to a probe, and a step of the clock, are worth telling: as
/// far back as an operator looks for a cause.
const TOLD_FOR: Duration = Duration::from_secs(600);

/// A look at the host that is older says nothing of now: its thread hangs.
const LOOK_AGE_MAX: Duration = Duration::from_secs(30);

/// What stands around.
#[derive(Debug, Default)]
pub(crate) struct Around {
    pub(crate) cors: Cors,
    shadowed: Mutex<BTreeSet<String>>,
    probes: Mutex<Probes>,
    host: Mutex<Option<(Instant, HostLook)>>,
    step: Mutex<Option<(Instant, ClockStep)>>,
    balancer_waits: Mutex<Option<Duration>>,
}

/// Whether scripts of other origins can read refusals.
#[derive(Debug, Default)]
pub(crate) struct Cors {
    /// Preflights that reached the guard, so no layer outside has answered them.
    pub(crate) preflights: Counter,
    /// Refusals of requests that a browser's script had sent.
    pub(crate) refused: Counter,
    /// Whether an answer of the application had the headers: the layer is inside.
    pub(crate) inside: OnceLock<()>,
}

/// What became of probes on their way.
#[derive(Clone, Copy, Debug, Default)]
struct Probes {
    limited: u64,
    slowest: Option<(Duration, Instant)>,
}

/// What was read of the host at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct HostLook {
    /// Open descriptors of this process, and its soft limit.
    pub(crate) descriptors: Option<(u64, u64)>,
    pub(crate) disks: Vec<Disk>,
}

/// A file system that the process writes to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Disk {
    pub(crate) at: String,
    pub(crate) blocks: u64,
    pub(crate) blocks_free: u64,
    pub(crate) bytes_free: u64,
    /// Zero where the file system has no bound on them.
    pub(crate) inodes: u64,
    pub(crate) inodes_free: u64,
}

/// The wall clock was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockStep {
    pub(crate) by: Duration,
    pub(crate) backwards: bool,
}

impl Around {
    /// Notes routes of the application that nobody reaches.
    #[cfg_attr(
        not(any(feature = "axum", test)),
        expect(dead_code, reason = "only a Router has routes that can be hidden")
    )]
    pub(crate) fn hides(&self, routes: &[String]) {
        let mut known = lock(&self.shadowed);
        for route in routes {
            if known.len() < SHADOWED_MAX {
                known.insert(inert(route).chars().take(ROUTE_LEN_MAX).collect());
            }
        }
    }

    /// Returns the routes of the application that nobody reaches.
    pub(crate) fn hidden(&self) -> Vec<String> {
        lock(&self.shadowed).iter().cloned().collect()
    }

    /// Notes that a probe was refused before it reached the guard.
    pub(crate) fn probe_was_refused(&self) {
        lock(&self.probes).limited += 1;
    }

    /// Notes how long a probe was on its way through what is outside the guard.
    pub(crate) fn probe_took(&self, took: Duration, now: Instant) {
        let mut probes = lock(&self.probes);
        let is_slower = |(known, at): (Duration, Instant)| {
            took >= known || now.saturating_duration_since(at) > TOLD_FOR
        };
        if probes.slowest.is_none_or(is_slower) {
            probes.slowest = Some((took, now));
        }
    }

    /// Returns how many probes were refused outside, and the slowest answer to one lately.
    pub(crate) fn probes(&self, now: Instant) -> (u64, Option<Duration>) {
        let probes = *lock(&self.probes);
        let lately = |(_, at): &(_, Instant)| now.saturating_duration_since(*at) <= TOLD_FOR;
        let slowest = probes.slowest.filter(lately);
        (probes.limited, slowest.map(|(took, _)| took))
    }

    /// Takes what was read of the host.
    pub(crate) fn look(&self, look: HostLook, now: Instant) {
        *lock(&self.host) = Some((now, look));
    }

    /// Returns what was read of the host, if that was not long ago.
    pub(crate) fn host(&self, now: Instant) -> Option<HostLook> {
        let host = lock(&self.host);
        let (at, look) = host.as_ref()?;
        (now.saturating_duration_since(*at) <= LOOK_AGE_MAX).then(|| look.clone())
    }

    /// Notes that the wall clock was set.
    pub(crate) fn clock_stepped(&self, step: ClockStep, now: Instant) {
        *lock(&self.step) = Some((now, step));
    }

    /// Returns by how much the wall clock was set lately.
    pub(crate) fn clock_step(&self, now: Instant) -> Option<ClockStep> {
        let (at, step) = (*lock(&self.step))?;
        (now.saturating_duration_since(at) <= TOLD_FOR).then_some(step)
    }

    /// Notes how long a proxy in front waits for an answer, by its own word. Routes may differ;
    /// the longest counts, because a service that outlasts it outlasts the others too.
    pub(crate) fn balancer_waits(&self, wait: Duration) {
        let mut known = lock(&self.balancer_waits);
        *known = (*known).max(Some(wait));
    }

    /// Returns how long a proxy in front waits for an answer, if one has said so.
    pub(crate) fn balancer_wait(&self) -> Option<Duration> {
        *lock(&self.balancer_waits)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn the_slowest_probe_is_told_for_ten_minutes() {
        let around = Around::default();
        let start = clock::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let ms = Duration::from_millis;
        around.probe_took(ms(3), at(0));
        around.probe_took(ms(900), at(1));
        around.probe_took(ms(2), at(2));
        assert_eq!(around.probes(at(3)), (0, Some(ms(900))));
        around.probe_took(ms(4), at(700));
        assert_eq!(around.probes(at(700)), (0, Some(ms(4))));
        assert_eq!(around.probes(at(2000)), (0, None));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let around = Around::default();
        let routes: Vec<_> = (0..1000)
            .map(|at| format!("/{at}{}", "x".repeat(9_000)))
            .collect();
        around.hides(&routes);
        assert_eq!(around.hidden().len(), SHADOWED_MAX);
        assert!(
            around
                .hidden()
                .iter()
                .all(|it| it.chars().count() <= ROUTE_LEN_MAX)
        );
    }
}

//! How long a process manager waits between its signal and the kill, and whether the drain
//! fits.
//!
//! Three deadlines race at the end of a process: the drain's own, that of the hook that runs
//! before the signal, and the manager's. Only if they are nested is nothing killed in the
//! middle of an answer.

use std::{env, ffi::OsString, fmt, path::Path, process, time::Duration};

use crate::drain::Drain;

/// What Kubernetes grants unless `terminationGracePeriodSeconds` says otherwise.
const KUBERNETES_DEFAULT: Duration = Duration::from_secs(30);

/// What `docker stop` and Compose grant unless `--time` or `stop_grace_period` say otherwise.
const DOCKER_DEFAULT: Duration = Duration::from_secs(10);

/// What systemd grants unless `TimeoutStopSec` says otherwise: `DefaultTimeoutStopSec` of
/// systemd-system.conf(5).
const SYSTEMD_DEFAULT: Duration = Duration::from_secs(90);

/// The time a process manager grants.
///
/// None of them tells the process. A guard that is given no budget warns at its start if the
/// drain would not even fit the default of the manager that it runs under.
///
/// ```
/// use std::time::Duration;
/// use steadfast::{Budget, Guard};
///
/// let budget = Budget::kubernetes(Duration::from_secs(30)).pre_stop(Duration::from_secs(5));
/// let fault = Guard::builder().budget(budget).build().unwrap_err();
/// assert!(fault.to_string().contains("28s + preStop 5s = 33s"), "{fault}");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Budget {
    manager: Manager,
    granted: Duration,
    pre_stop: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manager {
    Kubernetes,
    Docker,
    Systemd,
}

impl Budget {
    /// Kubernetes' `terminationGracePeriodSeconds`, which includes the `preStop` hook.
    pub const fn kubernetes(termination_grace_period: Duration) -> Self {
        Self::new(Manager::Kubernetes, termination_grace_period)
    }

    /// The time of `docker stop --time` or Compose's `stop_grace_period`.
    pub const fn docker(stop_grace_period: Duration) -> Self {
        Self::new(Manager::Docker, stop_grace_period)
    }

    /// systemd's `TimeoutStopSec`. With the feature `systemd` and `Type=notify` the guard
    /// asks for as much time as its drain may take by itself, and this is not needed.
    ///
    /// The unit's own value is not looked up. Only the manager knows it, over its bus: a
    /// service would have to start `systemctl` before it can serve, wait for its answer, and
    /// do without in a sandbox that has no bus. Who writes the unit knows the number.
    pub const fn systemd(timeout_stop: Duration) -> Self {
        Self::new(Manager::Systemd, timeout_stop)
    }

    /// Says how long a `preStop` hook takes, which is time that the drain does not have.
    pub const fn pre_stop(mut self, length: Duration) -> Self {
        self.pre_stop = length;
        self
    }

    const fn new(manager: Manager, granted: Duration) -> Self {
        Self {
            manager,
            granted,
            pre_stop: Duration::ZERO,
        }
    }

    /// What the surroundings look like, with their default; nothing on a plain host.
    pub(super) fn of_surroundings() -> Option<Self> {
        let docker = Path::new("/.dockerenv").exists();
        let ids = [process::id(), parent_id()];
        Self::found(|name| env::var_os(name), docker, ids)
    }

    fn found(
        variable: impl Fn(&str) -> Option<OsString>,
        docker: bool,
        [own_id, parent_id]: [u32; 2],
    ) -> Option<Self> {
        // systemd.exec(5): of the process that it started, which a shell's children are not.
        let by_systemd = || {
            let id = variable("SYSTEMD_EXEC_PID")?;
            (id.to_str()?.parse() == Ok(own_id)).then_some(())
        };
        let asks_for_more = cfg!(feature = "systemd") && variable("NOTIFY_SOCKET").is_some();
        if variable("KUBERNETES_SERVICE_HOST").is_some() {
            Some(Self::kubernetes(KUBERNETES_DEFAULT))
        } else if docker && (own_id == 1 || parent_id == 1) {
            // What a container runs is process 1 or the child of its init. A process further
            // down was started by somebody at a terminal in it, and no `docker stop` waits.
            Some(Self::docker(DOCKER_DEFAULT))
        } else if by_systemd().is_some() && !asks_for_more {
            Some(Self::systemd(SYSTEMD_DEFAULT))
        } else {
            None
        }
    }

    /// Returns how long the drain may take.
    pub(super) const fn left(&self) -> Duration {
        self.granted.saturating_sub(self.pre_stop)
    }

    /// Says why the drain does not fit, with the arithmetic.
    pub(crate) fn fault(&self, drain: &Drain) -> Option<String> {
        let (drains, granted) = (drain.longest(), self.granted);
        let longest = drains + self.pre_stop;
        if longest <= granted {
            return None;
        }
        let hook = if self.pre_stop.is_zero() {
            String::new()
        } else {
            format!(" + preStop {:?} = {longest:?}", self.pre_stop)
        };
        Some(format!(
            "drain: lame duck {:?} + grace {:?} + hooks {:?} = {drains:?}{hook}; allowed is \
             {granted:?}, the {} after which the process is killed",
            drain.lame_duck_max.max(drain.hooks),
            drain.grace,
            drain.hooks,
            self.manager,
        ))
    }
}

#[cfg(unix)]
fn parent_id() -> u32 {
    std::os::unix::process::parent_id()
}

/// Containers elsewhere have no process 1.
#[cfg(not(unix))]
const fn parent_id() -> u32 {
    1
}

impl fmt::Display for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kubernetes => "terminationGracePeriodSeconds",
            Self::Docker => "stop_grace_period",
            Self::Systemd => "TimeoutStopSec",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_default_drain_fits_kubernetes_and_not_docker() {
        let drain = Drain::default();
        assert_eq!(Budget::kubernetes(KUBERNETES_DEFAULT).fault(&drain), None);
        let fault = Budget::docker(DOCKER_DEFAULT).fault(&drain);
        assert_eq!(
            fault.expect("too long"),
            "drain: lame duck 10s + grace 15s + hooks 3s = 28s; allowed is 10s, the \
             stop_grace_period after which the process is killed"
        );
    }

    #[test]
    fn a_hook_before_the_signal_is_part_of_the_sum() {
        let drain = Drain::default().lame_duck_max(secs(5));
        let budget = Budget::kubernetes(secs(30));
        assert_eq!(budget.pre_stop(secs(7)).fault(&drain), None);
        let fault = budget.pre_stop(secs(8)).fault(&drain).expect("too long");
        assert!(
            fault.contains("= 23s + preStop 8s = 31s; allowed is 30s"),
            "{fault}"
        );
    }

    #[test]
    fn the_surroundings_are_known_by_what_only_they_leave_behind() {
        let found_as = |ids, set: &[(&str, &str)], docker| {
            let variable = |name: &str| {
                let found = set.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| OsString::from(value))
            };
            Budget::found(variable, docker, ids)
        };
        let found = |set: &[(&str, &str)], docker| found_as([7, 1], set, docker);
        let kubernetes = ("KUBERNETES_SERVICE_HOST", "10.0.0.1");
        let systemd = ("SYSTEMD_EXEC_PID", "7");
        let (kubernetes_default, systemd_default) = (
            Some(Budget::kubernetes(KUBERNETES_DEFAULT)),
            Some(Budget::systemd(SYSTEMD_DEFAULT)),
        );
        assert_eq!(found(&[], false), None);
        assert_eq!(found(&[], true), Some(Budget::docker(DOCKER_DEFAULT)));
        assert_eq!(
            found_as([1, 0], &[], true),
            Some(Budget::docker(DOCKER_DEFAULT))
        );
        // A shell in a container of a developer is no container's main process.
        assert_eq!(found_as([4712, 4711], &[], true), None);
        assert_eq!(found(&[kubernetes, systemd], true), kubernetes_default);
        assert_eq!(found(&[systemd], false), systemd_default);
        // A child of what systemd started inherits the variable.
        assert_eq!(found(&[("SYSTEMD_EXEC_PID", "6")], false), None);
        let notified = found(&[systemd, ("NOTIFY_SOCKET", "/run/x")], false);
        let expected = systemd_default.filter(|_| !cfg!(feature = "systemd"));
        assert_eq!(notified, expected);
    }
}

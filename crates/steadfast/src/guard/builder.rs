//! Builds a guard, and tells every fault of its configuration at once.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Once},
    time::Duration,
};

use http::request::Parts;
use steadfast_core::{ConfigError, Lifecycle, Local, UNREADY_BUDGET_DEFAULT};

#[cfg(feature = "config")]
use super::configure::Plan;
use super::{Control, Guard, GuardLayer, Settings};
#[cfg(feature = "config")]
use crate::config::GuardConfig;
use crate::{
    access::Access,
    clock,
    deadlines::Deadlines,
    dependency::Dependency,
    drain::Drain,
    explain::{Explain, ExplainSettings},
    front::{Front, Paths, Room, under},
    ready::{Readiness, answer::Profile, overload::Overload},
    shed::{Shed, Shedder},
};

/// How long requests are held back at most while the first round of checks has not passed.
/// Thirty seconds is what a process manager waits for a start before it worries.
const START_HOLD_DEFAULT: Duration = Duration::from_secs(30);

/// Longest hold. A start that takes longer is one that failed.
pub(crate) const START_HOLD_MAX: Duration = Duration::from_secs(3600);

/// Most dependencies of one guard. Each is a task and a line on the operator's page.
const DEPENDENCIES_MAX: usize = 64;

/// Which probe paths are mounted, and how they answer.
#[derive(Clone, Debug)]
#[must_use]
pub struct Probes {
    pub(crate) paths: Paths,
    pub(crate) profile: Profile,
}

impl Default for Probes {
    /// `/health/`, `/ready/` and `/why503/`, without aliases.
    fn default() -> Self {
        Self {
            paths: Paths {
                health: "/health".to_owned(),
                ready: "/ready".to_owned(),
                operator: "/why503".to_owned(),
                aliases: false,
            },
            profile: Profile {
                strict: false,
                envoy: false,
                not_found_while_draining: false,
                service: None,
            },
        }
    }
}

impl Probes {
    /// Sets the path of the health report. Default `/health`.
    pub fn health_path(mut self, path: impl Into<String>) -> Self {
        self.paths.health = path.into();
        self
    }

    /// Sets the path of the readiness probe. Default `/ready`.
    pub fn ready_path(mut self, path: impl Into<String>) -> Self {
        self.paths.ready = path.into();
        self
    }

    /// Sets the path of the operator's view. Default `/why503`.
    pub fn operator_path(mut self, path: impl Into<String>) -> Self {
        self.paths.operator = path.into();
        self
    }

    /// Also mounts `/livez`, `/readyz` and `/startupz`.
    pub const fn aliases(mut self) -> Self {
        self.paths.aliases = true;
        self
    }

    /// Makes `/health/` fail when a required dependency is down. For balancers that can
    /// probe only this path; **never** for a liveness probe, which would restart a healthy
    /// process because its database is down.
    pub const fn strict(mut self) -> Self {
        self.profile.strict = true;
        self
    }

    /// Sends Envoy's health headers: `x-envoy-degraded` on probes, and on every answer
    /// `x-envoy-immediate-health-check-fail` while leaving.
    pub const fn envoy(mut self) -> Self {
        self.profile.envoy = true;
        self
    }

    /// Answers readiness with 404 instead of 503 while leaving, which HAProxy's
    /// `http-check disable-on-404` takes as "no new sessions, keep the old ones".
    pub const fn not_found_while_draining(mut self) -> Self {
        self.profile.not_found_while_draining = true;
        self
    }

    /// Names the service and its version in `application/health+json`.
    pub fn service(mut self, name: impl Into<String>, version: impl Into<String>) -> Self {
        self.profile.service = Some((name.into(), version.into()));
        self
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let paths = [
            ("health", &self.paths.health),
            ("ready", &self.paths.ready),
            ("operator", &self.paths.operator),
        ];
        for (key, path) in paths {
            if !is_probe_path(path) {
                faults.push(format!(
                    "probes: {key} path {path:?}; allowed is a path below / without ? # {{ }}"
                ));
            }
        }
        let path = |at: usize| paths[at].1.strip_suffix('/').unwrap_or(paths[at].1);
        for (at, other) in [(1, 0), (2, 0), (2, 1)] {
            if path(at) == path(other) {
                let (key, other, path) = (paths[at].0, paths[other].0, path(at));
                faults.push(format!("probes: {key} and {other} share the path {path:?}"));
            }
        }
        // Below the ready path are the names of checks.
        for at in [0, 2] {
            if under(path(at), path(1)).is_some_and(|rest| !rest.is_empty()) {
                let (key, path, ready) = (paths[at].0, path(at), path(1));
                faults.push(format!(
                    "probes: {key} path {path:?} is below the ready path {ready:?}, where each \
                     check has its own; allowed is any other place"
                ));
            }
        }
        faults
    }

    /// Paths are kept without their trailing slash and matched with and without it.
    fn trimmed(mut self) -> Self {
        for path in [
            &mut self.paths.health,
            &mut self.paths.ready,
            &mut self.paths.operator,
        ] {
            if path.len() > 1 && path.ends_with('/') {
                path.pop();
            }
        }
        self
    }
}

/// Whether a probe can be there.
pub(crate) fn is_probe_path(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'{' | b'}');
    path.starts_with('/') && path.len() >= 2 && path.bytes().all(plain)
}

/// Builds a [`Guard`].
#[derive(Debug)]
#[must_use]
pub struct GuardBuilder {
    pub(crate) shed: Shed,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) drain: Drain,
    pub(crate) start_hold: Duration,
    pub(crate) explain: ExplainSettings,
    pub(crate) probes: Probes,
    pub(crate) deadlines: Deadlines,
    pub(crate) access: Access,
    pub(crate) probe_listener: Option<SocketAddr>,
    pub(crate) maintenance_file: Option<PathBuf>,
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) unready_budget: Duration,
    pub(crate) unready_when_refusing: Option<f64>,
    pub(crate) signals: bool,
    #[cfg(feature = "config")]
    pub(crate) config: GuardConfig,
    /// Faults found by setters that read something.
    pub(crate) faults: Vec<String>,
}

impl Default for GuardBuilder {
    fn default() -> Self {
        Self {
            shed: Shed::default(),
            dependencies: Vec::new(),
            drain: Drain::default(),
            start_hold: START_HOLD_DEFAULT,
            explain: ExplainSettings::default(),
            probes: Probes::default(),
            deadlines: Deadlines::default(),
            access: Access::default(),
            probe_listener: None,
            maintenance_file: None,
            request_timeout: None,
            unready_budget: UNREADY_BUDGET_DEFAULT,
            unready_when_refusing: None,
            signals: true,
            #[cfg(feature = "config")]
            config: GuardConfig::default(),
            faults: Vec::new(),
        }
    }
}

impl GuardBuilder {
    /// Sets load shedding. Without it, it only observes.
    pub fn shed(mut self, shed: Shed) -> Self {
        self.shed = shed;
        self
    }

    /// Adds a dependency: its check runs in the background, readiness and the operator's
    /// view show it. At most 64, each name once.
    pub fn dependency(mut self, dependency: &Dependency) -> Self {
        self.dependencies.push(dependency.clone());
        self
    }

    /// Sets how the process leaves.
    pub const fn drain(mut self, drain: Drain) -> Self {
        self.drain = drain;
        self
    }

    /// Sets for how long requests are held back at most while the first round of checks
    /// has not passed. Default 30 s; zero serves from the first moment; at most 1 h.
    pub const fn start_hold(mut self, hold: Duration) -> Self {
        self.start_hold = hold;
        self
    }

    /// Sets how refusals are shown.
    pub fn explain(mut self, explain: ExplainSettings) -> Self {
        self.explain = explain;
        self
    }

    /// Sets which probes are mounted and how they answer.
    pub fn probes(mut self, probes: Probes) -> Self {
        self.probes = probes;
        self
    }

    /// Sets which headers say how long a caller still listens. Default `grpc-timeout` and
    /// `x-envoy-expected-rq-timeout-ms`.
    pub fn deadlines(mut self, deadlines: Deadlines) -> Self {
        self.deadlines = deadlines;
        self
    }

    /// Sets the operator's token: it mounts `/why503/` and shows names and details to whoever
    /// sends it as `Authorization: Bearer …`. At least 16 ASCII characters.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.access.token = Some(token.into().into());
        self
    }

    /// Sets a rule that authorises requests beside the token, for example by a header that
    /// your own proxy sets and strips from strangers. Do not trust a peer's address: behind
    /// a proxy on the same host everybody is 127.0.0.1.
    pub fn authorize(mut self, rule: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.access.rule = Some(Arc::new(rule));
        self
    }

    /// Also answers probes and the operator's view on this address, from a thread of its own
    /// that runs when the main runtime does not. Whoever reaches it may read everything:
    /// bind it where only operators come.
    pub const fn probe_listener(mut self, address: SocketAddr) -> Self {
        self.probe_listener = Some(address);
        self
    }

    /// Sets a file whose presence means maintenance; its first line is the reason. Looked
    /// at once a second.
    pub fn maintenance_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.maintenance_file = Some(path.into());
        self
    }

    /// Cuts requests that run for longer, with 504, so that a handler that hangs gives its
    /// place back. Off by default. Only [`Guard::protect`] applies it.
    pub const fn request_timeout(mut self, limit: Duration) -> Self {
        self.request_timeout = Some(limit);
        self
    }

    /// Sets for how long the instance is not ready because of a `required` dependency whose
    /// failure other instances share. Afterwards it fails open: degraded, and it says so.
    /// Default 5 min.
    pub const fn unready_budget(mut self, budget: Duration) -> Self {
        self.unready_budget = budget;
        self
    }

    /// Makes the instance not ready while it refuses at least this share of its requests
    /// over ten seconds, until it refuses less than half of it. Off by default: all replicas
    /// saturate together, so use it only where a balancer has somewhere else to go.
    /// Above 0 to 1.
    pub const fn unready_when_refusing(mut self, share: f64) -> Self {
        self.unready_when_refusing = Some(share);
        self
    }

    /// Leaves signals to the application, which then calls [`Control::begin_drain`].
    pub const fn without_signals(mut self) -> Self {
        self.signals = false;
        self
    }

    /// Lays settings from a file or from the environment over those of the code. They win
    /// whatever the order of the calls; of several, the later.
    #[cfg(feature = "config")]
    pub fn config(mut self, config: GuardConfig) -> Self {
        self.config = self.config.merge(config);
        self
    }

    /// Makes the guard. Spawns nothing.
    ///
    /// # Errors
    /// Every fault of the whole configuration, each with what was found and what is allowed.
    #[cfg_attr(
        not(feature = "config"),
        allow(unused_mut, reason = "a configuration changes the builder")
    )]
    pub fn build(mut self) -> Result<Guard, ConfigError> {
        #[cfg(feature = "config")]
        let plans = self.configured();
        ConfigError::check(self.all_faults())?;
        #[cfg(feature = "config")]
        plans.into_iter().for_each(Plan::carry_out);
        let probes = self.probes.trimmed();
        let explain_disclosure = self.explain.disclosure;
        let explain = Explain::new(self.explain);
        let shedder = Shedder::new(&self.shed)?;
        let life = Arc::new(Lifecycle::new(clock::now()));
        let readiness = Readiness::new(
            Arc::clone(&life),
            self.dependencies,
            explain.clone(),
            self.unready_budget,
        );
        let mounted = mounted(&probes.paths, &self.access);
        let envoy = probes.profile.envoy;
        let control = Control::new(readiness, shedder.clone(), explain.clone(), self.drain);
        let front = Front(Local::new(Room {
            control: control.clone(),
            paths: probes.paths,
            profile: probes.profile,
            access: self.access,
            disclosure: explain_disclosure,
            balancer_warning: Once::new(),
        }));
        Ok(Guard {
            control,
            layer: GuardLayer::new(front, life, shedder, explain, self.deadlines, envoy),
            settings: Settings {
                start_hold: self.start_hold,
                probe_listener: self.probe_listener,
                maintenance_file: self.maintenance_file,
                request_timeout: self.request_timeout,
                unready_when_refusing: self.unready_when_refusing,
                signals: self.signals,
                mounted,
            },
        })
    }

    fn all_faults(&self) -> Vec<String> {
        let mut faults = self.faults.clone();
        faults.extend(self.shed.settings().faults());
        faults.extend(self.drain.faults());
        faults.extend(self.explain.faults());
        faults.extend(self.probes.faults());
        faults.extend(self.access.faults());
        faults.extend(self.deadlines.faults());
        if self.start_hold > START_HOLD_MAX {
            faults.push(format!(
                "start: hold {:?}; allowed is 0s to 1h",
                self.start_hold
            ));
        }
        if self.request_timeout.is_some_and(|limit| limit.is_zero()) {
            faults.push("request_timeout 0s; allowed is any length above zero".to_owned());
        }
        faults.extend(self.unready_when_refusing.and_then(Overload::fault));
        if self.dependencies.len() > DEPENDENCIES_MAX {
            let found = self.dependencies.len();
            faults.push(format!(
                "{found} dependencies; allowed are at most {DEPENDENCIES_MAX}"
            ));
        }
        for (at, dependency) in self.dependencies.iter().enumerate() {
            let name = dependency.name();
            match self.dependencies[..at]
                .iter()
                .find(|other| other.name() == name)
            {
                Some(same) if same.is(dependency) => {
                    faults.push(format!("dependency {name} was given twice"));
                }
                Some(_) => faults.push(format!("two dependencies are named {name}")),
                None => {}
            }
        }
        faults
    }
}

/// What is mounted where, in one line for the log.
fn mounted(paths: &Paths, access: &Access) -> String {
    let mut line = format!("{}/ {}/", paths.health, paths.ready);
    if paths.aliases {
        line.push_str(" /livez /readyz /startupz");
    }
    if access.is_possible() {
        line.push_str(&format!(" {}/", paths.operator));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check;
    use steadfast_core::CheckOutcome;

    fn dependency(name: &str) -> Dependency {
        let check = check::closure(|| async { CheckOutcome::pass() });
        Dependency::builder(name)
            .check(check)
            .build()
            .expect("valid")
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let db = dependency("db");
        let error = Guard::builder()
            .shed(Shed::fixed(0))
            .drain(Drain::default().grace(Duration::ZERO))
            .dependency(&db)
            .dependency(&db)
            .dependency(&dependency("db"))
            .token("short")
            .probes(
                Probes::default()
                    .health_path("health")
                    .ready_path("/why503"),
            )
            .build()
            .expect_err("many faults");
        for part in [
            "limit 0",
            "grace 0ns",
            "given twice",
            "are named db",
            "token of 5",
            "path \"health\"",
            "share the path",
        ] {
            assert!(
                error.faults().iter().any(|fault| fault.contains(part)),
                "{part} in {error}"
            );
        }
    }

    #[test]
    fn no_setters_is_a_useful_guard() {
        let guard = Guard::builder().build().expect("valid");
        assert_eq!(guard.control().phase(), None);
    }
}

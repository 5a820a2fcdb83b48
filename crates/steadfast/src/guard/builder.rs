//! Builds a guard, and tells every fault of its configuration at once.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Once},
    time::Duration,
};

use http::request::Parts;
use steadfast_core::{
    ConfigError, Lifecycle, Local, Name,
    plumbing::{RouteClass, Start, UNREADY_BUDGET_DEFAULT},
};

#[cfg(feature = "config")]
use super::configure::Plan;
use super::{Guard, GuardLayer, Settings, watch::Watch};
#[cfg(feature = "config")]
use crate::guard::config::GuardConfig;
use crate::{
    background::environment::Budget,
    clock,
    dependency::Dependency,
    drain::Drain,
    gate::shed::{Shed, Shedder},
    instance::readiness::{Readiness, overload::Overload},
    probe::{
        access::Access,
        operator::events::Feed,
        paths::{OwnPaths, Paths, ProbeState},
        session::Attempts,
    },
    refusal::{Explain, ExplainSettings},
    request::deadlines::Deadlines,
    serve::Connections,
};
use crate::{instance::Control, probe::Probes};

/// Longest hold. A start that takes longer is one that failed.
pub(crate) const START_HOLD_MAX: Duration = Duration::from_secs(3600);

/// Longest that a request may be told to wait for the first round of checks: proxies give
/// up on a silent upstream after a minute (nginx, `proxy_read_timeout`).
pub(crate) const START_WAIT_LONGEST: Duration = Duration::from_secs(60);

/// Most dependencies of one guard. Each is a task and a line on the operator's page.
const DEPENDENCIES_MAX: usize = 64;

/// Builds a [`Guard`].
#[derive(Debug)]
#[must_use]
pub struct GuardBuilder {
    pub(crate) name: Option<String>,
    pub(crate) shed: Shed,
    pub(crate) routes: Vec<(String, RouteClass)>,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) drain: Drain,
    pub(crate) connections: Connections,
    pub(crate) budget: Option<Budget>,
    pub(crate) start: Start,
    pub(crate) explain: ExplainSettings,
    pub(crate) probes: Probes,
    pub(crate) deadlines: Option<Deadlines>,
    pub(crate) access: Access,
    pub(crate) probe_listener: Option<SocketAddr>,
    pub(crate) probe_listener_trusted: bool,
    pub(crate) probe_socket: Option<PathBuf>,
    pub(crate) history_file: Option<PathBuf>,
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
            name: None,
            shed: Shed::default(),
            routes: Vec::new(),
            dependencies: Vec::new(),
            drain: Drain::default(),
            connections: Connections::default(),
            budget: None,
            start: Start::default(),
            explain: ExplainSettings::default(),
            probes: Probes::default(),
            deadlines: None,
            access: Access::default(),
            probe_listener: None,
            probe_listener_trusted: false,
            probe_socket: None,
            history_file: None,
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
    /// Names the guard, for processes that have several: the label `guard` of its metrics. Without
    /// a name the first that starts has no such label, and the next ones have a number, `2`
    /// onwards, in the order in which they start.
    ///
    /// Allowed is what [`crate::Name`] allows.
    ///
    /// ```
    /// use steadfast::Guard;
    ///
    /// let (public, admin) = (Guard::builder().build()?, Guard::builder().name("admin").build()?);
    /// # Ok::<(), steadfast::ConfigError>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets load shedding. Without it, it only observes.
    pub fn shed(mut self, shed: Shed) -> Self {
        self.shed = shed;
        self
    }

    /// Says which class the requests of a path belong to, whatever the order of the calls:
    /// see [`Shed::route`].
    ///
    /// ```
    /// use steadfast::{Guard, RouteClass, Shed};
    ///
    /// let guard = Guard::builder()
    ///     .route("/pay/{id}", RouteClass::critical())
    ///     .route("/reports/*", RouteClass::background())
    ///     .shed(Shed::adaptive())
    ///     .build()?;
    /// # Ok::<(), steadfast::ConfigError>(())
    /// ```
    pub fn route(mut self, pattern: impl Into<String>, class: RouteClass) -> Self {
        self.routes.push((pattern.into(), class));
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

    /// Says how long the process manager waits before it kills. The build fails, with the
    /// arithmetic, if the drain could take longer.
    pub const fn budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Sets what a connection of [`Guard::serve`] may cost.
    pub const fn connections(mut self, connections: Connections) -> Self {
        self.connections = connections;
        self
    }

    /// Sets for how long requests are held back at most while the first round of checks
    /// has not passed. Default 30 s; zero serves from the first moment; at most 1 h.
    pub const fn start_hold(mut self, hold: Duration) -> Self {
        self.start = self.start.hold(hold);
        self
    }

    /// Sets how long a request that comes before the first round of checks is over waits for
    /// it at most; never past its deadline, and 1,024 requests at most wait at once. After
    /// that, and once a round is over that did not pass, requests are refused until one
    /// passes or the hold is over. Default 2 s; zero refuses at once; at most 1 min.
    pub const fn start_wait_max(mut self, wait_max: Duration) -> Self {
        self.start = self.start.wait_max(wait_max);
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

    /// Sets which headers say how long a caller still listens; as [`Shed::deadlines`], which
    /// it goes before.
    pub fn deadlines(mut self, deadlines: Deadlines) -> Self {
        self.deadlines = Some(deadlines);
        self
    }

    /// Sets the operator's token: it mounts `/why503/` and shows names and details to whoever
    /// sends it as `Authorization: Bearer …`, or has typed it into the page's form. At least
    /// 16 visible ASCII characters; nothing but their number keeps a guesser out who asks
    /// often, so let them be random.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.access.token = Some(token.into().into());
        self
    }

    /// Sets a rule that authorises reading beside the token, for example by a header that
    /// your own proxy sets and strips from strangers. Do not trust a peer's address: behind
    /// a proxy on the same host everybody is 127.0.0.1. Orders (drain, maintenance) need the
    /// token whatever the rule says.
    pub fn authorize(mut self, rule: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.access.rule = Some(Arc::new(rule));
        self
    }

    /// Also answers probes and the operator's page on this address, from a thread of its own
    /// that runs when the main runtime does not. Probes are answered to everybody; names,
    /// numbers and the page are for those who show the token, unless the address is one of
    /// the loopback, which only this host reaches, or
    /// [`GuardBuilder::probe_listener_trusted`] says otherwise.
    pub const fn probe_listener(mut self, address: SocketAddr) -> Self {
        self.probe_listener = Some(address);
        self
    }

    /// Says that only operators reach the probe listener, whatever its address: whoever comes
    /// there may read everything without the token. Orders need it all the same.
    pub const fn probe_listener_trusted(mut self) -> Self {
        self.probe_listener_trusted = true;
        self
    }

    /// Also answers probes and the operator's page on a socket in the file system, from a thread
    /// of its own, as [`GuardBuilder::probe_listener`] does; both can be there. Its owner and its
    /// group reach it (mode 660), and whoever does reads everything without the token; orders need
    /// the token all the same. A socket that lies there already is replaced, and ours is taken
    /// away at the end. Unix only; elsewhere the start says `unsupported`.
    pub fn probe_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.probe_socket = Some(path.into());
        self
    }

    /// Sets a file that keeps incidents and changes of the last seven days, so that the page
    /// of a restarted process says what the one before did and how it ended. It has at most
    /// 1 MiB, is written by a thread of its own and is read again at the start; its directory
    /// must be there. None by default. One for each instance, and not shared between hosts.
    pub fn history_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.history_file = Some(path.into());
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
    pub fn build(mut self) -> Result<Guard, ConfigError> {
        self.shed.add_routes(std::mem::take(&mut self.routes));
        if let Some(deadlines) = self.deadlines.take() {
            self.shed.deadlines = deadlines;
        }
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
        let drain = control.drain_state().clone();
        let watch = Watch::new(shedder.has_tenants(), self.request_timeout.is_some());
        let own_paths = OwnPaths(Local::new(ProbeState {
            control: control.clone(),
            paths: probes.paths,
            profile: probes.profile,
            access: self.access,
            disclosure: explain_disclosure,
            balancer_warning: Once::new(),
            attempts: Attempts::default(),
            feed: Feed::default(),
        }));
        Ok(Guard {
            control,
            layer: GuardLayer::new(own_paths, life, shedder, explain, drain, watch, envoy),
            settings: Settings {
                name: self.name,
                start: self.start,
                connections: self.connections,
                budget: self.budget,
                probe_listener: self.probe_listener,
                probe_listener_trusted: self.probe_listener_trusted,
                probe_socket: self.probe_socket,
                history_file: self.history_file,
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
        let name = self.name.as_deref().map(Name::new);
        faults.extend(
            name.and_then(Result::err)
                .map(|fault| format!("guard: {fault}")),
        );
        faults.extend(self.shed.faults());
        faults.extend(self.drain.faults());
        faults.extend(self.connections.faults());
        faults.extend(self.budget.as_ref().and_then(|it| it.fault(&self.drain)));
        faults.extend(self.explain.faults());
        faults.extend(self.probes.faults());
        faults.extend(self.access.faults());
        let Start { hold, wait_max, .. } = self.start;
        if hold > START_HOLD_MAX {
            faults.push(format!("start: hold {hold:?}; allowed is 0s to 1h"));
        }
        if wait_max > START_WAIT_LONGEST {
            faults.push(format!("start: wait_max {wait_max:?}; allowed is 0s to 1m"));
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
    use crate::dependency::check;
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

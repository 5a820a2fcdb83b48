//! Lays a configuration over what the code said.

use std::time::Duration;

use steadfast_core::{
    Requirement, RetryHint, ShedMode, ShedSettings, Trip,
    plumbing::{BreakerMode, CheckSettings, QueueSettings},
};

use super::GuardBuilder;
use crate::{
    clock,
    dependency::Dependency,
    guard::config::{
        ConnectionsConfig, DependencyConfig, DrainConfig, ExplainConfig, GuardConfig, Named,
        ProbesConfig, RouteConfig, ShedConfig, Spelling, nearest,
    },
    request::tenant::TenantKey,
};

/// A dependency's settings to be, which it takes once the whole configuration is valid: a
/// build that fails changes nothing.
pub(crate) struct Plan {
    dependency: Dependency,
    requirement: Requirement,
    settings: CheckSettings,
    call_timeout: Option<Duration>,
    mode: Option<BreakerMode>,
    trip: Option<Trip>,
}

impl Plan {
    fn new((dependency, config): (Dependency, DependencyConfig)) -> Self {
        let (mut requirement, mut settings) = dependency.settings();
        replace(&mut requirement, config.requirement);
        if let Some(interval) = config.interval {
            settings.interval = interval;
            // As the dependency's own builder does it.
            settings.interval_failing = settings.interval_failing.min(interval);
        }
        replace(&mut settings.interval_failing, config.interval_failing);
        replace(&mut settings.timeout, config.timeout);
        replace(&mut settings.fall, config.fall);
        replace(&mut settings.rise, config.rise);
        Self {
            requirement,
            settings,
            call_timeout: config.call_timeout,
            mode: config.mode,
            trip: config.trip(dependency.state().trip()),
            dependency,
        }
    }

    fn faults(&self) -> Vec<String> {
        let of = format!("dependency {}", self.dependency.name());
        let mut faults = self.settings.faults(&of);
        if let Some(trip) = &self.trip {
            faults.extend(trip.faults().iter().map(|fault| format!("{of}: {fault}")));
            if self.dependency.state().was_called() {
                faults.push(format!(
                    "{of}: it was called before the guard was built; its breaker keeps its settings"
                ));
            }
        }
        if self.requirement.gates_start() && self.dependency.check().is_none() {
            let word = self.requirement.as_str();
            faults.push(format!(
                "{of}: requirement {word:?}, but it has no check that could pass; allowed is \
                 \"degrades\" or \"informs\""
            ));
        }
        faults
    }

    pub(super) fn carry_out(self) {
        let (state, now) = (self.dependency.state(), clock::now());
        if let Some(rules) = self.trip.and_then(|trip| trip.build().ok()) {
            // Checked before: it has no breaker yet, and the settings are valid.
            let _ = state.set_rules(&rules, now);
        }
        if let Some(limit) = self.call_timeout {
            state.set_call_timeout(Some(limit));
        }
        if let Some(mode) = self.mode {
            state.set_mode(mode, now);
        }
        self.dependency.configure(self.requirement, self.settings);
    }
}

impl GuardBuilder {
    /// Lays the configuration over the settings, and its faults beside the code's.
    pub(crate) fn configured(&mut self) -> Vec<Plan> {
        let GuardConfig {
            top,
            shed,
            drain,
            connections,
            start,
            explain,
            probes,
            operator,
            maintenance,
            routes,
            dependencies,
        } = std::mem::take(&mut self.config);
        self.request_timeout = top.request_timeout.or(self.request_timeout);
        replace(&mut self.unready_budget, top.unready_budget);
        if let Some(header) = top.deadline_header {
            let deadlines = &mut self.shed.deadlines;
            *deadlines = deadlines.clone().header(&header);
        }
        self.shed.change(|settings| lay_over(settings, &shed));
        if let Some(header) = shed.tenant_header {
            self.shed.set_tenants(TenantKey::Header(header));
        }
        self.configure_drain(&drain);
        self.configure_connections(&connections);
        replace(&mut self.start.hold, start.hold);
        replace(&mut self.start.wait_max, start.wait_max);
        self.configure_explain(explain);
        self.configure_probes(probes);
        if let Some(token) = operator.token {
            self.access.token = Some(token.0.into());
        }
        self.history_file = operator.history_file.or(self.history_file.take());
        self.maintenance_file = maintenance.file.or(self.maintenance_file.take());
        self.configure_routes(routes);
        self.plans(dependencies)
    }

    fn configure_drain(&mut self, config: &DrainConfig) {
        let drain = &mut self.drain;
        replace(&mut drain.lame_duck_min, config.lame_duck_min);
        replace(&mut drain.lame_duck_max, config.lame_duck_max);
        replace(&mut drain.failing_probes, config.failing_probes);
        replace(&mut drain.grace, config.grace);
        replace(&mut drain.idle_linger, config.idle_linger);
        replace(&mut drain.hooks, config.hooks);
    }

    fn configure_connections(&mut self, config: &ConnectionsConfig) {
        let connections = &mut self.connections;
        replace(&mut connections.max, config.max.map(|max| max as usize));
        replace(&mut connections.backlog, config.backlog);
        replace(&mut connections.first_request, config.first_request);
        replace(&mut connections.header_read, config.header_read);
        replace(&mut connections.idle, config.idle);
        replace(&mut connections.write_stall, config.write_stall);
        replace(&mut connections.read_stall, config.read_stall);
        replace(&mut connections.bytes_per_sec_min, config.bytes_per_sec_min);
        let head_max = config.head_max.map(|bytes| bytes as usize);
        replace(&mut connections.head_max, head_max);
        replace(&mut connections.nodelay, config.nodelay);
        replace(&mut connections.pacing, config.pacing);
        replace(&mut connections.streams_max, config.streams_max);
        let resets_max = config.resets_max.map(|max| max as usize);
        replace(&mut connections.resets_max, resets_max);
        replace(&mut connections.ping_every, config.ping_every);
        replace(&mut connections.ping_timeout, config.ping_timeout);
    }

    fn configure_explain(&mut self, config: ExplainConfig) {
        let explain = &mut self.explain;
        replace(&mut explain.type_base, config.type_base);
        replace(&mut explain.disclosure, config.disclosure);
        let min = config.retry_after_min.unwrap_or(explain.retry.min());
        let max = config.retry_after_max.unwrap_or(explain.retry.max());
        match RetryHint::new(min, max) {
            Ok(retry) => explain.retry = retry,
            Err(fault) => self.faults.push(format!("explain: {fault}")),
        }
    }

    fn configure_probes(&mut self, config: ProbesConfig) {
        let (paths, profile) = (&mut self.probes.paths, &mut self.probes.profile);
        replace(&mut paths.health, config.health_path);
        replace(&mut paths.ready, config.ready_path);
        replace(&mut paths.operator, config.operator_path);
        replace(&mut paths.aliases, config.aliases);
        replace(&mut profile.strict, config.strict);
        replace(&mut profile.envoy, config.envoy);
        replace(
            &mut profile.not_found_while_draining,
            config.not_found_while_draining,
        );
        self.probe_listener = config.listen.or(self.probe_listener);
        replace(&mut self.probe_listener_trusted, config.listen_trusted);
        self.probe_socket = config.socket.or(self.probe_socket.take());
    }

    /// A stronger source adds to what a weaker one says of the same pattern, and both to what
    /// the code says of it.
    fn configure_routes(&mut self, routes: Vec<(String, RouteConfig)>) {
        let mut merged: Vec<(String, RouteConfig)> = Vec::new();
        for (pattern, config) in routes {
            match merged.iter_mut().find(|(known, _)| *known == pattern) {
                Some((_, known)) => *known = std::mem::take(known).merge(config),
                None => merged.push((pattern, config)),
            }
        }
        for (pattern, config) in merged {
            self.shed.configure_route(pattern, |code| config.over(code));
        }
    }

    fn plans(&mut self, dependencies: Vec<Named>) -> Vec<Plan> {
        let mut configs: Vec<(Dependency, DependencyConfig)> = Vec::new();
        for named in dependencies {
            let dependency = match self.find(&named) {
                Ok(dependency) => dependency,
                Err(fault) => {
                    self.faults.push(fault);
                    continue;
                }
            };
            match configs.iter_mut().find(|(other, _)| other.is(&dependency)) {
                Some((_, config)) => *config = std::mem::take(config).merge(named.config),
                None => configs.push((dependency, named.config)),
            }
        }
        let plans: Vec<_> = configs.into_iter().map(Plan::new).collect();
        for plan in &plans {
            self.faults.extend(plan.faults());
        }
        plans
    }

    fn find(&self, named: &Named) -> Result<Dependency, String> {
        let spelt_so = |dependency: &&Dependency| match &named.spelling {
            Spelling::Exact(name) => dependency.name().as_str() == name,
            Spelling::Environment(key) => dependency.name().env_key() == *key,
        };
        let found: Vec<_> = self.dependencies.iter().filter(spelt_so).collect();
        match *found.as_slice() {
            [only] => Ok(only.clone()),
            [first, ..] if found.iter().all(|other| other.is(first)) => Ok(first.clone()),
            [] => Err(self.unknown(named)),
            _ => {
                let names: Vec<_> = found.iter().map(|other| other.name().as_str()).collect();
                Err(format!(
                    "{}: means {}; allowed is one dependency, name it in a file",
                    named.key,
                    names.join(" and ")
                ))
            }
        }
    }

    fn unknown(&self, named: &Named) -> String {
        let known: Vec<_> = self
            .dependencies
            .iter()
            .map(|dependency| match &named.spelling {
                Spelling::Exact(_) => dependency.name().as_str().to_owned(),
                Spelling::Environment(_) => dependency.name().env_key(),
            })
            .collect();
        let (Spelling::Exact(name) | Spelling::Environment(name)) = &named.spelling;
        let meant = nearest(name, known.iter().map(String::as_str))
            .map_or(String::new(), |near| format!(", did you mean {near}?"));
        let known = if known.is_empty() {
            "the guard has none".to_owned()
        } else {
            format!("the guard has {}", known.join(", "))
        };
        format!("{}: no such dependency{meant}; {known}", named.key)
    }
}

fn replace<T>(value: &mut T, config: Option<T>) {
    if let Some(config) = config {
        *value = config;
    }
}

/// Lays a configuration over the settings: a limit is enforced unless a mode says otherwise,
/// and a mode alone leaves the limit as it is.
fn lay_over(mut settings: ShedSettings, config: &ShedConfig) -> ShedSettings {
    if let Some(limit) = config.limit {
        settings = settings.limit(limit).mode(ShedMode::Enforce);
    }
    if let Some(len) = config.queue {
        let places = (len > 0).then(|| QueueSettings::default().len_max(len));
        settings = settings.queue(places);
    }
    if let Some(mode) = config.mode {
        settings = settings.mode(mode);
    }
    if let Some(max) = config.streams_max {
        settings = settings.streams_max(max);
    }
    if let Some(lag) = config.lag {
        settings = settings.lag(lag);
    }
    if let Some(memory) = config.memory {
        settings = settings.memory(memory);
    }
    if let Some(held_max) = config.held_max {
        settings = settings.held_max(held_max);
    }
    if let Some(by_backend) = config.by_backend {
        settings = settings.by_backend(by_backend);
    }
    settings
}

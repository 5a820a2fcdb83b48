//! Metrics through the `metrics` facade.
//!
//! The facade's counters are shared cache lines, so requests do not touch them: they count
//! on stripes in core, and once a second a task publishes the sums. Names start with
//! `steadfast_` and stand in one table (`names`); no label has a path, an id or an error, so
//! there are as many series as gates, dependencies and causes. What can happen is published as
//! zero before it does, because a rate needs a value to start from. A label `guard` tells
//! several guards of one process apart.

#[cfg(feature = "metrics")]
mod names;

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use steadfast_core::{
    CallKind, Cause, FailureClass, Health, Name, Phase, Priority, Rule,
    limit::{ChangeReason, Snapshot},
    plumbing::{BackendSnapshot, LagPhase, Memory, ShedSnapshot},
};

use crate::{
    background::incidents::Incidents,
    clock,
    drain::Cut,
    instance::Control,
    meter::{self, Meters},
};

/// Largest share refused that demand is computed from: beyond it a hundredth more or less
/// would swing the metric.
const SHARE_MAX: f64 = 0.99;

/// Rounds between two descriptions; a recorder may be installed late.
#[cfg(feature = "metrics")]
const DESCRIBE_EVERY: u32 = 60;

/// Publishes sums once a round.
#[derive(Debug)]
pub(crate) struct Meter {
    /// The service's name and version.
    service: Option<(String, String)>,
    /// Of each dependency, the classes in which it was down.
    outages: HashSet<(Name, FailureClass)>,
    rounds: u32,
    last: Option<Instant>,
    /// What was offered to each limit at the last look; the common one has no name.
    offered: HashMap<Option<Name>, u64>,
    meters: Meters,
}

impl Meter {
    /// `name` is that of the guard, if it has one.
    pub(crate) fn new(name: Option<&str>, service: Option<(String, String)>) -> Self {
        Self {
            service,
            outages: HashSet::new(),
            rounds: 0,
            last: None,
            offered: HashMap::new(),
            meters: Meters::of_guard(name),
        }
    }

    /// Publishes, and keeps what the operator's page shows of this minute.
    pub(crate) fn publish(&mut self, control: &Control, incidents: &Incidents) {
        #[cfg(feature = "metrics")]
        if self.rounds % DESCRIBE_EVERY == 0 {
            names::describe();
        }
        self.rounds = self.rounds.wrapping_add(1);
        let now = clock::now();
        let shed = control.shedder().snapshot();
        let demand = self.demand(&shed, now);
        let ledger = control.explain().ledger();
        control.minutes().observe(ledger, &shed, demand, now);
        self.shed(&shed);
        if let Some(demand) = demand {
            self.meters.gauge("steadfast_demand", &[], demand);
        }
        self.refusals(control, incidents);
        self.dependencies(control, now);
        self.life(control, now);
    }

    fn shed(&self, shed: &ShedSnapshot) {
        let out = &self.meters;
        out.total("steadfast_admitted_total", &[], shed.admitted);
        out.gauge("steadfast_in_flight", &[], f64::from(shed.in_flight));
        let limit = shed.limit.map_or(f64::INFINITY, f64::from);
        out.gauge("steadfast_limit", &[], limit);
        let lag = &shed.lag;
        let observed = lag.would_refuse + shed.memory.would_refuse;
        let would_refuse = shed.would_refuse.saturating_add(observed);
        out.total("steadfast_would_refuse_total", &[], would_refuse);
        out.gauge("steadfast_runtime_lag_seconds", &[], lag.lag.as_secs_f64());
        out.gauge("steadfast_lag_refused_ratio", &[], lag.refused_ratio);
        let pause = shed.pacing.pause.unwrap_or_default();
        out.gauge("steadfast_pause_seconds", &[], pause.as_secs_f64());
        out.total("steadfast_paced_total", &[], shed.pacing.paced);
        if let Some(queue) = &shed.queue {
            // Whole numbers will not do for the sum, so it is a gauge; `rate()` of it is the
            // mean number of requests that wait.
            let waited = queue.waits.total.as_secs_f64();
            out.gauge("steadfast_queue_seconds", &[], waited);
            out.gauge("steadfast_queue_length", &[], f64::from(queue.len));
        }
        for backend in &shed.backends {
            let with = [("dependency", backend.backend.as_str())];
            let limit = backend.limit.map_or(f64::INFINITY, f64::from);
            out.gauge("steadfast_backend_limit", &with, limit);
            let in_flight = f64::from(backend.in_flight);
            out.gauge("steadfast_backend_in_flight", &with, in_flight);
        }
        if let Some(tenants) = &shed.tenants {
            out.gauge("steadfast_tenants", &[], f64::from(tenants.known));
            let fair = tenants.fair.unwrap_or(f64::INFINITY);
            out.gauge("steadfast_tenant_fair_share", &[], fair);
        }
        let streams = &shed.streams;
        out.gauge("steadfast_streams", &[], f64::from(streams.open));
        out.gauge("steadfast_streams_limit", &[], f64::from(streams.max));
        let seen = &shed.memory.seen;
        let ratios = [
            ("steadfast_memory_ratio", seen.memory.map(Memory::ratio)),
            ("steadfast_cpu_ratio", seen.cpu_ratio),
            ("steadfast_cpu_throttled_ratio", seen.throttled_ratio),
            ("steadfast_cpu_stalled_ratio", seen.stalled_ratio[0]),
            ("steadfast_memory_stalled_ratio", seen.stalled_ratio[1]),
            ("steadfast_io_stalled_ratio", seen.stalled_ratio[2]),
        ];
        for (name, ratio) in ratios {
            if let Some(ratio) = ratio {
                out.gauge(name, &[], ratio);
            }
        }
        for class in Priority::ALL {
            let kept = f64::from(shed.reserve.kept[class.index()]);
            let with = [("priority", class.code())];
            out.gauge("steadfast_reserved_places", &with, kept);
        }
    }

    fn refusals(&self, control: &Control, incidents: &Incidents) {
        let out = &self.meters;
        let refused = |cause: Cause, rule: Option<Rule>, source: &str, count| {
            let rule = rule.map_or("", Rule::code);
            let with = [("cause", cause.code()), ("rule", rule), ("source", source)];
            out.total("steadfast_refusals_total", &with, count);
        };
        for rule in Rule::ALL {
            refused(Cause::Overloaded, Some(rule), "shed", 0);
        }
        for cause in [Cause::Starting, Cause::Draining, Cause::Maintenance] {
            refused(cause, None, "lifecycle", 0);
        }
        refused(Cause::Application, None, "application", 0);
        for dependency in &control.readiness().dependencies {
            refused(Cause::DependencyDown, None, dependency.name().as_str(), 0);
        }
        for total in control.explain().ledger().totals() {
            refused(total.cause, total.rule, total.source.as_str(), total.count);
        }
        for (began, lasts) in incidents.known() {
            let with = [
                ("cause", began.cause.code()),
                ("source", began.source.as_str()),
            ];
            let since = if lasts { unix(began.first) } else { 0.0 };
            self.meters
                .gauge("steadfast_incident_start_time_seconds", &with, since);
        }
    }

    fn dependencies(&mut self, control: &Control, now: Instant) {
        let out = &self.meters;
        let (_, snapshot) = control.readiness().verdict(now);
        for seen in &snapshot.dependencies {
            let state = match seen.health(now) {
                Health::Passing => 0.0,
                Health::Warning => 1.0,
                Health::Failing => 2.0,
                Health::Unknown => 3.0,
            };
            let with = [("dependency", seen.name.as_str())];
            out.gauge("steadfast_dependency_state", &with, state);
        }
        for dependency in &control.readiness().dependencies {
            let name = dependency.name().as_str();
            let with = [("dependency", name)];
            let outages = dependency.outages(now);
            out.total("steadfast_outages_total", &with, outages.count);
            let on = outages.last.filter(|last| last.lasted.is_none());
            let down = on.map(|on| {
                let class = dependency.view().class(now);
                (on.began, class.unwrap_or(FailureClass::Other))
            });
            if let Some((_, class)) = down {
                self.outages.insert((dependency.name().clone(), class));
            }
            let known = self
                .outages
                .iter()
                .filter(|(of, _)| of == dependency.name());
            for (_, class) in known {
                let with = [("class", class.code()), ("dependency", name)];
                let on = down.filter(|(_, now)| now == class);
                let since = on.map_or(0.0, |(began, _)| unix(began));
                out.gauge("steadfast_outage_start_time_seconds", &with, since);
            }
            let calls = dependency.state().calls();
            for kind in CallKind::ALL {
                let with = [("dependency", name), ("outcome", kind.code())];
                out.total("steadfast_dependency_calls_total", &with, calls.of(kind));
            }
            let pools = dependency.state().pool_readings(now);
            let waits = pools.map(|pool| pool.waited_total.as_secs_f64());
            if let Some(waited) = waits.reduce(|sum, pool| sum + pool) {
                // The facade's counters are whole numbers, and waits are fractions of a
                // second; `rate()` of it is the mean number of requests that wait.
                out.gauge("steadfast_pool_wait_seconds_total", &with, waited);
                let with = [
                    ("cause", Cause::PoolExhausted.code()),
                    ("rule", ""),
                    ("source", name),
                ];
                out.total("steadfast_refusals_total", &with, 0);
            }
        }
    }

    fn life(&self, control: &Control, now: Instant) {
        let out = &self.meters;
        let life = control.readiness().life.view(now);
        for known in Phase::ALL {
            let is = if life.phase == Some(known) { 1.0 } else { 0.0 };
            out.gauge("steadfast_phase", &[("phase", known.as_str())], is);
        }
        out.gauge("steadfast_phase_start_time_seconds", &[], unix(life.since));
        let declared = if life.maintenance.is_some() { 1.0 } else { 0.0 };
        out.gauge("steadfast_maintenance", &[], declared);
        if let Some((service, version)) = &self.service {
            let with = [("service", service.as_str()), ("version", version.as_str())];
            out.gauge("steadfast_build_info", &with, 1.0);
        }
        // These are counted where they happen; the series are there from the start.
        for (reason, _) in Cut::default().by_reason() {
            meter::count("steadfast_drain_cut_total", &[("reason", reason)], 0);
        }
        meter::count("steadfast_accept_errors_total", &[], 0);
    }

    /// Offered concurrency over the limit, by Little's law: arrivals a second, refused ones
    /// included, times the mean time a permit is held. Above 1 when more is asked for than
    /// may run, which is what a scaler needs and CPU does not show while load is shed.
    /// Not a number while nobody knows how many may run.
    fn demand(&mut self, shed: &ShedSnapshot, now: Instant) -> Option<f64> {
        let before = self.last.replace(now);
        let looks: Vec<_> = Look::each(shed).collect();
        let offered: Vec<_> = looks
            .iter()
            .map(|look| self.offered.insert(look.of.clone(), look.offered))
            .collect();
        let seconds = now.saturating_duration_since(before?).as_secs_f64();
        if seconds <= 0.0 {
            return None;
        }
        let demands = looks.iter().zip(offered).map(|(look, before)| {
            let came = look.offered.saturating_sub(before.unwrap_or(look.offered));
            look.demand(came as f64 / seconds)
        });
        // The limit that is asked most of; whatever is not a number loses.
        let demand = demands.fold(f64::NAN, f64::max);
        // Handlers that compute never reach a limit; the share that the lag loop refuses is
        // what is missing.
        let served = 1.0 - shed.lag.refused_ratio.clamp(0.0, SHARE_MAX);
        Some(match shed.lag.phase {
            // The other one if this is not a number.
            LagPhase::Refusing => demand.max(1.0 / served),
            _ => demand,
        })
    }
}

/// Seconds since the Unix epoch.
fn unix(moment: Instant) -> f64 {
    clock::wall(moment).as_secs_f64()
}

/// What is seen of one limit.
struct Look {
    /// Of which backend it is; the common one is of none.
    of: Option<Name>,
    /// Requests that asked for a place since the start.
    offered: u64,
    in_flight: u32,
    held: Option<Duration>,
    /// How many can run, as far as it is known.
    possible: Option<u32>,
}

impl Look {
    fn each(shed: &ShedSnapshot) -> impl Iterator<Item = Self> {
        let of = |backend: &BackendSnapshot| Self {
            of: Some(backend.backend.clone()),
            offered: backend.admitted + backend.refused,
            in_flight: backend.in_flight,
            held: backend.mean_held,
            possible: possible(backend.limit, &backend.algorithm),
        };
        let apart = shed.backends.iter().map(|it| it.admitted + it.refused);
        let all = shed.admitted + shed.refused + shed.lag.refused;
        let common = Self {
            of: None,
            offered: apart.fold(all, u64::saturating_sub),
            in_flight: shed.in_flight_of_common(),
            held: shed.mean_held,
            possible: possible(shed.limit, &shed.algorithm),
        };
        std::iter::once(common).chain(shed.backends.iter().map(of))
    }

    /// What is asked for over what may run, where so many come a second.
    fn demand(&self, rate: f64) -> f64 {
        let held = self.held.unwrap_or(Duration::ZERO).as_secs_f64();
        // Requests that all hang offer no arrivals to count; what runs is demand too.
        let offered = (rate * held).max(f64::from(self.in_flight));
        // Not zero: a scaler would take that for an idle instance and take it away.
        (self.possible).map_or(f64::NAN, |limit| offered / f64::from(limit))
    }
}

/// How many can run, as far as it is known. A limit that went away because nobody was
/// refused any more was right, and how many can run does not depend on how many do.
fn possible(limit: Option<u32>, algorithm: &Snapshot) -> Option<u32> {
    let gone = algorithm
        .change
        .filter(|change| change.to.is_none() && matches!(change.why, ChangeReason::Quiet(_)));
    limit.or_else(|| gone?.from)
}

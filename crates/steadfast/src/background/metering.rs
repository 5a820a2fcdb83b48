//! Metrics through the `metrics` facade.
//!
//! The facade's counters are shared cache lines, so requests do not touch them: they count
//! on stripes in core, and once a second a task publishes the sums. Names start with
//! `steadfast_`; no label has a path or an id. A label `guard` tells several guards of one
//! process apart.

use std::time::{Duration, Instant};

use steadfast_core::{
    CallKind, Health, Phase, Priority,
    limit::ChangeReason,
    plumbing::{LagPhase, Memory, ShedSnapshot},
};

use crate::{clock, instance::Control, meter::Meters};

/// Largest share refused that demand is computed from: beyond it a hundredth more or less
/// would swing the metric.
const SHARE_MAX: f64 = 0.99;

/// Publishes sums once a round.
#[derive(Debug)]
pub(crate) struct Meter {
    last: Option<(Instant, u64)>,
    meters: Meters,
}

impl Meter {
    /// `name` is that of the guard, if it has one.
    pub(crate) fn new(name: Option<&str>) -> Self {
        Self {
            last: None,
            meters: Meters::of_guard(name),
        }
    }

    /// Publishes, and keeps what the operator's page shows of this minute.
    pub(crate) fn publish(&mut self, control: &Control) {
        let now = clock::now();
        let shed = control.shedder().snapshot();
        let demand = self.demand(&shed, now);
        let ledger = control.explain().ledger();
        control.minutes().observe(ledger, &shed, demand, now);
        let meters = &self.meters;
        meters.total("steadfast_admitted_total", &[], shed.admitted);
        meters.gauge("steadfast_in_flight", &[], f64::from(shed.in_flight));
        meters.gauge(
            "steadfast_limit",
            &[],
            shed.limit.map_or(f64::INFINITY, f64::from),
        );
        meters.total(
            "steadfast_would_refuse_total",
            &[],
            shed.would_refuse
                .saturating_add(shed.lag.would_refuse + shed.memory.would_refuse),
        );
        meters.gauge(
            "steadfast_runtime_lag_seconds",
            &[],
            shed.lag.lag.as_secs_f64(),
        );
        meters.gauge("steadfast_lag_refused_ratio", &[], shed.lag.refused_ratio);
        if let Some(queue) = &shed.queue {
            // Whole numbers will not do for the sum, so it is a gauge; `rate()` of it is the
            // mean number of requests that wait.
            meters.gauge(
                "steadfast_queue_seconds",
                &[],
                queue.waits.total.as_secs_f64(),
            );
            meters.gauge("steadfast_queue_length", &[], f64::from(queue.len));
        }
        meters.gauge("steadfast_streams", &[], f64::from(shed.streams.open));
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
                meters.gauge(name, &[], ratio);
            }
        }
        for class in Priority::ALL {
            meters.gauge(
                "steadfast_reserved_places",
                &[("priority", class.code())],
                f64::from(shed.reserve.kept[class.index()]),
            );
        }
        meters.gauge("steadfast_streams_limit", &[], f64::from(shed.streams.max));
        if let Some(demand) = demand {
            meters.gauge("steadfast_demand", &[], demand);
        }
        for total in control.explain().ledger().totals() {
            meters.total(
                "steadfast_refusals_total",
                &[
                    ("cause", total.cause.code()),
                    ("rule", total.rule.map_or("", steadfast_core::Rule::code)),
                    ("source", &total.source.to_string()),
                ],
                total.count,
            );
        }
        let (_, snapshot) = control.readiness().verdict(now);
        for seen in &snapshot.dependencies {
            let state = match seen.health(now) {
                Health::Passing => 0.0,
                Health::Warning => 1.0,
                Health::Failing => 2.0,
                Health::Unknown => 3.0,
            };
            meters.gauge(
                "steadfast_dependency_state",
                &[("dependency", &seen.name.to_string())],
                state,
            );
        }
        for dependency in &control.readiness().dependencies {
            meters.total(
                "steadfast_outages_total",
                &[("dependency", &dependency.name().to_string())],
                dependency.outages(now).count,
            );
            let calls = dependency.state().calls();
            for kind in CallKind::ALL {
                if calls.of(kind) != 0 {
                    meters.total(
                        "steadfast_dependency_calls_total",
                        &[
                            ("dependency", &dependency.name().to_string()),
                            ("outcome", kind.code()),
                        ],
                        calls.of(kind),
                    );
                }
            }
        }
        for dependency in &control.readiness().dependencies {
            let pools = dependency.state().pool_readings(now);
            let waits = pools.map(|pool| pool.waited_total.as_secs_f64());
            if let Some(waited) = waits.reduce(|sum, pool| sum + pool) {
                // The facade's counters are whole numbers, and waits are fractions of a
                // second; `rate()` of it is the mean number of requests that wait.
                meters.gauge(
                    "steadfast_pool_wait_seconds_total",
                    &[("dependency", &dependency.name().to_string())],
                    waited,
                );
            }
        }
        let phase = control.phase();
        for known in Phase::ALL {
            let is = if phase == Some(known) { 1.0 } else { 0.0 };
            meters.gauge("steadfast_phase", &[("phase", known.as_str())], is);
        }
    }

    /// Offered concurrency over the limit, by Little's law: arrivals a second, refused ones
    /// included, times the mean time a permit is held. Above 1 when more is asked for than
    /// may run, which is what a scaler needs and CPU does not show while load is shed.
    /// Not a number while nobody knows how many may run.
    fn demand(&mut self, shed: &ShedSnapshot, now: Instant) -> Option<f64> {
        let offered = shed.admitted + shed.refused + shed.lag.refused;
        let (before, offered_before) = self.last.replace((now, offered))?;
        let seconds = now.saturating_duration_since(before).as_secs_f64();
        let held = shed.mean_held.unwrap_or(Duration::ZERO).as_secs_f64();
        if seconds <= 0.0 {
            return None;
        }
        let rate = offered.saturating_sub(offered_before) as f64 / seconds;
        // Requests that all hang offer no arrivals to count; what runs is demand too.
        let offered = (rate * held).max(f64::from(shed.in_flight));
        // Not zero: a scaler would take that for an idle instance and take it away.
        let demand = possible(shed).map_or(f64::NAN, |limit| offered / f64::from(limit));
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

/// How many can run, as far as it is known. A limit that went away because nobody was
/// refused any more was right, and how many can run does not depend on how many do.
fn possible(shed: &ShedSnapshot) -> Option<u32> {
    let gone = shed
        .algorithm
        .change
        .filter(|change| change.to.is_none() && matches!(change.why, ChangeReason::Quiet(_)));
    shed.limit.or_else(|| gone?.from)
}

//! What is published, in one table: the names are a contract, as the codes of causes are.

use metrics::{Unit, describe_counter, describe_gauge};

/// One metric.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    unit: Option<Unit>,
    /// The labels beside `guard`.
    pub(crate) labels: &'static [&'static str],
    says: &'static str,
}

/// How it moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
}

use Kind::{Counter, Gauge};

const fn metric(
    name: &'static str,
    kind: Kind,
    unit: Option<Unit>,
    labels: &'static [&'static str],
    says: &'static str,
) -> Metric {
    Metric {
        name,
        kind,
        unit,
        labels,
        says,
    }
}

/// Everything that is published, in the order of the documentation.
#[rustfmt::skip]
pub(crate) const METRICS: &[Metric] = &[
    metric("steadfast_admitted_total", Counter, None, &[], "requests that were let in"),
    metric("steadfast_refusals_total", Counter, None, &["cause", "rule", "source"], "requests that were refused"),
    metric("steadfast_incident_start_time_seconds", Gauge, Some(Unit::Seconds), &["cause", "source"], "since when requests are refused, as Unix time; 0 while none are"),
    metric("steadfast_would_refuse_total", Counter, None, &[], "requests that shedding would have refused if it did not only observe"),
    metric("steadfast_demand", Gauge, None, &[], "what is asked for over what may run; not a number while that is unknown"),
    metric("steadfast_in_flight", Gauge, None, &[], "requests that run"),
    metric("steadfast_limit", Gauge, None, &[], "how many requests may run; infinite without a limit"),
    metric("steadfast_backend_limit", Gauge, None, &["dependency"], "how many requests that wait for this dependency, or compute (`runtime`), may run; infinite without a limit, absent where they share the common one"),
    metric("steadfast_backend_in_flight", Gauge, None, &["dependency"], "requests that run under a limit of their dependency, or of the `runtime`"),
    metric("steadfast_queue_seconds", Gauge, Some(Unit::Seconds), &[], "how long requests have waited at the limit, all together"),
    metric("steadfast_queue_length", Gauge, None, &[], "requests that wait at the limit"),
    metric("steadfast_reserved_places", Gauge, None, &["priority"], "places of the limit that are kept for those who go first"),
    metric("steadfast_tenants", Gauge, None, &[], "tenants that came lately, as far as they are told apart"),
    metric("steadfast_tenant_fair_share", Gauge, None, &[], "places of the limit that are a fair share; infinite where everybody gets what they ask for"),
    metric("steadfast_streams", Gauge, None, &[], "streams that are open"),
    metric("steadfast_streams_limit", Gauge, None, &[], "how many streams may be open"),
    metric("steadfast_runtime_lag_seconds", Gauge, Some(Unit::Seconds), &[], "how late the runtime is"),
    metric("steadfast_lag_refused_ratio", Gauge, None, &[], "the share of requests that is refused because the runtime is late"),
    metric("steadfast_pause_seconds", Gauge, Some(Unit::Seconds), &[], "how long a client is not read that asks again as soon as it is refused; 0 while nobody is paced"),
    metric("steadfast_paced_total", Counter, None, &[], "how often such a client was paced"),
    metric("steadfast_dependency_state", Gauge, None, &["dependency"], "0 passing, 1 warning, 2 failing, 3 unknown"),
    metric("steadfast_dependency_calls_total", Counter, None, &["dependency", "outcome"], "calls to a dependency, by how they ended"),
    metric("steadfast_outages_total", Counter, None, &["dependency"], "how often a dependency was down"),
    metric("steadfast_outage_start_time_seconds", Gauge, Some(Unit::Seconds), &["class", "dependency"], "since when a dependency is down, and how, as Unix time; 0 once it is up"),
    metric("steadfast_pool_wait_seconds_total", Gauge, Some(Unit::Seconds), &["dependency"], "how long requests have waited for a connection, all together"),
    metric("steadfast_phase", Gauge, None, &["phase"], "1 for the phase that the process is in, 0 for the others"),
    metric("steadfast_phase_start_time_seconds", Gauge, Some(Unit::Seconds), &[], "since when the process is in its phase, as Unix time"),
    metric("steadfast_maintenance", Gauge, None, &[], "1 while somebody has declared maintenance"),
    metric("steadfast_drain_cut_total", Counter, None, &["reason"], "what a drain cut, by what it was doing"),
    metric("steadfast_memory_ratio", Gauge, None, &[], "memory of the control group over its limit"),
    metric("steadfast_cpu_ratio", Gauge, None, &[], "processor time over the quota"),
    metric("steadfast_cpu_throttled_ratio", Gauge, None, &[], "the share of periods in which the quota was used up"),
    metric("steadfast_cpu_stalled_ratio", Gauge, None, &[], "the share of time in which a task waited for a processor"),
    metric("steadfast_memory_stalled_ratio", Gauge, None, &[], "the share of time in which a task waited for memory"),
    metric("steadfast_io_stalled_ratio", Gauge, None, &[], "the share of time in which a task waited for a disk"),
    metric("steadfast_accept_errors_total", Counter, None, &[], "connections that could not be accepted"),
    metric("steadfast_slow_peers_total", Counter, None, &["bound"], "connections and requests that were ended because the peer was too slow"),
    metric("steadfast_build_info", Gauge, None, &["service", "version"], "1, with the service's name and version"),
];

/// Tells the recorder what each of them means.
pub(super) fn describe() {
    for metric in METRICS {
        let says = match metric.labels {
            [] => metric.says.to_owned(),
            labels => format!("{}; by {}", metric.says, labels.join(", ")),
        };
        match (metric.kind, metric.unit) {
            (Counter, Some(unit)) => describe_counter!(metric.name, unit, says),
            (Counter, None) => describe_counter!(metric.name, says),
            (Gauge, Some(unit)) => describe_gauge!(metric.name, unit, says),
            (Gauge, None) => describe_gauge!(metric.name, says),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_what_is_published() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
        let text = std::fs::read_to_string(path).expect("the page is in the repository");
        let rows = text
            .lines()
            .filter(|line| line.starts_with("| `steadfast_"));
        let documented: Vec<_> = rows.map(str::to_owned).collect();
        let published: Vec<_> = METRICS.iter().map(row).collect();
        assert_eq!(documented, published);
    }

    fn row(metric: &Metric) -> String {
        let labels: Vec<_> = metric.labels.iter().map(|it| format!("`{it}`")).collect();
        let kind = match metric.kind {
            Counter => "counter",
            Gauge => "gauge",
        };
        format!(
            "| `{}` | {kind} | {} | {} |",
            metric.name,
            labels.join(" "),
            metric.says
        )
    }
}

//! What Envoy's administration says: hosts and their health, counters, and routes.

use std::collections::BTreeMap;

use serde_json::Value;

/// One cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cluster {
    pub(crate) name: String,
    pub(crate) hosts: Vec<Host>,
}

/// One host of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) address: String,
    /// Why it gets no traffic, in Envoy's words; empty if it does.
    pub(crate) unhealthy: String,
    pub(crate) connect_failures: u64,
    pub(crate) active_requests: u64,
}

/// Reads `/clusters?format=json`.
pub(crate) fn clusters(text: &str) -> Vec<Cluster> {
    let json: Value = serde_json::from_str(text).unwrap_or_default();
    let clusters = list(&json["cluster_statuses"]).iter();
    let cluster = |it: &Value| Cluster {
        name: string(&it["name"]),
        hosts: list(&it["host_statuses"]).iter().map(host).collect(),
    };
    clusters.map(cluster).collect()
}

fn host(it: &Value) -> Host {
    let socket = &it["address"]["socket_address"];
    let pipe = &it["address"]["pipe"]["path"];
    let address = match pipe.as_str() {
        Some(path) => format!("unix:{path}"),
        None => format!("{}:{}", string(&socket["address"]), socket["port_value"]),
    };
    let stat = |name: &str| {
        let mut stats = list(&it["stats"]).iter();
        let found = stats.find(|stat| stat["name"] == name);
        // Numbers are texts there, and a zero is left out.
        found
            .and_then(|stat| stat["value"].as_str()?.parse().ok())
            .unwrap_or(0)
    };
    let health = &it["health_status"];
    let mut why = Vec::new();
    for flag in [
        "failed_active_health_check",
        "failed_outlier_check",
        "failed_active_degraded_check",
        "pending_dynamic_removal",
        "pending_active_hc",
        "excluded_via_immediate_hc_fail",
        "active_hc_timeout",
    ] {
        if health[flag] == true {
            why.push(flag.replace('_', " "));
        }
    }
    match health["eds_health_status"].as_str() {
        None | Some("HEALTHY" | "UNKNOWN" | "DEGRADED") => {}
        Some(other) => why.push(format!("endpoint discovery says {other}")),
    }
    // Degraded hosts still serve.
    let serves = !why.is_empty() && why.iter().all(|it| it == "failed active degraded check");
    Host {
        address,
        unhealthy: if serves {
            String::new()
        } else {
            why.join(", ")
        },
        connect_failures: stat("cx_connect_fail"),
        active_requests: stat("rq_active"),
    }
}

/// Reads `/stats`: `name: value` lines, histograms left out.
pub(crate) fn stats(text: &str) -> BTreeMap<String, u64> {
    let pairs = text.lines().filter_map(|line| line.rsplit_once(": "));
    let pairs =
        pairs.filter_map(|(name, value)| Some((name.to_owned(), value.trim().parse().ok()?)));
    pairs.collect()
}

/// How much each counter grew between two samples, those that did not left out.
pub(crate) fn growth(
    before: &BTreeMap<String, u64>,
    after: &BTreeMap<String, u64>,
) -> BTreeMap<String, u64> {
    let grown = after.iter().map(|(name, value)| {
        let grew = value.saturating_sub(before.get(name).copied().unwrap_or(0));
        (name.clone(), grew)
    });
    grown.filter(|(_, grew)| *grew > 0).collect()
}

/// What a route does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// It goes to this cluster.
    Cluster(String),
    /// It is answered with this status.
    Direct(u64),
    /// It goes to one of several, or where a header says.
    Other,
    /// No route matches.
    None,
}

/// A route that a request meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) action: Action,
    /// `route configuration / virtual host / match`.
    pub(crate) place: String,
    /// Whether what is not known here (headers, a pattern) may have chosen another.
    pub(crate) is_unsure: bool,
}

/// The path that a cluster's check asks for, with the answers that it takes, of `/config_dump`.
pub(crate) fn check(dump: &Value, cluster: &str) -> Option<(String, String)> {
    let check = list(&configured(dump, cluster)?["health_checks"])
        .iter()
        .find_map(|it| it.get("http_health_check"))?;
    let ranges = list(&check["expected_statuses"]).iter().map(|it| {
        let number = |name: &str| {
            let value = &it[name];
            let text = value.as_str().and_then(|it| it.parse().ok());
            value.as_u64().or(text).unwrap_or(0)
        };
        // Its end is the first that is not meant.
        format!("{}-{}", number("start"), number("end").saturating_sub(1))
    });
    let ranges: Vec<_> = ranges.collect();
    let expects = if ranges.is_empty() {
        "200".to_owned()
    } else {
        ranges.join(",")
    };
    Some((string(&check["path"]), expects))
}

/// How long a cluster's idle connections are kept, in seconds; an hour unless somebody says.
pub(crate) fn keep_alive_seconds(dump: &Value, cluster: &str) -> Option<f64> {
    let cluster = configured(dump, cluster)?;
    let options = cluster["typed_extension_protocol_options"].as_object();
    let mut common = options
        .into_iter()
        .flat_map(|it| it.values())
        .map(|it| &it["common_http_protocol_options"]);
    let own = common.find_map(|it| it["idle_timeout"].as_str());
    let own = own.or(cluster["common_http_protocol_options"]["idle_timeout"].as_str());
    match own {
        Some(text) => text.trim_end_matches('s').parse().ok(),
        None => Some(3600.0),
    }
}

/// The configuration of a cluster.
fn configured<'a>(dump: &'a Value, name: &str) -> Option<&'a Value> {
    let configs = list(&dump["configs"]).iter();
    let mut all = configs.flat_map(|it| {
        let both = ["static_clusters", "dynamic_active_clusters"].map(|kind| list(&it[kind]));
        both.into_iter().flatten()
    });
    all.find(|it| it["cluster"]["name"] == name)
        .map(|it| &it["cluster"])
}

pub(crate) mod routes;

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTERS: &str = r#"{"cluster_statuses":[{"name":"app","host_statuses":[
        {"address":{"socket_address":{"address":"127.0.0.1","port_value":2}},
         "stats":[{"value":"3","name":"cx_connect_fail"},{"name":"cx_total"}],
         "health_status":{"failed_active_health_check":true,"eds_health_status":"HEALTHY"}},
        {"address":{"pipe":{"path":"/run/a"}},"health_status":{"eds_health_status":"DRAINING"}},
        {"address":{"socket_address":{"address":"::1","port_value":3}},"health_status":{"eds_health_status":"HEALTHY"}}
    ]},{"name":"empty"}]}"#;

    #[test]
    fn hosts_are_read_with_why_they_get_no_traffic() {
        let found = clusters(CLUSTERS);
        let hosts: Vec<_> = found[0]
            .hosts
            .iter()
            .map(|it| (it.address.as_str(), it.unhealthy.as_str()))
            .collect();
        assert_eq!(
            hosts,
            [
                ("127.0.0.1:2", "failed active health check"),
                ("unix:/run/a", "endpoint discovery says DRAINING"),
                ("::1:3", ""),
            ]
        );
        assert_eq!(found[0].hosts[0].connect_failures, 3);
        assert!(found[1].hosts.is_empty());
    }

    #[test]
    fn counters_are_compared_between_samples() {
        let before = stats("cluster.app.upstream_rq_503: 3\nx: P0(1,2)\n");
        let after =
            stats("cluster.app.upstream_rq_503: 5\ncluster.app.upstream_rq_pending_overflow: 2\n");
        let grown = growth(&before, &after);
        assert_eq!(grown["cluster.app.upstream_rq_503"], 2);
        assert_eq!(grown["cluster.app.upstream_rq_pending_overflow"], 2);
    }

    #[test]
    fn the_check_of_a_cluster_is_read() {
        let dump = serde_json::json!({"configs": [{}, {"static_clusters": [
            {"cluster": {"name": "app", "health_checks": [{"http_health_check": {"path": "/up"}}]}},
            {"cluster": {"name": "api",
                "common_http_protocol_options": {"idle_timeout": "30s"},
                "health_checks": [{"http_health_check": {"path": "/x", "expected_statuses": [{"start": "200", "end": "300"}]}}]}},
            {"cluster": {"name": "tcp", "health_checks": [{"tcp_health_check": {}}]}}
        ]}]});
        let told = |name| check(&dump, name).map(|(path, expects)| format!("{path} {expects}"));
        assert_eq!(told("app").as_deref(), Some("/up 200"));
        assert_eq!(told("api").as_deref(), Some("/x 200-299"));
        assert_eq!((told("tcp"), told("gone")), (None, None));
        let idle = ["app", "api", "gone"].map(|name| keep_alive_seconds(&dump, name));
        assert_eq!(idle, [Some(3600.0), Some(30.0), None]);
    }

    #[test]
    fn nonsense_is_nothing() {
        for text in ["", "[]", "{\"cluster_statuses\":3}", "<html>"] {
            assert!(clusters(text).is_empty());
        }
    }
}

//! Envoy: its administration.

pub(crate) mod admin;

use std::time::Duration;

use serde_json::Value;
use steadfast_diagnosis::{EnvoyFlag, Id, Maker, Proxy, ServerIs, Tied};
use tokio::time::sleep;

use super::{Next, asked::Asked, files::Disk, found::Found, servers::Servers, text};
use crate::{
    collect::{Collected, Job, SAMPLE_GAP},
    target::Target,
};
use admin::{Action, Cluster, routes};

/// Where administrations usually are: Envoy's examples, Istio's, Consul's.
const PORTS: [u16; 3] = [9901, 15000, 19000];

/// Counters of a cluster that tell a cause; those with a flag of the access log are written as it.
const COUNTERS: [(&str, EnvoyFlag); 6] = [
    ("upstream_rq_pending_overflow", EnvoyFlag::Uo),
    ("upstream_cx_overflow", EnvoyFlag::Uo),
    ("upstream_rq_retry_overflow", EnvoyFlag::Uo),
    ("upstream_cx_none_healthy", EnvoyFlag::Uh),
    ("upstream_cx_connect_timeout", EnvoyFlag::Uf),
    ("upstream_rq_timeout", EnvoyFlag::Ut),
];

/// What of the counters is asked for.
const FILTER: &str = "/stats?usedonly&filter=%5E(cluster%5C..*%5C.(upstream_%7Ccircuit_breakers)%7Chttp%5C..*(no_cluster%7Cno_route%7Cdirect_response%7Coverload)%7Coverload%5C.)";

/// Looks at the cluster that the request meets; where it cannot be told, at all of them.
pub(crate) async fn look(
    job: &Job<'_>,
    proxy: &Found,
    asked: &Asked,
    seen: &mut Collected,
) -> Next {
    let Some(admin) = admin_of(job, proxy) else {
        unread(seen, "Envoy's administration was not found");
        return Next::new();
    };
    let clusters = match text(job, &admin, "/clusters?format=json").await {
        Ok(text) => admin::clusters(&text),
        Err(why) => {
            unread(seen, &format!("Envoy's administration at {admin}: {why}"));
            return Next::new();
        }
    };
    let before = text(job, &admin, FILTER).await.unwrap_or_default();
    let dump = text(job, &admin, "/config_dump").await.unwrap_or_default();
    let dump: Value = serde_json::from_str(&dump).unwrap_or_default();
    let route = routes::route(&dump, asked);
    sleep(job.within(SAMPLE_GAP)).await;
    let after = text(job, &admin, FILTER).await.unwrap_or_default();
    let wanted: Vec<&Cluster> = match route.as_ref().map(|it| (&it.action, it.is_unsure)) {
        Some((Action::Cluster(name), false)) => {
            clusters.iter().filter(|it| it.name == *name).collect()
        }
        Some((Action::Direct(_) | Action::None, false)) => Vec::new(),
        _ => clusters.iter().collect(),
    };
    if let Some(route) = &route {
        routed(&admin, route, &clusters, asked, seen);
    }
    let source = format!("{admin}, clusters");
    let mut next = Next::new();
    for cluster in &wanted {
        write(&source, cluster, seen);
        configured(&admin, &dump, &cluster.name, seen);
        next.extend(cluster.hosts.iter().map(|it| it.address.clone()));
    }
    counted(&admin, &before, &after, &wanted, seen);
    next
}

fn unread(seen: &mut Collected, why: &str) {
    let remedy = "give --envoy-admin http://127.0.0.1:9901";
    for id in [Id::EnvoyUh, Id::EnvoyUo, Id::EnvoyNc, Id::EnvoyDirect] {
        seen.could_not(id, why, remedy);
    }
}

fn routed(
    admin: &Target,
    route: &admin::Route,
    clusters: &[Cluster],
    asked: &Asked,
    seen: &mut Collected,
) {
    let source = format!("{admin}, config_dump");
    let tied = Tied::Port(asked.port);
    match &route.action {
        Action::Direct(status) if *status >= 500 => {
            let (at, rule) = (
                route.place.as_str().into(),
                format!("direct_response {status}").into(),
            );
            seen.saw(
                &source,
                tied,
                Proxy::Rule {
                    by: Maker::Envoy,
                    at,
                    rule,
                },
            );
        }
        Action::Cluster(name) if clusters.iter().all(|it| it.name != *name) => {
            let flagged = Proxy::EnvoyFlagged {
                flag: EnvoyFlag::Nc,
                details: format!("{} leads to the cluster {name}", route.place).into(),
                host: "-".into(),
                count: 1,
            };
            seen.saw(&source, tied, flagged);
        }
        _ => {}
    }
}

fn write(source: &str, cluster: &Cluster, seen: &mut Collected) {
    let of = Servers {
        by: Maker::Envoy,
        source,
        tied: Tied::backend(&cluster.name),
    };
    for host in &cluster.hosts {
        let is = if host.unhealthy.is_empty() {
            ServerIs::Up
        } else {
            ServerIs::Down
        };
        of.server(host.address.as_str(), is, host.unhealthy.as_str(), seen);
    }
    let healthy = cluster.hosts.iter().filter(|it| it.unhealthy.is_empty());
    of.serves(healthy.count(), cluster.hosts.len(), seen);
}

/// What the configuration of a cluster relies on: the path of its check, and idle connections.
fn configured(admin: &Target, dump: &Value, cluster: &str, seen: &mut Collected) {
    let source = format!("{admin}, config_dump");
    let (by, tied) = (Maker::Envoy, Tied::backend(cluster));
    if let Some((path, expects)) = admin::check(dump, cluster) {
        let (path, expects) = (path.as_str().into(), expects.as_str().into());
        seen.saw(
            &source,
            tied.clone(),
            Proxy::CheckPath { by, path, expects },
        );
    }
    let idle = admin::keep_alive_seconds(dump, cluster);
    let idle = idle.and_then(|it| Duration::try_from_secs_f64(it).ok());
    // Zero switches the time-out off.
    if let Some(idle) = idle.filter(|it| !it.is_zero()) {
        seen.saw(&source, tied, Proxy::KeepAlive { by, idle });
    }
}

fn counted(admin: &Target, before: &str, after: &str, clusters: &[&Cluster], seen: &mut Collected) {
    let source = format!("{admin}, stats");
    let after = admin::stats(after);
    let grown = admin::growth(&admin::stats(before), &after);
    for cluster in clusters {
        let tied = || Tied::backend(&cluster.name);
        let flagged = |flag, details: &str, count| Proxy::EnvoyFlagged {
            flag,
            details: details.into(),
            host: "-".into(),
            count,
        };
        for (counter, flag) in COUNTERS {
            let name = format!("cluster.{}.{counter}", cluster.name);
            if let Some(count) = grown.get(&name) {
                seen.saw(&source, tied(), flagged(flag, &name, *count));
            }
        }
        for gauge in ["rq_open", "rq_pending_open", "cx_open"] {
            let name = format!("cluster.{}.circuit_breakers.default.{gauge}", cluster.name);
            if after.get(&name).is_some_and(|open| *open > 0) {
                // Full now, which an idle connection does too: nobody need have been refused.
                let name = format!("{name}: 1");
                seen.saw(&source, tied(), flagged(EnvoyFlag::Uo, &name, 0));
            }
        }
        let errors = grown.get(&format!(
            "cluster.{}.upstream_cx_connect_fail",
            cluster.name
        ));
        let retries = grown.get(&format!("cluster.{}.upstream_rq_retry", cluster.name));
        if let Some(errors) = errors {
            let (by, retries) = (Maker::Envoy, retries.copied().unwrap_or(0));
            seen.saw(
                &source,
                tied(),
                Proxy::ConnectErrors {
                    by,
                    errors: *errors,
                    retries,
                },
            );
        }
    }
}

/// Where the administration is: a flag, the configuration, or a usual port that it listens at.
fn admin_of(job: &Job<'_>, proxy: &Found) -> Option<Target> {
    if let Some(given) = &job.options.envoy_admin {
        return Some(given.clone());
    }
    let at = |port: u16| Target::parse(&format!("http://127.0.0.1:{port}")).ok();
    let inline = proxy.arg("--config-yaml").map(str::to_owned);
    let file = proxy.arg("-c").or_else(|| proxy.arg("--config-path"));
    let disk = Disk {
        root: String::new(),
    };
    let file = file.and_then(|path| disk.text(&proxy.path(path)).ok());
    let named = inline.or(file).and_then(|text| admin_port(&text));
    let usual = PORTS.into_iter().find(|port| proxy.ports.contains(port));
    named.or(usual).and_then(at)
}

/// The first port after the word `admin` in YAML or JSON: only that is wanted of it.
fn admin_port(text: &str) -> Option<u16> {
    let begin = text.match_indices("admin").find(|(at, _)| {
        text[at + 5..]
            .trim_start_matches(['"', '\''])
            .trim_start()
            .starts_with(':')
    });
    let (_, rest) = text[begin?.0..].split_once("port_value")?;
    let rest = rest.trim_start_matches(['"', '\'', ':', ' ']);
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_the_administration_is_found_in_yaml_and_json() {
        for (text, port) in [
            (
                "admin: { address: { socket_address: { address: 127.0.0.1, port_value: 19901 } } }",
                Some(19901),
            ),
            (
                "node: {}\nadmin:\n  address:\n    socket_address:\n      port_value: 9901\n",
                Some(9901),
            ),
            (
                r#"{"admin":{"address":{"socket_address":{"port_value":15000}}}}"#,
                Some(15000),
            ),
            ("administrator: x\nport_value: 1", None),
            ("", None),
        ] {
            assert_eq!(admin_port(text), port, "{text}");
        }
    }
}

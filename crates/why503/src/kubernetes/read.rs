//! What the API's lists say, as facts. The objects are read as JSON and only as far as is wanted,
//! because versions of the API add members and none of those that are read was ever renamed.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde_json::Value;
use steadfast_diagnosis::{Kubernetes, ProbeKind, Ratio};

/// An event that is older does not say that a probe fails now.
const EVENT_AGE_MAX: Duration = Duration::from_secs(600);

/// A kill that is older is another story.
const KILL_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Most pods that are spoken of; a rollout gone wrong repeats itself.
const PODS_MAX: usize = 20;

/// The labels by which a service selects its pods.
pub(crate) fn selector(service: &Value) -> BTreeMap<String, String> {
    let labels = service["spec"]["selector"].as_object();
    let pairs = labels.into_iter().flatten();
    pairs
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// `a=b,c=d`, as the API takes it.
pub(crate) fn written(selector: &BTreeMap<String, String>) -> String {
    let pairs = selector
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join(",")
}

/// Endpoints of a service that are ready, of its slices.
pub(crate) fn endpoints(service: &str, slices: &Value) -> Kubernetes {
    let endpoints = items(slices)
        .iter()
        .flat_map(|slice| list(&slice["endpoints"]));
    let (mut ready, mut all) = (0, 0);
    for endpoint in endpoints {
        all += 1;
        // Absent means ready.
        ready += u64::from(endpoint["conditions"]["ready"] != false);
    }
    Kubernetes::Endpoints {
        service: service.into(),
        ready,
        all,
    }
}

/// Containers that were killed for memory or start again and again, and pods without a node.
pub(crate) fn pods(pods: &Value, now: Timestamp) -> Vec<Kubernetes> {
    let mut facts = Vec::new();
    let (mut pending, mut why) = (0, String::new());
    for pod in items(pods).iter().take(PODS_MAX) {
        let name = text(&pod["metadata"]["name"]);
        let status = &pod["status"];
        for container in list(&status["containerStatuses"]) {
            let killed = ["state", "lastState"].map(|it| &container[it]["terminated"]);
            for ended in killed.iter().filter(|it| it["reason"] == "OOMKilled") {
                let ago = since(&ended["finishedAt"], now).unwrap_or_default();
                if ago <= KILL_AGE_MAX {
                    let container = text(&container["name"]).into();
                    let pod = name.as_str().into();
                    facts.push(Kubernetes::OomKilled {
                        pod,
                        container,
                        ago,
                    });
                }
            }
            let waiting = text(&container["state"]["waiting"]["reason"]);
            // A container that is only being made is no news.
            if !matches!(
                waiting.as_str(),
                "" | "ContainerCreating" | "PodInitializing"
            ) {
                facts.push(Kubernetes::Waiting {
                    pod: name.as_str().into(),
                    reason: waiting.into(),
                    restarts: container["restartCount"].as_u64().unwrap_or(0),
                });
            }
        }
        let unscheduled = list(&status["conditions"]).iter().find(|it| {
            it["type"] == "PodScheduled"
                && it["status"] == "False"
                && it["reason"] == "Unschedulable"
        });
        if let Some(condition) = unscheduled {
            pending += 1;
            why = text(&condition["message"]);
        }
    }
    if pending > 0 {
        let (count, why) = (pending, why.into());
        facts.push(Kubernetes::Pending { count, why });
    }
    facts
}

/// Probes that fail, of the events with the reason `Unhealthy`; those of other pods left out.
pub(crate) fn probes(events: &Value, pods: &Value, now: Timestamp) -> Vec<Kubernetes> {
    let names: Vec<String> = items(pods)
        .iter()
        .map(|it| text(&it["metadata"]["name"]))
        .collect();
    let mut facts = Vec::new();
    for event in items(events) {
        let pod = text(&event["involvedObject"]["name"]);
        let last = ["lastTimestamp", "eventTime"].map(|it| since(&event[it], now));
        let ago = last.into_iter().flatten().min();
        if !names.contains(&pod) || ago.is_none_or(|ago| ago > EVENT_AGE_MAX) {
            continue;
        }
        let says = text(&event["message"]);
        let kind = match says.split_whitespace().next() {
            Some("Liveness") => ProbeKind::Liveness,
            Some("Startup") => ProbeKind::Startup,
            Some("Readiness") => ProbeKind::Readiness,
            _ => continue,
        };
        let count = event["count"]
            .as_u64()
            .or(event["series"]["count"].as_u64());
        facts.push(Kubernetes::Probe {
            pod: pod.into(),
            kind,
            says: says.into(),
            count: count.unwrap_or(1),
        });
    }
    facts.truncate(PODS_MAX);
    facts
}

/// Autoscalers of these deployments: how many replicas, at most how many, and how far the metric
/// that is worst is above its target.
pub(crate) fn scalers(scalers: &Value, deployments: &[String]) -> Vec<Kubernetes> {
    let ours = items(scalers)
        .iter()
        .filter(|it| deployments.contains(&text(&it["spec"]["scaleTargetRef"]["name"])));
    let scaler = |it: &Value| {
        let status = &it["status"];
        let metrics = list(&it["spec"]["metrics"])
            .iter()
            .zip(list(&status["currentMetrics"]));
        let load = metrics.filter_map(|(wanted, current)| load(wanted, current));
        Kubernetes::Scaler {
            name: text(&it["metadata"]["name"]).into(),
            now: status["currentReplicas"].as_u64().unwrap_or(0),
            max: it["spec"]["maxReplicas"].as_u64().unwrap_or(0),
            wanted: status["desiredReplicas"].as_u64().unwrap_or(0),
            load: Ratio::new(load.fold(0.0, f64::max)),
        }
    };
    ours.map(scaler).collect()
}

fn load(wanted: &Value, current: &Value) -> Option<f64> {
    let kind = text(&wanted["type"]);
    let mut letters = kind.chars();
    // `ContainerResource` has its numbers under `containerResource`.
    let member: String = letters.next()?.to_lowercase().chain(letters).collect();
    let (target, now) = (&wanted[&member]["target"], &current[&member]["current"]);
    let names = ["averageUtilization", "averageValue", "value"];
    names.iter().find_map(|name| {
        let (target, now) = (quantity(&target[name])?, quantity(&now[name])?);
        (target > 0.0).then(|| now / target)
    })
}

/// `250m`, `1Gi`, `0.5` or a number.
fn quantity(value: &Value) -> Option<f64> {
    if let Some(number) = value.as_f64() {
        return Some(number);
    }
    let text = value.as_str()?;
    let at = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let factor = match unit {
        "" => 1.0,
        "m" => 0.001,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

/// Deployments whose pods a service selects.
pub(crate) fn selected(deployments: &Value, selector: &BTreeMap<String, String>) -> Vec<String> {
    let all = items(deployments).iter().filter(|it| {
        let labels = &it["spec"]["template"]["metadata"]["labels"];
        !selector.is_empty()
            && selector
                .iter()
                .all(|(name, value)| labels[name] == value.as_str())
    });
    all.map(|it| text(&it["metadata"]["name"])).collect()
}

/// Rollouts of these deployments that are under way.
pub(crate) fn rollouts(deployments: &Value, names: &[String], now: Timestamp) -> Vec<Kubernetes> {
    let ours = items(deployments)
        .iter()
        .filter(|it| names.contains(&text(&it["metadata"]["name"])));
    let under_way = ours.filter_map(|it| {
        let status = &it["status"];
        let number = |name: &str| status[name].as_u64().unwrap_or(0);
        let wanted = it["spec"]["replicas"].as_u64().unwrap_or(1);
        let (updated, all) = (number("updatedReplicas"), number("replicas"));
        let is_seen =
            status["observedGeneration"].as_u64() >= it["metadata"]["generation"].as_u64();
        let is_over =
            is_seen && updated >= wanted && all <= updated && number("availableReplicas") >= wanted;
        let progress = list(&status["conditions"])
            .iter()
            .find(|it| it["type"] == "Progressing");
        // Pods that only became unready are no rollout.
        let goes_on = !is_seen || updated < wanted || all > updated;
        (!is_over && goes_on).then(|| Kubernetes::Rollout {
            name: text(&it["metadata"]["name"]).into(),
            updated,
            wanted,
            ago: progress
                .and_then(|it| since(&it["lastUpdateTime"], now))
                .unwrap_or_default(),
        })
    });
    under_way.collect()
}

fn since(value: &Value, now: Timestamp) -> Option<Duration> {
    let then: Timestamp = value.as_str()?.parse().ok()?;
    // A clock that is ahead makes it now.
    Some(Duration::try_from(now.duration_since(then)).unwrap_or_default())
}

pub(crate) fn items(value: &Value) -> &[Value] {
    list(&value["items"])
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-29T10:00:00Z".parse().expect("a time")
    }

    #[test]
    fn endpoints_that_are_ready_are_counted() {
        let slices = json!({"items": [
            {"endpoints": [{"conditions": {"ready": true}}, {"conditions": {"ready": false}}]},
            {"endpoints": [{"conditions": {}}]}, {"endpoints": null}]});
        let Kubernetes::Endpoints { ready, all, .. } = endpoints("shop", &slices) else {
            panic!("endpoints");
        };
        assert_eq!((ready, all), (2, 3));
    }

    #[test]
    fn kills_crashes_and_pods_without_a_node_are_read() {
        let list = json!({"items": [
            {"metadata": {"name": "a"}, "status": {"containerStatuses": [
                {"name": "app", "restartCount": 7, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                 "lastState": {"terminated": {"reason": "OOMKilled", "finishedAt": "2026-11-29T09:59:00Z"}}}]}},
            {"metadata": {"name": "b"}, "status": {"conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]}},
            {"metadata": {"name": "c"}, "status": {"containerStatuses": [
                {"state": {"waiting": {"reason": "ContainerCreating"}}},
                {"lastState": {"terminated": {"reason": "OOMKilled", "finishedAt": "2026-11-01T00:00:00Z"}}}]}}]});
        let found: Vec<String> = pods(&list, now()).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "a/app: OOMKilled 60 s ago",
                "a: CrashLoopBackOff, 7 restarts",
                "1: 0/3 nodes"
            ]
        );
    }

    #[test]
    fn probes_that_fail_now_are_read_of_our_pods() {
        let ours = json!({"items": [{"metadata": {"name": "a"}}]});
        let event = |pod: &str, last: &str, message: &str| json!({"involvedObject": {"name": pod}, "lastTimestamp": last, "count": 3, "message": message});
        let events = json!({"items": [
            event("a", "2026-11-29T09:59:00Z", "Readiness probe failed: HTTP probe failed with statuscode: 503"),
            event("a", "2026-11-29T08:00:00Z", "Liveness probe failed: old"),
            event("b", "2026-11-29T09:59:00Z", "Readiness probe failed: of another"),
            event("a", "2026-11-29T09:59:00Z", "Back-off")]});
        let found = probes(&events, &ours, now());
        assert!(
            matches!(
                &found[..],
                [Kubernetes::Probe {
                    kind: ProbeKind::Readiness,
                    count: 3,
                    ..
                }]
            ),
            "{found:?}"
        );
    }

    #[test]
    fn a_scaler_at_its_maximum_and_its_load_are_read() {
        let scaler = json!({"items": [{"metadata": {"name": "shop"},
            "spec": {"maxReplicas": 5, "scaleTargetRef": {"name": "shop"}, "metrics": [
                {"type": "Resource", "resource": {"target": {"averageUtilization": 50}}},
                {"type": "Pods", "pods": {"target": {"averageValue": "500m"}}}]},
            "status": {"currentReplicas": 5, "desiredReplicas": 5, "currentMetrics": [
                {"type": "Resource", "resource": {"current": {"averageUtilization": 60}}},
                {"type": "Pods", "pods": {"current": {"averageValue": "1"}}}]}}]});
        let found = scalers(&scaler, &["shop".to_owned()]);
        assert_eq!(
            found[0].to_string(),
            "shop: 5 of at most 5, load 200 % of target"
        );
        assert!(scalers(&scaler, &[]).is_empty());
    }

    #[test]
    fn a_rollout_is_one_only_while_it_goes_on() {
        let deployment = |updated: u64, all: u64, available: u64| {
            json!({"items": [{"metadata": {"name": "shop", "generation": 2},
                "spec": {"replicas": 3, "template": {"metadata": {"labels": {"app": "shop"}}}},
                "status": {"observedGeneration": 2, "updatedReplicas": updated, "replicas": all, "availableReplicas": available,
                    "conditions": [{"type": "Progressing", "lastUpdateTime": "2026-11-29T09:59:30Z"}]}}]})
        };
        let selector = BTreeMap::from([("app".to_owned(), "shop".to_owned())]);
        let names = selected(&deployment(3, 3, 3), &selector);
        assert_eq!(names, ["shop"]);
        let under_way = |updated, all, available| {
            rollouts(&deployment(updated, all, available), &names, now()).len()
        };
        assert_eq!(
            (under_way(3, 3, 3), under_way(1, 4, 3), under_way(3, 3, 1)),
            (0, 1, 0)
        );
    }

    #[test]
    fn nonsense_is_nothing() {
        for value in [
            json!(null),
            json!([]),
            json!({"items": 3}),
            json!({"items": [null, {}, []]}),
        ] {
            assert!(pods(&value, now()).is_empty());
            assert!(probes(&value, &value, now()).is_empty());
            assert!(scalers(&value, &[]).is_empty());
            assert!(selected(&value, &selector(&value)).is_empty());
        }
    }
}

//! The cluster, as an API server that has lists and nothing else.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpListener,
};

use serde_json::{Value, json};

use crate::{App, Told, told::doctor_with};

/// Serves these lists by the last part of their path; what is not there is forbidden. It lasts as
/// long as the test's process.
fn cluster(lists: BTreeMap<&'static str, Value>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let lists = lists.clone();
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut request) {
                    let text = String::from_utf8_lossy(&request[..count]).into_owned();
                    let path = text.split_whitespace().nth(1).unwrap_or_default();
                    assert!(text.starts_with("GET "), "only reads: {text}");
                    let name = path.split('?').next().unwrap().rsplit('/').next().unwrap();
                    let forbidden = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden",
                        "message": format!("{name} is forbidden"), "code": 403, "metadata": {}});
                    let (status, body) = match lists.get(name) {
                        Some(body) => ("200 OK", body.to_string()),
                        None => ("403 Forbidden", forbidden.to_string()),
                    };
                    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json");
                    let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    format!("http://{address}")
}

fn asked(app: &App, server: &str) -> Told {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kubeconfig");
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "geheim"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]});
    std::fs::write(&file, config.to_string()).unwrap();
    let told = doctor_with(
        &[("KUBECONFIG", file.to_str().unwrap())],
        &[&app.url(), "--kube", "shop/web"],
    );
    told.keeps_secret("geheim");
    told
}

fn lists(ready: bool) -> BTreeMap<&'static str, Value> {
    let pod =
        json!({"items": [{"metadata": {"name": "web-1"}, "status": {"containerStatuses": []}}]});
    BTreeMap::from([
        ("web", json!({"spec": {"selector": {"app": "web"}}})),
        (
            "endpointslices",
            json!({"items": [{"endpoints": [{"conditions": {"ready": ready}}]}]}),
        ),
        ("pods", pod),
        ("events", json!({"items": []})),
        ("horizontalpodautoscalers", json!({"items": []})),
        ("deployments", json!({"items": []})),
    ])
}

#[test]
fn a_service_whose_endpoints_are_ready_is_silent() {
    let told = asked(&App::well(), &cluster(lists(true)));
    told.is_silent_on(&["k8s.", "scale.", "deploy."]).sees(
        "kubernetes",
        "endpoints",
        "\"ready\":1",
    );
    assert_eq!(told.code, 0, "{told:?}");
}

#[test]
fn a_service_without_ready_endpoints_is_named_with_why() {
    let mut all = lists(false);
    let now = "2999-01-01T00:00:00Z";
    all.insert(
        "events",
        json!({"items": [{"involvedObject": {"name": "web-1"}, "lastTimestamp": now, "count": 9,
        "message": "Readiness probe failed: HTTP probe failed with statuscode: 503"}]}),
    );
    let told = asked(&App::failing(), &cluster(all));
    told.finds("k8s.no_endpoints")
        .finds("k8s.probe_failing")
        .sees("kubernetes", "probe", "statuscode: 503");
}

#[test]
fn what_an_account_may_not_read_is_said() {
    let mut all = lists(true);
    all.remove("pods");
    all.remove("endpointslices");
    let told = asked(&App::well(), &cluster(all));
    told.could_not("k8s.oom_killed")
        .could_not("k8s.no_endpoints");
    all = BTreeMap::new();
    all.insert("x", Value::Null);
    asked(&App::well(), &cluster(all)).could_not("k8s.probe_failing");
}

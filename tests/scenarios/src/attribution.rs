//! What `why503 logs` makes of the logs that a scenario left: each failed request in them must be
//! put down to what is true of the fault, or to a few causes of which one is, or to none.

use std::{
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;

use crate::{ROLE, set::Scenario, stage::Stage};

/// Longest that one of the proxies here keeps a line to itself.
const FLUSHED_AFTER: Duration = Duration::from_millis(300);

/// What was said of the lines.
#[derive(Debug, Default)]
pub(crate) struct Attributed {
    /// Requests that failed.
    pub(crate) failed: u64,
    /// Causes that are not true, with how many lines.
    pub(crate) wrong: Vec<String>,
}

/// Reads the logs as they are.
pub(crate) fn of(scenario: &Scenario, stage: &Stage) -> Attributed {
    if stage.logs.is_empty() {
        return Attributed::default();
    }
    std::thread::sleep(FLUSHED_AFTER);
    let me = std::env::current_exe().expect("this program has a path");
    let output = Command::new(me)
        .arg0("why503")
        .env(ROLE, "doctor")
        .args(["logs", "--json"])
        .args(&stage.logs)
        .stdin(Stdio::null())
        .output()
        .expect("this program can be started again");
    let Ok(report) = serde_json::from_slice::<Value>(&output.stdout) else {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Attributed {
            failed: 0,
            wrong: vec![said],
        };
    };
    let causes = report["causes"].as_array().into_iter().flatten();
    let mut all = Attributed::default();
    for cause in causes {
        let count = cause["count"].as_u64().unwrap_or(0);
        all.failed += count;
        if cause["id"].is_null() {
            // Said to be unknown: nginx's plain format has no upstream's status.
            continue;
        }
        let or = cause["or"].as_array().into_iter().flatten();
        let mut ids = or.chain([&cause["id"]]).filter_map(Value::as_str);
        if !ids.any(|id| is_true(scenario, id)) {
            all.wrong.push(format!("{count} x {}", cause["id"]));
        }
    }
    all
}

/// Whether a line of this scenario may be put down to that.
fn is_true(scenario: &Scenario, id: &str) -> bool {
    scenario.says.contains(&id) || also(scenario).contains(&id)
}

/// What is true of lines beside what the doctor may say first: a log names the hop where the
/// doctor names what is behind it, and lines from before the checks had spoken are of then.
fn also(scenario: &Scenario) -> &'static [&'static str] {
    match scenario.name {
        "haproxy-all-down" => &["hap.refused_unchecked"],
        "health-behind-login" => &["hap.all_down"],
        "haproxy-passed-through" | "envoy-passed-through" | "nginx-passed-through" => {
            &["proxy.passthrough", "ngx.passthrough", "app.own_503"]
        }
        "traefik-no-server" => &["traefik.refused", "proxy.upstream_down"],
        "caddy-no-upstream" => &["caddy.refused", "proxy.upstream_down"],
        "envoy-unhealthy" => &["envoy.UF"],
        _ => &[],
    }
}

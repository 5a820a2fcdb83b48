//! The configuration in `examples/deploy`: each file is checked by its own tool where there
//! is one here, and the times in it are added up.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use yaml_rust2::{Yaml, YamlLoader};

/// What is left of the time before a kill, at the least.
const MARGIN: u64 = 2;

/// The time for hooks, before and after.
const HOOKS: u64 = 3;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/deploy")
        .join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(file(name)).expect("the example is there")
}

fn yaml(name: &str) -> Vec<Yaml> {
    YamlLoader::load_from_str(&text(name)).expect("it is YAML")
}

/// `10s` as 10.
fn seconds(length: &str) -> u64 {
    let number = length.strip_suffix('s').expect("seconds");
    number.parse().expect("a whole number")
}

fn number(yaml: &Yaml) -> u64 {
    let number = yaml.as_i64().expect("a number");
    u64::try_from(number).expect("not negative")
}

/// The longest that a service with these settings takes to leave.
fn longest(lame_duck: u64, grace: u64) -> u64 {
    lame_duck.max(HOOKS) + grace + HOOKS
}

fn environment(all: &Yaml, name: &str) -> u64 {
    let all = all.as_vec().expect("a list");
    let found = all.iter().find(|it| it["name"].as_str() == Some(name));
    let value = found.and_then(|it| it["value"].as_str());
    seconds(value.unwrap_or_else(|| panic!("{name} is set")))
}

/// The value of `key` in a file of lines `key = value` or `key=value`.
fn value<'a>(text: &'a str, key: &str) -> &'a str {
    let pairs = text.lines().filter_map(|line| line.trim().split_once('='));
    let mut values = pairs.filter(|(name, _)| name.trim() == key);
    let (_, value) = values.next().unwrap_or_else(|| panic!("{key} is set"));
    value.trim()
}

/// Runs a tool and wants it content.
fn accepts(tool: &str, arguments: &[&str], file: &Path) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    places.push("/usr/sbin".into());
    let tool = places.iter().map(|place| place.join(tool));
    let tool = tool
        .clone()
        .find(|it| it.is_file())
        .expect("it is installed");
    let output = Command::new(&tool).args(arguments).arg(file).output();
    let output = output.expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", tool.display());
}

#[test]
fn haproxy_accepts_its_file_as_it_stands() {
    accepts("haproxy", &["-c", "-f"], &file("haproxy.cfg"));
}

#[test]
fn systemd_accepts_the_unit_and_it_leaves_time_to_stop() {
    let unit = text("steadfast.service");
    let dir = tempfile::tempdir().expect("there is room");
    let copy = dir.path().join("orders.service");
    // systemd wants the program to be there.
    fs::write(&copy, unit.replace("/usr/local/bin/orders", "/bin/true")).expect("it is written");
    accepts("systemd-analyze", &["verify"], &copy);

    let setting = |name: &str| {
        let line = unit
            .lines()
            .find_map(|line| line.strip_prefix(&format!("Environment={name}=")));
        seconds(line.expect("it is set"))
    };
    let drain = longest(
        setting("STEADFAST__DRAIN__LAME_DUCK_MAX"),
        setting("STEADFAST__DRAIN__GRACE"),
    );
    assert!(drain + MARGIN <= seconds(value(&unit, "TimeoutStopSec")));
    assert_eq!(value(&unit, "Type"), "notify");
    // A runtime counts as stalled after 10 s; the watchdog must not be quicker.
    assert!(seconds(value(&unit, "WatchdogSec")) > 10);
}

#[test]
fn kubernetes_grants_what_the_drain_needs_and_probes_in_time() {
    let documents = yaml("kubernetes.yaml");
    let kinds: Vec<_> = documents
        .iter()
        .filter_map(|it| it["kind"].as_str())
        .collect();
    assert_eq!(kinds, ["Deployment", "Service", "PodDisruptionBudget"]);
    let spec = &documents[0]["spec"];
    assert_eq!(
        number(&spec["strategy"]["rollingUpdate"]["maxUnavailable"]),
        0
    );
    assert!(number(&spec["strategy"]["rollingUpdate"]["maxSurge"]) > 0);
    let pod = &spec["template"]["spec"];
    let container = &pod["containers"][0];
    let env = &container["env"];
    let lame_duck = environment(env, "STEADFAST__DRAIN__LAME_DUCK_MAX");
    let grace = environment(env, "STEADFAST__DRAIN__GRACE");
    let pre_stop = number(&container["lifecycle"]["preStop"]["sleep"]["seconds"]);
    let granted = number(&pod["terminationGracePeriodSeconds"]);
    let needed = pre_stop + longest(lame_duck, grace);
    assert!(needed + MARGIN <= granted, "{needed} s of {granted} s");

    let readiness = &container["readinessProbe"];
    let notices = number(&readiness["periodSeconds"]) * number(&readiness["failureThreshold"])
        + number(&readiness["timeoutSeconds"]);
    assert!(notices < lame_duck, "{notices} s");
    let path = |probe: &str| {
        container[probe]["httpGet"]["path"]
            .as_str()
            .map(str::to_owned)
    };
    assert_eq!(path("readinessProbe").as_deref(), Some("/ready/"));
    assert_eq!(path("livenessProbe").as_deref(), Some("/livez"));
    assert_eq!(path("startupProbe").as_deref(), Some("/startupz"));
}

#[test]
fn compose_grants_what_the_drain_needs() {
    let documents = yaml("compose.yaml");
    let service = &documents[0]["services"]["orders"];
    let setting = |name: &str| seconds(service["environment"][name].as_str().expect("it is set"));
    let drain = longest(
        setting("STEADFAST__DRAIN__LAME_DUCK_MAX"),
        setting("STEADFAST__DRAIN__GRACE"),
    );
    let granted = seconds(service["stop_grace_period"].as_str().expect("it is set"));
    assert!(drain + MARGIN <= granted, "{drain} s of {granted} s");
    assert_eq!(service["stop_signal"].as_str(), Some("SIGTERM"));
}

#[test]
fn the_target_group_notices_within_the_lame_duck_it_asks_for() {
    let text = text("alb.tf");
    let setting = |key: &str| value(&text, key).parse::<u64>().expect("a number");
    let notices = setting("interval") * setting("unhealthy_threshold") + setting("timeout");
    let comment = text
        .split_once("LAME_DUCK_MAX = ")
        .expect("the comment says it")
        .1;
    let lame_duck = seconds(comment.split_whitespace().next().expect("a length"));
    assert!(notices < lame_duck, "{notices} s");
    // 40 s before a kill, as the comment says.
    assert!(longest(lame_duck, 15) + MARGIN <= 40);
    assert_eq!(value(&text, "path"), "\"/ready/\"");
}

//! The rules for Prometheus: they parse, they fire in a real storm and in nothing else, and
//! each alert says what the diagnosis says.
#![allow(
    clippy::expect_used,
    reason = "tests have nobody to return an error to"
)]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use steadfast_diagnosis::{Id, knowledge};
use yaml_rust2::{Yaml, YamlLoader};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/deploy/prometheus")
}

fn promtool(arguments: &[&str]) -> String {
    let program = support::program_of("promtool", "prometheus");
    let run = Command::new(program)
        .args(arguments)
        .current_dir(folder())
        .output()
        .expect("it starts");
    let said = [run.stdout, run.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(run.status.success(), "{arguments:?}: {said}");
    said
}

#[test]
fn the_rules_and_the_scrape_configuration_are_well_formed() {
    promtool(&["check", "rules", "recording.yaml", "alerts.yaml"]);
    promtool(&["check", "config", "prometheus.yaml"]);
}

#[test]
fn in_a_real_storm_the_right_alerts_fire_and_no_others() {
    let said = promtool(&["test", "rules", "storm_test.yaml"]);
    assert!(said.contains("SUCCESS"), "{said}");
    let test = std::fs::read_to_string(folder().join("storm_test.yaml")).expect("the file");
    for part in [
        "SteadfastOverloaded",
        "SteadfastDependencyFailing",
        "exp_samples: []",
    ] {
        assert!(test.contains(part), "{part}");
    }
}

#[test]
fn each_alert_waits_as_long_as_it_says_and_names_what_it_is_about() {
    let said = promtool(&["test", "rules", "alerts_test.yaml"]);
    assert!(said.contains("SUCCESS"), "{said}");
    let test = std::fs::read_to_string(folder().join("alerts_test.yaml")).expect("the file");
    for alert in alerts() {
        let name = text(&alert["alert"]);
        assert!(test.contains(name), "{name} has no unit test");
    }
}

fn alerts() -> Vec<Yaml> {
    let file = std::fs::read_to_string(folder().join("alerts.yaml")).expect("the file");
    let parsed = YamlLoader::load_from_str(&file).expect("YAML");
    let rules = parsed[0]["groups"][0]["rules"].as_vec();
    rules.expect("rules").clone()
}

fn text(value: &Yaml) -> &str {
    value.as_str().expect("a text")
}

#[test]
fn each_alert_says_what_the_diagnosis_says_and_links_to_the_page() {
    let alerts = alerts();
    assert!(alerts.len() >= 15, "{}", alerts.len());
    for alert in &alerts {
        let name = text(&alert["alert"]);
        let id = text(&alert["labels"]["finding"]);
        let id = Id::ALL.iter().find(|it| it.as_str() == id);
        let row = knowledge::row(*id.expect("an id of the diagnosis")).expect("a row");
        let annotations = &alert["annotations"];
        let summary = text(&annotations["summary"]);
        let title = format!("{} ({{{{ $labels.instance }}}}): ", row.title);
        assert!(summary.starts_with(&title), "{name}: {summary}");
        assert_eq!(text(&annotations["description"]), row.means, "{name}");
        assert_eq!(text(&annotations["fix"]), row.fix, "{name}");
        let page = text(&annotations["page"]);
        assert_eq!(page, "http://{{ $labels.instance }}/why503/", "{name}");
        assert!(matches!(
            text(&alert["labels"]["severity"]),
            "page" | "ticket"
        ));
    }
}

mod breakers;
mod routes;

use std::{collections::HashSet, time::Duration};

use proptest::prelude::*;
use steadfast_core::{CheckOutcome, Requirement, plumbing::CheckSettings};

use super::*;
use crate::{
    Connections, Dependency, Drain, Guard, GuardBuilder, RouteClass, Shed, Streams, WhenDraining,
    dependency::check,
};

fn toml(text: &str) -> GuardConfig {
    GuardConfig::from_toml_str(text).expect(text)
}

fn faults_of(text: &str) -> Vec<String> {
    GuardConfig::from_toml_str(text)
        .expect_err(text)
        .into_faults()
}

fn environment(variables: &[(&str, &str)]) -> Result<GuardConfig, ConfigError> {
    let variables = variables
        .iter()
        .map(|(key, value)| (key.into(), value.into()));
    GuardConfig::from_variables("STEADFAST", variables)
}

fn dependency(name: &str) -> Dependency {
    Dependency::builder(name)
        .check(check::closure(|| async { CheckOutcome::pass() }))
        .build()
        .expect("valid")
}

fn configured(builder: GuardBuilder) -> GuardBuilder {
    let mut builder = builder;
    builder.configured();
    assert_eq!(builder.faults, Vec::<String>::new());
    builder
}

/// The documented example and table of keys.
fn documented() -> (String, Vec<(String, String)>) {
    let lines: Vec<_> = include_str!("../config.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("/// "))
        .collect();
    let example = lines
        .iter()
        .skip_while(|line| !line.contains("from_toml_str(r#"))
        .skip(1)
        .take_while(|line| !line.starts_with("\"#"))
        .fold(String::new(), |text, line| text + line + "\n");
    let keys = lines
        .iter()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<_> = line.split(" | ").collect();
            let key = cells[0].trim_matches(['|', ' ', '`']);
            (key.to_owned(), cells[2].trim_end_matches(" |").to_owned())
        })
        .collect();
    (example, keys)
}

#[test]
fn the_documented_example_sets_every_key() {
    let config = toml(&documented().0.replace("///\n", ""));
    let shown = format!("{config:?}");
    assert!(!shown.contains("None"), "{shown}");
    assert!(!shown.contains("a-long-random-secret"), "{shown}");
}

#[test]
fn the_documented_table_has_every_key_and_the_true_defaults() {
    let (example, keys) = documented();
    let example: toml::Table = toml::from_str(&example).expect("TOML");
    let mut written = HashSet::new();
    for (key, value) in &example {
        match value {
            toml::Value::Table(names) if key == "dependency" => {
                let inner = names["orders-db"].as_table().expect("a table");
                written.extend(inner.keys().map(|inner| format!("dependency.NAME.{inner}")));
            }
            toml::Value::Table(patterns) if key == "route" => {
                let inner = patterns["/reports/*"].as_table().expect("a table");
                written.extend(inner.keys().map(|inner| format!("route.PATTERN.{inner}")));
            }
            toml::Value::Table(inner) => {
                written.extend(inner.keys().map(|inner| format!("{key}.{inner}")));
            }
            _ => drop(written.insert(key.clone())),
        }
    }
    assert_eq!(
        written,
        keys.iter().map(|(key, _)| key.clone()).collect(),
        "example and table"
    );
    let defaults: String = keys
        .iter()
        // What no pattern says has no default value to set.
        .filter(|(key, _)| !key.starts_with("route."))
        .filter_map(|(key, default)| {
            let value = default.strip_prefix('`')?.strip_suffix('`')?;
            let plain = value.parse::<f64>().is_ok() || value.parse::<bool>().is_ok();
            let value = if plain {
                value.to_owned()
            } else {
                format!("{value:?}")
            };
            Some(format!("{} = {value}\n", key.replace("NAME", "db")))
        })
        .collect();
    let db = dependency("db");
    let bare = Guard::builder().dependency(&db);
    let shown = format!("{bare:?}");
    let filled = configured(bare.config(toml(&defaults)));
    assert_eq!(format!("{filled:?}"), shown);
    assert_eq!(
        db.settings(),
        (Requirement::default(), CheckSettings::default())
    );
}

#[test]
fn every_fault_of_a_file_is_told_at_once() {
    let faults = faults_of(
        r#"
        request_timeout = "0s"
        unready_bugdet = "5m"
        sheds = {}
        shed = { limit = 0, mode = "refuse", held_max = 10, "line\nbreak" = 1 }
        drain = { lame_duck_max = "2h", grace = "5 parsecs" }
        connections = { max = 0, idle = 620, ping_every = "1ms", streams_max = 10001, idle_max = "5s" }
        start.hold = ["30s"]
        explain = { type_base = "causes", disclosure = true, retry_after_min = "1ms" }
        probes = { health_path = "health", aliases = "true", listen = "9090", listen_trusted = "no" }
        operator = { token = "hunter2-hunter2", tokn = "hunter2", history_file = "" }
        maintenance = "hunter2"
        dependency.db = { requirement = "optional", fall = -1, rise = 2.5, interval = "0s" }
        dependency.cache = 5
        "#,
    );
    let expected = [
        "request_timeout: found \"0s\"; allowed is a duration such as \"250ms\", \"5s\" or \"10m\", above 0s",
        "shed.limit: found 0; allowed is a whole number from 1 to 1000000",
        "shed.mode: found \"refuse\"; allowed is \"enforce\" or \"observe\"",
        "shed.held_max: found 10; allowed is a duration",
        "shed.line\\nbreak: no such key; allowed are limit, queue, mode",
        "drain.lame_duck_max: found \"2h\"; allowed is a duration",
        "drain.grace: found \"5 parsecs\"",
        "connections.max: found 0; allowed is a whole number from 1 to 1000000",
        "connections.idle: found 620; allowed is a duration such as \"250ms\"",
        "connections.ping_every: found \"1ms\"",
        "connections.streams_max: found 10001; allowed is a whole number from 1 to 10000",
        "connections.idle_max: no such key",
        "start.hold: found a list",
        "explain.type_base: found \"causes\"; allowed is an absolute URL",
        "explain.disclosure: found true; allowed is \"public\" or \"full\"",
        "explain.retry_after_min: found \"1ms\"",
        "probes.health_path: found \"health\"",
        "probes.aliases: found \"true\"; allowed is true or false",
        "probes.listen: found \"9090\"",
        "probes.listen_trusted: found \"no\"; allowed is true or false",
        "operator.history_file: found \"\"; allowed is the path of a file",
        "operator.token: found 15 characters; allowed are 16 or more characters, all visible ASCII",
        "operator.tokn: no such key, did you mean token?",
        "maintenance: found text; allowed is a section",
        "dependency.db.requirement: found \"optional\"",
        "dependency.db.interval: found \"0s\"",
        "dependency.db.fall: found -1; allowed is a whole number from 1 to 100",
        "dependency.db.rise: found 2.5",
        "dependency.cache: found a number; allowed is a section",
        "unready_bugdet: no such key, did you mean unready_budget?",
        "sheds: no such key, did you mean shed?",
    ];
    for part in expected {
        let told = faults.iter().filter(|fault| fault.starts_with(part));
        assert_eq!(told.count(), 1, "{part} in {faults:#?}");
    }
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    assert!(!faults.concat().contains("hunter2"), "{faults:#?}");
}

#[test]
fn text_that_is_not_toml_says_where_and_never_quotes_a_secret() {
    for text in [
        "[operator]\ntoken = \"hunter2hunter2hunter2\" x",
        "[operator]\ntoken = hunter2hunter2hunter2",
        "[operator]\ntoken = \"hunter2hunter2hunter2",
        "[operator]\ntoken = \"hunter2\\qhunter2hunter2\"",
        "[operator]\ntoken = 1\ntoken = \"hunter2hunter2hunter2\"",
        "operator = 1\n[operator]\ntoken = \"hunter2\"",
    ] {
        let faults = faults_of(text);
        assert!(faults[0].starts_with("line "), "{faults:?}");
        assert!(!faults.concat().contains("hunter2"), "{faults:?}");
    }
    for deep in [
        "a=".to_owned() + &"[".repeat(100_000),
        "a.".repeat(100_000) + "a=1",
    ] {
        assert!(!faults_of(&deep).is_empty());
    }
    assert_eq!(faults_of("a = \n[shed]\nlimit = \n").len(), 2);
}

#[test]
fn a_file_is_read_and_its_faults_name_it() {
    let path = std::env::temp_dir().join(format!("steadfast-{}.toml", std::process::id()));
    std::fs::write(&path, "shed.limit = 16").expect("a temporary file");
    let read = GuardConfig::from_toml_file(&path).expect("valid");
    assert_eq!(read, toml("shed.limit = 16"));
    std::fs::write(&path, "shed.limit = 0\ngrace = \"5s\"").expect("a temporary file");
    let error = GuardConfig::from_toml_file(&path).expect_err("two faults");
    std::fs::remove_file(&path).expect("it was there");
    let missing = GuardConfig::from_toml_file(&path).expect_err("no file");
    let faults = error.faults().iter().chain(missing.faults());
    let path = path.display().to_string();
    assert_eq!(faults.filter(|fault| fault.starts_with(&path)).count(), 3);
}

#[test]
fn the_environment_says_the_same_as_a_file() {
    let named = environment(&[
        ("HOME", "/root"),
        ("STEADFAST_SERVICE_HOST", "10.0.0.1"),
        ("STEADFAST__REQUEST_TIMEOUT", "30s"),
        ("STEADFAST__SHED__LIMIT", "16"),
        ("steadfast__Shed__mode", "observe"),
        ("STEADFAST__PROBES__STRICT", "true"),
        ("STEADFAST__PROBES__LISTEN", "[::1]:9090"),
        ("STEADFAST__PROBES__LISTEN_TRUSTED", "true"),
        ("STEADFAST__PROBES__SOCKET", "/run/shop/probe.sock"),
        ("STEADFAST__OPERATOR__TOKEN", "1234567890123456"),
        ("STEADFAST__OPERATOR__HISTORY_FILE", "/var/lib/shop/history"),
        ("STEADFAST__DEPENDENCY__ORDERS_DB__TIMEOUT", "2s"),
        ("STEADFAST__DEPENDENCY__orders_db__FALL", "5"),
        ("STEADFAST__DEPENDENCY__A__B__RISE", "1"),
    ]);
    let (db, odd) = (dependency("orders-db"), dependency("a-.b"));
    let builder = || Guard::builder().dependency(&db).dependency(&odd);
    let file = r#"
        request_timeout = "30s"
        shed = { limit = 16, mode = "observe" }
        probes = { strict = true, listen = "[::1]:9090", listen_trusted = true, socket = "/run/shop/probe.sock" }
        operator = { token = "1234567890123456", history_file = "/var/lib/shop/history" }
        "#;
    let by_env = configured(builder().config(named.clone().expect("valid")));
    let by_file = configured(builder().config(toml(file)));
    assert_eq!(format!("{by_env:?}"), format!("{by_file:?}"));
    builder()
        .config(named.expect("valid"))
        .build()
        .expect("valid");
    let (_, settings) = db.settings();
    assert_eq!(
        (settings.timeout, settings.fall),
        (Duration::from_secs(2), 5)
    );
    assert_eq!(odd.settings().1.rise, 1);
}

#[test]
fn every_fault_of_the_environment_is_told_with_its_variable() {
    let error = environment(&[
        ("STEADFAST__SHED__LIMIT", "many"),
        ("STEADFAST__SHED__LIMT", "1"),
        ("STEADFAST__SHED__LIMIT__MAX", "1"),
        ("STEADFAST__PROBES__ENVOY", "yes"),
        ("STEADFAST__OPERATOR__TOKEN", "hunter2"),
        ("STEADFAST__MAINTENANCE", "on"),
        ("STEADFAST__DRAIN__GRACE", "1s"),
        ("STEADFAST__drain__GRACE", "2s"),
        ("STEADFAST__DEPENDENCY__DB", "hunter2"),
        ("STEADFAST__DEPENDENCY__DB__TIMEOUT", "1d"),
        ("STEADFAST__", ""),
    ]);
    let faults = error.expect_err("faults").into_faults();
    for part in [
        "STEADFAST__SHED__LIMIT: found \"many\"",
        "STEADFAST__SHED__LIMT: no such key, did you mean LIMIT?; allowed are LIMIT, QUEUE, MODE",
        "STEADFAST__SHED__LIMIT__MAX: no such key",
        "STEADFAST__PROBES__ENVOY: found \"yes\"; allowed is true or false",
        "STEADFAST__OPERATOR__TOKEN: found 7 characters",
        "STEADFAST__MAINTENANCE: found text",
        "STEADFAST__DRAIN__GRACE: given more than once",
        "STEADFAST__DEPENDENCY__DB: found text",
        "STEADFAST__DEPENDENCY__DB: given more than once",
        "STEADFAST__DEPENDENCY__DB__TIMEOUT: found \"1d\"",
        "STEADFAST__: no such key",
    ] {
        let told = faults.iter().filter(|fault| fault.starts_with(part));
        assert_eq!(told.count(), 1, "{part} in {faults:#?}");
    }
    assert_eq!(faults.len(), 11, "{faults:#?}");
    assert!(!faults.concat().contains("hunter2"), "{faults:#?}");
    let empty = GuardConfig::from_variables("", std::iter::empty());
    assert!(empty.expect_err("no prefix").to_string().contains("empty"));
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf8_is_a_fault_only_under_the_prefix() {
    use std::os::unix::ffi::OsStringExt;
    let bytes = || OsString::from_vec(vec![0xff]);
    let foreign = [(bytes(), bytes()), ("OTHER".into(), bytes())];
    assert!(GuardConfig::from_variables("STEADFAST", foreign.into_iter()).is_ok());
    let ours = [("STEADFAST__SHED__MODE".into(), bytes())];
    let error = GuardConfig::from_variables("STEADFAST", ours.into_iter()).expect_err("bytes");
    assert!(error.to_string().contains("UTF-8"), "{error}");
}

#[test]
fn a_file_makes_one_limit_of_those_by_backend() {
    let by_backend = |file: &str| {
        let builder = Guard::builder().shed(Shed::adaptive()).config(toml(file));
        format!("{:?}", configured(builder).shed).contains("by_backend: true")
    };
    assert!(by_backend("") && by_backend("shed.by_backend = true"));
    assert!(!by_backend("shed.by_backend = false"));
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_code() {
    let db = dependency("orders-db");
    let file = toml(
        "shed = { limit = 64, held_max = '20s' }\n\
         dependency.orders-db = { timeout = '2s', fall = 4 }\n\
         connections = { max = 10, backlog = 64, resets_max = 3, read_stall = '9s', bytes_per_sec_min = 99, head_max = 9000, nodelay = false, pacing = false }
         probes.strict = false",
    );
    let variables = environment(&[
        ("STEADFAST__SHED__LIMIT", "16"),
        ("STEADFAST__DEPENDENCY__ORDERS_DB__FALL", "5"),
    ]);
    let builder = Guard::builder()
        .config(file.merge(variables.expect("valid")))
        // Later in the code, and still weaker.
        .shed(Shed::fixed(8).observe())
        .drain(Drain::default().grace(Duration::from_secs(3)))
        .connections(Connections::default().idle(Duration::from_secs(7)).max(9))
        .probes(crate::Probes::default().strict())
        .dependency(&db);
    let expected = "ShedSettings { plan: Fixed(16), mode: Enforce, held_max: 20s, ";
    let result = configured(builder);
    assert!(
        format!("{:?}", result.shed).contains(expected),
        "{result:?}"
    );
    assert_eq!(result.drain.grace, Duration::from_secs(3));
    let connections = Connections::default().idle(Duration::from_secs(7));
    let connections = connections
        .max(10)
        .backlog(64)
        .resets_max(3)
        .nodelay(false)
        .pacing(false);
    let connections = connections.read_stall(Duration::from_secs(9));
    let connections = connections.bytes_per_sec_min(99).head_max(9000);
    assert_eq!(result.connections, connections);
    assert!(!result.probes.profile.strict);
    result.build().expect("valid");
}

#[test]
fn dependencies_are_configured_whatever_the_order_and_only_by_a_valid_whole() {
    let db = dependency("orders-db");
    let config = "dependency.orders-db = { requirement = 'informs', interval = '500ms' }";
    let before = db.settings();
    let invalid = Guard::builder()
        .config(toml(config))
        .dependency(&db)
        .token("short");
    assert!(invalid.build().is_err());
    assert_eq!(db.settings(), before);
    let guard = Guard::builder()
        .config(toml(config))
        .config(toml("dependency.orders-db.rise = 7"))
        .dependency(&db);
    guard.build().expect("valid");
    let (requirement, settings) = db.settings();
    assert_eq!((requirement, settings.rise), (Requirement::Informs, 7));
    assert_eq!(settings.interval_failing, Duration::from_millis(500));
}

#[test]
fn faults_of_code_and_config_are_one_error() {
    let config = toml(
        "explain.retry_after_min = '60s'\n\
         probes.health_path = '/ready'\n\
         dependency.orders-bd.fall = 2\n\
         dependency.payments = { interval = '2s', interval_failing = '3s' }",
    );
    let variables = environment(&[
        ("STEADFAST__DEPENDENCY__CACHE__FALL", "2"),
        ("STEADFAST__DEPENDENCY__A_B__FALL", "2"),
    ]);
    let error = Guard::builder()
        .config(config.merge(variables.expect("valid")))
        .drain(Drain::default().grace(Duration::ZERO))
        .dependency(&dependency("orders-db"))
        .dependency(&dependency("payments"))
        .dependency(&dependency("a-b"))
        .dependency(&dependency("a.b"))
        .build()
        .expect_err("faults");
    for part in [
        "explain: retry-after from 60s to 30s",
        "health",
        "dependency.orders-bd: no such dependency, did you mean orders-db?; the guard has orders-db, payments, a-b, a.b",
        "interval_failing 3s is above interval 2s",
        "STEADFAST__DEPENDENCY__CACHE: no such dependency; the guard has ORDERS_DB, PAYMENTS, A_B, A_B",
        "STEADFAST__DEPENDENCY__A_B: means a-b and a.b",
        "drain: grace 0ns",
    ] {
        let told = |fault: &String| fault.contains(part);
        assert!(error.faults().iter().any(told), "{part} in {error}");
    }
    assert_eq!(error.faults().len(), 7, "{error}");
}

#[test]
fn any_serde_format_says_the_same_and_tells_every_fault() {
    let (example, _) = documented();
    let table: toml::Table = toml::from_str(&example).expect("TOML");
    let json = serde_json::to_string(&table).expect("JSON");
    let read: GuardConfig = serde_json::from_str(&json).expect("valid");
    assert_eq!(read, toml(&example));
    let empty: GuardConfig = serde_json::from_str(r#"{"shed": null, "drain": {"grace": null}}"#)
        .expect("null is nothing");
    assert_eq!(empty, GuardConfig::default());
    let faulty =
        r#"{"shed": {"limit": 1, "limit": 2, "mode": 1e9}, "operator": {"token": "hunter2"}}"#;
    let error = serde_json::from_str::<GuardConfig>(faulty).expect_err("three faults");
    let error = error.to_string();
    for part in [
        "limit: given more than once",
        "found 1000000000.0",
        "found 7 characters",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
    assert!(!error.contains("hunter2"), "{error}");
    let error = serde_json::from_str::<GuardConfig>("5").expect_err("not a table");
    assert!(
        error
            .to_string()
            .starts_with("the configuration: found a number")
    );
}

/// What reads as a configuration also builds, unless bounds or names cross.
fn takes(config: GuardConfig) {
    let _ = Guard::builder().config(config).build();
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = GuardConfig::from_toml_str(&text).map(takes);
    }

    #[test]
    fn no_value_of_a_known_key_panics_or_shows_a_secret(
        at in 0..28_usize,
        value in prop_oneof![
            any::<i64>().prop_map(|number| number.to_string()),
            any::<f64>().prop_map(|number| format!("{number:?}")),
            "\\PC{0,100}".prop_map(|text| format!("{text:?}")),
            "[0-9.]{0,12} ?(ms|s|m|h)".prop_map(|text| format!("{text:?}")),
            "[a-z\\[\\]{}=,\"' \n.]{0,40}",
        ],
        secret in "hunter2[ -~]{0,5}",
    ) {
        let (_, keys) = documented();
        let key = keys[at].0.replace("NAME", "db");
        let text = format!("{key} = {value}\n[operator]\ntoken = {secret:?}\nother = {value}");
        let error = GuardConfig::from_toml_str(&text).expect_err("the token is short");
        prop_assert!(!error.to_string().contains("hunter2"), "{error}");
        if let Ok(config) = GuardConfig::from_toml_str(&format!("{key} = {value}")) {
            takes(config);
        }
    }

    #[test]
    fn no_variable_panics(key in "(DEPENDENCY|SHED|_{0,3}|[a-zé]{0,5}|__){0,6}", value in "\\PC{0,20}") {
        let _ = environment(&[(&format!("STEADFAST__{key}"), &value), ("STEADFAST__SHED", "")]).map(takes);
    }
}

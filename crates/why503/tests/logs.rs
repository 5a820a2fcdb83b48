//! `why503 logs` as a program: exit codes, JSON as its schema says, hostile files, the width.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

fn why503(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_why503"))
        .arg("logs")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    // A program that stops reading early is right to.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn recorded(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/logs/{name}.log"));
    let text = fs::read_to_string(path).expect("it is in the repository");
    let lines = text.lines().filter_map(|it| it.split_once('\t'));
    lines
        .flat_map(|it| [it.1, "\n"])
        .collect::<String>()
        .into_bytes()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

/// Whether the value is as the schema says; the words that the schema uses are enough.
fn conforms(value: &Value, schema: &Value, root: &Value) -> Result<(), String> {
    if let Some(name) = schema["$ref"].as_str() {
        let target = root.pointer(&name[1..]).expect("it is defined");
        return conforms(value, target, root);
    }
    let fault = |what: &str| Err(format!("{what}: {value}"));
    if schema.get("const").is_some_and(|it| it != value) {
        return fault("not the constant");
    }
    if schema["enum"]
        .as_array()
        .is_some_and(|it| !it.contains(value))
    {
        return fault("not of the enum");
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(it) if it.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let allowed: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(some) => some.iter().filter_map(Value::as_str).collect(),
        _ => vec![kind],
    };
    let is = |it: &&str| *it == kind || (*it == "number" && kind == "integer");
    if !allowed.iter().any(is) {
        return fault("another type");
    }
    if value
        .as_f64()
        .zip(schema["minimum"].as_f64())
        .is_some_and(|(it, least)| it < least)
    {
        return fault("below the minimum");
    }
    for item in value.as_array().into_iter().flatten() {
        conforms(item, &schema["items"], root)?;
    }
    if let (Some(members), Some(known)) = (value.as_object(), schema["properties"].as_object()) {
        for name in schema["required"].as_array().into_iter().flatten() {
            if !members.contains_key(name.as_str().expect("a name")) {
                return fault(&format!("{name} is missing"));
            }
        }
        for (name, member) in members {
            let schema = known.get(name).ok_or(format!("{name} is not described"))?;
            conforms(member, schema, root)?;
        }
    }
    Ok(())
}

#[test]
fn json_is_as_its_schema_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/why503-logs.schema.json");
    let schema = fs::read_to_string(path).expect("it is in the repository");
    let schema: Value = serde_json::from_str(&schema).expect("it is JSON");
    for name in [
        "haproxy",
        "nginx-main",
        "nginx-error",
        "envoy",
        "traefik-json",
        "caddy",
        "apache",
    ] {
        let found = json(&why503(&["--json", "-"], &recorded(name)));
        conforms(&found, &schema, &schema).unwrap_or_else(|fault| panic!("{name}: {fault}"));
    }
    let nothing = json(&why503(&["--json", "-"], b""));
    conforms(&nothing, &schema, &schema).expect("an empty file is no reason for another shape");
}

#[test]
fn the_exit_code_says_how_sure_it_is() {
    let ok = br#"127.0.0.1 - - [29/Nov/2026:08:35:56 +0000] "GET / HTTP/1.1" 200 3 "-" "-""#;
    let unknown = br#"127.0.0.1 - - [29/Nov/2026:08:35:56 +0000] "GET / HTTP/1.1" 503 3 "-" "-""#;
    for (input, code) in [
        (&ok[..], 0),
        (&unknown[..], 12),
        (&recorded("envoy")[..], 10),
        (&recorded("nginx-combined")[..], 11),
        (&b"nothing that is a log\n"[..], 0),
    ] {
        assert_eq!(why503(&["-"], input).status.code(), Some(code));
    }
    assert_eq!(why503(&["/nowhere/a.log"], b"").status.code(), Some(20));
    assert_eq!(
        why503(&["--since", "yesterday", "-"], b"").status.code(),
        Some(64)
    );
    assert_eq!(why503(&[], b"").status.code(), Some(64));
}

#[test]
fn what_happened_outside_the_time_is_left_out() {
    let input = recorded("envoy");
    let found = json(&why503(
        &["--json", "--since", "2026-11-29T08:36:12", "-"],
        &input,
    ));
    assert_eq!(found["failed"]["total"], 15);
    assert_eq!(found["from"], "2026-11-29 08:36:13");
    let found = json(&why503(
        &["--json", "--until", "2026-11-29T08:36:12", "-"],
        &input,
    ));
    assert_eq!(found["failed"]["total"], 15);
}

#[test]
fn the_start_of_a_burst_is_explained() {
    let mut log = String::new();
    for second in 0..120 {
        for request in 0..5 {
            log.push_str(&format!(
                "10.0.0.9:1{request} [29/Nov/2026:10:0{}:{:02}.000] web shop/s{} 0/0/1/8/9 200 61 - - ---- 1/1/0/0/0 0/0 \"GET /orders/{request} HTTP/1.1\"\n",
                second / 60, second % 60, request % 2 + 1
            ));
        }
    }
    log.push_str("Server shop/s1 is DOWN, reason: Layer4 connection problem, info: \"Connection refused\". 1 active and 0 backup servers left.\n");
    log.push_str("Server shop/s2 is DOWN, reason: Layer4 connection problem, info: \"Connection refused\". 0 active and 0 backup servers left.\n");
    for second in 0..40 {
        for request in 0..5 {
            log.push_str(&format!(
                "10.0.0.9:1{request} [29/Nov/2026:10:02:{second:02}.000] web shop/<NOSRV> 0/-1/-1/-1/0 503 217 - - SC-- 1/1/0/0/0 0/0 \"GET /orders/{request} HTTP/1.1\"\n"
            ));
        }
    }
    let found = json(&why503(&["--json", "-"], log.as_bytes()));
    assert_eq!(found["causes"][0]["id"], "hap.all_down");
    assert_eq!(found["failed"]["total"], 200);
    assert_eq!(found["routes"][0]["name"], "GET /orders/{id}");
    assert_eq!(found["backends"][0]["name"], "shop");
    assert_eq!(found["burst"]["start"], "2026-11-29 10:02:00");
    let changes = found["burst"]["changes"].to_string();
    for part in [
        "shop/s1 is DOWN",
        "shop/s2 is DOWN",
        "shop/s1 answered well for the last time",
    ] {
        assert!(changes.contains(part), "{changes}");
    }
}

#[test]
fn a_hostile_file_neither_hangs_nor_speaks_to_the_terminal() {
    let long = [
        vec![b'"'; 20 << 20],
        vec![b'\\'; 20 << 20],
        vec![b'['; 20 << 20],
        vec![b'{'; 20 << 20],
    ]
    .join(&b'\n');
    let output = why503(&["-"], &long);
    assert_eq!(output.status.code(), Some(0));
    let line = "10.0.0.9:1 [29/Nov/2026:10:02:00.000] web \u{1b}[2Jshop\u{202e}/s1 0/-1/-1/-1/0 503 217 - - SC-- 1/1/0/0/0 0/0 \"GET /\u{1b}]0;x\u{7}\u{9b}31m HTTP/1.1\"\n";
    for arguments in [&["-"][..], &["--json", "-"]] {
        let output = why503(arguments, line.as_bytes());
        assert_eq!(output.status.code(), Some(10));
        let text = String::from_utf8(output.stdout).expect("output is UTF-8");
        let bad = |it: char| (it.is_control() && it != '\n') || it == '\u{202e}';
        assert!(!text.contains(bad), "{text:?}");
        assert!(
            text.contains("\\u{202e}") || text.contains("\\\\u{202e}"),
            "{text}"
        );
    }
}

#[test]
fn several_files_are_one_story() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str| -> PathBuf {
        let path = dir.path().join(name);
        fs::write(&path, recorded(name)).expect("it can be written");
        path
    };
    let paths = [write("nginx-main"), write("nginx-error")];
    let paths: Vec<_> = paths.iter().filter_map(|it| it.to_str()).collect();
    let found = json(&why503(&[&["--json"], &paths[..]].concat(), b""));
    assert_eq!(found["files"].as_array().map(Vec::len), Some(2));
    let dns = found["causes"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|it| it["id"] == "dns.fail");
    assert_eq!(dns.map(|it| &it["count"]), Some(&Value::from(2)));
}

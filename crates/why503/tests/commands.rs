//! What else the command does: bundles, lists, watches, explains itself.

#![allow(
    clippy::disallowed_methods,
    reason = "servers beside the test take real time"
)]

mod support;

use std::{sync::Mutex, time::Instant};

use support::{Server, answer, command, json, verdict, why503};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it is text")
}

#[test]
fn a_bundle_is_diagnosed_elsewhere_and_holds_no_secret() {
    let server = Server::answering(|_| {
        answer(
            "503 Service Unavailable",
            &[
                "why-503: cause=draining, id=\"a\"",
                "server: postgres://u:geheim@db/x",
            ],
            "password=geheim",
        )
    });
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("bundle.json");
    let file = file.to_str().expect("it is text");
    let url = server.url().replace("http://", "http://user:geheim@") + "?token=geheim";
    let output = why503(&[
        "-n",
        "2",
        "--bundle",
        file,
        "-H",
        "authorization: geheim",
        "--token",
        "geheim",
        &url,
    ]);
    assert_eq!(output.status.code(), Some(10), "{output:?}");
    let bundle = std::fs::read_to_string(file).expect("it was written");
    for (where_, text) in [
        ("bundle", bundle),
        ("output", text(&output.stdout)),
        ("errors", text(&output.stderr)),
    ] {
        assert!(!text.contains("geheim"), "{where_}: {text}");
    }
    assert!(text(&output.stderr).contains("redacted"), "{output:?}");
    let (code, report) = json(&["--offline", file]);
    assert_eq!((code, verdict(&report)), (10, "app.draining"));
}

#[test]
fn a_bundle_that_is_none_is_refused_with_a_reason() {
    let dir = tempfile::tempdir().expect("a directory");
    for (content, why) in [
        ("{}", "no bundle"),
        ("\u{1b}[2J", "no bundle"),
        (
            "{\"format\":\"x\",\"version\":\"\",\"taken_at\":\"\",\"target\":\"\",\"redacted\":[],\"evidence\":{}}",
            "its format is `x`",
        ),
    ] {
        let file = dir.path().join("bundle.json");
        std::fs::write(&file, content).expect("written");
        let output = why503(&["--offline", file.to_str().expect("it is text")]);
        assert_eq!(output.status.code(), Some(64));
        assert!(text(&output.stderr).contains(why), "{output:?}");
    }
}

#[test]
fn without_arguments_each_service_gets_a_line_and_one_request() {
    let well = Server::answering(|_| answer("200 OK", &[], "hello"));
    let ill =
        Server::answering(|_| answer("503 Service Unavailable", &["why-503: cause=draining"], ""));
    let output = why503(&["--json", "-H", "x-mine: list"]);
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let of = |server: &Server| {
        let all = list["services"].as_array().expect("a list");
        all.iter()
            .find(|it| it["url"] == server.url())
            .cloned()
            .unwrap_or_default()
    };
    assert_eq!(of(&well)["status"], 200, "{list:#}");
    assert_eq!(of(&ill)["id"], "app.draining", "{list:#}");
    assert_eq!(output.status.code(), Some(10));
    for server in [&well, &ill] {
        assert_eq!(server.asked_with("x-mine: list"), ["/"]);
    }
}

#[test]
fn watching_asks_once_a_second_and_explains_the_failure() {
    let begin = Instant::now();
    let moments = Mutex::new(Vec::new());
    let server = Server::answering(move |_| {
        let mut moments = moments.lock().expect("no test panics in here");
        moments.push(begin.elapsed());
        if moments.len() < 3 {
            answer("200 OK", &[], "hello")
        } else {
            answer(
                "503 Service Unavailable",
                &["why-503: cause=maintenance"],
                "",
            )
        }
    });
    let (code, report) = json(&["--watch", "-n", "3", &server.url()]);
    assert_eq!(
        (code, verdict(&report)),
        (10, "app.maintenance"),
        "{report:#}"
    );
    // Two that were well, then at most three.
    assert!(server.asked().len() <= 5, "{:?}", server.asked());
}

#[test]
fn colour_is_for_terminals_and_for_those_who_ask() {
    let server = Server::answering(|_| answer("200 OK", &[], "hello"));
    let url = server.url();
    for (arguments, variable, coloured) in [
        (&["-n", "1", url.as_str()][..], None, false),
        (&["-n", "1", "--color", "always", url.as_str()], None, true),
        (&["-n", "1", "--color", "never", url.as_str()], None, false),
        (&["-n", "1", url.as_str()], Some("NO_COLOR"), false),
    ] {
        let mut command = command(arguments);
        if let Some(name) = variable {
            command.env(name, "1");
        }
        let output = command.output().expect("it runs");
        assert_eq!(
            text(&output.stdout).contains('\u{1b}'),
            coloured,
            "{arguments:?}"
        );
        assert!(
            output.stderr.is_empty(),
            "no progress without a terminal: {output:?}"
        );
    }
}

#[test]
fn lines_are_as_wide_as_they_may_be() {
    let server =
        Server::answering(|_| answer("503 Service Unavailable", &["why-503: cause=draining"], ""));
    let output = command(&[&server.url()])
        .env("COLUMNS", "60")
        .output()
        .expect("it runs");
    let printed = text(&output.stdout);
    // Commands are printed whole, to be copied.
    let wide: Vec<_> = printed
        .lines()
        .filter(|it| !it.contains("$ ") && it.chars().count() > 60)
        .collect();
    assert!(wide.is_empty(), "{wide:#?}");
}

#[test]
fn the_knowledge_base_is_printed() {
    let row = why503(&["explain", "pg.exhausted"]);
    assert_eq!(row.status.code(), Some(0));
    assert!(text(&row.stdout).contains("53300"));
    let all = text(&why503(&["runbook"]).stdout);
    assert!(all.contains("pg.exhausted") && all.contains("app.hung") && all.lines().count() > 500);
    let none = why503(&["explain", "pg.exhaust"]);
    assert_eq!(none.status.code(), Some(64));
    assert!(text(&none.stderr).contains("pg.exhausted"), "{none:?}");
}

#[test]
fn the_manual_and_the_completions_are_printed() {
    let man = text(&why503(&["man"]).stdout);
    assert!(man.contains(".TH why503") && man.contains("haproxy\\-socket"));
    for shell in ["bash", "zsh", "fish"] {
        let output = why503(&["completions", shell]);
        assert!(
            output.status.success() && text(&output.stdout).contains("why503"),
            "{shell}"
        );
    }
}

#[test]
fn wrong_usage_says_what_is_right() {
    for (arguments, says) in [
        (&["ftp://a"][..], "try `http://"),
        (&["--pid", "x", "http://a"], "--pid"),
        (&["-n", "99", "http://a"], "1..=50"),
        (&["--nonsense"], "--nonsense"),
    ] {
        let output = why503(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(text(&output.stderr).contains(says), "{output:?}");
    }
    assert_eq!(why503(&["--help"]).status.code(), Some(0));
}

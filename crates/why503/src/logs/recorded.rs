//! Lines that the real proxies wrote while each fault was made on purpose, with the truth beside
//! them: what is said of a line never contradicts it.
//!
//! `tests/logs/NAME.log` has a line of the truth's id, a tab and the line as it was written; `-`
//! for a line that is about no failure of a known cause. Each fault has a path of its own.

use std::{collections::HashMap, path::Path};

use super::{
    cause::Cause,
    tally::{Scope, Sheet, Tally},
};

struct Recorded {
    /// The lines as they were written.
    text: Vec<u8>,
    /// Route to truth.
    truth: HashMap<String, String>,
    /// Lines with a truth.
    lines: u64,
}

fn recorded(name: &str) -> Recorded {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/logs/{name}.log"));
    let all = std::fs::read_to_string(&path).expect("it is in the repository");
    let mut recorded = Recorded {
        text: Vec::new(),
        truth: HashMap::new(),
        lines: 0,
    };
    for line in all.lines() {
        let (truth, line) = line.split_once('\t').expect("the truth stands in front");
        recorded.text.extend_from_slice(line.as_bytes());
        recorded.text.push(b'\n');
        if truth != "-" {
            let from = line.find("/c").expect("each fault has a path");
            let case = &line[from..from + 4];
            recorded.truth.insert(case.to_owned(), truth.to_owned());
            recorded.lines += 1;
        }
    }
    recorded
}

/// Reads the files in chunks of a few lines, as large files are.
fn counted(files: &[Recorded]) -> Tally {
    let mut tally = Tally::default();
    for file in files {
        let lines: Vec<_> = file.text.split_inclusive(|it| *it == b'\n').collect();
        for chunk in lines.chunks(7) {
            tally.merge(Tally::of(&chunk.concat(), Scope::default()));
        }
    }
    tally.finish();
    tally
}

/// Asserts that nothing contradicts the truth; returns how many lines are decided, left open
/// between causes of which the truth is one, and not spoken of.
fn judge(sheet: &Sheet, truth: &HashMap<String, String>) -> [u64; 3] {
    let mut counts = [0; 3];
    for ((route, why), row) in sheet.routes.sorted() {
        let route = String::from_utf8(route.into_vec()).expect("routes here are UTF-8");
        let case = route.find("/c").map(|at| &route[at..at + 4]);
        let truth = case.and_then(|case| truth.get(case)).map(String::as_str);
        let at = match (why, truth) {
            (None, _) => 2,
            (Some(why), Some(truth)) if why.id() == truth && why.or().is_empty() => 0,
            (Some(why), Some(truth)) if why.id() == truth || why.or().contains(&truth) => 1,
            (Some(why), truth) => panic!("{route}: {} was said, and {truth:?} is true", why.id()),
        };
        counts[at] += row.count;
    }
    counts
}

fn check(names: &[&str], [decided, open, unspoken]: [u64; 3]) {
    let files: Vec<Recorded> = names.iter().map(|name| recorded(name)).collect();
    let tally = counted(&files);
    assert_eq!(tally.unread, 0, "{names:?}");
    let alone = tally.requests == 0;
    let sheet = if alone {
        &tally.complained
    } else {
        &tally.answered
    };
    let truth = files.iter().flat_map(|it| it.truth.clone()).collect();
    let found = judge(sheet, &truth);
    assert_eq!(found, [decided, open, unspoken], "{names:?}");
    if let ([file], false) = (&*files, alone)
        && unspoken == 0
    {
        assert_eq!(found.iter().sum::<u64>(), file.lines, "{names:?}");
    }
}

#[test]
fn haproxy_is_never_contradicted() {
    // An empty backend is left open: its line is the one of a backend that is down.
    for name in ["haproxy", "haproxy-rfc3164", "haproxy-rfc5424"] {
        check(&[name], [31, 2, 0]);
    }
}

#[test]
fn nginx_is_never_contradicted() {
    // `resolve`, `close` and `bad` are less than certain without the error log.
    check(&["nginx-main"], [25, 6, 0]);
    check(&["nginx-json"], [25, 6, 0]);
    check(&["nginx-ups"], [2, 29, 0]);
    check(&["nginx-ingress"], [5, 26, 0]);
    check(&["nginx-combined"], [0, 25, 6]);
    check(&["nginx-error"], [24, 0, 0]);
}

#[test]
fn the_error_log_says_what_the_access_log_leaves_open() {
    check(&["nginx-main", "nginx-error"], [31, 0, 0]);
    check(&["nginx-error", "nginx-main"], [31, 0, 0]);
    check(&["nginx-combined", "nginx-error"], [23, 2, 6]);
    check(&["caddy", "caddy-error"], [22, 0, 0]);
    check(&["caddy-error", "caddy"], [22, 0, 0]);
    check(&["apache", "apache-error"], [6, 0, 14]);
}

#[test]
fn envoy_is_never_contradicted() {
    check(&["envoy"], [30, 0, 0]);
    check(&["envoy-json"], [30, 0, 0]);
}

#[test]
fn traefik_caddy_and_apache_are_never_contradicted() {
    // Traefik writes the same for a server that refuses and for one that hangs up.
    check(&["traefik"], [14, 4, 0]);
    check(&["traefik-json"], [14, 4, 0]);
    check(&["caddy"], [10, 12, 0]);
    check(&["caddy-error"], [14, 0, 0]);
    check(&["apache"], [0, 0, 20]);
}

#[test]
fn apache_complains_without_a_path() {
    let tally = counted(&[recorded("apache-error")]);
    let count = |cause| tally.complained.causes.get(&Some(cause)).copied();
    assert_eq!(count(Cause::ApacheWorker), Some(6));
    assert_eq!(count(Cause::UpstreamSlow), Some(2));
    assert_eq!(count(Cause::UpstreamDown), Some(2));
    assert_eq!(count(Cause::NotHttp), Some(2));
}

#[test]
fn every_id_is_in_the_knowledge_base() {
    for cause in Cause::ALL {
        for id in [cause.id()].iter().chain(cause.or()) {
            assert!(steadfast_diagnosis::Id::parse(id).is_some(), "{id}");
        }
    }
}

#[test]
fn formats_without_a_server_here_are_read_by_their_documentation() {
    let lines: &[(&str, Option<&str>)] = &[
        (
            r#"http 2026-11-29T08:35:47.186641Z app/lb/50dc6c495c0c9188 192.0.2.1:2817 - -1 -1 -1 503 - 34 366 "GET http://shop.test:80/ HTTP/1.1" "curl/8.5.0" - - - "Root=1" "-" "-" 0 2026-11-29T08:35:47.1Z "forward" "-" "-" "-" "-" "-" "-""#,
            Some("alb.no_targets"),
        ),
        (
            r#"https 2026-11-29T08:35:47.186641Z app/lb/50dc6c495c0c9188 192.0.2.1:2817 10.0.0.1:80 0.000 -1 -1 502 - 34 366 "GET https://shop.test:443/ HTTP/1.1" "curl/8.5.0" - - - "Root=1""#,
            Some("alb.target"),
        ),
        (
            r#"h2 2026-11-29T08:35:47.186641Z app/lb/50dc6c495c0c9188 192.0.2.1:2817 10.0.0.1:80 0.000 0.001 0.000 503 503 34 366 "GET https://shop.test:443/ HTTP/2.0" "curl/8.5.0" - - - "Root=1""#,
            Some("proxy.passthrough"),
        ),
        (
            r#"[2026-11-29T08:36:07.994Z] "GET /a HTTP/1.1" 503 UH no_healthy_upstream - "-" 0 19 0 - "-" "curl" "id" "shop" "-" - - 10.0.0.1:80 10.0.0.2:1 - default"#,
            Some("envoy.UH"),
        ),
        (
            r#"[2026-11-29T08:36:07.994Z] "GET /a HTTP/1.1" 503 - via_upstream - "-" 0 19 1 1 "-" "curl" "id" "shop" "10.0.0.3:80" outbound|80||shop - - - - default"#,
            Some("proxy.passthrough"),
        ),
        (
            r#"{"timestamp":"2026-11-29T08:35:47Z","status":503,"path":"/a","method":"GET","why_503":"cause=overloaded;rule=limit, id=\"1\""}"#,
            Some("app.shed"),
        ),
        (r#"{"time":1795941347,"status":"503","path":"/a"}"#, None),
        (
            r#"{"time":1795941347,"status":200,"cause":"overloaded"}"#,
            None,
        ),
    ];
    for (line, truth) in lines {
        let tally = counted(&[Recorded {
            text: format!("{line}\n").into_bytes(),
            truth: HashMap::new(),
            lines: 0,
        }]);
        assert_eq!(tally.unread, 0, "{line}");
        let why = tally.answered.causes.keys().flatten().next();
        assert_eq!(why.map(|it| it.id()), *truth, "{line}");
    }
}

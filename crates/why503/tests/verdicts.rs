//! What the doctor says of servers whose trouble is known: first finding and exit code.

#![allow(
    clippy::disallowed_methods,
    reason = "servers beside the test take real time"
)]

mod support;

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixListener,
    process::{Child, Command, Stdio},
    thread,
};

use serde_json::Value;
use support::{Server, answer, head, json, verdict, why503};

/// The first finding, its confidence and the exit code.
fn said(report: &(i32, Value)) -> (i32, &str, &str) {
    let (code, document) = report;
    let sure = document["verdict"]["confidence"].as_str().unwrap_or("-");
    (*code, verdict(document), sure)
}

fn not_checked(document: &Value) -> Vec<&str> {
    let all = document["not_checked"].as_array().expect("a list");
    all.iter().filter_map(|it| it["id"].as_str()).collect()
}

#[test]
fn a_healthy_service_is_accused_of_nothing() {
    let server = Server::answering(|path| match path {
        "/" => answer("200 OK", &["server: shop"], "hello"),
        _ => answer("404 Not Found", &[], "no"),
    });
    let report = json(&[&server.url()]);
    assert_eq!(said(&report), (0, "none", "-"), "{:#}", report.1);
    assert!(server.asked().len() <= 5, "{:?}", server.asked());
}

#[test]
fn nothing_listens() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", free.local_addr().expect("an address"));
    drop(free);
    let report = json(&[&url]);
    assert_eq!(
        said(&report),
        (20, "app.not_listening", "proven"),
        "{:#}",
        report.1
    );
}

#[test]
fn the_library_is_taken_at_its_word() {
    for (header, id) in [
        ("why-503: cause=draining, id=\"0190f5c2\"", "app.draining"),
        ("why-503: cause=starting, id=\"0190f5c2\"", "app.starting"),
        (
            "why-503: cause=maintenance, id=\"0190f5c2\"",
            "app.maintenance",
        ),
        (
            "why-503: cause=overloaded;rule=limit, id=\"0190f5c2\", safe-to-retry",
            "app.shed",
        ),
        (
            "why-503: cause=dependency-down, id=\"0190f5c2\"",
            "app.breaker_open",
        ),
    ] {
        let server = Server::answering(move |path| match path {
            "/" => answer("503 Service Unavailable", &[header], "{}"),
            _ => answer("404 Not Found", &[], ""),
        });
        let report = json(&[&server.url()]);
        let (code, first, _) = said(&report);
        assert_eq!((code, first), (10, id), "{header}: {:#}", report.1);
        let asks_for_token = not_checked(&report.1).contains(&"app.shed");
        assert!(asks_for_token, "{:#}", report.1);
    }
}

#[test]
fn the_operators_page_is_read_with_the_token() {
    let page = r#"{"phase":"ready","findings":[{"id":"pg.hung","confidence":"proven","summary":"orders-db does not answer."}],"incidents":[],"dependencies":[]}"#;
    let refusals = r#"{"refusals":[{"id":"0190f5c2","at":"2026-11-29T09:00:00Z","cause":"dependency-down","rule":null,"source":"orders-db","request":"GET /orders","evidence":{"state":"open"}}]}"#;
    let server = Server::answering(move |path| match path {
        "/" => answer(
            "503 Service Unavailable",
            &["why-503: cause=dependency-down, id=\"0190f5c2\""],
            "{}",
        ),
        "/ready/" => answer("200 OK", &[], "degraded: orders-db\n"),
        "/health/" => answer("200 OK", &[], "{}"),
        "/why503/" => answer("200 OK", &[], page),
        "/why503/0190f5c2" => answer("200 OK", &[], refusals),
        _ => answer("404 Not Found", &[], ""),
    });
    let report = json(&[
        "-n",
        "9",
        "--token",
        "geheim",
        "--explain",
        "0190f5c2",
        &server.url(),
    ]);
    assert_eq!(said(&report), (10, "pg.hung", "proven"), "{:#}", report.1);
    assert_eq!(report.1["refusals"][0]["source"], "orders-db");
    assert!(!report.1.to_string().contains("geheim"));
}

#[test]
fn a_503_that_says_nothing_is_not_explained_away() {
    let server =
        Server::answering(|_| answer("503 Service Unavailable", &["server: gunicorn"], "busy"));
    let report = json(&[&server.url()]);
    assert_eq!(report.0, 12, "{:#}", report.1);
    assert_ne!(said(&report).2, "proven");
}

#[test]
fn a_proxys_page_names_the_proxy_and_no_more() {
    let haproxy = "HTTP/1.0 503 Service Unavailable\r\ncache-control: no-cache\r\nconnection: close\r\ncontent-type: text/html\r\n\r\n<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n</body></html>\n";
    let report = json(&[&Server::saying(haproxy).url()]);
    let (code, id, sure) = said(&report);
    assert!(
        id.starts_with("hap.") && sure != "proven" && [11, 12].contains(&code),
        "{:#}",
        report.1
    );

    let envoy = Server::answering(|_| {
        answer(
            "503 Service Unavailable",
            &["server: envoy", "content-type: text/plain"],
            "no healthy upstream",
        )
    });
    let report = json(&[&envoy.url()]);
    assert_eq!(said(&report).1, "envoy.UH", "{:#}", report.1);
    assert!([10, 11].contains(&report.0));
}

#[test]
fn a_health_path_behind_a_login_is_told_from_a_sick_service() {
    let server = Server::answering(|path| match path {
        "/health" => answer("401 Unauthorized", &["www-authenticate: Basic"], ""),
        _ => answer("200 OK", &[], "hello"),
    });
    let report = json(&[&format!("{}health", server.url())]);
    let (code, id, _) = said(&report);
    assert_eq!((code, id), (13, "app.health_misconfig"), "{:#}", report.1);
}

#[test]
fn only_the_services_own_readiness_accuses_it() {
    let proxys = "HTTP/1.0 503 Service Unavailable\r\ncache-control: no-cache\r\nconnection: close\r\ncontent-type: text/html\r\n\r\n<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n</body></html>\n";
    let own = answer("503 Service Unavailable", &[], "not ready: orders-db\n");
    for (ready, expected) in [
        (proxys.to_owned(), (0, "none")),
        (own, (13, "app.not_ready")),
    ] {
        let server = Server::answering(move |path| match path {
            "/" => answer("200 OK", &[], "hello"),
            "/ready/" => ready.clone(),
            _ => answer("404 Not Found", &[], "no"),
        });
        let report = json(&[&server.url()]);
        assert_eq!((report.0, said(&report).1), expected, "{:#}", report.1);
    }
}

#[test]
fn a_name_that_is_not_there() {
    let report = json(&["http://nothing.invalid/"]);
    assert_eq!(
        (report.0, said(&report).1),
        (20, "dns.fail"),
        "{:#}",
        report.1
    );
}

#[test]
fn a_stopped_process_is_found_by_its_port() {
    let child = Served::start("answer");
    child.signal(rustix::process::Signal::STOP);
    let report = json(&[&child.url]);
    child.signal(rustix::process::Signal::CONT);
    assert_eq!(said(&report), (20, "app.hung", "proven"), "{:#}", report.1);
}

#[test]
fn a_full_accept_queue_is_found_by_its_bound() {
    let child = Served::start("queue");
    // Nobody accepts: two fit, and one more.
    let held: Vec<_> = (0..8).map(|_| connect(&child.url)).collect();
    let report = json(&[&child.url]);
    let ids: Vec<_> = report.1["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| it["id"].clone())
        .collect();
    assert_eq!(report.0, 20, "{:#}", report.1);
    assert!(
        ids.contains(&"host.accept_queue_full".into()),
        "{:#}",
        report.1
    );
    drop(held);
}

#[test]
fn out_of_descriptors_is_found_by_the_limit() {
    let child = Served::start("descriptors");
    let report = json(&[&child.url]);
    let ids: Vec<_> = report.1["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| it["id"].clone())
        .collect();
    assert!(ids.contains(&"host.fd_exhausted".into()), "{:#}", report.1);
}

#[test]
fn unix_sockets_and_ipv6_are_asked_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("app.sock");
    let listener = UnixListener::bind(&path).expect("it listens");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            head(&mut stream);
            let _ = stream.write_all(answer("200 OK", &[], "hello").as_bytes());
        }
    });
    let report = json(&["-n", "1", &format!("unix:{}", path.display())]);
    assert_eq!(report.0, 0, "{:#}", report.1);

    let six = TcpListener::bind("[::1]:0").expect("this host has IPv6");
    let url = format!("http://{}/", six.local_addr().expect("an address"));
    thread::spawn(move || {
        for mut stream in six.incoming().flatten() {
            head(&mut stream);
            let _ = stream.write_all(
                answer("503 Service Unavailable", &["why-503: cause=draining"], "").as_bytes(),
            );
        }
    });
    let report = json(&["-n", "1", &url]);
    assert_eq!(
        (report.0, said(&report).1),
        (10, "app.draining"),
        "{:#}",
        report.1
    );
}

#[test]
fn the_accept_queue_of_a_unix_socket_is_looked_at() {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, connect, listen, socket};
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("app.sock");
    let addr = SocketAddrUnix::new(&path).expect("a short path");
    let new = || socket(AddressFamily::UNIX, SocketType::STREAM, None).expect("a socket");
    let listener = new();
    bind(&listener, &addr).expect("a new file");
    listen(&listener, 1).expect("it listens");
    // Nobody accepts: one fits, and one more.
    let held: Vec<_> = (0..2)
        .map(|_| {
            let stream = new();
            connect(&stream, &addr).expect("there is room");
            stream
        })
        .collect();
    let report = json(&[&format!("unix:{}", path.display())]);
    let (code, id, sure) = said(&report);
    assert_eq!(
        (code, id, sure),
        (20, "host.accept_queue_full", "proven"),
        "{:#}",
        report.1
    );
    drop(held);
}

#[test]
fn exit_zero_changes_the_code_and_nothing_else() {
    let server =
        Server::answering(|_| answer("503 Service Unavailable", &["why-503: cause=draining"], ""));
    let output = why503(&["--exit-zero", "-n", "1", &server.url()]);
    assert_eq!(output.status.code(), Some(0));
    let first = String::from_utf8_lossy(&output.stdout)
        .lines()
        .next()
        .map(str::to_owned);
    let first = first.expect("there is a verdict");
    assert!(
        first.starts_with('✗') && first.contains("leaving"),
        "{first}"
    );
}

fn connect(url: &str) -> Option<TcpStream> {
    let addr = url
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .parse()
        .ok()?;
    TcpStream::connect_timeout(&addr, std::time::Duration::from_millis(50)).ok()
}

/// A service that is a process of its own, so that it can be stopped or run out of something.
struct Served {
    child: Child,
    url: String,
}

impl Served {
    fn start(how: &str) -> Self {
        let own = std::env::current_exe().expect("the test has a file");
        let mut child = Command::new(own)
            .args(["--exact", "serve_if_told", "--nocapture"])
            .env("WHY503_TEST_SERVE", how)
            .stdout(Stdio::piped())
            .stdin(Stdio::piped())
            .spawn()
            .expect("the service starts");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let url = lines.map_while(Result::ok).find_map(|it| {
            let at = it.find("http://")?;
            Some(it[at..].to_owned())
        });
        Self {
            child,
            url: url.expect("it says where it listens"),
        }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it is ours");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// No test: what `Served` runs.
#[test]
fn serve_if_told() {
    let Ok(how) = std::env::var("WHY503_TEST_SERVE") else {
        return;
    };
    let listener = if how == "queue" {
        use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        bind(&socket, &std::net::SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
        listen(&socket, 2).expect("it listens");
        TcpListener::from(socket)
    } else {
        TcpListener::bind("127.0.0.1:0").expect("a port")
    };
    println!("http://{}/", listener.local_addr().expect("an address"));
    let mut line = String::new();
    match how.as_str() {
        "queue" => {
            // Until the test ends.
            let _ = std::io::stdin().read_line(&mut line);
        }
        "descriptors" => {
            use rustix::process::{Resource, Rlimit, setrlimit};
            let limit = Rlimit {
                current: Some(24),
                maximum: Some(24),
            };
            setrlimit(Resource::Nofile, limit).expect("less is always allowed");
            let held: Vec<_> =
                std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
            let _ = std::io::stdin().read_line(&mut line);
            drop(held);
        }
        _ => {
            for mut stream in listener.incoming().flatten() {
                head(&mut stream);
                let _ = stream.write_all(answer("200 OK", &[], "hello").as_bytes());
            }
        }
    }
}

#[test]
fn a_service_of_which_no_path_is_named_needs_no_page() {
    let server = Server::answering(|path| match path {
        "/ready/" => answer("200 OK", &[], "ready\n"),
        _ => answer("404 Not Found", &[], "no"),
    });
    let unnamed = server.url().trim_end_matches('/').to_owned();
    let (code, report) = json(&[&unnamed]);
    assert_eq!((code, &report["findings"]), (0, &serde_json::json!([])));
    let not_checked = report["not_checked"].as_array().expect("a list");
    let hint = not_checked.iter().find(|it| it["id"] == "app.wrong_path");
    let remedy = hint.and_then(|it| it["remedy"].as_str());
    assert!(
        remedy.is_some_and(|it| it.ends_with("/orders")),
        "{report:#}"
    );
    assert!(server.asked().contains(&"/ready/".to_owned()));
    let named = json(&[&server.url()]);
    assert_eq!(
        (named.0, said(&named).1),
        (13, "app.wrong_path"),
        "{:#}",
        named.1
    );
}

#[test]
fn a_path_that_is_not_there_is_told_from_a_service_that_is_not() {
    let server = Server::answering(|path| match path {
        "/" => answer("200 OK", &[], "hello"),
        _ => answer("404 Not Found", &[], "no"),
    });
    let report = json(&[&format!("{}orderz", server.url())]);
    assert_eq!(
        (report.0, said(&report).1),
        (13, "app.wrong_path"),
        "{:#}",
        report.1
    );
    assert!(server.asked().contains(&"/".to_owned()));
}

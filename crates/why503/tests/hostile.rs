//! Servers that would hang, flood or fool a doctor. Each run ends by its own bounds.

#![allow(
    clippy::disallowed_methods,
    reason = "servers beside the test take real time"
)]

mod support;

use std::{
    io::Write,
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use support::{Server, head, json, verdict, why503};

/// The least budget, so that the tests are short; the doctor has to keep it all the same.
const SHORT: [&str; 2] = ["--budget", "2"];

fn examine(server: &Server) -> (i32, serde_json::Value) {
    json(&[SHORT[0], SHORT[1], "-n", "2", &server.url()])
}

/// Writes this again and again until nobody reads.
fn flood(mut stream: TcpStream, begin: &[u8], piece: &[u8], pause: Duration) {
    head(&mut stream);
    let mut going = stream.write_all(begin).is_ok();
    while going {
        going = stream.write_all(piece).is_ok();
        thread::sleep(pause);
    }
}

#[test]
fn endless_headers_are_no_http() {
    let server = Server::start(|stream| {
        flood(
            stream,
            b"HTTP/1.1 503 No\r\n",
            b"x-more: and more and more and more\r\n",
            Duration::ZERO,
        );
    });
    let (code, report) = examine(&server);
    assert_eq!(code, 20, "{report:#}");
    assert_eq!(report["probes"][0]["status"], serde_json::Value::Null);
}

#[test]
fn one_endless_header_is_no_http() {
    let server = Server::start(|stream| {
        flood(
            stream,
            b"HTTP/1.1 503 No\r\nx: ",
            &[b'x'; 4096],
            Duration::ZERO,
        )
    });
    assert_eq!(examine(&server).0, 20);
}

#[test]
fn a_head_that_comes_by_the_byte_ends_with_the_wait() {
    let server =
        Server::start(|stream| flood(stream, b"HTTP/1.1 5", b"0", Duration::from_millis(200)));
    assert_eq!(examine(&server).0, 20);
}

#[test]
fn an_endless_body_is_read_in_part() {
    let server = Server::start(|stream| {
        let begin = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 9999999999999\r\n\r\n";
        flood(stream, begin, &[b'x'; 65_536], Duration::ZERO);
    });
    let (code, report) = examine(&server);
    assert_eq!(report["probes"][0]["status"], 503, "{report:#}");
    assert!([11, 12].contains(&code), "{code}");
}

#[test]
fn a_body_that_never_comes_hides_no_status() {
    let server = Server::start(|stream| {
        let begin = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 100\r\n\r\n";
        flood(stream, begin, b"", Duration::from_millis(300));
    });
    let (code, report) = examine(&server);
    assert_eq!(report["probes"][0]["status"], 503, "{report:#}");
    assert!([11, 12].contains(&code), "{code}");
}

#[test]
fn compressed_bytes_are_not_unpacked() {
    // Whatever they unpack to, they are a body that says nothing.
    let mut bytes =
        b"HTTP/1.1 503 No\r\ncontent-encoding: gzip\r\nconnection: close\r\n\r\n".to_vec();
    bytes.extend(
        [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]
            .iter()
            .chain([0xff; 4096].iter()),
    );
    let (_, report) = examine(&Server::saying(bytes));
    assert_eq!(report["probes"][0]["status"], 503);
}

#[test]
fn a_redirect_is_an_answer_and_is_not_followed() {
    let server = Server::answering(|_| support::answer("302 Found", &["location: /"], ""));
    let (_, report) = examine(&server);
    assert_eq!(report["probes"][0]["status"], 302);
    assert!(server.asked().len() <= 2, "{:?}", server.asked());
}

#[test]
fn other_protocols_are_told_apart_from_silence() {
    let greeting = Server::start(|mut stream| {
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
        thread::sleep(Duration::from_secs(3));
    });
    let (code, report) = examine(&greeting);
    assert_eq!(
        (code, &report["probes"][0]["outcome"]),
        (20, &"no HTTP".into()),
        "{report:#}"
    );

    let closing = Server::start(drop);
    let (code, report) = examine(&closing);
    assert_eq!(code, 20);
    assert_eq!(
        report["probes"][0]["outcome"],
        "connected, closed before an answer"
    );

    let plain = Server::start(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        thread::sleep(Duration::from_secs(1));
    });
    let (code, report) = json(&[
        "-n",
        "1",
        "--budget",
        "2",
        &plain.url().replace("http:", "https:"),
    ]);
    assert_eq!(
        (code, &report["probes"][0]["outcome"]),
        (20, &"TLS failed".into()),
        "{report:#}"
    );
}

#[test]
fn silence_ends_within_the_budget() {
    let server = Server::start(|stream| {
        thread::sleep(Duration::from_secs(60));
        drop(stream);
    });
    let begin = Instant::now();
    let (code, report) = examine(&server);
    assert_eq!(code, 20, "{report:#}");
    assert_eq!(
        report["probes"][0]["outcome"],
        "connected, no answer in time"
    );
    // The budget is two seconds; the rest is the machine.
    assert!(
        begin.elapsed() < Duration::from_secs(20),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn what_a_server_writes_cannot_move_the_terminal() {
    let evil = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{202e}txet\u{200f}";
    let server = Server::saying(format!(
        "HTTP/1.1 503 {evil}\r\nserver: {evil}\r\nwhy-503: cause=draining, id=\"{evil}\"\r\n\
         x-varnish: 1\r\ncontent-length: {}\r\n\r\n{evil}",
        evil.len()
    ));
    for arguments in [&["--color", "never"][..], &["--json"]] {
        let url = server.url();
        let all: Vec<&str> = arguments
            .iter()
            .chain(&SHORT)
            .copied()
            .chain(["-n", "2", url.as_str()])
            .collect();
        let output = why503(&all);
        for stream in [&output.stdout, &output.stderr] {
            let text = String::from_utf8(stream.clone()).expect("it is text");
            let evil = text
                .chars()
                .find(|c| (c.is_control() && *c != '\n') || ('\u{200b}'..='\u{202e}').contains(c));
            assert_eq!(evil, None, "{text:?}");
        }
    }
}

#[test]
fn no_more_is_asked_than_was_allowed() {
    for allowed in [1, 2, 5] {
        let server = Server::answering(|path| match path {
            "/ready/" => support::answer("503 Service Unavailable", &[], "not ready: draining\n"),
            _ => support::answer(
                "503 Service Unavailable",
                &["why-503: cause=draining, id=\"a\""],
                "",
            ),
        });
        let count = allowed.to_string();
        let (code, report) = json(&[
            "-n",
            &count,
            "--token",
            "t",
            "--explain",
            "a",
            &server.url(),
        ]);
        assert!(
            server.asked().len() <= allowed,
            "{allowed}: {:?}",
            server.asked()
        );
        assert_eq!(report["probes"][0]["status"], 503);
        assert_ne!(code, 0);
        let _ = verdict(&report);
    }
}

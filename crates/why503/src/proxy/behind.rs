//! What a proxy relies on, tried at a server behind it: whether the path of its check answers what
//! the check expects, and how long a connection that nobody uses is kept.

use std::{net::SocketAddr, time::Duration};

use steadfast_diagnosis::{Observation, Path, Proxy, Text, Tied, Via, Wire};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout_at,
};

use super::host_header;
use crate::{
    clock,
    collect::{Collected, Job, SAMPLE_GAP},
    probe::{Question, ask},
};

/// Longest answer that is read before a connection is held.
const ANSWER_MAX: usize = 256 * 1024;

/// So much earlier than everything else it gives up.
const BEFORE_THE_END: Duration = Duration::from_millis(300);

/// The path of the check that was read, asked at the first server.
pub(super) async fn check(job: &Job<'_>, seen: &Collected, servers: &[SocketAddr]) -> Collected {
    let mut found = Collected::new();
    let paths = seen.facts().iter().filter_map(|fact| match &fact.seen {
        Observation::Proxy(Proxy::CheckPath { path, .. }) => Some((path, &fact.tied)),
        _ => None,
    });
    let Some(((path, tied), server)) = paths.zip(servers).next() else {
        return found;
    };
    if !path.as_str().starts_with('/') || !job.ration.take() {
        return found;
    }
    let mut target = job.target.at(path.as_str());
    target.tls = false;
    let question = Question {
        target: &target,
        via: Via::Direct,
        path: Path::Health,
        headers: &[],
        http: job.options.http,
        address: Some(*server),
        wait: job.within(super::ANSWER_WAIT),
    };
    let probe = ask(&question, job.since).await;
    if let Some(status) = probe.status() {
        let source = format!("GET http://{server}{path}");
        let path = Text::new(path.as_str());
        found.saw(&source, tied.clone(), Wire::HealthCheck { path, status });
    }
    found
}

/// How long the first server keeps an idle connection, if a proxy that keeps some is known.
///
/// It waits no longer than everything else does, unless it was asked for.
pub(super) async fn hold(job: &Job<'_>, seen: &Collected, servers: &[SocketAddr]) -> Collected {
    let mut found = Collected::new();
    let keeps = |it: &Observation| matches!(it, Observation::Proxy(Proxy::KeepAlive { .. }));
    let is_kept = seen.facts().iter().any(|it| keeps(&it.seen));
    let Some(server) = servers.first().filter(|_| is_kept) else {
        return found;
    };
    if !job.ration.take() {
        return found;
    }
    let most = if job.options.keep_alive {
        job.options.budget
    } else {
        SAMPLE_GAP
    };
    let until = clock::now() + job.within(most).saturating_sub(BEFORE_THE_END);
    let path = job.target.path.as_str();
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: {}\r\nuser-agent: why503\r\naccept: */*\r\n\r\n",
        host_header(job)
    );
    if let Ok(Some(idle)) = timeout_at(until, closed_after(*server, &head)).await {
        let source = format!("an idle connection to {server}");
        found.saw(&source, Tied::Port(server.port()), Wire::KeepAlive { idle });
    }
    found
}

/// From the last byte of an answer to the end of the connection; `None` where the answer itself
/// announces that end, or needs it.
async fn closed_after(server: SocketAddr, head: &str) -> Option<Duration> {
    let mut stream = TcpStream::connect(server).await.ok()?;
    stream.write_all(head.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    let mut last = clock::now();
    let mut bytes = vec![0; 16 * 1024];
    loop {
        match stream.read(&mut bytes).await.ok()? {
            0 => break,
            read if answer.len() + read > ANSWER_MAX => return None,
            read => answer.extend_from_slice(&bytes[..read]),
        }
        last = clock::now();
    }
    let idle = clock::now().saturating_duration_since(last);
    is_kept(&String::from_utf8_lossy(&answer)).then_some(idle)
}

/// Whether after this answer the connection might be used again.
fn is_kept(answer: &str) -> bool {
    let head = answer.split("\r\n\r\n").next().unwrap_or("");
    let head = head.to_ascii_lowercase();
    let says = |name: &str, word: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(':'));
        lines.any(|(it, value)| it == name && value.contains(word))
    };
    let ends = says("content-length", "") || says("transfer-encoding", "chunked");
    head.starts_with("http/1.1") && ends && !says("connection", "close")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_ends_its_connection_measures_nothing() {
        for (answer, kept) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: Close\r\n\r\nok",
                false,
            ),
            ("HTTP/1.1 200 OK\r\n\r\nconnection: x", false),
            ("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", false),
            ("", false),
        ] {
            assert_eq!(is_kept(answer), kept, "{answer}");
        }
    }
}

//! The commands that the runbook gives, and what each of them amounts to for a reader who does
//! what the page says: look at the exit code, at *refused* and *timed out*, at the load, at a full
//! queue.

use std::{fs, process::Command};

use crate::stage::Stage;

/// Names the first thing that one of them finds.
pub(crate) fn ask(stage: &Stage) -> Option<&'static str> {
    postgres(stage)
        .or_else(|| redis(stage))
        .or_else(|| queue(stage))
        .or_else(|| curl(stage))
        .or_else(load)
}

/// `pg_isready`: 0 accepting, 1 rejecting, 2 no answer.
fn postgres(stage: &Stage) -> Option<&'static str> {
    let port = stage.postgres?.to_string();
    let status = Command::new("pg_isready")
        .args(["-h", "127.0.0.1", "-p", &port, "-t", "3"])
        .output()
        .ok()?
        .status;
    match status.code() {
        Some(1) => Some("pg.starting"),
        Some(2) => Some("pg.down"),
        _ => None,
    }
}

/// `redis-cli ping`, by its exit code.
fn redis(stage: &Stage) -> Option<&'static str> {
    let port = stage.redis?.to_string();
    let status = Command::new("timeout")
        .args(["3", "redis-cli", "-p", &port, "ping"])
        .output()
        .ok()?
        .status;
    (!status.success()).then_some("redis.down")
}

/// `ss -ltn`: more in the queue than there is room for.
fn queue(stage: &Stage) -> Option<&'static str> {
    let port = stage.url.split(':').nth(2)?.split('/').next()?;
    let output = Command::new("ss")
        .args(["-ltnH", "sport", "=", port])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let full = text.lines().any(|line| {
        let mut fields = line
            .split_whitespace()
            .skip(1)
            .map(|it| it.parse().unwrap_or(0_u32));
        fields.next() > fields.next()
    });
    full.then_some("host.accept_queue_full")
}

/// `curl -v`: refused, timed out, no name, or a body that says who made the answer.
fn curl(stage: &Stage) -> Option<&'static str> {
    let output = Command::new("curl")
        .args(["-s", "-S", "-v", "-m", "5", &stage.url])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).to_lowercase();
    match output.status.code() {
        Some(6) => Some("dns.fail"),
        Some(7) => Some("app.not_listening"),
        Some(28) => Some("app.hung"),
        Some(1 | 52 | 56) => Some("app.not_http"),
        _ if text.contains(" 503 ") && text.contains("no server is available to handle") => {
            Some("hap.all_down")
        }
        _ if text.contains(" 503 ") && text.contains("no available server") => {
            Some("traefik.no_server")
        }
        _ if text.contains(" 503 ") && text.contains("no healthy upstream") => Some("envoy.UH"),
        _ if text.contains("http/1.1 404") => Some("app.wrong_path"),
        _ => None,
    }
}

/// The load average, held against twice the processors.
fn load() -> Option<&'static str> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    let load: f64 = text.split(' ').next()?.parse().ok()?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (load > 2.0 * f64::from(u32::try_from(processors).unwrap_or(1))).then_some("host.cpu_saturated")
}

//! `cargo xtask bench logs`: how long `why503 logs` takes for a log of a given size, and how much
//! memory, beside `halog` of HAProxy for the same file.
//!
//! The file is made of lines as HAProxy writes them: ten thousand requests a second, of which one
//! in fifty fails in one of five ways. Both read it from the page cache.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::ROLE;

/// Runs it: `[--size 1G] [--json]`.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let (mut size, mut as_json) = (1 << 30, false);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--json" => as_json = true,
            "--help" | "-h" => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            "--size" => {
                let given = rest.next().map_or("nothing", String::as_str);
                match bytes(given) {
                    Some(wanted) => size = wanted,
                    None => {
                        return usage(&format!(
                            "--size needs a number of bytes, of M or of G, found `{given}`"
                        ));
                    }
                }
            }
            other => return usage(&format!("unknown option `{other}`")),
        }
    }
    let dir = tempfile::tempdir().expect("there is room for a temporary directory");
    let file = dir.path().join("haproxy.log");
    let made = make(&file, size).expect("there is room for the log");
    let me = std::env::current_exe().expect("this program has a path");
    let mut ours = Command::new(me);
    ours.arg0("why503")
        .env(ROLE, "doctor")
        .args(["logs", "--json"])
        .arg(&file);
    let ours = timed(&mut ours);
    let report: serde_json::Value = serde_json::from_slice(&ours.said).unwrap_or_default();
    let right = report["failed"]["total"] == made.failed && report["lines"]["total"] == made.lines;
    // Termination codes: what comes nearest to a cause.
    let mut theirs = Command::new("halog");
    theirs
        .arg("-tc")
        .stdin(File::open(&file).expect("it was just written"));
    let theirs = Path::new("/usr/sbin/halog")
        .exists()
        .then(|| timed(&mut theirs));
    let seconds = |it: &Timed| it.took.as_secs_f64();
    if as_json {
        println!(
            "{}",
            json!({
                "bench": "logs",
                "bytes": made.bytes,
                "lines": made.lines,
                "failed": made.failed,
                "why503_seconds": seconds(&ours),
                "why503_peak_bytes": ours.peak,
                "halog_seconds": theirs.as_ref().map(seconds),
                "halog_peak_bytes": theirs.as_ref().map(|it| it.peak),
                "pass": right,
            })
        );
    } else {
        println!(
            "{} MB, {} lines, {} failed",
            made.bytes >> 20,
            made.lines,
            made.failed
        );
        let row = |name: &str, it: &Timed| {
            println!(
                "{name:<14}{:>7.2} s{:>8.0} MB/s{:>8} MB at most",
                seconds(it),
                rate(made.bytes, it.took),
                it.peak >> 20
            );
        };
        row("why503 logs", &ours);
        match &theirs {
            Some(theirs) => row("halog -tc", theirs),
            None => println!("halog is not installed"),
        }
        println!(
            "every failure was counted: {}",
            if right { "yes" } else { "NO" }
        );
    }
    ExitCode::from(u8::from(!right))
}

fn usage(fault: &str) -> ExitCode {
    eprintln!("{fault}\n{USAGE}");
    ExitCode::from(64)
}

fn bytes(text: &str) -> Option<u64> {
    let shift = match text.chars().last()? {
        'M' => 20,
        'G' => 30,
        _ => 0,
    };
    let digits = text.trim_end_matches(['M', 'G']);
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / took.as_secs_f64() / 1e6
}

struct Made {
    bytes: u64,
    lines: u64,
    failed: u64,
}

const FAILURES: [&str; 5] = [
    "shop/<NOSRV> 0/-1/-1/-1/0 503 217 - - SC--",
    "shop/s2 0/0/-1/-1/3001 503 217 - - sC--",
    "shop/<NOSRV> 0/5000/-1/-1/5000 503 217 - - sQ--",
    "shop/s1 0/0/1/-1/30001 504 198 - - sH--",
    "shop/s3 0/0/0/4/4 503 65 - - ----",
];

fn make(path: &Path, size: u64) -> io::Result<Made> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut made = Made {
        bytes: 0,
        lines: 0,
        failed: 0,
    };
    let mut line = Vec::with_capacity(256);
    while made.bytes < size {
        let number = made.lines;
        let second = number / 10_000;
        let fails = number % 50 == 49;
        let failure = FAILURES[usize::try_from(number / 50 % 5).unwrap_or(0)];
        line.clear();
        write!(
            line,
            "Nov 29 {0:02}:{1:02}:{2:02} lb1 haproxy[812]: 10.0.{3}.{4}:{5} [29/Nov/2026:{0:02}:{1:02}:{2:02}.{6:03}] web ",
            10 + second / 3600 % 12,
            second / 60 % 60,
            second % 60,
            number % 7,
            number % 250,
            1024 + number % 60_000,
            number / 10 % 1000,
        )?;
        if fails {
            line.extend_from_slice(failure.as_bytes());
            made.failed += 1;
        } else {
            write!(
                line,
                "shop/s{} 0/0/0/{1}/{1} 200 1532 - - ----",
                number % 4,
                3 + number % 40
            )?;
        }
        writeln!(
            line,
            " 812/790/12/4/0 0/0 \"GET /orders/{number}?page=1 HTTP/1.1\""
        )?;
        out.write_all(&line)?;
        made.bytes += line.len() as u64;
        made.lines += 1;
    }
    out.flush()?;
    Ok(made)
}

struct Timed {
    took: Duration,
    peak: u64,
    said: Vec<u8>,
}

/// Runs a command; its memory is looked at while it runs.
fn timed(command: &mut Command) -> Timed {
    let started = Instant::now();
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .expect("it can be started");
    let pid = child.id();
    let watcher = thread::spawn(move || {
        let mut peak = 0;
        while let Some(now) = high_water(pid) {
            peak = now.max(peak);
            thread::sleep(Duration::from_millis(20));
        }
        peak
    });
    let mut said = Vec::new();
    if let Some(out) = &mut child.stdout {
        let _ = io::Read::read_to_end(out, &mut said);
    }
    let took = started.elapsed();
    let _ = child.wait();
    let peak = watcher.join().unwrap_or(0);
    Timed { took, peak, said }
}

fn high_water(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|it| it.starts_with("VmHWM:"))?;
    line.split_whitespace()
        .nth(1)?
        .parse::<u64>()
        .ok()
        .map(|it| it << 10)
}

const USAGE: &str = "usage: bench logs [--size 1G] [--json]";

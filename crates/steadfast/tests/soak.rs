//! A thousand drains in one process: neither memory nor file descriptors grow.

#![cfg(feature = "axum")]
#![cfg(target_os = "linux")]

mod common;

use std::{fs, time::Duration};

use axum::{Router, routing::get};
use common::{PATIENCE, soon, until};
use steadfast::{Drain, Guard, Phase};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

const DRAINS: usize = 1000;

/// Drains before the first look, so that whatever is made once has been made.
const WARM_UP: usize = 300;

/// What the heap may grow by from then on. One leaked connection for each drain would be
/// three times as much.
const GROWTH_MAX_KIB: u64 = 4 * 1024;

/// One service from its start to its end, with a request that was served, a connection that
/// idles, one that was never used, and one that runs when the drain begins.
async fn live_and_leave() {
    let drain = Drain::default()
        .lame_duck_max(Duration::ZERO)
        .idle_linger(Duration::ZERO)
        .grace(PATIENCE);
    let guard = Guard::builder().without_signals().drain(drain).build();
    let guard = guard.expect("valid");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let slow = || async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        "slow"
    };
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/slow", get(slow));
    let app = guard.protect(app);
    let control = guard.control();
    control.after_drain("nothing", || async {});
    let server = tokio::spawn(async move { guard.serve(listener, app).await });
    let mut idle = TcpStream::connect(address).await.expect("connected");
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
    idle.write_all(request("/").as_bytes()).await.expect("sent");
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");
    let mut running = TcpStream::connect(address).await.expect("connected");
    running
        .write_all(request("/slow").as_bytes())
        .await
        .expect("sent");
    let shedder = control.shedder().clone();
    until("both to be admitted", || shedder.snapshot().admitted == 2).await;
    control.begin_drain("a test");
    let mut rest = Vec::new();
    let answered = tokio::time::timeout(PATIENCE, running.read_to_end(&mut rest));
    let in_time = answered.await;
    let rest = String::from_utf8_lossy(&rest);
    // What is known of it, if it ever waits in vain.
    let stands = || (control.phase(), shedder.snapshot());
    in_time
        .unwrap_or_else(|_| panic!("no end after {rest:?}: {:#?}", stands()))
        .expect("an answer");
    assert!(rest.ends_with("slow"), "{rest:?}");
    drop((running, idle));
    let report = soon("the end", server)
        .await
        .expect("no panic")
        .expect("served");
    assert!(report.is_clean() && !report.forced, "{report}");
    assert_eq!(control.phase(), Some(Phase::Stopped));
}

async fn repeat(times: usize) {
    let mut running = JoinSet::new();
    for _ in 0..times {
        // A few at a time, as the threads of one machine allow.
        if running.len() >= 8 {
            running.join_next().await.expect("some").expect("no panic");
        }
        running.spawn(live_and_leave());
    }
    while let Some(ended) = running.join_next().await {
        ended.expect("no panic");
    }
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").expect("a list").count()
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_drains_leave_nothing_behind() {
    repeat(WARM_UP).await;
    let (files, memory) = (open_files(), resident_kib());
    repeat(DRAINS - WARM_UP).await;
    until("every file to be closed", || open_files() <= files).await;
    let grown = resident_kib().saturating_sub(memory);
    assert!(
        grown <= GROWTH_MAX_KIB,
        "{grown} KiB more than after {WARM_UP}"
    );
}

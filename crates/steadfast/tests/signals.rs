//! What a process manager does to a process of its own, and what it hears: signals, exit
//! status, systemd's notification socket, a limit on open files. Method: this test binary
//! runs itself, and that run serves.

#![cfg(feature = "axum")]
#![cfg(unix)]

mod common;

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use axum::{Router, routing::get};
use common::{PATIENCE, fetch, get as to, until};
use steadfast::{Dependency, Drain, DrainReport, Guard, check};

const SECOND: Duration = Duration::from_secs(1);

/// Files that the child may open in mode `few files`, beside those it has.
#[cfg(target_os = "linux")]
const FILES: u64 = 24;

/// What the child does, by name.
const MODE: &str = "STEADFAST_TEST_CHILD";

/// The child. As a test among the others it has nothing to do.
#[test]
fn child() {
    let Ok(mode) = std::env::var(MODE) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let status = runtime.expect("a runtime").block_on(serve(&mode));
    std::process::exit(status.into());
}

async fn serve(mode: &str) -> u8 {
    let hour = 3600 * SECOND;
    let drain = match mode {
        "quick" | "maintenance" | "broken hook" | "few files" => {
            Drain::default().lame_duck_max(Duration::ZERO)
        }
        "hang" => Drain::default()
            .lame_duck_max(Duration::ZERO)
            .grace(SECOND / 2),
        _ => Drain::default()
            .lame_duck_max(hour)
            .lame_duck_min(hour)
            .grace(hour),
    };
    let mut builder = Guard::builder().drain(drain.hooks(SECOND / 4));
    if mode == "starting" {
        let never = check::closure(std::future::pending);
        let db = Dependency::builder("db")
            .check(never)
            .build()
            .expect("valid");
        builder = builder.dependency(&db);
    }
    let guard = builder.build().expect("valid");
    let control = guard.control();
    match mode {
        "maintenance" => control.begin_maintenance("a test", None),
        #[cfg(target_os = "linux")]
        "few files" => {
            let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
            limit.current = Some(open_files("self") + FILES);
            rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).expect("lower");
        }
        "broken hook" => {
            control.after_drain("panics", || async { panic!("a test") });
            control.after_drain("hangs", std::future::pending);
        }
        _ => {}
    }
    let hang = get(|| async { std::future::pending::<()>().await });
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/hang", hang);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("bound");
    let app = guard.protect(app);
    let told = control.clone();
    tokio::spawn(async move {
        // The signal handlers are there as soon as there is a phase.
        while told.phase().is_none() {
            tokio::task::yield_now().await;
        }
        println!("listening on {address}");
    });
    guard
        .serve(listener, app)
        .await
        .expect("served")
        .exit_status()
}

/// A process that serves; killed if a test forgets it.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(mode: &str) -> Self {
        Self::start_in(mode, &[])
    }

    /// Starts it with more in its environment.
    fn start_in(mode: &str, environment: &[(&str, &str)]) -> Self {
        let itself = std::env::current_exe().expect("this binary");
        let mut child = Command::new(itself)
            .args(["--exact", "child", "--nocapture"])
            .env(MODE, mode)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let address = loop {
            let mut line = String::new();
            assert!(
                output.read_line(&mut line).expect("text") > 0,
                "it ended early"
            );
            if let Some((_, address)) = line.split_once("listening on ") {
                break address.trim().parse().expect("an address");
            }
        };
        std::thread::spawn(move || output.read_to_end(&mut Vec::new()));
        Self { child, address }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(status.success());
    }

    async fn end(&mut self) -> ExitStatus {
        let mut end = None;
        until("its end", || {
            end = self.child.try_wait().expect("a child");
            end.is_some()
        })
        .await;
        end.expect("it has ended")
    }

    async fn readiness(&self) -> String {
        fetch(self.address, to("/ready/")).await.body
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn sigterm_and_sigint_end_an_idle_service_with_status_0() {
    for (mode, signal) in [
        ("quick", "-TERM"),
        ("quick", "-INT"),
        ("maintenance", "-TERM"),
    ] {
        let mut process = Process::start(mode);
        process.signal(signal);
        assert_eq!(process.end().await.code(), Some(0), "{mode} {signal}");
    }
}

#[tokio::test]
async fn a_signal_during_the_start_begins_the_drain_and_a_second_skips_the_lame_duck() {
    for mode in ["starting", "long"] {
        let mut process = Process::start(mode);
        process.signal("-TERM");
        let mut said = String::new();
        while said != "not ready: draining\n" {
            said = process.readiness().await;
        }
        process.signal("-TERM");
        assert_eq!(process.end().await.code(), Some(0), "{mode}");
    }
}

/// Goal: the third signal ends a process at once that two could not, and says so.
#[tokio::test]
async fn the_third_signal_forces_the_end() {
    let mut process = Process::start("long");
    let address = process.address;
    let hanging = tokio::spawn(async move {
        common::Connection::open(address)
            .await
            .ask(to("/hang"))
            .await
    });
    process.signal("-TERM");
    while process.readiness().await != "not ready: draining\n" {}
    process.signal("-TERM");
    // The listener is closed: the second has been taken.
    common::soon("the drain", async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    process.signal("-TERM");
    assert_eq!(process.end().await.code(), Some(143));
    hanging.abort();
}

#[tokio::test]
async fn cut_work_and_a_broken_hook_show_in_the_exit_status() {
    let cut = i32::from(DrainReport::EXIT_CUT);
    let mut process = Process::start("broken hook");
    process.signal("-TERM");
    assert_eq!(process.end().await.code(), Some(cut));

    let mut process = Process::start("hang");
    let address = process.address;
    let mut connection = common::soon("it", common::Connection::open(address)).await;
    let hanging = tokio::spawn(async move { connection.ask(to("/hang")).await });
    // A second request on another connection is answered after the first was admitted.
    assert_eq!(fetch(address, to("/")).await.status, 200);
    tokio::time::timeout(PATIENCE, async {
        while !fetch(address, to("/health/")).await.status.is_success() {}
    })
    .await
    .expect("alive");
    process.signal("-TERM");
    assert_eq!(process.end().await.code(), Some(cut));
    hanging.abort();
}

/// Goal: a process without file descriptors neither ends nor goes deaf: whoever waits in the
/// kernel's queue is served as others leave.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn running_out_of_files_is_outlived() {
    let mut process = Process::start("few files");
    let (address, id) = (process.address, process.child.id().to_string());
    let most = open_files_max(&id);
    let (let_go, _) = tokio::sync::watch::channel(false);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..4 * FILES {
        let mut gone = let_go.subscribe();
        clients.spawn(async move {
            let mut connection = common::Connection::open(address).await;
            let answer = connection.ask(to("/")).await;
            gone.wait_for(|gone| *gone).await.expect("told in the end");
            answer.status
        });
    }
    // One that it was born with may have a number above the limit.
    until("it has no files left", || open_files(&id) >= most).await;
    let_go.send_replace(true);
    while let Some(status) = common::soon("an answer", clients.join_next()).await {
        assert_eq!(status.expect("no panic"), 200);
    }
    process.signal("-TERM");
    assert_eq!(process.end().await.code(), Some(0));
}

/// Goal: a process without file descriptors that leaves serves those who wait in the kernel's
/// queue: idle connections, which hold the descriptors, go first.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_waits_for_a_descriptor_at_the_end_is_served() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut process = Process::start("few files");
    let id = process.child.id().to_string();
    let most = open_files_max(&id);
    let mut clients = Vec::new();
    for _ in 0..4 * FILES {
        let mut stream = tokio::net::TcpStream::connect(process.address)
            .await
            .expect("a connection");
        let request = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";
        stream.write_all(request).await.expect("sent");
        clients.push(stream);
    }
    until("it has no files left", || open_files(&id) >= most).await;
    process.signal("-TERM");
    for stream in &mut clients {
        let mut answer = String::new();
        common::soon("an answer", stream.read_to_string(&mut answer))
            .await
            .expect("an end in order");
        assert!(answer.ends_with("hello"), "{answer:?}");
    }
    drop(clients);
    assert_eq!(process.end().await.code(), Some(0));
}

#[cfg(target_os = "linux")]
fn open_files(process: &str) -> u64 {
    let files = std::fs::read_dir(format!("/proc/{process}/fd")).expect("it lives");
    files.count() as u64
}

/// Returns the limit in force, which is the fourth word of its line.
#[cfg(target_os = "linux")]
fn open_files_max(process: &str) -> u64 {
    let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).expect("it lives");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
    soft.expect("a limit")
}

/// Goal: systemd hears that the service is ready, that its runtime runs, and that it leaves
/// and may take as long as its drain does.
#[cfg(feature = "systemd")]
#[tokio::test]
async fn systemd_hears_ready_watchdog_and_stopping() {
    let directory = std::env::temp_dir().join(format!("steadfast-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let path = directory.join("notify");
    let socket = tokio::net::UnixDatagram::bind(&path).expect("a socket");
    let mut process = Process::start_in(
        "quick",
        &[
            ("NOTIFY_SOCKET", path.to_str().expect("text")),
            ("WATCHDOG_USEC", "200000"),
        ],
    );
    let mut heard = String::new();
    hear(&socket, &mut heard, "READY=1").await;
    hear(&socket, &mut heard, "WATCHDOG=1").await;
    assert!(!heard.contains("STOPPING=1"), "{heard}");
    process.signal("-TERM");
    hear(&socket, &mut heard, "STOPPING=1").await;
    // No lame duck, 15 s of grace, and what hooks and the exit take.
    let extended = heard.split("EXTEND_TIMEOUT_USEC=").nth(1);
    let extended = extended.and_then(|rest| rest.lines().next()?.parse::<u64>().ok());
    assert!(
        extended.is_some_and(|micros| (15_000_000..30_000_000).contains(&micros)),
        "{heard}"
    );
    assert_eq!(process.end().await.code(), Some(0));
    let _ = std::fs::remove_dir_all(&directory);
}

/// Collects what systemd hears until this is among it.
#[cfg(feature = "systemd")]
async fn hear(socket: &tokio::net::UnixDatagram, heard: &mut String, wanted: &str) {
    while !heard.contains(wanted) {
        let mut message = [0; 1024];
        let length = common::soon(wanted, socket.recv(&mut message)).await;
        heard.push_str(&String::from_utf8_lossy(
            &message[..length.expect("a message")],
        ));
        heard.push('\n');
    }
}

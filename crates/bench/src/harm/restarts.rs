//! Two processes behind a balancer without active checks, restarted in turns under load.

use std::{
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, ExitCode, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use steadfast::Guard;
use support::{HaProxy, Nginx, free_port};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    time::{Instant, timeout},
};

use super::{figures::Seen, places::Places};
use crate::stack::{
    Answer, PATIENCE, Side, blocking, load,
    sql::{Routes, postgres},
};

const ROUTES: Routes = &[("/", "SELECT 1")];

/// How large each process's pool may be.
const POOL: u32 = 5;

const RATE_PER_SEC: f64 = 100.0;

/// What passes between one restart and the next.
const BETWEEN: Duration = Duration::from_secs(2);

/// What a process says when it takes connections.
const LISTENING: &str = "listening";

/// What stands before the two.
#[derive(Clone, Copy, Debug)]
pub(super) enum Front {
    Nginx,
    HaProxy,
}

/// How a process ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    Killed,
    /// By SIGTERM.
    Told,
}

/// Restarts one after the other, so often, while requests come.
pub(super) async fn run(
    places: Arc<Places>,
    side: Side,
    front: Front,
    how: How,
    restarts: usize,
) -> Seen {
    let url = places.postgres().await.admin_url();
    let addresses = [free_port(), free_port()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let start = |at: usize| Process::start(side, addresses[at], &url);
    let mut processes = blocking(|| [start(0), start(1)]);
    let (port, standing) = blocking(|| Standing::start(front, &addresses));
    // The first requests of a process are another situation's.
    let _ = load::steadily(20.0, Duration::from_secs(1), move || ask(port)).await;
    let time = BETWEEN * 60;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let asking = tokio::spawn(until(stopped, time, port));
    for restart in 0..restarts {
        let at = restart % processes.len();
        let mut old = processes[at].take();
        tokio::task::spawn_blocking(move || old.end(how))
            .await
            .expect("it ends");
        processes[at] = blocking(|| start(at));
        tokio::time::sleep(BETWEEN).await;
    }
    drop(stop);
    let answers = asking.await.expect("it runs to its end");
    blocking(|| drop((processes, standing)));
    answers.into()
}

/// Asks steadily until it is told to stop.
async fn until(
    mut stopped: tokio::sync::oneshot::Receiver<()>,
    time: Duration,
    port: u16,
) -> Vec<Answer> {
    let started_at = Instant::now();
    let mut all = tokio::task::JoinSet::new();
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / RATE_PER_SEC));
    while started_at.elapsed() < time {
        tokio::select! {
            _ = &mut stopped => break,
            _ = ticks.tick() => all.spawn(ask(port)),
        };
    }
    all.join_all().await
}

/// Asks once, on a connection of its own.
async fn ask(port: u16) -> Answer {
    let asked_at = Instant::now();
    let head = timeout(PATIENCE, exchange(port)).await;
    let head = head.ok().and_then(Result::ok).unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
    let mut lines = head.lines();
    let why = lines.find_map(|line| line.strip_prefix("why-503: "));
    Answer {
        asked_at,
        took: asked_at.elapsed(),
        status,
        why: why.map(str::to_owned),
    }
}

async fn exchange(port: u16) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = "GET / HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A front, which its drop ends.
#[allow(dead_code, reason = "its drop ends the process")]
enum Standing {
    Nginx(Nginx),
    HaProxy(HaProxy),
}

impl Standing {
    fn start(front: Front, addresses: &[SocketAddr]) -> (u16, Self) {
        let port = free_port();
        let standing = match front {
            Front::Nginx => {
                let mut config = Nginx::config(port, addresses, "");
                for address in addresses {
                    // A failure moves its request to the other one, and nobody out.
                    let server = format!("server {address}");
                    config = config.replace(&server, &format!("{server} max_fails=0"));
                }
                Self::Nginx(Nginx::start(&config))
            }
            Front::HaProxy => {
                let config =
                    HaProxy::config(port, addresses, "    option redispatch\n    retries 3");
                Self::HaProxy(HaProxy::start(&config.replace(" check inter 200ms", "")))
            }
        };
        (port, standing)
    }
}

/// A server of one side, as a process.
struct Process(Option<Child>);

impl Process {
    fn start(side: Side, address: SocketAddr, url: &str) -> Self {
        let program = std::env::current_exe().expect("a process knows its program");
        let mut child = Command::new(program)
            .args(["harm-server", side.name(), &address.to_string(), url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("this program can be started");
        let mut said = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        let _ = said.read_line(&mut line);
        assert_eq!(line.trim(), LISTENING, "a server of {}", side.name());
        Self(Some(child))
    }

    fn take(&mut self) -> Self {
        Self(self.0.take())
    }

    fn end(&mut self, how: How) {
        let Some(mut child) = self.0.take() else {
            return;
        };
        match how {
            How::Killed => {
                let _ = child.kill();
            }
            How::Told => {
                let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
                let _ = kill_process(pid.expect("a pid is positive"), Signal::TERM);
            }
        }
        let _ = child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end(How::Killed);
    }
}

/// What a process is: `harm-server SIDE ADDRESS URL`.
pub(crate) fn serve(side: &str, address: &str, url: &str) -> ExitCode {
    let side = [Side::Bare, Side::Guarded]
        .into_iter()
        .find(|it| it.name() == side);
    let (Some(side), Ok(address)) = (side, address.parse()) else {
        eprintln!("usage: bench harm-server bare|guarded ADDRESS URL");
        return ExitCode::from(64);
    };
    end_with_the_starter();
    match crate::stack::block_on(serve_on(side, address, url)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench harm-server: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve_on(side: Side, address: SocketAddr, url: &str) -> io::Result<()> {
    let pool = postgres::pool(POOL, url);
    let listener = TcpListener::bind(address).await?;
    println!("{LISTENING}");
    match side {
        Side::Bare => {
            let mut told = signal(SignalKind::terminate())?;
            axum::serve(listener, postgres::bare(&pool, ROUTES))
                .with_graceful_shutdown(async move {
                    told.recv().await;
                })
                .await
        }
        Side::Guarded => {
            let dependency = postgres::dependency(&pool);
            let guard = Guard::builder().dependency(&dependency).build();
            let guard = guard.map_err(io::Error::other)?;
            let app = guard.protect(postgres::guarded(&pool, &dependency, ROUTES));
            guard.serve(listener, app).await.map(drop)
        }
    }
}

/// Standard input ends when the starter is gone, however it went.
fn end_with_the_starter() {
    std::thread::spawn(|| {
        let mut rest = String::new();
        let _ = io::stdin().read_line(&mut rest);
        std::process::exit(1);
    });
}

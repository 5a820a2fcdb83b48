//! What the benchmark starts: a guarded service with a probe listener, or a flood inside one
//! process.

use std::{
    io::{self, Read, Write},
    process::ExitCode,
    sync::mpsc,
    time::Duration,
};

use axum::{Router, body::Body, routing::get};
use http::{Request, header::ACCEPT};
use serde_json::{Value, json};
use steadfast::{Guard, Guarded, Shed};
use tokio::net::TcpListener;
use tower::ServiceExt;

/// Requests that may run, and how long each does.
pub(super) const LIMIT: u32 = 8;
pub(super) const WORK: Duration = Duration::from_millis(10);

/// Threads of the runtime, and how long handlers block all of them.
pub(super) const WORKERS: usize = 2;
pub(super) const BLOCKED_FOR: Duration = Duration::from_secs(5);

/// Paths and ids of a flood.
const PATHS: u64 = 100_000;
const IDS: u64 = 1_000;

/// A part of a flood before the first look at the memory, so that whatever is made once has
/// been made.
const WARM_UP: u64 = 10;

/// Runs what is asked for: `page-server serve`, or `page-server flood N`.
pub(crate) fn run(arguments: &[&str]) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build();
    let ended = runtime.and_then(|runtime| match arguments {
        ["serve"] => runtime.block_on(serve()),
        ["flood", refusals] => {
            let refusals = refusals.parse().map_err(io::Error::other)?;
            runtime.block_on(flood(refusals))
        }
        _ => Err(io::Error::other("it serves, or makes a flood")),
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench page: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> io::Result<()> {
    let guard = Guard::builder()
        .without_signals()
        .shed(Shed::fixed(LIMIT))
        .probe_listener(([127, 0, 0, 1], 0).into())
        .build()
        .map_err(io::Error::other)?;
    let app = Router::new()
        .route("/work", get(|| tokio::time::sleep(WORK)))
        .route("/block", get(block_every_worker));
    let app = guard.protect(app);
    let running = guard.start()?;
    let probe = running
        .probe_address()
        .ok_or_else(|| io::Error::other("no probe listener"))?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut out = io::stdout();
    writeln!(out, "{} {probe}", listener.local_addr()?)?;
    out.flush()?;
    let served = tokio::spawn(async move { axum::serve(listener, app).await });
    until_input_ends().await;
    served.abort();
    drop(running);
    Ok(())
}

/// Twice as many as there are workers, so that none is left when they have been dealt out.
async fn block_every_worker() {
    for _ in 0..2 * WORKERS {
        tokio::spawn(async { block() });
    }
}

/// As code that waits for a file or a lock does.
fn block() {
    let (_wakes, pause) = mpsc::channel::<()>();
    let _ = pause.recv_timeout(BLOCKED_FOR);
}

/// Ends with the parent, whatever the runtime does.
async fn until_input_ends() {
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().take(u64::MAX), &mut io::sink());
        let _ = ended.send(());
    });
    let _ = end.await;
}

async fn flood(refusals: u64) -> io::Result<()> {
    let guard = Guard::builder()
        .without_signals()
        .shed(Shed::fixed(1))
        .token(TOKEN)
        .build()
        .map_err(io::Error::other)?;
    let app = guard.protect(Router::new().fallback(std::future::pending::<()>));
    let _running = guard.start()?;
    let control = guard.control();
    let held = tokio::spawn(app.clone().oneshot(request(0)));
    while control.shedder().in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    let first = refusals / WARM_UP;
    refuse(&app, 0..first).await?;
    let (before, size_before) = (own_kib()?, page(&app).await?.1);
    refuse(&app, first..refusals).await?;
    let (told, size_after) = page(&app).await?;
    let after = own_kib()?;
    held.abort();
    let count = |value: &Value| value.as_u64().unwrap_or_default();
    let counted = count(&told["refusals"]["by_cause"]["overloaded"]);
    let not_singly = count(&told["refusals"]["not_written_down"]);
    let dropped = control.explain().ledger().dropped();
    let in_incident = count(&told["incidents"][0]["count"]);
    println!(
        "{}",
        json!({
            "bench": "page", "situation": "flood", "refusals": refusals,
            "paths": PATHS.min(refusals), "ids": IDS.min(refusals),
            "counted": counted, "in_the_incident": in_incident, "dropped": dropped,
            "not_kept_singly": not_singly,
            "exact": counted == refusals && in_incident + dropped == refusals,
            "memory_kib_before": before, "memory_kib_after": after,
            "page_bytes_before": size_before, "page_bytes_after": size_after,
        })
    );
    Ok(())
}

const TOKEN: &str = "0123456789abcdef-bench";

/// Refuses these from all workers at once.
async fn refuse(app: &Guarded, which: std::ops::Range<u64>) -> io::Result<()> {
    let floods: Vec<_> = (0..WORKERS)
        .map(|worker| {
            let (app, which) = (app.clone(), which.clone());
            tokio::spawn(async move {
                for number in which.skip(worker).step_by(WORKERS) {
                    let Ok(answer) = app.clone().oneshot(request(number)).await;
                    if answer.status() != 503 {
                        return Err(io::Error::other("a request was served"));
                    }
                    let _ = axum::body::to_bytes(answer.into_body(), 4096).await;
                }
                Ok(())
            })
        })
        .collect();
    for flood in floods {
        flood.await.map_err(io::Error::other)??;
    }
    Ok(())
}

fn request(number: u64) -> Request<Body> {
    Request::get(format!("/{}", number % PATHS))
        .header("x-request-id", format!("id-{}", number % IDS))
        .body(Body::empty())
        .expect("a path and a header of numbers")
}

/// Returns the page as JSON, and its size.
async fn page(app: &Guarded) -> io::Result<(Value, usize)> {
    let asked = Request::get("/why503/")
        .header(ACCEPT, "application/json")
        .header("authorization", format!("Bearer {TOKEN}"))
        .body(Body::empty())
        .expect("a path and a header of letters");
    let Ok(answer) = app.clone().oneshot(asked).await;
    let body = axum::body::to_bytes(
        axum::response::IntoResponse::into_response(answer).into_body(),
        64 << 20,
    )
    .await
    .map_err(io::Error::other)?;
    Ok((serde_json::from_slice(&body)?, body.len()))
}

fn own_kib() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    kib.ok_or_else(|| io::Error::other("the kernel does not tell how much memory a process has"))
}

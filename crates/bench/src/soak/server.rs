//! The process under test: a guarded application that is drained and started anew whenever its
//! input says `drain`. Each generation says its address; each drain says what it cut.

use std::{
    io::{self, BufRead},
    net::SocketAddr,
    sync::mpsc,
    thread,
    time::Duration,
};

use axum::{Router, routing::get, routing::post};
use bytes::Bytes;
use steadfast::{Drain, Guard};
use tokio::net::TcpListener;

/// Bytes of the large answer, more than a connection's buffers take.
const LARGE: usize = 4 * 1024 * 1024;

pub(super) fn run() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let (said, hears) = mpsc::channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if said.send(line).is_err() {
                return;
            }
        }
    });
    while runtime.block_on(generation(&hears))? {}
    Ok(())
}

/// Serves until it is told to drain, and to its end. Returns whether there is to be another.
async fn generation(hears: &mpsc::Receiver<String>) -> io::Result<bool> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let address = listener.local_addr()?;
    let drain = Drain::default()
        .lame_duck_max(Duration::from_millis(100))
        .grace(Duration::from_secs(10));
    let guard = Guard::builder().without_signals().drain(drain);
    let guard = guard.build().map_err(io::Error::other)?;
    let app = guard.protect(app());
    let control = guard.control();
    let serving = tokio::spawn(async move { guard.serve(listener, app).await });
    println!("{address}");
    loop {
        match hears.try_recv() {
            Ok(_) => break,
            Err(mpsc::TryRecvError::Disconnected) => return Ok(false),
            Err(mpsc::TryRecvError::Empty) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    control.begin_drain("the next generation");
    let report = serving.await.map_err(io::Error::other)??;
    println!("cut {}", report.cut.work());
    Ok(true)
}

fn app() -> Router {
    let large = Bytes::from(vec![b'x'; LARGE]);
    Router::new()
        .route("/small", get(|| async { "hello" }))
        .route("/large", get(move || async move { large }))
        .route(
            "/take",
            post(|body: Bytes| async move { body.len().to_string() }),
        )
}

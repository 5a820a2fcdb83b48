//! A server under test. It ends with its input; the first line of its output is its address.

use std::{convert::Infallible, future, io, net::SocketAddr, thread};

use axum::{Router, routing::get};
use bytes::Bytes;
use steadfast::{Guard, Guarded, LagMode, Shed};
use tokio::{net::TcpListener, sync::oneshot};

use super::{Machine, Subject, cores::Cores, load::Body};

/// Serves until the standard input ends.
pub(super) fn run(
    subject: Subject,
    workers: usize,
    cores: &Cores,
    machine: Machine,
) -> io::Result<()> {
    cores.keep_to()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()?;
    let (ended, end) = oneshot::channel();
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        let _ = ended.send(());
    });
    // On a worker, like the connections, and not on the thread that waits for it.
    let server = runtime.spawn(serve(subject, machine));
    runtime.block_on(async {
        tokio::select! {
            served = server => served.map_err(io::Error::other)?,
            _ = end => Ok(()),
        }
    })
}

async fn serve(subject: Subject, machine: Machine) -> io::Result<()> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    println!("{}", listener.local_addr()?);
    let mut guard = Guard::builder();
    if machine == Machine::Valgrind {
        // Its slowness is no load.
        guard = guard.shed(Shed::default().lag(LagMode::Off));
    }
    let guard = guard.build().map_err(io::Error::other)?;
    match subject {
        Subject::Axum => axum::serve(listener, app()).await,
        Subject::Bare => guard
            .serve(listener, Guarded::unguarded(app()))
            .await
            .map(drop),
        Subject::Guarded => guard.serve(listener, guard.protect(app())).await.map(drop),
        Subject::Layer => {
            let _running = guard.start()?;
            axum::serve(listener, guard.protect(app())).await
        }
    }
}

/// Handlers that do nothing, so that what is left is the serving.
fn app() -> Router {
    const LARGE: &[u8] = &[b'x'; Body::Large.len()];
    let large = async || Bytes::from_static(LARGE);
    Router::new()
        .route(Body::Small.path(), get(async || "hello"))
        .route(Body::Large.path(), get(large))
        .route("/wait", get(future::pending::<Infallible>))
}

//! Steadfast's layers around a plain hyper service: no axum, no `Guard`.
//!
//! Each layer works alone; they share one [`Explain`], so that whichever refuses, the
//! answer has one form and stands in one ledger. What a guard adds, and this does not
//! have: probes, background checks and the operator's page.

use std::{convert::Infallible, env, io, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use steadfast::{
    DrainLayer, Explain, ExplainLayer, Lifecycle, Phase, Shed, ShedLayer, Shedder, Start,
};
use tokio::{
    net::TcpListener,
    time::{Instant, sleep},
};
use tower::ServiceBuilder;

/// How many requests run at once.
const LIMIT: u32 = 4;

/// How long running requests may take to finish once the process is told to leave.
const GRACE: Duration = Duration::from_secs(15);

/// Between two attempts to accept when the machine has nothing left to accept with.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// The application: `/slow` takes its time, everything else tells at once how many requests
/// run, itself included.
async fn application(
    request: Request<Incoming>,
    shedder: Shedder,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() == "/slow" {
        sleep(Duration::from_secs(5)).await;
    }
    let text = format!("{} of {LIMIT}\n", shedder.in_flight());
    Ok(Response::new(Full::from(text)))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let explain = Explain::default();
    let life = Arc::new(Lifecycle::new(now()));
    let shed = ShedLayer::new(Shed::fixed(LIMIT), explain.clone())?;
    let shedder = shed.shedder();
    let service = ServiceBuilder::new()
        // The first layer sees a request first.
        .layer(DrainLayer::new(Arc::clone(&life), explain.clone()))
        .layer(shed)
        .layer(ExplainLayer::new(explain))
        .service_fn(move |request| application(request, shedder.clone()));
    let service = TowerToHyperService::new(service);

    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8000".to_owned());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on http://{}", listener.local_addr()?);
    life.start(Start::default(), now());
    life.advance(Phase::Ready, now());

    let server = auto::Builder::new(TokioExecutor::new());
    let connections = GracefulShutdown::new();
    let mut told = pin!(told_to_leave());
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => {
                    sleep(ACCEPT_RETRY).await;
                    continue;
                }
            },
            told = &mut told => break told?,
        };
        let connection =
            server.serve_connection_with_upgrades(TokioIo::new(stream), service.clone());
        let connection = connections.watch(connection.into_owned());
        // It ends with its client, or with `connections.shutdown()`.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("a connection ended with {error}");
            }
        });
    }
    drop(listener);
    // From here every answer over HTTP/1 says `connection: close`.
    life.advance(Phase::Draining, now());
    tokio::select! {
        () = connections.shutdown() => {}
        () = sleep(GRACE) => {}
    }
    life.advance(Phase::Stopped, now());
    Ok(())
}

/// The core takes the time as an argument; tokio's clock is the one that tests can pause.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}

#[cfg(unix)]
async fn told_to_leave() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        told = tokio::signal::ctrl_c() => told,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn told_to_leave() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}

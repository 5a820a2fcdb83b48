//! A tonic service behind Steadfast's layers. A refusal arrives as the status UNAVAILABLE
//! with `grpc-retry-pushback-ms`, which clients with a retry policy obey.

use std::{env, sync::Arc};

use steadfast::{DrainLayer, Explain, ExplainLayer, Lifecycle, Phase, Shed, ShedLayer, Start};
use tokio::{net::TcpListener, time::Instant};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic_guarded::Greeter;
use tower::ServiceBuilder;

/// How many calls run at once.
const LIMIT: u32 = 4;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let explain = Explain::default();
    let life = Arc::new(Lifecycle::new(now()));
    let layers = ServiceBuilder::new()
        .layer(DrainLayer::new(Arc::clone(&life), explain.clone()))
        .layer(ShedLayer::new(Shed::fixed(LIMIT), explain.clone())?)
        .layer(ExplainLayer::new(explain))
        .into_inner();

    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:50051".to_owned());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on http://{}", listener.local_addr()?);
    life.start(Start::default(), now());
    life.advance(Phase::Ready, now());
    let leave = {
        let life = Arc::clone(&life);
        async move {
            told_to_leave().await;
            life.advance(Phase::Draining, now());
        }
    };
    Server::builder()
        .layer(layers)
        .add_service(Greeter)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), leave)
        .await?;
    life.advance(Phase::Stopped, now());
    Ok(())
}

/// The core takes the time as an argument; tokio's clock is the one that tests can pause.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}

#[cfg(unix)]
async fn told_to_leave() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        // Without a handler the signal ends the process by itself.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn told_to_leave() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

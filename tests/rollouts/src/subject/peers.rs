//! Today's ways, each as its documentation shows it.

use std::{io, net::SocketAddr, pin::pin, time::Duration};

use axum::{
    Router,
    extract::WebSocketUpgrade,
    response::{IntoResponse, Response, Sse},
    routing::get,
};
use axum_server::Handle;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use serde_json::Value;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};

use super::{app, no_report, say_listening};

/// Streams that end when their client does; nobody tells them more.
pub(super) fn streams() -> Router {
    Router::new()
        .route("/events", get(events))
        .route("/ws", get(web_socket))
}

async fn events() -> impl IntoResponse {
    Sse::new(app::endless_events())
}

async fn web_socket(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|mut socket| async move {
        loop {
            let message = socket.recv().await;
            if !app::echo(&mut socket, message).await {
                return;
            }
        }
    })
}

fn terminate() -> io::Result<Signal> {
    signal(SignalKind::terminate())
}

/// `axum::serve(…).with_graceful_shutdown(…)`; it knows no limit.
pub(super) async fn axum(listener: TcpListener, router: Router) -> io::Result<(Value, u8)> {
    let mut terminate = terminate()?;
    say_listening(&listener)?;
    let told = async move {
        terminate.recv().await;
    };
    axum::serve(listener, router)
        .with_graceful_shutdown(told)
        .await?;
    Ok(no_report())
}

/// `Handle::graceful_shutdown(Some(…))`.
pub(super) async fn axum_server(
    grace: Duration,
    listener: TcpListener,
    router: Router,
) -> io::Result<(Value, u8)> {
    let mut terminate = terminate()?;
    say_listening(&listener)?;
    let handle = Handle::<SocketAddr>::new();
    let told = handle.clone();
    tokio::spawn(async move {
        terminate.recv().await;
        told.graceful_shutdown(Some(grace));
    });
    axum_server::Server::<SocketAddr>::from_listener(listener)
        .handle(handle)
        .serve(router.into_make_service())
        .await?;
    Ok(no_report())
}

/// The loop of hyper-util's example `server_graceful`, with its deadline.
pub(super) async fn hyper_util(
    grace: Duration,
    listener: TcpListener,
    router: Router,
) -> io::Result<(Value, u8)> {
    let mut terminate = terminate()?;
    say_listening(&listener)?;
    let server = auto::Builder::new(TokioExecutor::new());
    let graceful = GracefulShutdown::new();
    let mut told = pin!(terminate.recv());
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _peer)) = accepted else {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                };
                let service = TowerToHyperService::new(router.clone());
                let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service);
                let connection = graceful.watch(connection.into_owned());
                tokio::spawn(async move {
                    let _ = connection.await;
                });
            }
            _ = &mut told => break,
        }
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = tokio::time::sleep(grace) => {}
    }
    Ok(no_report())
}

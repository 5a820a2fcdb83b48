//! `Guard::serve`.

use axum::Router;
use serde_json::Value;
use steadfast::{Drain, Guard, Probes};
use tokio::net::TcpListener;

use super::{Settings, no_report, say_listening};

pub(super) async fn serve(
    settings: &Settings,
    listener: TcpListener,
    router: Router,
) -> std::io::Result<Value> {
    let drain = Drain::default()
        .lame_duck_max(settings.lame_duck)
        .grace(settings.grace);
    let probes = if settings.not_found {
        Probes::default().not_found_while_draining()
    } else {
        Probes::default()
    };
    let guard = Guard::builder()
        .drain(drain)
        .probes(probes)
        .build()
        .map_err(std::io::Error::other)?;
    say_listening(&listener)?;
    guard.serve(listener, guard.protect(router)).await?;
    Ok(no_report())
}

//! `Guard::serve`.

use axum::{
    Router,
    extract::{
        WebSocketUpgrade,
        ws::{CloseFrame, Message, close_code},
    },
    middleware::map_response,
    response::{IntoResponse, Response, Sse},
    routing::get,
};
use http::HeaderValue;
use serde_json::{Map, Value, json};
use steadfast::{
    CheckOutcome, Dependency, Drain, DrainReport, DrainToken, Guard, Phase, Probes, check,
};
use tokio::net::TcpListener;

use super::{LEAVING, Settings, app, say_listening};

/// Streams that leave when they are told.
pub(super) fn streams() -> Router {
    Router::new()
        .route("/events", get(events))
        .route("/ws", get(web_socket))
}

async fn events(token: DrainToken) -> impl IntoResponse {
    Sse::new(token.until_leaving(app::endless_events()))
}

async fn web_socket(token: DrainToken, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|mut socket| async move {
        let _permit = token.permit();
        loop {
            let message = tokio::select! {
                message = socket.recv() => message,
                () = token.leaving() => break,
            };
            if !app::echo(&mut socket, message).await {
                return;
            }
        }
        let frame = CloseFrame {
            code: close_code::AWAY,
            reason: "this instance leaves".into(),
        };
        let _ = socket.send(Message::Close(Some(frame))).await;
    })
}

pub(super) async fn serve(
    settings: &Settings,
    listener: TcpListener,
    router: Router,
) -> std::io::Result<(Value, u8)> {
    let drain = Drain::default()
        .lame_duck_max(settings.lame_duck)
        .grace(settings.grace);
    let probes = if settings.not_found {
        Probes::default().not_found_while_draining()
    } else {
        Probes::default()
    };
    let mut builder = Guard::builder().drain(drain).probes(probes);
    let first_check = settings.first_check;
    if !first_check.is_zero() {
        let check = check::closure(move || async move {
            tokio::time::sleep(first_check).await;
            CheckOutcome::pass()
        });
        let slow = Dependency::builder("slow").timeout(2 * first_check);
        builder = builder.start_wait_max(2 * first_check);
        builder = builder.dependency(&slow.check(check).build().map_err(std::io::Error::other)?);
    }
    let guard = builder.build().map_err(std::io::Error::other)?;
    let control = guard.control();
    let router = router.layer(map_response(move |mut response: Response| {
        if control.phase().is_some_and(Phase::is_leaving) {
            let yes = HeaderValue::from_static("yes");
            response.headers_mut().insert(LEAVING, yes);
        }
        async { response }
    }));
    say_listening(&listener)?;
    let report = guard.serve(listener, guard.protect(router)).await?;
    Ok((json(&report), report.exit_status()))
}

/// The report as its starter reads it.
fn json(report: &DrainReport) -> Value {
    let cut = report.cut.by_reason();
    let cut: Map<_, _> = cut
        .iter()
        .map(|(why, count)| ((*why).to_owned(), json!(count)))
        .collect();
    json!({
        "served": report.served,
        "failing_probes": report.failing_probes,
        "abandoned": report.abandoned,
        "reset_by_peer": report.closed.reset_by_peer,
        "cut": cut,
        "cut_total": report.cut.total(),
        "stuck": report.stuck.iter().map(|it| it.reason).collect::<Vec<_>>(),
        "text": report.to_string(),
    })
}

//! The application that all subjects serve.
//!
//! What loads a rollout writes the id of each request down as soon as the handler is
//! entered: what stands there was processed, whether or not its answer arrived.

use std::{
    convert::Infallible,
    fs::File,
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{
        Request, State,
        ws::{Message, WebSocket},
    },
    middleware::{Next, from_fn_with_state},
    response::{Response, sse::Event},
    routing::{any, get, post},
};
use futures_util::{Stream, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::time::sleep;

use super::{ID, INSTANCE, Settings};

/// What the fast handler takes.
const FAST: Duration = Duration::from_millis(1);

/// What the slow handler takes.
const SLOW: Duration = Duration::from_millis(50);

/// Parts of a streamed answer, and the time between two.
const PARTS: u32 = 5;
const PART_EVERY: Duration = Duration::from_millis(10);

/// Time between two events of the endless stream.
const EVENT_EVERY: Duration = Duration::from_millis(50);

/// For how long a thread is blocked: until more than a thousand requests have arrived.
const BLOCKED: Duration = Duration::from_millis(700);

/// Bytes in a part of the answer that no socket's buffer can take whole.
const FLOOD_PART: usize = 64 * 1024;

/// Longest wait of a handler that is told how long to take.
const TAKE_MAX: Duration = Duration::from_secs(600);

#[derive(Clone)]
struct App {
    journal: Arc<Mutex<File>>,
    label: HeaderValue,
}

/// Makes the application, with its journal open. `streams` has `/events` and `/ws`, which
/// differ between those that can tell a handler to leave and those that cannot.
pub(super) fn router(settings: &Settings, streams: Router) -> io::Result<Router> {
    let journal = File::options()
        .create(true)
        .append(true)
        .open(&settings.journal)?;
    let label = HeaderValue::from_str(&settings.label).map_err(io::Error::other)?;
    let app = App {
        journal: Arc::new(Mutex::new(journal)),
        label,
    };
    Ok(common(app.clone())
        .merge(streams)
        .layer(from_fn_with_state(app, label_answers)))
}

fn common(app: App) -> Router {
    Router::new()
        // Ours answers its own probes in front of this one.
        .route("/ready/", get(|| async { "ready\n" }))
        .route("/fast", any(fast))
        .route("/slow", any(slow))
        .route("/stream", any(streamed))
        .route("/take/{millis}", any(take))
        .route("/block", get(block))
        .route(
            "/length",
            post(|body: Bytes| async move { body.len().to_string() }),
        )
        .route(
            "/early",
            post(|| async { (StatusCode::PAYLOAD_TOO_LARGE, "too large\n") }),
        )
        .route("/flood", get(flood))
        .with_state(app)
}

async fn label_answers(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let name = HeaderName::from_static(INSTANCE);
    response.headers_mut().insert(name, app.label);
    response
}

impl App {
    /// Writes the id down, and returns it. One `write` of a short line to a file opened
    /// for appending is there whole or not at all, and survives a SIGKILL.
    fn note(&self, headers: &HeaderMap) -> String {
        let id = headers.get(ID).and_then(|id| id.to_str().ok());
        let line = format!("{}\n", id.unwrap_or("none"));
        let mut journal = self.journal.lock().expect("nobody panics with it");
        journal.write_all(line.as_bytes()).expect("there is room");
        line
    }
}

// The body is read first, so a request counts as processed only when it came whole.
async fn fast(State(app): State<App>, headers: HeaderMap, _body: Bytes) -> String {
    let line = app.note(&headers);
    sleep(FAST).await;
    line
}

async fn slow(State(app): State<App>, headers: HeaderMap, _body: Bytes) -> String {
    let line = app.note(&headers);
    sleep(SLOW).await;
    line
}

async fn streamed(State(app): State<App>, headers: HeaderMap, _body: Bytes) -> Body {
    let line = Bytes::from(app.note(&headers));
    let parts = stream::unfold(0, move |sent| {
        let line = line.clone();
        async move {
            if sent == PARTS {
                return None;
            }
            sleep(PART_EVERY).await;
            Some((Ok::<_, Infallible>(line), sent + 1))
        }
    });
    Body::from_stream(parts)
}

async fn take(
    State(app): State<App>,
    axum::extract::Path(millis): axum::extract::Path<u64>,
    headers: HeaderMap,
) -> String {
    let line = app.note(&headers);
    sleep(Duration::from_millis(millis).min(TAKE_MAX)).await;
    line
}

/// Does what a handler must not do: it keeps its thread.
async fn block(State(app): State<App>, headers: HeaderMap) -> String {
    let line = app.note(&headers);
    std::thread::sleep(BLOCKED);
    line
}

/// One event after another, without an end.
pub(super) fn endless_events() -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(0_u64, |sent| async move {
        sleep(EVENT_EVERY).await;
        let event = Event::default().data(sent.to_string());
        Some((Ok(event), sent + 1))
    })
}

/// Sends a message back; false once that is over.
pub(super) async fn echo(
    socket: &mut WebSocket,
    message: Option<Result<Message, axum::Error>>,
) -> bool {
    match message {
        Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
            socket.send(message).await.is_ok()
        }
        Some(Ok(_)) => true,
        Some(Err(_)) | None => false,
    }
}

async fn flood() -> Body {
    let part = Bytes::from(vec![b'x'; FLOOD_PART]);
    Body::from_stream(stream::repeat_with(move || {
        Ok::<_, Infallible>(part.clone())
    }))
}

//! The page as it changes, as server-sent events.
//!
//! A tool that asks for `/why503/events` gets the JSON of the page as an event `state`; the
//! page itself asks for `?sections` and gets each section that has changed. Once a second
//! one of the listeners takes a look that all of them share, so a hundred browsers cost what
//! one does. Where nothing changes, a comment every 15 s keeps proxies from closing the
//! connection. A stream ends between two events when the process drains.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header, request::Parts};
use http_body::{Body, Frame};
use serde::Serialize;
use steadfast_core::Phase;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Sleep,
};

use super::{form::Form, page, problem, view::View};
use crate::{
    clock,
    probe::paths::{Door, OwnPaths},
    request::body::OwnBody,
};

/// Streams at once. Each is a browser that somebody has open, or a tool.
pub(crate) const LISTENERS_MAX: usize = 32;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Longest silence; proxies give up on one after 30 s to 60 s.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Longest life of a stream. A browser connects again by itself, and a listener that only
/// holds its place loses it.
const LIFE_MAX: Duration = Duration::from_secs(3600);

/// What all listeners share.
pub(crate) struct Feed {
    places: Arc<Semaphore>,
    last: Mutex<(Option<Instant>, Arc<Look>)>,
}

/// The page at one moment, as events.
#[derive(Default)]
struct Look {
    /// The whole JSON.
    state: Bytes,
    /// Each section.
    sections: Vec<(&'static str, Bytes)>,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(LISTENERS_MAX)),
            last: Mutex::default(),
        }
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("free", &self.places.available_permits())
            .finish()
    }
}

impl Feed {
    /// Returns a look that is no older than a second, nearly.
    fn look(&self, own_paths: &OwnPaths, now: Instant) -> Arc<Look> {
        {
            let mut last = self.lock();
            let young = |at: Instant| now.saturating_duration_since(at) < LOOK / 2;
            if last.0.is_some_and(young) {
                return Arc::clone(&last.1);
            }
            // Whoever comes meanwhile takes the one before.
            last.0 = Some(now);
        }
        let look = Arc::new(Look::take(own_paths));
        self.lock().1 = Arc::clone(&look);
        look
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (Option<Instant>, Arc<Look>)> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Look {
    fn take(own_paths: &OwnPaths) -> Self {
        #[derive(Serialize)]
        struct Section<'a> {
            id: &'a str,
            html: &'a str,
        }
        let view = View::of(&own_paths.0);
        let sections = page::sections(&view).into_iter();
        Self {
            state: event("state", &view),
            sections: sections
                .map(|(id, markup)| {
                    let html = &markup.into_string();
                    (id, event("section", &Section { id, html }))
                })
                .collect(),
        }
    }
}

/// One event. JSON has no line ends of its own, so its data is one line.
fn event(name: &str, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(data).expect("texts, numbers and lists of them");
    format!("event: {name}\ndata: {data}\n\n").into()
}

/// Begins a stream, if there is a place for one.
pub(super) fn answer(own_paths: &OwnPaths, door: Door, parts: &Parts) -> Response<OwnBody> {
    let places = Arc::clone(&own_paths.0.feed.places);
    let Ok(place) = places.try_acquire_owned() else {
        let detail = format!("{LISTENERS_MAX} streams are open, which is the most; close one.");
        let full = problem(StatusCode::TOO_MANY_REQUESTS, "Too many streams", &detail);
        return full.map(OwnBody::Text);
    };
    let query = Form::parse(parts.uri.query().unwrap_or_default());
    let now = clock::now();
    let control = own_paths.0.control.clone();
    // At its own port the end of the drain can be watched; elsewhere it would wait for us.
    let over: Pin<Box<dyn Future<Output = ()> + Send + Sync>> = match door {
        Door::Main => {
            let token = control.token();
            Box::pin(async move { token.leaving().await })
        }
        Door::Probe { .. } | Door::Socket => Box::pin(control.reached(Phase::Stopped)),
    };
    let events = Events {
        own_paths: own_paths.clone(),
        sections: query.has("sections"),
        sent: Vec::new(),
        due: VecDeque::from([Bytes::from_static(b"retry: 1000\n\n")]),
        next: None,
        last_said: now,
        until: now + LIFE_MAX,
        over,
        ended: false,
        _place: place,
    };
    let mut response = Response::new(OwnBody::stream(events));
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/event-stream");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx keeps a stream back without it.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    headers.insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// One listener's stream.
struct Events {
    own_paths: OwnPaths,
    sections: bool,
    /// What was sent last, by section.
    sent: Vec<(&'static str, Bytes)>,
    due: VecDeque<Bytes>,
    /// When to look again; `None` before the first look.
    next: Option<Pin<Box<Sleep>>>,
    last_said: Instant,
    until: Instant,
    over: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
    ended: bool,
    _place: OwnedSemaphorePermit,
}

impl Events {
    /// Takes a look, and queues what is new since the last one.
    fn look(&mut self, now: Instant) {
        let look = self.own_paths.0.feed.look(&self.own_paths, now);
        if self.sections {
            for (id, event) in &look.sections {
                self.offer(id, event);
            }
        } else {
            self.offer("state", &look.state);
        }
        if self.due.is_empty() && now.saturating_duration_since(self.last_said) >= SILENCE_MAX {
            self.due.push_back(Bytes::from_static(b": nothing new\n\n"));
        }
        if !self.due.is_empty() {
            self.last_said = now;
        }
        if now >= self.until {
            self.ended = true;
        }
    }

    fn offer(&mut self, id: &'static str, event: &Bytes) {
        if event.is_empty() {
            return;
        }
        match self.sent.iter_mut().find(|(name, _)| *name == id) {
            Some((_, sent)) if sent == event => return,
            Some((_, sent)) => *sent = event.clone(),
            None => self.sent.push((id, event.clone())),
        }
        self.due.push_back(event.clone());
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        loop {
            if let Some(event) = self.due.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(event))));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            if self.over.as_mut().poll(cx).is_ready() {
                self.ended = true;
                self.look(clock::now());
                self.due
                    .push_back(Bytes::from_static(b"event: bye\ndata: {}\n\n"));
                continue;
            }
            if let Some(next) = &mut self.next {
                ready!(next.as_mut().poll(cx));
            }
            let now = clock::now();
            self.look(now);
            self.next = Some(Box::pin(tokio::time::sleep_until((now + LOOK).into())));
        }
    }
}

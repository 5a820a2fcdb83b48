//! The application on one connection: it knows its peer, and each request is written down
//! from its head to the end of its answer.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum_core::{body::Body, extract::Request, response::Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, StatusCode, Version, header, response::Parts};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project::pin_project;
use steadfast_core::plumbing::{Streams, WhenDraining};
use tower::util::Oneshot;
use tower_service::Service;

use super::{
    conn::Conn,
    peer, slow,
    state::{Mode, Protocol},
    stream_stall::{FIRST_PART, PART},
    streams,
    upload::Upload,
};
use crate::{
    clock,
    drain::{Departure, DrainToken, Reason, Stage},
    probe::paths::AnswersProbe,
    refusal,
};

/// The application, for hyper.
#[derive(Debug)]
pub(super) struct OnConnection<S, A> {
    pub(super) app: S,
    pub(super) peer: A,
    pub(super) conn: Arc<Conn>,
}

impl<S, A> hyper::service::Service<http::Request<Incoming>> for OnConnection<S, A>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone,
    A: Clone + Send + Sync + 'static,
{
    type Response = http::Response<Answer>;
    type Error = Infallible;
    type Future = Running<Oneshot<S, Request>>;

    fn call(&self, request: http::Request<Incoming>) -> Self::Future {
        let body_open = !request.body().is_end_stream();
        let http2 = request.version() == Version::HTTP_2;
        let connect = request.method() == Method::CONNECT;
        let class = self.conn.shedder.classes().of_path(request.uri().path());
        let when = class.draining();
        let slot = {
            let (path, limits) = (request.uri().path(), &self.conn.limits);
            let mut state = self.conn.state();
            let slot = state.request_begins(path, body_open, limits, clock::now());
            if state.haste.is_close() && is_passed_on(request.headers()) {
                state.haste.is_passed_on();
            }
            slot
        };
        let place = Place {
            conn: Arc::clone(&self.conn),
            slot,
            end: End::Early,
            refused: false,
        };
        // A stream may be silent for as long as it likes, and so may those that look like one.
        let is_stream = class.streams() == Streams::Always;
        let may_be_silent = body_open && slow::streams_both_ways(request.headers());
        let mut request = request.map(|body| {
            if !body_open {
                return Body::empty();
            }
            let conn = Arc::clone(&self.conn);
            Body::new(Upload::new(body, conn, slot, is_stream, may_be_silent))
        });
        let extensions = request.extensions_mut();
        peer::tell(extensions, self.peer.clone());
        let finishes = when == Some(WhenDraining::Finish);
        extensions.insert(DrainToken::new(self.conn.drain.clone()).finishes(finishes));
        Running {
            place: Some(place),
            http2,
            connect,
            when,
            may_be_silent,
            answering: Oneshot::new(self.app.clone(), request),
        }
    }
}

/// A request's place on its connection. Dropped, the request has ended: in order if its
/// answer did, and otherwise because its client left.
#[derive(Debug)]
pub(super) struct Place {
    conn: Arc<Conn>,
    slot: usize,
    end: End,
    /// Whether its answer is a refusal, and nothing but that was done for it.
    refused: bool,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Before its answer did.
    Early,
    /// With its answer.
    Served,
    /// With what it had been upgraded to.
    Upgraded,
    /// In the middle of its answer, and written down.
    Cut,
}

impl Place {
    /// Looks what became of a probe on its way through the layers outside the guard.
    #[inline]
    fn saw_probe(&self, answer: &Parts) {
        let is_ours =
            !answer.extensions.is_empty() && answer.extensions.get::<AnswersProbe>().is_some();
        let is_no = answer.status == StatusCode::TOO_MANY_REQUESTS
            || answer.status == StatusCode::SERVICE_UNAVAILABLE;
        if is_ours || is_no {
            self.look_at_probe(is_ours);
        }
    }

    #[cold]
    fn look_at_probe(&self, is_ours: bool) {
        let mut state = self.conn.state();
        let Some(slot) = state.slots.get_mut(self.slot) else {
            return;
        };
        let probes = &self.conn.probes;
        if is_ours {
            let now = clock::now();
            let took = now.saturating_duration_since(slot.since);
            probes.around.probe_took(took, now);
        } else if probes.paths.is_probe(slot.route()) {
            probes.around.probe_was_refused();
        }
    }

    /// Its answer is whole, and the stream it came on is no request any more.
    pub(super) fn upgrades(&mut self) {
        let drain = &self.conn.drain;
        if drain.is_leaving() {
            drain.tally().served += 1;
        }
        let mut state = self.conn.state();
        state.slots.upgrades(self.slot, clock::now());
    }

    /// The drain has ended its answer in the middle.
    fn ends_cut(mut self) {
        self.end = End::Cut;
        // The tally first, as whoever cuts connections has it.
        let mut tally = self.conn.drain.tally();
        let mut state = self.conn.state();
        if state.mode == Mode::Cut {
            return;
        }
        if let Some(slot) = state.slots.get_mut(self.slot) {
            let age = clock::now().saturating_duration_since(slot.since);
            tally.cut(slot.reason(), slot.route(), age);
        }
        if state.protocol != Protocol::Http2 {
            // Nothing can follow on it.
            state.mode = Mode::Cut;
            self.conn.becomes_eventful();
        }
    }

    /// What it was upgraded to has come to its end.
    pub(super) fn ends_in_order(mut self) {
        self.end = End::Upgraded;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let drain = &self.conn.drain;
        let cut = {
            let mut state = self.conn.state();
            if state
                .slots
                .get_mut(self.slot)
                .is_some_and(|it| it.ended_early)
            {
                self.end = End::Early;
            }
            state.request_ends(self.slot, clock::now);
            self.conn.answered(&mut state, self.refused);
            state.mode == Mode::Cut
        };
        if !drain.is_leaving() {
            return;
        }
        let mut tally = drain.tally();
        match self.end {
            // Counted by whoever cut it.
            End::Served | End::Upgraded if cut => {}
            End::Served => tally.served += 1,
            End::Upgraded => tally.closed.upgraded += 1,
            End::Early if drain.stage() < Stage::Cutting => tally.abandoned += 1,
            End::Early | End::Cut => {}
        }
    }
}

/// A request that runs.
#[pin_project]
#[derive(Debug)]
pub(super) struct Running<F> {
    #[pin]
    answering: F,
    place: Option<Place>,
    http2: bool,
    /// Whether success opens a tunnel.
    connect: bool,
    when: Option<WhenDraining>,
    /// Whether the request is of a protocol whose requests may be silent.
    may_be_silent: bool,
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for Running<F> {
    type Output = Result<http::Response<Answer>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(response) = ready!(this.answering.poll(cx));
        let mut place = this
            .place
            .take()
            .expect("a future is not polled after it is ready");
        let (parts, body) = response.into_parts();
        place.saw_probe(&parts);
        let tunnel = *this.connect && parts.status.is_success();
        if tunnel && *this.http2 {
            streams::goes_on(place);
            return Poll::Ready(Ok(http::Response::from_parts(parts, Answer::empty(body))));
        }
        // HTTP/2 has no such answer, and a connection of it is never taken over by one stream.
        let switches = parts.status == StatusCode::SWITCHING_PROTOCOLS && !*this.http2;
        if tunnel || switches {
            let now = clock::now();
            place.conn.upgrades(place.slot, now);
        }
        if parts.headers.contains_key(header::CONNECTION) && says_close(&parts.headers) {
            place.conn.state().told_by_header = true;
        }
        place.refused = !*this.http2 && refusal::is_of_a_gate(parts.status, &parts.headers);
        if *this.http2 || *this.may_be_silent {
            place.conn.slow.answers(&parts.headers);
        }
        // hyper drops a body that has ended already unread.
        if body.is_end_stream() {
            place.end = End::Served;
            drop(place);
            return Poll::Ready(Ok(http::Response::from_parts(parts, Answer::empty(body))));
        }
        // What has a length ends by itself.
        let endless = body.size_hint().exact().is_none() && is_endless(&parts.headers);
        let reason = if endless {
            Reason::Stream
        } else {
            Reason::Body
        };
        place.conn.state().slots.answers(place.slot, reason);
        let leaves = match this.when {
            Some(when) => *when == WhenDraining::Leave && body.size_hint().exact().is_none(),
            // What has no end of its own would only be cut later.
            None => endless,
        };
        let departure = leaves.then(|| {
            let token = DrainToken::new(place.conn.drain.clone());
            Box::new(Departure::new(token, &parts.headers, this.when.is_some()))
        });
        let answer = Answer {
            body,
            rest: Bytes::new(),
            place: Some(place),
            departure,
            http2: *this.http2,
            begun: false,
        };
        Poll::Ready(Ok(http::Response::from_parts(parts, answer)))
    }
}

fn says_close(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .any(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
}

/// Whether somebody passes a request on, and others of other clients may follow it.
fn is_passed_on(headers: &HeaderMap) -> bool {
    [header::VIA, header::FORWARDED, X_FORWARDED_FOR]
        .iter()
        .any(|name| headers.contains_key(name))
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Whether the answer is of a kind that has no end of its own.
fn is_endless(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| {
            let kind = kind.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("text/event-stream")
                || kind.eq_ignore_ascii_case("multipart/x-mixed-replace")
        })
}

/// An answer's body, until its end. One that has no end of its own is ended when the drain
/// says so, as if the handler had ended it.
pub(super) struct Answer {
    body: Body,
    /// What is left of a part that is handed over in pieces.
    rest: Bytes,
    place: Option<Place>,
    /// In a box, because few have one and every answer is moved with it.
    departure: Option<Box<Departure>>,
    http2: bool,
    /// Whether a part of it was handed over.
    begun: bool,
}

impl Answer {
    const fn empty(body: Body) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            place: None,
            departure: None,
            http2: false,
            begun: false,
        }
    }

    /// Over HTTP/2, the last part still waits for its turn; its place is given back when hyper
    /// has got rid of it.
    fn end(&mut self) {
        if let Some(place) = &mut self.place {
            place.end = End::Served;
        }
        if !self.http2 {
            self.place = None;
        }
    }

    /// It has failed, or was made to.
    fn fails(&mut self) {
        let cut = self.departure.as_ref().is_some_and(|it| it.is_cut());
        if let Some(place) = self.place.take().filter(|_| cut) {
            place.ends_cut();
        }
    }

    /// Over HTTP/2, a part is handed over in pieces, and the next one is not asked for until
    /// the peer has room for it.
    fn hand_over(&mut self, mut part: Bytes) -> Frame<Bytes> {
        let most = match std::mem::replace(&mut self.begun, true) {
            true => PART,
            false => FIRST_PART,
        };
        if part.len() > most {
            self.rest = part.split_off(most);
        }
        if let Some(place) = &self.place {
            let (conn, now) = (&place.conn, clock::now());
            conn.state()
                .answer_waits(place.slot, part.len(), &conn.limits, now);
        }
        Frame::data(part)
    }

    /// Over HTTP/2, the peer waits for the next part, and not the part for the peer.
    fn rests(&self) {
        if let (true, Some(place)) = (self.http2, &self.place) {
            let mut state = place.conn.state();
            state.slots.answer_rests(place.slot, clock::now());
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum_core::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum_core::Error>>> {
        let this = &mut *self;
        if !this.rest.is_empty() {
            let rest = std::mem::take(&mut this.rest);
            return Poll::Ready(Some(Ok(this.hand_over(rest))));
        }
        let body = Pin::new(&mut this.body);
        let mut polled = match &mut this.departure {
            Some(departure) => departure.poll_frame(body, cx),
            None => body.poll_frame(cx),
        };
        match &mut polled {
            Poll::Ready(Some(Ok(frame))) => {
                let data = if this.http2 { frame.data_mut() } else { None };
                if let Some(data) = data {
                    let part = std::mem::take(data);
                    *frame = this.hand_over(part);
                }
                // Nothing comes after trailers, and hyper asks for nothing.
                if frame.is_trailers() || this.is_end_stream() {
                    this.end();
                }
            }
            Poll::Ready(Some(Err(_))) => this.fails(),
            Poll::Ready(None) => this.end(),
            Poll::Pending => this.rests(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        let departed = self.departure.as_ref().is_some_and(|it| it.is_over());
        self.rest.is_empty() && (departed || self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower().saturating_add(rest));
        if let Some(upper) = body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

impl Conn {
    /// Notes what is spoken, from the moment it is known.
    pub(super) fn speaks(&self, protocol: Protocol) {
        let stage = self.drain.stage();
        self.state().speaks(protocol);
        self.follow(stage, clock::now());
    }
}

//! Response bodies: one that a gate answered itself, and one that holds a permit.
//!
//! A request occupies the service until its answer has been handed over, not until the
//! handler returned: a body that streams for a minute is a minute of work. So the permit
//! travels in the body ([`PermitBody`]) and ends when the body does: at its last frame, at
//! its error, or when it is dropped half-way. A body that has already ended at the head
//! (no content, a redirect, a 101) gives the permit back there and is not wrapped.
//!
//! "Ended" means handed to the HTTP implementation, not received by the client.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project::pin_project;
use steadfast_core::{
    Local, Outcome, Refusal, ShedGate, ShedPermit, limit::Ending, plumbing::Streams,
};

use crate::{
    clock,
    request::turn::{GaveWay, ready_tasks},
};

/// The body of a response that either a gate or the inner service made.
#[pin_project]
#[derive(Debug)]
pub struct GateBody<B>(#[pin] Made<B>);

#[pin_project(project = MadeProjection)]
#[derive(Debug)]
enum Made<B> {
    Own(#[pin] OwnBody),
    Inside(#[pin] B),
}

impl<B> GateBody<B> {
    /// A gate's own words.
    pub(crate) const fn own(body: OwnBody) -> Self {
        Self(Made::Own(body))
    }

    /// The inner service's body.
    pub(crate) const fn inside(body: B) -> Self {
        Self(Made::Inside(body))
    }
}

impl<B: Body<Data = Bytes>> Body for GateBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().0.project() {
            MadeProjection::Own(own) => {
                own.poll_frame(cx).map_err(|impossible| match impossible {})
            }
            MadeProjection::Inside(inner) => inner.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Made::Own(own) => own.is_end_stream(),
            Made::Inside(inner) => inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Made::Own(own) => own.size_hint(),
            Made::Inside(inner) => inner.size_hint(),
        }
    }
}

/// The body of what is said without the inner service.
#[pin_project(project = OwnProjection)]
pub(crate) enum OwnBody {
    /// A refusal, a probe's answer or a page.
    Text(#[pin] Full<Bytes>),
    /// Events as they come. It is boxed, because there are few of them and every answer is as
    /// large as the largest kind of body.
    Stream(Pin<Box<dyn Body<Data = Bytes, Error = Infallible> + Send + Sync>>),
}

impl OwnBody {
    pub(crate) fn stream(
        body: impl Body<Data = Bytes, Error = Infallible> + Send + Sync + 'static,
    ) -> Self {
        Self::Stream(Box::pin(body))
    }
}

impl fmt::Debug for OwnBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text",
            Self::Stream(_) => "Stream",
        })
    }
}

impl Body for OwnBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.project() {
            OwnProjection::Text(text) => text.poll_frame(cx),
            OwnProjection::Stream(stream) => stream.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Text(text) => text.is_end_stream(),
            Self::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Text(text) => text.size_hint(),
            Self::Stream(stream) => stream.size_hint(),
        }
    }
}

/// What a request holds while it runs. A permit settles *abandoned* when this is dropped.
#[derive(Debug)]
pub(crate) struct RequestPermit<T: AsRef<ShedGate> + Send + Sync + 'static> {
    holding: Holding<T>,
    streams: Streams,
    /// Whether the answer is a stream if its body ever makes its reader wait. A gRPC call
    /// with one answer has it ready with the head; one that streams has not, and nothing
    /// else tells them apart.
    waits_as_stream: bool,
    /// When it gave way to everything else last, if it stands in line.
    gave_way: Option<GaveWay>,
}

#[derive(Debug)]
enum Holding<T: AsRef<ShedGate> + Send + Sync + 'static> {
    Permit(ShedPermit<T>),
    /// The request passes every rule about load, and counts nowhere.
    Exempt(Local<T>),
    Nothing,
}

impl<T: AsRef<ShedGate> + Send + Sync + 'static> RequestPermit<T> {
    /// `streams` says which answers of the request's route are streams.
    pub(crate) const fn new(permit: ShedPermit<T>, streams: Streams) -> Self {
        Self {
            holding: Holding::Permit(permit),
            streams,
            waits_as_stream: false,
            gave_way: None,
        }
    }

    /// For a request that needs no permit.
    pub(crate) const fn exempt(owner: Local<T>) -> Self {
        Self {
            holding: Holding::Exempt(owner),
            streams: Streams::Never,
            waits_as_stream: false,
            gave_way: None,
        }
    }

    /// Takes out what is held, and leaves nothing to settle.
    pub(crate) fn take(&mut self) -> Self {
        Self {
            holding: self.take_holding(),
            streams: self.streams,
            waits_as_stream: self.waits_as_stream,
            gave_way: self.gave_way,
        }
    }

    const fn take_holding(&mut self) -> Holding<T> {
        std::mem::replace(&mut self.holding, Holding::Nothing)
    }

    /// The permit, while one is held.
    #[inline]
    pub(crate) const fn permit(&self) -> Option<&ShedPermit<T>> {
        match &self.holding {
            Holding::Permit(permit) => Some(permit),
            Holding::Exempt(_) | Holding::Nothing => None,
        }
    }

    pub(crate) const fn permit_mut(&mut self) -> Option<&mut ShedPermit<T>> {
        match &mut self.holding {
            Holding::Permit(permit) => Some(permit),
            Holding::Exempt(_) | Holding::Nothing => None,
        }
    }

    const fn is_permit(&self) -> bool {
        matches!(self.holding, Holding::Permit(_))
    }

    /// Returns what the permit was made from, while it is held.
    pub(crate) fn owner(&self) -> Option<&T> {
        match &self.holding {
            Holding::Permit(permit) => Some(permit.owner()),
            Holding::Exempt(owner) => Some(owner),
            Holding::Nothing => None,
        }
    }

    /// The permit, if the algorithm of the limit waits to hear of its answer.
    fn sampled(&mut self) -> Option<&mut ShedPermit<T>> {
        match &mut self.holding {
            Holding::Permit(permit) if permit.is_sampled() => Some(permit),
            _ => None,
        }
    }

    /// Whether the request stands in line before it begins.
    #[inline]
    pub(crate) fn is_in_line(&self) -> bool {
        matches!(&self.holding, Holding::Permit(permit) if permit.is_in_line())
    }

    /// Waits for the request's turn: the runtime looks at everything else that has come,
    /// and then comes back. Refused, nothing has been done for the request.
    #[cold]
    pub(crate) fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        let Holding::Permit(permit) = &mut self.holding else {
            return Poll::Ready(Ok(()));
        };
        let now = clock::now();
        let too_early = self.gave_way.is_some_and(|it| !it.is_over());
        if too_early || permit.gives_way(ready_tasks, now) {
            self.gave_way = Some(GaveWay::now(cx));
            return Poll::Pending;
        }
        Poll::Ready(permit.turn(now))
    }

    /// Returns since when the request has had its place, if it has one.
    #[inline]
    pub(crate) fn began(&self) -> Option<Instant> {
        match &self.holding {
            Holding::Permit(permit) => Some(permit.since()),
            Holding::Exempt(_) | Holding::Nothing => None,
        }
    }

    /// Says that the head of the answer is there.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        if let Some(permit) = self.sampled() {
            // An error can come long before the work would have been done, so its time
            // says nothing about the work.
            let ending = if status.is_server_error() {
                Ending::Irrelevant
            } else {
                Ending::Completed
            };
            permit.answered(ending, clock::now());
        }
    }

    /// Counts the request with the streams if its answer is one. To be called when it is
    /// known that the answer goes out. A body whose length is known ends by itself, so it is
    /// none whatever its type, and nobody need look at that.
    #[inline]
    pub(crate) fn sort(&mut self, headers: &HeaderMap, body: &impl Body) -> Result<(), Refusal> {
        match self.streams {
            Streams::Never => Ok(()),
            Streams::Always => self.become_stream(),
            _ if body.size_hint().exact().is_some() => Ok(()),
            _ => self.sort_by_type(headers),
        }
    }

    fn sort_by_type(&mut self, headers: &HeaderMap) -> Result<(), Refusal> {
        match headers.get(CONTENT_TYPE) {
            Some(kind) if is_kind(kind, "text/event-stream") => self.become_stream(),
            Some(kind) => {
                self.waits_as_stream = is_kind(kind, "application/grpc");
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Says that the reader of the body has to wait.
    fn waited_for(&mut self) {
        if std::mem::take(&mut self.waits_as_stream) {
            // Its head is out, so it cannot be refused any more: without room among the
            // streams it keeps its place among the requests.
            let _ = self.become_stream();
        }
    }

    #[cold]
    fn become_stream(&mut self) -> Result<(), Refusal> {
        match &mut self.holding {
            Holding::Permit(permit) => permit.become_stream(clock::now()),
            Holding::Exempt(_) | Holding::Nothing => Ok(()),
        }
    }

    /// Ends the permit of a request that was refused further inside: how long that took
    /// says nothing about the work, so nothing learns from it.
    pub(crate) fn dismiss(&mut self) {
        if let Some(permit) = self.sampled() {
            permit.answered(Ending::Irrelevant, clock::now());
        }
        self.settle(Outcome::Abandoned);
    }

    pub(crate) fn settle(&mut self, outcome: Outcome) {
        if let Holding::Permit(permit) = self.take_holding() {
            permit.settle(outcome, clock::now());
        }
    }
}

impl<T: AsRef<ShedGate> + Send + Sync + 'static> Drop for RequestPermit<T> {
    fn drop(&mut self) {
        self.settle(Outcome::Abandoned);
    }
}

/// Whether a content type is this one, whatever follows.
fn is_kind(kind: &HeaderValue, wanted: &str) -> bool {
    let head = kind.as_bytes().get(..wanted.len());
    head.is_some_and(|head| head.eq_ignore_ascii_case(wanted.as_bytes()))
}

/// A body that holds its request's permit until it ends, fails or is dropped.
#[pin_project]
#[derive(Debug)]
pub(crate) struct PermitBody<B, T: AsRef<ShedGate> + Send + Sync + 'static> {
    #[pin]
    inner: B,
    /// `None` once the body has ended, also when it had ended at the head.
    permit: Option<RequestPermit<T>>,
}

impl<B: Body, T: AsRef<ShedGate> + Send + Sync + 'static> PermitBody<B, T> {
    /// Takes the permit along, or ends it at once if there is no body to come.
    pub(crate) fn new(inner: B, mut permit: RequestPermit<T>) -> Self {
        if inner.is_end_stream() {
            permit.settle(Outcome::Done);
            return Self {
                inner,
                permit: None,
            };
        }
        let permit = permit.is_permit().then_some(permit);
        Self { inner, permit }
    }
}

impl<B: Body, T: AsRef<ShedGate> + Send + Sync + 'static> Body for PermitBody<B, T> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let Poll::Ready(frame) = this.inner.as_mut().poll_frame(cx) else {
            if let Some(permit) = this.permit {
                permit.waited_for();
            }
            return Poll::Pending;
        };
        let outcome = match &frame {
            // Hyper stops asking once the body says that it has ended, so the last frame
            // is the last chance to see the end as such.
            Some(Ok(_)) => this.inner.is_end_stream().then_some(Outcome::Done),
            Some(Err(_)) => Some(Outcome::Failed),
            None => Some(Outcome::Done),
        };
        if let Some(outcome) = outcome {
            if let Some(mut permit) = this.permit.take() {
                permit.settle(outcome);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Turns a body into axum's, boxing only where something must be kept beside it.
pub(crate) trait IntoAxum {
    fn into_axum(self) -> axum_core::body::Body;
}

impl IntoAxum for axum_core::body::Body {
    fn into_axum(self) -> axum_core::body::Body {
        self
    }
}

impl<B: IntoAxum> IntoAxum for GateBody<B> {
    fn into_axum(self) -> axum_core::body::Body {
        match self.0 {
            Made::Own(OwnBody::Text(text)) => axum_core::body::Body::new(text),
            Made::Own(stream) => axum_core::body::Body::new(stream),
            Made::Inside(inner) => inner.into_axum(),
        }
    }
}

impl<B, T> IntoAxum for PermitBody<B, T>
where
    T: AsRef<ShedGate> + Send + Sync + 'static,
    B: IntoAxum + Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum_core::BoxError>,
{
    fn into_axum(self) -> axum_core::body::Body {
        if self.permit.is_some() {
            axum_core::body::Body::new(self)
        } else {
            self.inner.into_axum()
        }
    }
}

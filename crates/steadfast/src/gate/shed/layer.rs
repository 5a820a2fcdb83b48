//! The gate as a tower layer.

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use steadfast_core::{ConfigError, Local, Outcome, Refusal, ShedGate, plumbing::SPENT_ONE_IN};
use tower_layer::Layer;

use super::{
    Shed, Shedder,
    body::{ShedBody, Sheds},
    stage::{self, Placed, ShedWait, Shedding},
};
use crate::{
    clock,
    gate::frame::{Decide, Decided, Framed, Gate},
    refusal::Explain,
    request::{
        body::{OwnBody, RequestPermit},
        head::RequestHead,
        measured::Measured,
    },
};

/// Refuses requests when as many run as may. Apply it anywhere in a tower stack.
#[derive(Clone, Debug)]
pub struct ShedLayer(Local<ShedOwner>);

/// The gate, and who answers those that it refuses.
#[derive(Debug)]
pub(crate) struct ShedOwner {
    shedder: Shedder,
    explain: Explain,
}

impl AsRef<ShedGate> for ShedOwner {
    fn as_ref(&self) -> &ShedGate {
        self.shedder.gate()
    }
}

impl ShedLayer {
    /// Makes a layer with a gate of its own.
    ///
    /// # Errors
    /// Every fault of the settings.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "settings are made in place, as `Shed::fixed(64)`"
    )]
    pub fn new(shed: Shed, explain: Explain) -> Result<Self, ConfigError> {
        Ok(Self::with(Shedder::new(&shed)?, explain))
    }

    /// Makes a layer around a gate that others share.
    #[must_use]
    pub fn with(shedder: Shedder, explain: Explain) -> Self {
        Self(Local::new(ShedOwner { shedder, explain }))
    }

    /// Returns the operator's end.
    #[must_use]
    pub fn shedder(&self) -> Shedder {
        self.0.shedder.clone()
    }
}

impl<S> Layer<S> for ShedLayer {
    type Service = ShedService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Framed::new(inner, self.clone())
    }
}

/// See [`ShedLayer`].
pub type ShedService<S> = Framed<S, ShedLayer>;

impl Shedding for ShedOwner {
    type Manner = ();
    type Kept = ShedKept;

    fn shedder(&self) -> &Shedder {
        &self.shedder
    }

    fn keep(permit: RequestPermit<Self>, head: RequestHead, (): ()) -> ShedKept {
        ShedKept::new(permit, head)
    }

    fn refuse(
        &self,
        refusal: Refusal,
        _headers: &HeaderMap,
        head: &RequestHead,
        (): (),
    ) -> Response<OwnBody> {
        self.explain.answer(refusal, head).map(OwnBody::Text)
    }
}

/// What is kept of a request that runs.
#[derive(Debug)]
pub(crate) struct ShedKept {
    permit: RequestPermit<ShedOwner>,
    measured: Measured,
    /// Of one that is measured. In a box, because of few it is wanted.
    head: Option<Box<RequestHead>>,
}

impl ShedKept {
    fn new(permit: RequestPermit<ShedOwner>, head: RequestHead) -> Self {
        let drawn = fastrand::u32(..SPENT_ONE_IN) == 0;
        let measured = Measured::begin(&permit, drawn);
        let head = measured.is_measuring().then(|| Box::new(head));
        Self {
            permit,
            measured,
            head,
        }
    }

    fn exempt(owner: Local<ShedOwner>) -> Self {
        Self {
            permit: RequestPermit::exempt(owner),
            measured: Measured::default(),
            head: None,
        }
    }

    fn tell(&mut self, served: bool) {
        if let Some(head) = &self.head {
            self.measured.tell(&mut self.permit, head.path(), served);
        }
    }
}

/// A client that left before the answer says as well what it waited for.
impl Drop for ShedKept {
    fn drop(&mut self) {
        self.tell(false);
    }
}

impl Sheds for ShedLayer {
    type Owner = ShedOwner;
}

impl Gate for ShedLayer {
    type Body<B>
        = ShedBody<B>
    where
        B: Body<Data = Bytes>;
}

impl<S: Clone, A> Decide<S, A> for ShedLayer {
    type Kept = ShedKept;
    type Ticket = Placed<ShedOwner>;
    type Wait = ShedWait<S, A, ShedOwner>;

    #[inline]
    fn decide(&self, request: &mut Request<A>) -> Decided<ShedKept, Placed<ShedOwner>> {
        let shedder = &self.0.shedder;
        let class = shedder.classes().of(request);
        if class.is_exempt() {
            return Decided::Run(ShedKept::exempt(self.0.clone()));
        }
        let now = clock::now();
        let head = RequestHead::at(request, shedder.deadlines(), now);
        stage::ask(&self.0, request, &class, head, now, ())
    }

    fn wait(&self, placed: Placed<ShedOwner>, ready: &mut S, request: Request<A>) -> Self::Wait {
        ShedWait::new(placed, ready, request)
    }

    #[inline]
    fn calling<R>(kept: &mut ShedKept, call: impl FnOnce() -> R) -> R {
        kept.measured.calling(call)
    }

    #[inline]
    fn polling<R>(kept: &mut ShedKept, poll: impl FnOnce() -> R) -> R {
        kept.measured.polling(poll)
    }

    fn finish<B>(kept: &mut ShedKept, response: Response<B>) -> Response<ShedBody<B>>
    where
        B: Body<Data = Bytes>,
    {
        kept.tell(!response.status().is_server_error());
        let mut permit = kept.permit.take();
        permit.answered(response.status());
        // What is needed to refuse a stream is gone; without room among the streams it keeps
        // its place among the requests.
        let _ = permit.sort(response.headers(), response.body());
        response.map(|body| ShedBody::held(body, permit))
    }

    fn failed(kept: &mut ShedKept) {
        kept.tell(false);
        kept.permit.settle(Outcome::Failed);
    }

    fn own<B>(body: OwnBody) -> ShedBody<B>
    where
        B: Body<Data = Bytes>,
    {
        ShedBody::own(body)
    }
}

//! The layer that renders what handlers refused and marks what the application refused.

use std::{convert::Infallible, future::Pending};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use steadfast_core::plumbing::RefusedInside;
use tower_layer::Layer;

use super::frame::{Decide, Decided, Framed, Gate, Waited};
use crate::{
    refusal::Explain,
    request::{
        body::{GateBody, OwnBody},
        head::RequestHead,
    },
};

/// Renders refusals that come out of handlers, and marks the application's own 503s.
///
/// It belongs directly around the application, inside every gate.
#[derive(Clone, Debug, Default)]
pub struct ExplainLayer {
    explain: Explain,
}

impl ExplainLayer {
    /// Makes a layer that writes into this room's ledger.
    #[must_use]
    pub const fn new(explain: Explain) -> Self {
        Self { explain }
    }
}

impl<S> Layer<S> for ExplainLayer {
    type Service = ExplainService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Framed::new(inner, self.clone())
    }
}

/// See [`ExplainLayer`].
pub type ExplainService<S> = Framed<S, ExplainLayer>;

/// What the answer of a request is looked at with.
pub(crate) struct Kept {
    explain: Explain,
    head: RequestHead,
    /// In a box, because there hardly ever is one and the future moves with it.
    refused_inside: Option<Box<RefusedInside>>,
}

impl Gate for ExplainLayer {
    type Body<B>
        = GateBody<B>
    where
        B: Body<Data = Bytes>;
}

impl<S, A> Decide<S, A> for ExplainLayer {
    type Kept = Kept;
    type Ticket = Infallible;
    type Wait = Pending<Waited<S, A, Kept>>;

    fn decide(&self, request: &mut Request<A>) -> Decided<Kept, Infallible> {
        Decided::Run(Kept {
            explain: self.explain.clone(),
            head: RequestHead::of(request),
            refused_inside: None,
        })
    }

    fn wait(&self, ticket: Infallible, _ready: &mut S, _request: Request<A>) -> Self::Wait {
        match ticket {}
    }

    fn calling<R>(kept: &mut Kept, call: impl FnOnce() -> R) -> R {
        RefusedInside::collecting(SCOPE, &mut kept.refused_inside, call)
    }

    fn polling<R>(kept: &mut Kept, poll: impl FnOnce() -> R) -> R {
        RefusedInside::collecting(SCOPE, &mut kept.refused_inside, poll)
    }

    fn finish<B>(kept: &mut Kept, mut response: Response<B>) -> Response<GateBody<B>>
    where
        B: Body<Data = Bytes>,
    {
        let refused_inside = kept.refused_inside.take();
        match kept
            .explain
            .finish(&mut response, &kept.head, refused_inside)
        {
            Some(refusal) => refusal.map(|full| GateBody::own(OwnBody::Text(full))),
            None => response.map(GateBody::inside),
        }
    }

    fn failed(kept: &mut Kept) {
        kept.explain.failed(kept.refused_inside.take(), &kept.head);
    }

    fn own<B>(body: OwnBody) -> GateBody<B>
    where
        B: Body<Data = Bytes>,
    {
        GateBody::own(body)
    }
}

/// An explain layer, as whoever polls. A guard has a number of its own.
const SCOPE: usize = 1;

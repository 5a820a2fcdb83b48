//! The body of an answer that went through the load-shedding gate.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

use super::{ShedLayer, stage::Shedding};
use crate::request::body::{GateBody, IntoAxum, OwnBody, PermitBody, RequestPermit};

/// A layer whose requests hold a permit of the load-shedding gate.
pub(crate) trait Sheds {
    /// Whom the permits belong to.
    type Owner: Shedding + fmt::Debug;
}

/// The body of a response: a gate's own words, or the service's body, which holds its permit
/// to the end. `G` is the layer that asked the gate.
#[pin_project]
#[derive(Debug)]
#[expect(private_bounds, reason = "the gates are this crate's own")]
pub struct ShedBody<B, G: Sheds = ShedLayer>(#[pin] GateBody<PermitBody<B, G::Owner>>);

#[expect(private_bounds, reason = "the gates are this crate's own")]
impl<B, G: Sheds> ShedBody<B, G> {
    /// A gate's own words.
    pub(crate) const fn own(body: OwnBody) -> Self {
        Self(GateBody::own(body))
    }

    /// The service's body, which holds its permit to the end.
    pub(crate) fn held(body: B, permit: RequestPermit<G::Owner>) -> Self
    where
        B: Body,
    {
        Self(GateBody::inside(PermitBody::new(body, permit)))
    }
}

impl<B: Body<Data = Bytes>, G: Sheds> Body for ShedBody<B, G> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.project().0.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl<G: Sheds> IntoAxum for ShedBody<axum_core::body::Body, G> {
    fn into_axum(self) -> axum_core::body::Body {
        self.0.into_axum()
    }
}

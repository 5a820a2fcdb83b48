//! The body of what a guard answers.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

use super::service::Gates;
use crate::request::body::{GateBody, IntoAxum, OwnBody, PermitBody, RequestPermit};

/// The body of a guarded response: a gate's own words, or the application's body, which
/// holds its permit to the end.
#[pin_project]
#[derive(Debug)]
pub struct GuardBody<B>(#[pin] GateBody<PermitBody<B, Gates>>);

impl<B> GuardBody<B> {
    /// The application's body, which holds its permit to the end.
    pub(super) fn held(body: B, permit: RequestPermit<Gates>) -> Self
    where
        B: Body,
    {
        Self(GateBody::inside(PermitBody::new(body, permit)))
    }

    /// The guard's own words.
    pub(super) const fn own(body: OwnBody) -> Self {
        Self(GateBody::own(body))
    }
}

impl<B: Body<Data = Bytes>> Body for GuardBody<B> {
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

impl IntoAxum for GuardBody<axum_core::body::Body> {
    fn into_axum(self) -> axum_core::body::Body {
        self.0.into_axum()
    }
}

//! The body of what the guard's own paths answer: a text, or a stream of events.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project::pin_project;

use crate::request::body::Telling;

/// See the module.
#[pin_project(project = SaidProjection)]
#[derive(Debug)]
pub(crate) enum Said {
    Text(#[pin] Full<Bytes>),
    Stream(#[pin] Telling),
}

impl Said {
    pub(crate) fn text(response: Response<Full<Bytes>>) -> Response<Self> {
        response.map(Self::Text)
    }
}

impl Body for Said {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.project() {
            SaidProjection::Text(text) => text.poll_frame(cx),
            SaidProjection::Stream(stream) => stream.poll_frame(cx),
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

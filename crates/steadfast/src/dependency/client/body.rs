//! Answers that are judged when their body has ended.

use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use steadfast_core::CallOutcome;

use crate::dependency::{
    CallError, Permit,
    call::{Conclude, Ended, Judged, conclude_once},
    classifier::{Classify, FAILED, GRPC_STATUS},
    permit::PanicFails,
};

/// Answers are judged at the end of their body: see
/// [`BreakerLayer::judge_bodies`](super::BreakerLayer::judge_bodies).
///
/// Complete: it is a word for the compiler, and nobody has one.
#[derive(Clone, Copy, Debug)]
pub enum AtEnd {}

impl<B: Body, E, C> Judged<Response<B>, E, C> for AtEnd {
    type Answer = Response<CallBody<B, C, E>>;
}

impl<B, E, C> Conclude<Response<B>, E, C> for AtEnd
where
    B: Body,
    E: fmt::Display,
    C: Classify<Response<B>, E>,
{
    fn conclude(
        permit: Permit,
        classify: C,
        ended: Ended<Response<B>, E>,
    ) -> Result<Self::Answer, CallError<E>> {
        match ended.result {
            Ok(Ok(response)) if classify.classify(Ok(&response)) == CallOutcome::Success => {
                let (head, body) = response.into_parts();
                // A gRPC answer without a body has its status in its head.
                let told = head.headers.contains_key(GRPC_STATUS);
                let body = CallBody::new(body, permit, classify, told);
                Ok(Response::from_parts(head, body))
            }
            // The head has said it all.
            result => {
                let ended = Ended { result, ..ended };
                conclude_once(permit, &classify, ended)
                    .map(|response| response.map(CallBody::settled))
            }
        }
    }
}

/// The body of an answer, which keeps its call's permit until it has ended.
#[pin_project]
pub struct CallBody<B, C, E> {
    #[pin]
    inner: B,
    /// `None` once the call is settled.
    kept: Option<(Permit, C)>,
    /// The error of the client that made the answer; its judge is chosen by it.
    client: PhantomData<fn() -> E>,
}

impl<B: Body, C: Classify<Response<B>, E>, E> CallBody<B, C, E> {
    /// `told` is whether the head has said how the call went.
    fn new(inner: B, permit: Permit, classify: C, told: bool) -> Self {
        let mut body = Self {
            inner,
            kept: Some((permit, classify)),
            client: PhantomData,
        };
        if told {
            if let Some((permit, _)) = body.kept.take() {
                permit.succeed();
            }
        } else if body.inner.is_end_stream() {
            settle(&mut body.kept, None);
        } else if let Some((permit, _)) = &mut body.kept {
            // It may be a stream: from here on it goes on, and does not hang.
            permit.answered();
        }
        body
    }

    const fn settled(inner: B) -> Self {
        Self {
            inner,
            kept: None,
            client: PhantomData,
        }
    }
}

/// Settles by the end of the body.
fn settle<B, C, E>(kept: &mut Option<(Permit, C)>, trailers: Option<&HeaderMap>)
where
    C: Classify<Response<B>, E>,
{
    let Some((permit, classify)) = kept.take() else {
        return;
    };
    match classify.end_of_body(CallOutcome::Success, trailers) {
        CallOutcome::Failure(failure) => {
            let status = trailers.and_then(|trailers| trailers.get("grpc-status"));
            let text = match status {
                Some(status) => format!("grpc-status {status:?}"),
                None => "the answer's end counts as a failure".to_owned(),
            };
            permit.fail(failure, &text);
        }
        outcome => permit.settle(outcome),
    }
}

impl<B, C, E> Body for CallBody<B, C, E>
where
    B: Body,
    B::Error: fmt::Display,
    C: Classify<Response<B>, E>,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = PanicFails::watch(this.kept, || this.inner.as_mut().poll_frame(cx));
        let frame = ready!(frame);
        match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    settle::<B, C, E>(this.kept, Some(trailers));
                } else if this.inner.is_end_stream() {
                    // Whoever reads stops asking once the body says that it has ended.
                    settle::<B, C, E>(this.kept, None);
                }
            }
            Some(Err(error)) => {
                if let (Some((permit, _)), CallOutcome::Failure(failure)) =
                    (this.kept.take(), FAILED)
                {
                    permit.fail(failure, error);
                }
            }
            None => settle::<B, C, E>(this.kept, None),
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

impl<B: fmt::Debug, C, E> fmt::Debug for CallBody<B, C, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallBody")
            .field("inner", &self.inner)
            .field("settled", &self.kept.is_none())
            .finish()
    }
}

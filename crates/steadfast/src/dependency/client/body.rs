//! The breaker around an outbound client whose answers are judged when they have ended.

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use steadfast_core::{CallOutcome, Refusal};
use tower_layer::Layer;
use tower_service::Service;

use super::late::{Asked, Asking, Late};
use crate::dependency::classifier::{Classify, FAILED, GRPC_STATUS};
use crate::dependency::{
    CallError, Dependency, Permit, call::conclude, permit::PanicFails, within::Within,
};

/// A [`super::BreakerLayer`] that judges answers at the end of their body.
///
/// A body that ends well is judged by its trailers, one that breaks off has failed, and one
/// that the caller drops half-way is *abandoned*, which is no evidence: the head was there.
/// Its time is that of the head, so a stream that stays open for hours is neither slow nor
/// does it hang. A probe has succeeded with its head, unless its body ends badly while the
/// breaker still probes.
#[derive(Clone, Debug)]
pub struct BodyBreakerLayer<C> {
    dependency: Dependency,
    classify: C,
}

impl<C> BodyBreakerLayer<C> {
    pub(super) const fn new(dependency: Dependency, classify: C) -> Self {
        Self {
            dependency,
            classify,
        }
    }
}

impl<S, C: Clone> Layer<S> for BodyBreakerLayer<C> {
    type Service = BodyBreakerService<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        BodyBreakerService {
            inner: Asked::new(inner),
            dependency: self.dependency.clone(),
            classify: self.classify.clone(),
        }
    }
}

/// See [`BodyBreakerLayer`].
#[derive(Clone, Debug)]
pub struct BodyBreakerService<S, C> {
    inner: Asked<S>,
    dependency: Dependency,
    classify: C,
}

impl<S, C> BodyBreakerService<S, C> {
    /// Returns the client inside.
    #[must_use]
    pub const fn get_ref(&self) -> &S {
        &self.inner.client
    }

    /// Returns the client inside, to change it.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner.client
    }

    /// Returns the client inside and drops what is around it.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.inner.client
    }
}

impl<S, C, R, B> Service<R> for BodyBreakerService<S, C>
where
    S: Service<R, Response = Response<B>> + Clone,
    S::Error: fmt::Display,
    C: Classify<Response<B>, S::Error> + Clone,
    B: Body,
{
    type Response = Response<CallBody<B, C, S::Error>>;
    type Error = CallError<S::Error>;
    type Future = BodyBreakerFuture<S, R, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(&self.dependency, cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let state = match self.inner.ask(&self.dependency) {
            Asking::Ready(Ok(permit)) => State::Running {
                inner: Within::new(
                    self.inner.call(request),
                    self.dependency.state().call_timeout(),
                ),
                kept: Some((permit, self.classify.clone())),
            },
            Asking::Ready(Err(refusal)) => State::Refused(Some(refusal)),
            Asking::Late => {
                let late = self.inner.late(&self.dependency, request);
                State::Late(late, Some(self.classify.clone()))
            }
        };
        BodyBreakerFuture { state }
    }
}

/// See [`BodyBreakerLayer`].
#[pin_project]
pub struct BodyBreakerFuture<S: Service<R>, R, C> {
    #[pin]
    state: State<S, R, C>,
}

#[pin_project(project = StateProjection)]
enum State<S: Service<R>, R, C> {
    Refused(Option<Refusal>),
    Late(Box<Late<S, R>>, Option<C>),
    Running {
        #[pin]
        inner: Within<S::Future>,
        kept: Option<(Permit, C)>,
    },
}

impl<S: Service<R>, R, C> fmt::Debug for BodyBreakerFuture<S, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyBreakerFuture").finish_non_exhaustive()
    }
}

impl<S, R, B, C> Future for BodyBreakerFuture<S, R, C>
where
    S: Service<R, Response = Response<B>>,
    S::Error: fmt::Display,
    C: Classify<Response<B>, S::Error>,
    B: Body,
{
    type Output = Result<Response<CallBody<B, C, S::Error>>, CallError<S::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        if let StateProjection::Late(late, classify) = state.as_mut().project() {
            let limit = late.call_timeout();
            let (future, permit) = ready!(late.poll(cx))?;
            let classify = classify.take().expect("a late call begins once");
            state.set(State::Running {
                inner: Within::new(future, limit),
                kept: Some((permit, classify)),
            });
        }
        let (inner, kept) = match state.project() {
            StateProjection::Running { inner, kept } => (inner, kept),
            StateProjection::Refused(refusal) => {
                let refusal = refusal.take();
                let refusal = refusal.expect("a future is not polled after it is ready");
                return Poll::Ready(Err(CallError::Refused(refusal)));
            }
            StateProjection::Late(..) => return Poll::Pending,
        };
        let Poll::Ready(ended) = PanicFails::watch(kept, || inner.poll(cx)) else {
            if let Some((permit, _)) = kept {
                permit.waits();
            }
            return Poll::Pending;
        };
        let (permit, classify) = kept
            .take()
            .expect("a future is not polled after it is ready");
        Poll::Ready(match ended {
            Ok(Ok(response)) if classify.classify(Ok(&response)) == CallOutcome::Success => {
                let (head, body) = response.into_parts();
                // A gRPC answer without a body has its status in its head.
                let told = head.headers.contains_key(GRPC_STATUS);
                let body = CallBody::new(body, permit, classify, told);
                Ok(Response::from_parts(head, body))
            }
            // The head has said it all.
            ended => {
                conclude(permit, &classify, ended).map(|response| response.map(CallBody::settled))
            }
        })
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

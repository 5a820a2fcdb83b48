//! The gate in front of the routes that need a dependency.

use std::{convert::Infallible, future::Pending};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;

use super::frame::{Decide, Decided, Framed, Gate, Waited};
use crate::{
    clock,
    dependency::Dependency,
    refusal::{self, Explain},
    request::{
        body::{GateBody, OwnBody},
        head::RequestHead,
    },
};

/// Refuses requests at once while a dependency that they need is down. Made by
/// [`Dependency::gate`], for `Router::route_layer`, one route, or any tower server.
///
/// It only looks: while the breaker is open it refuses, and while it probes, if no probe
/// may start. It takes no permit, so the handler must make its calls through the
/// dependency. The refusal is rendered by the guard or [`crate::ExplainLayer`] around it.
#[derive(Clone, Debug)]
pub struct DependencyGate {
    dependency: Dependency,
    explain: Option<Explain>,
}

impl DependencyGate {
    pub(crate) const fn new(dependency: Dependency) -> Self {
        Self {
            dependency,
            explain: None,
        }
    }

    /// Renders and writes down the refusals itself: for a stack without a guard and without
    /// an explain layer.
    #[must_use]
    pub fn explained_by(mut self, explain: Explain) -> Self {
        self.explain = Some(explain);
        self
    }
}

impl Dependency {
    /// Returns a layer for the routes that need this dependency: it refuses requests at
    /// once while no call would pass. It only looks and takes no permit; the handler's
    /// [`Dependency::call`] takes one.
    #[must_use]
    pub fn gate(&self) -> DependencyGate {
        DependencyGate::new(self.clone())
    }
}

impl<S> Layer<S> for DependencyGate {
    type Service = DependencyGateService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Framed::new(inner, self.clone())
    }
}

/// See [`DependencyGate`].
pub type DependencyGateService<S> = Framed<S, DependencyGate>;

impl Gate for DependencyGate {
    type Body<B>
        = GateBody<B>
    where
        B: Body<Data = Bytes>;
}

impl<S, A> Decide<S, A> for DependencyGate {
    type Kept = ();
    type Ticket = Infallible;
    type Wait = Pending<Waited<S, A, ()>>;

    fn decide(&self, request: &mut Request<A>) -> Decided<(), Infallible> {
        let Some(refusal) = self.dependency.state().refusal(clock::now()) else {
            return Decided::Run(());
        };
        let answer = match &self.explain {
            Some(explain) => explain.answer(refusal, &RequestHead::of(request)),
            None => refusal::hand_over(refusal),
        };
        Decided::Own(answer.map(OwnBody::Text))
    }

    fn wait(&self, ticket: Infallible, _ready: &mut S, _request: Request<A>) -> Self::Wait {
        match ticket {}
    }

    fn finish<B>((): &mut (), response: Response<B>) -> Response<GateBody<B>>
    where
        B: Body<Data = Bytes>,
    {
        response.map(GateBody::inside)
    }

    fn own<B>(body: OwnBody) -> GateBody<B>
    where
        B: Body<Data = Bytes>,
    {
        GateBody::own(body)
    }
}

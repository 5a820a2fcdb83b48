//! A request that came before the first round of checks was over, and waits for it.
//!
//! The gate has decided in `call` that it waits, before anything of its body was read; the
//! body is untouched while it does. The service is taken along as it was polled ready, and
//! its caller is left with a clone, so both keep to tower's contract.
//!
//! Nothing here looks again and again: the lifecycle wakes everybody when it changes, and
//! one timer ends the wait. Dropped at any moment, the place in the room is free at once.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use http::Request;
use pin_project::pin_project;
use steadfast_core::{Refusal, plumbing::StartTicket};
use tokio::time::Sleep;

use crate::clock;

/// See the module. In a box wherever it is kept: there is none but in a process's first
/// moments, and every future of its life would carry the room for one.
#[pin_project]
#[derive(Debug)]
pub(crate) struct Early<S, A> {
    ticket: StartTicket,
    came: Instant,
    /// Armed by the first poll, which knows a runtime; `call` may not.
    #[pin]
    timer: Option<Sleep>,
    /// `None` once it has been told.
    kept: Option<(S, Request<A>)>,
}

/// A request whose wait is over.
#[derive(Debug)]
pub(crate) struct Awaited<S, A> {
    pub(crate) decided: Result<(), Refusal>,
    pub(crate) service: S,
    pub(crate) request: Request<A>,
    /// When it came: its deadline counts from then.
    pub(crate) came: Instant,
}

impl<S: Clone, A> Early<S, A> {
    /// Takes the service that was polled ready, and leaves a clone that was not.
    pub(crate) fn new(
        ticket: StartTicket,
        ready: &mut S,
        request: Request<A>,
        came: Instant,
    ) -> Pin<Box<Self>> {
        let clone = ready.clone();
        Box::pin(Self {
            ticket,
            came,
            timer: None,
            kept: Some((std::mem::replace(ready, clone), request)),
        })
    }
}

impl<S, A> Future for Early<S, A> {
    type Output = Awaited<S, A>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Awaited<S, A>> {
        let mut this = self.project();
        let decided = loop {
            if let Poll::Ready(decided) = this.ticket.poll(cx.waker(), clock::now()) {
                break decided;
            }
            if this.timer.is_none() {
                let until = tokio::time::Instant::from_std(this.ticket.until());
                this.timer.set(Some(tokio::time::sleep_until(until)));
            }
            // Armed before it is left, and asked once more if it has run out meanwhile.
            match this.timer.as_mut().as_pin_mut().map(|timer| timer.poll(cx)) {
                Some(Poll::Ready(())) => this.timer.set(None),
                _ => return Poll::Pending,
            }
        };
        this.timer.set(None);
        let (service, request) = this
            .kept
            .take()
            .expect("a future is not polled after it is ready");
        Poll::Ready(Awaited {
            decided,
            service,
            request,
            came: *this.came,
        })
    }
}

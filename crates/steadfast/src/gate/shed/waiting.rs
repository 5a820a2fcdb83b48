//! A request that waits for a permit, with all that is needed to run it when its turn comes.
//!
//! The gate has decided in `call` that it waits, before anything of its body was read; the
//! body is untouched while it does. The service is taken along as it was polled ready, and
//! its caller is left with a clone, so both keep to tower's contract.
//!
//! Dropped at any moment (a client that left, a server that closes), the place in the queue
//! is free at once, and a permit that was just given goes to the next.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::Request;
use pin_project::pin_project;
use steadfast_core::{
    Deadline, Local, Refusal, ShedGate, ShedPermit, ShedTicket, plumbing::Streams,
};
use tokio::time::Sleep;

use crate::clock;

/// See the module.
#[pin_project]
#[derive(Debug)]
pub(crate) struct Waiting<S, A, T: AsRef<ShedGate> + Send + Sync + 'static> {
    ticket: ShedTicket<T>,
    deadline: Option<Deadline>,
    streams: Streams,
    /// Armed by the first poll, which knows a runtime; `call` may not.
    #[pin]
    timer: Option<Sleep>,
    /// `None` once the turn has come.
    kept: Option<(S, Request<A>)>,
}

/// A request whose turn has come.
#[derive(Debug)]
pub(crate) struct Resumed<S, A, T: AsRef<ShedGate> + Send + Sync + 'static> {
    pub(crate) decided: Result<ShedPermit<T>, Refusal>,
    pub(crate) service: S,
    pub(crate) request: Request<A>,
    pub(crate) deadline: Option<Deadline>,
    pub(crate) streams: Streams,
}

impl<S: Clone, A, T: AsRef<ShedGate> + Send + Sync + 'static> Waiting<S, A, T> {
    /// Takes the service that was polled ready, and leaves a clone that was not.
    pub(crate) fn new(
        ticket: ShedTicket<T>,
        ready: &mut S,
        request: Request<A>,
        deadline: Option<Deadline>,
        streams: Streams,
    ) -> Self {
        let clone = ready.clone();
        Self {
            ticket,
            deadline,
            streams,
            timer: None,
            kept: Some((std::mem::replace(ready, clone), request)),
        }
    }
}

impl<S, A, T: AsRef<ShedGate> + Send + Sync + 'static> Waiting<S, A, T> {
    /// Returns what the ticket was made from.
    pub(crate) fn owner(self: Pin<&mut Self>) -> Local<T> {
        self.ticket.owner().clone()
    }

    /// Waits for the turn, or until `open` says that there will be none.
    pub(crate) fn poll(
        self: Pin<&mut Self>,
        open: impl Fn() -> Result<(), Refusal>,
        cx: &mut Context<'_>,
    ) -> Poll<Resumed<S, A, T>> {
        let mut this = self.project();
        let (_, request) = this
            .kept
            .as_ref()
            .expect("a future is not polled after it is ready");
        let path = request.uri().path();
        let decided = loop {
            // What began while it waited goes before what it waited for.
            if let Err(refusal) = open() {
                break Err(refusal);
            }
            let asked = this.ticket.poll(path, cx.waker(), clock::now());
            if let Poll::Ready(decided) = asked {
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
        Poll::Ready(Resumed {
            decided,
            service,
            request,
            deadline: *this.deadline,
            streams: *this.streams,
        })
    }
}

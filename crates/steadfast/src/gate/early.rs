//! A request that came before the first round of checks was over, and waits for it. Dropped at
//! any moment, its place in the room is free at once.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use http::Request;
use pin_project::pin_project;
use steadfast_core::{Refusal, plumbing::StartTicket};

use super::frame::{Alarm, Parked};
use crate::clock;

/// See the module. In a box wherever it is kept: there is none but in a process's first
/// moments, and every future of its life would carry the room for one.
#[pin_project]
pub(crate) struct Early<S, A> {
    ticket: StartTicket,
    came: Instant,
    #[pin]
    alarm: Alarm,
    parked: Parked<S, A>,
}

/// A request whose wait is over.
pub(crate) struct Awaited<S, A> {
    pub(crate) decided: Result<(), Refusal>,
    pub(crate) service: S,
    pub(crate) request: Request<A>,
    /// When it came: its deadline counts from then.
    pub(crate) came: Instant,
}

impl<S: Clone, A> Early<S, A> {
    pub(crate) fn new(
        ticket: StartTicket,
        ready: &mut S,
        request: Request<A>,
        came: Instant,
    ) -> Pin<Box<Self>> {
        Box::pin(Self {
            ticket,
            came,
            alarm: Alarm::default(),
            parked: Parked::new(ready, request),
        })
    }
}

impl<S, A> Future for Early<S, A> {
    type Output = Awaited<S, A>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Awaited<S, A>> {
        let this = self.project();
        let ticket = this.ticket;
        let polled = this
            .alarm
            .poll(cx, |cx| match ticket.poll(cx.waker(), clock::now()) {
                Poll::Ready(decided) => Ok(decided),
                Poll::Pending => Err(ticket.until()),
            });
        polled.map(|decided| {
            let (service, request) = this.parked.take();
            Awaited {
                decided,
                service,
                request,
                came: *this.came,
            }
        })
    }
}

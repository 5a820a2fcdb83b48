//! The way of a request through the load-shedding gate: it waits for a place in the queue,
//! stands in line while the runtime is late, and runs. [`crate::ShedLayer`] and the guard go
//! through the same.
//!
//! Dropped at any moment (a client that left, a server that closes), the place in the queue
//! is free at once, and a permit that was just given goes to the next.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use http::{HeaderMap, Request, Response};
use pin_project::pin_project;
use steadfast_core::{
    Deadline, Decision, Local, Refusal, ShedGate, ShedTicket,
    plumbing::{RouteClass, Streams},
};

use super::Shedder;
use crate::{
    clock,
    gate::frame::{Alarm, Decided, Parked, Waited},
    request::{
        body::{OwnBody, RequestPermit},
        head::RequestHead,
    },
};

/// Whoever asks the load-shedding gate for its requests.
pub(crate) trait Shedding: AsRef<ShedGate> + Send + Sync + Sized + 'static {
    /// What it knows of a request beside its head.
    type Manner: Copy;
    /// What it keeps of a request that runs.
    type Kept;

    /// Returns the gate, and who tells its requests apart.
    fn shedder(&self) -> &Shedder;

    /// Makes what is kept of a request that has a permit.
    fn keep(permit: RequestPermit<Self>, head: RequestHead, manner: Self::Manner) -> Self::Kept;

    /// Answers a request with these headers that is refused.
    fn refuse(
        &self,
        refusal: Refusal,
        headers: &HeaderMap,
        head: &RequestHead,
        manner: Self::Manner,
    ) -> Response<OwnBody>;

    /// Whether requests that wait for a place may still have one.
    #[inline]
    fn still_open(&self) -> Result<(), Refusal> {
        Ok(())
    }
}

/// Asks for a place, for a request that came `now`.
#[inline]
pub(crate) fn ask<A, T: Shedding>(
    owner: &Local<T>,
    request: &Request<A>,
    class: &RouteClass,
    head: RequestHead,
    now: Instant,
    manner: T::Manner,
) -> Decided<T::Kept, Placed<T>> {
    let streams = class.streams();
    let shed = owner.shedder().state();
    let place = match shed.admit(owner, request, class, head.deadline, now) {
        // The permit is made first: if `call` panics, its drop gives it back.
        Decision::Admit(permit) => {
            let permit = RequestPermit::new(permit, streams);
            if !permit.is_in_line() {
                return Decided::Run(T::keep(permit, head, manner));
            }
            Place::Lined { permit, head }
        }
        Decision::Wait(ticket) => Place::Queued {
            ticket,
            deadline: head.deadline,
            streams,
            alarm: Alarm::default(),
        },
        Decision::Refuse(refusal) => {
            return Decided::Own(owner.refuse(refusal, request.headers(), &head, manner));
        }
        _ => unreachable!("this gate admits, lets wait or refuses"),
    };
    Decided::Wait(Placed { place, manner })
}

/// Where a request stands that has no place yet, or no turn.
pub(crate) struct Placed<T: Shedding> {
    place: Place<T>,
    manner: T::Manner,
}

/// A request that has no place yet, or no turn.
#[pin_project]
pub(crate) struct ShedWait<S, A, T: Shedding> {
    #[pin]
    place: Place<T>,
    parked: Parked<S, A>,
    manner: T::Manner,
}

#[pin_project(project = PlaceProjection)]
enum Place<T: Shedding> {
    Queued {
        ticket: ShedTicket<T>,
        deadline: Option<Deadline>,
        streams: Streams,
        #[pin]
        alarm: Alarm,
    },
    /// It has a permit and stands in line. The service has not been called: it may do its work
    /// in `call`, and what is refused at its turn must not have been done.
    Lined {
        permit: RequestPermit<T>,
        head: RequestHead,
    },
}

impl<S: Clone, A, T: Shedding> ShedWait<S, A, T> {
    pub(crate) fn new(placed: Placed<T>, ready: &mut S, request: Request<A>) -> Self {
        Self {
            place: placed.place,
            parked: Parked::new(ready, request),
            manner: placed.manner,
        }
    }
}

impl<S, A, T: Shedding> Future for ShedWait<S, A, T> {
    type Output = Waited<S, A, T::Kept>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let manner = *this.manner;
        if let PlaceProjection::Queued {
            ticket,
            deadline,
            streams,
            alarm,
        } = this.place.as_mut().project()
        {
            let request = this.parked.request();
            let owner = ticket.owner().clone();
            let decided = ready!(alarm.poll(cx, |cx| {
                // What began while it waited goes before what it waited for.
                if let Err(refusal) = owner.still_open() {
                    return Ok(Err(refusal));
                }
                match ticket.poll(request.uri().path(), cx.waker(), clock::now()) {
                    Poll::Ready(decided) => Ok(decided),
                    Poll::Pending => Err(ticket.until()),
                }
            }));
            let mut head = RequestHead::of(request);
            head.deadline = *deadline;
            let permit = match decided {
                Ok(permit) => RequestPermit::new(permit, *streams),
                Err(refusal) => {
                    let answer = owner.refuse(refusal, request.headers(), &head, manner);
                    return Poll::Ready(Waited::Own(answer));
                }
            };
            if !permit.is_in_line() {
                let (service, request) = this.parked.take();
                return Poll::Ready(Waited::Run(T::keep(permit, head, manner), service, request));
            }
            this.place.set(Place::Lined { permit, head });
        }
        let PlaceProjection::Lined { permit, head } = this.place.project() else {
            unreachable!("it has just been lined up")
        };
        Poll::Ready(match ready!(permit.poll_turn(cx)) {
            Ok(()) => {
                let kept = T::keep(permit.take(), head.clone(), manner);
                let (service, request) = this.parked.take();
                Waited::Run(kept, service, request)
            }
            Err(refusal) => {
                let owner = permit.owner().expect("it is held until its turn");
                let headers = this.parked.request().headers();
                let answer = owner.refuse(refusal, headers, head, manner);
                permit.dismiss();
                Waited::Own(answer)
            }
        })
    }
}

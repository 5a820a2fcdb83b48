//! What the guard keeps of a request that runs, and what it makes of the application's answer.

use bytes::Bytes;
use http::Response;
use http_body::Body;
use steadfast_core::{Outcome, Refusal, plumbing::RefusedInside};

use super::{Gates, GuardBody};
use crate::{
    drain::here,
    instance::traffic,
    request::{
        body::{OwnBody, RequestPermit},
        head::RequestHead,
        measured::Measured,
    },
};

/// What is known of a request beside its head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(super) http1: bool,
    /// Whether its route's answers are waited for when the process leaves.
    pub(super) finishes: bool,
    /// Whether the same guard, further out, has let it in already.
    aside: bool,
}

impl Manner {
    pub(super) const fn of(http1: bool) -> Self {
        Self {
            http1,
            finishes: false,
            aside: false,
        }
    }
}

/// See the module.
pub(crate) struct Kept {
    permit: RequestPermit<Gates>,
    head: RequestHead,
    manner: Manner,
    /// In a box, because there hardly ever is one and the future moves with it.
    refused_inside: Option<Box<RefusedInside>>,
    /// Whether it is the one in sixteen that is looked at.
    drawn: bool,
    measured: Measured,
}

impl Kept {
    #[inline]
    pub(super) fn new(permit: RequestPermit<Gates>, head: RequestHead, manner: Manner) -> Self {
        let drawn = permit.began().is_some() && traffic::is_drawn();
        let measured = Measured::begin(&permit, drawn);
        Self {
            permit,
            head,
            manner,
            refused_inside: None,
            drawn,
            measured,
        }
    }

    /// Of a request that passes untouched.
    pub(super) fn aside(permit: RequestPermit<Gates>, head: RequestHead) -> Self {
        let mut manner = Manner::of(false);
        manner.aside = true;
        Self::new(permit, head, manner)
    }

    #[inline]
    pub(super) fn calling<R>(&mut self, call: impl FnOnce() -> R) -> R {
        if self.manner.aside {
            return call();
        }
        let scope = gates_of(&self.permit).scope();
        let measured = &mut self.measured;
        let call = || measured.calling(call);
        RefusedInside::collecting(scope, &mut self.refused_inside, call)
    }

    #[inline]
    pub(super) fn polling<R>(&mut self, poll: impl FnOnce() -> R) -> R {
        if self.manner.aside {
            return poll();
        }
        let gates = gates_of(&self.permit);
        let inside = &mut self.refused_inside;
        let measured = &mut self.measured;
        let poll = || {
            here(&gates.drain, self.manner.finishes, || {
                RefusedInside::collecting(gates.scope(), inside, || measured.polling(poll))
            })
        };
        match self.head.deadline {
            Some(deadline) => deadline.during(poll),
            None => poll(),
        }
    }

    /// Makes the guarded response of the application's.
    #[inline]
    pub(super) fn finish<B>(&mut self, mut response: Response<B>) -> Response<GuardBody<B>>
    where
        B: Body<Data = Bytes>,
    {
        // Taken out, it is given back if anything here panics.
        let mut permit = self.permit.take();
        let Manner { http1, aside, .. } = self.manner;
        if aside {
            return response.map(|body| GuardBody::held(body, permit));
        }
        let gates = gates_of(&permit);
        let refused_inside = self.refused_inside.take();
        let refusal = gates
            .explain
            .finish(&mut response, &self.head, refused_inside);
        let served = refusal.is_none() && !response.status().is_server_error();
        self.measured.tell(&mut permit, self.head.path(), served);
        let gates = gates_of(&permit);
        if let Some(refusal) = refusal {
            let answer = gates.own(refusal.map(OwnBody::Text), http1);
            permit.dismiss();
            return answer.map(GuardBody::own);
        }
        gates.cors.answered(response.headers());
        permit.answered(response.status());
        if let Err(refusal) = permit.sort(response.headers(), response.body()) {
            return self.refuse_stream(refusal, permit);
        }
        let gates = gates_of(&permit);
        if self.drawn {
            if let Some(began) = permit.began() {
                gates.measure_head(began);
            }
        }
        gates.say_leaving(&mut response, http1);
        response.map(|body| GuardBody::held(body, permit))
    }

    /// Answers a request whose answer is a stream that has no place.
    #[cold]
    fn refuse_stream<B>(
        &self,
        refusal: Refusal,
        mut permit: RequestPermit<Gates>,
    ) -> Response<GuardBody<B>> {
        let gates = gates_of(&permit);
        let answer = gates.explain.answer(refusal, &self.head);
        let answer = gates.own(answer.map(OwnBody::Text), self.manner.http1);
        permit.dismiss();
        answer.map(GuardBody::own)
    }

    /// Hears that the application has failed.
    pub(super) fn failed(&mut self) {
        let mut permit = self.permit.take();
        self.measured.tell(&mut permit, self.head.path(), false);
        if let Some(refused) = self.refused_inside.take() {
            gates_of(&permit).explain.failed(Some(refused), &self.head);
        }
        permit.settle(Outcome::Failed);
    }
}

/// A client that left before the answer says as well what it waited for.
impl Drop for Kept {
    #[inline]
    fn drop(&mut self) {
        if self.measured.is_measuring() {
            self.measured
                .tell(&mut self.permit, self.head.path(), false);
        }
    }
}

#[inline]
fn gates_of(permit: &RequestPermit<Gates>) -> &Gates {
    permit
        .owner()
        .expect("a permit is held until the response is made")
}

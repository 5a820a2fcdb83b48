//! How a request that stands in line waits for its turn: its waker goes to the runtime, which
//! wakes it when everything that is ready has run and the sockets have been looked at.
//!
//! It may be polled before that. The future of a connection polls its requests whenever anything
//! concerns the connection: a timer that has fired, another event of the socket, a combinator that
//! polls all it holds. A request that took such a poll for its turn would begin although nobody
//! has looked at anything, and where answers to refused clients are delayed each of their
//! connections has such a timer: threads that went from one request to the next did not look at
//! their sockets for half a second. So beside the request's waker the runtime is given one of ours,
//! which counts the looks of this thread; the turn has come when that count has gone on.

use std::{
    array,
    future::Future,
    pin::pin,
    sync::{Arc, LazyLock},
    task::{Context, Wake, Waker},
};

use steadfast_core::plumbing::{
    Counter,
    stripe::{self, STRIPES},
};
use tokio::runtime::Handle;

/// How often the runtime came back to the threads of each stripe. Two threads that share one may
/// see each other's look as their own.
static LOOKS: LazyLock<Counter> = LazyLock::new(Counter::new);

/// Those who count them, one for each stripe.
static LOOKING: LazyLock<[Waker; STRIPES]> =
    LazyLock::new(|| array::from_fn(|stripe| Waker::from(Arc::new(Looking { stripe }))));

/// Padded: each is counted by all who share it, with every request that gives way.
#[repr(align(128))]
struct Looking {
    stripe: usize,
}

impl Wake for Looking {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        LOOKS.add_at(self.stripe, 1);
    }
}

/// When a request gave way. Small, because every request has room for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GaveWay {
    stripe: u8,
    looks: u32,
}

impl GaveWay {
    /// Hands the waker to the runtime; without one, it is woken at once.
    pub(crate) fn now(cx: &Context<'_>) -> Self {
        let stripe = stripe::current();
        let looks = Self::looks(stripe);
        Self::defer(cx.waker());
        Self::defer(&LOOKING[stripe]);
        Self {
            stripe: stripe as u8,
            looks,
        }
    }

    /// Whether the runtime has come back since.
    pub(crate) fn is_over(self) -> bool {
        Self::looks(self.stripe.into()) != self.looks
    }

    /// Its low bits: nobody waits while four billion looks pass.
    fn looks(stripe: usize) -> u32 {
        LOOKS.at(stripe) as u32
    }

    /// Its first poll hands the waker over, to be woken after everything else; dropped then, it
    /// takes nothing back.
    fn defer(waker: &Waker) {
        let mut yielded = pin!(tokio::task::yield_now());
        let _ = yielded.as_mut().poll(&mut Context::from_waker(waker));
    }
}

/// How many ready tasks the runtime has that none of its threads has taken.
pub(crate) fn ready_tasks() -> usize {
    Handle::try_current().map_or(0, |it| it.metrics().global_queue_depth())
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Poll};

    use super::*;

    #[tokio::test]
    async fn a_poll_before_the_runtime_has_looked_at_everything_is_no_turn() {
        let mut gave_way: Option<GaveWay> = None;
        let mut polls = Vec::new();
        poll_fn(|cx| {
            let is_over = gave_way.map(GaveWay::is_over);
            polls.push(is_over);
            if is_over == Some(true) {
                return Poll::Ready(());
            }
            gave_way = Some(GaveWay::now(cx));
            // As a combinator would that polls all it holds.
            polls.push(gave_way.map(GaveWay::is_over));
            Poll::Pending
        })
        .await;
        assert_eq!(polls, [None, Some(false), Some(true)]);
    }

    #[test]
    fn without_a_runtime_nobody_waits() {
        let gave_way = GaveWay::now(&Context::from_waker(Waker::noop()));
        assert!(gave_way.is_over());
        assert_eq!(ready_tasks(), 0);
    }
}

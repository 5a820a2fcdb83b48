//! A future that is cut when it takes too long.
//!
//! The inner future is polled first and the timer is made only if it waits, so an answer
//! that is there costs no timer. tokio's `Timeout` makes one in any case.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project::pin_project;
use tokio::{runtime::Handle, time::Sleep};

use crate::clock;

#[pin_project]
#[derive(Debug)]
pub(crate) struct Within<F> {
    #[pin]
    inner: F,
    #[pin]
    sleep: Option<Sleep>,
    limit: Option<Duration>,
}

/// The call has taken as long as it may.
#[derive(Debug)]
pub(crate) struct Elapsed(pub(crate) Duration);

impl<F> Within<F> {
    pub(crate) const fn new(inner: F, limit: Option<Duration>) -> Self {
        Self {
            inner,
            sleep: None,
            limit,
        }
    }

    pub(crate) fn limit(self: Pin<&mut Self>, limit: Option<Duration>) {
        *self.project().limit = limit;
    }
}

impl<F: Future> Future for Within<F> {
    type Output = Result<F::Output, Elapsed>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(output) = this.inner.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        let Some(limit) = *this.limit else {
            return Poll::Pending;
        };
        if this.sleep.is_none() {
            // Without a runtime there is no timer; the stall rule still sees a hang.
            if Handle::try_current().is_err() {
                return Poll::Pending;
            }
            this.sleep.set(Some(tokio::time::sleep(limit)));
        }
        match this.sleep.as_pin_mut() {
            Some(sleep) => clock::poll_past_budget(sleep, cx).map(|()| Err(Elapsed(limit))),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    /// Always busy: it uses up its task's turn whenever it is polled.
    async fn busy() {
        loop {
            tokio::task::consume_budget().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_future_that_always_has_something_to_do_is_cut_all_the_same() {
        const LIMIT: Duration = Duration::from_secs(1);
        let call = tokio::spawn(Within::new(busy(), Some(LIMIT)));
        tokio::task::yield_now().await;
        tokio::time::advance(2 * LIMIT).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(call.is_finished(), "it goes on");
        let cut = pin!(call).await.expect("no panic");
        assert_eq!(cut.expect_err("cut").0, LIMIT);
    }
}

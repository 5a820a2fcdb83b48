//! The end of a wait.
//!
//! Nothing here looks again and again: whoever decides wakes who waits, and one timer ends the
//! wait.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use pin_project::pin_project;
use tokio::time::Sleep;

/// Rings when a wait has lasted long enough. Armed by the first poll, which knows a runtime;
/// `call` may not.
#[pin_project]
#[derive(Default)]
pub(crate) struct Alarm(#[pin] Option<Sleep>);

impl Alarm {
    /// Asks for what is waited for. Whoever has no answer yet says until when it may be asked
    /// for, and is asked once more then.
    pub(crate) fn poll<T>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut ask: impl FnMut(&Context<'_>) -> Result<T, Instant>,
    ) -> Poll<T> {
        let mut timer = self.project().0;
        let answer = loop {
            let until = match ask(cx) {
                Ok(answer) => break answer,
                Err(until) => until,
            };
            if timer.is_none() {
                timer.set(Some(tokio::time::sleep_until(until.into())));
            }
            // Armed before it is left, and asked once more if it has run out meanwhile.
            match timer.as_mut().as_pin_mut().map(|timer| timer.poll(cx)) {
                Some(Poll::Ready(())) => timer.set(None),
                _ => return Poll::Pending,
            }
        };
        timer.set(None);
        Poll::Ready(answer)
    }
}

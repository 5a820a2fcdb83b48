//! The first question of a process, which the pool's own first connection may answer.
//!
//! Requests that come at the start wait for the first answer of the check, and need a connection
//! of the pool then. So an empty pool opens one at once, and that it serves is an answer: one
//! connect is waited for and not two, and the session goes to requests instead of standing
//! beside the pool while the server has no other. Where the pool is silent or gets none, the
//! check asks on a session of its own, which says why.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::Poll,
};

use steadfast_core::plumbing::PROBE_AFTER;
use tokio::{task::AbortHandle, time::timeout};

/// What answered first. Complete: there are two who may.
#[derive(Debug)]
pub enum First<T, O> {
    /// The pool's first connection.
    OfPool(T),
    /// The check's own question.
    Own(O),
}

/// Has a pool open its first connection, and asks beside it when that is late or there is none.
///
/// `opening` takes a connection of the pool, asks it, gives it back, and says what it saw;
/// `None` if there was none. It goes on by itself when the check has its answer, because
/// requests will want the connection; unless `is_failure` says that there is no use in that, or
/// this is dropped.
///
/// # Cancel safety
/// Dropped, it ends both.
pub async fn first<T, O>(
    opening: impl Future<Output = Option<T>> + Send + 'static,
    ask: impl Future<Output = O>,
    is_failure: impl Fn(&O) -> bool,
) -> First<T, O>
where
    T: Send + 'static,
{
    let mut opening = tokio::spawn(opening);
    let ends = EndsAtDrop(Some(opening.abort_handle()));
    let early = timeout(PROBE_AFTER, &mut opening).await;
    let mut is_over = early.is_ok();
    if let Ok(Ok(Some(seen))) = early {
        ends.never();
        return First::OfPool(seen);
    }
    let mut ask = pin!(ask);
    let first = poll_fn(|cx| {
        if let Poll::Ready(told) = ask.as_mut().poll(cx) {
            return Poll::Ready(First::Own(told));
        }
        if is_over {
            return Poll::Pending;
        }
        let Poll::Ready(seen) = Pin::new(&mut opening).poll(cx) else {
            return Poll::Pending;
        };
        is_over = true;
        match seen {
            Ok(Some(seen)) => Poll::Ready(First::OfPool(seen)),
            _ => Poll::Pending,
        }
    })
    .await;
    if !matches!(&first, First::Own(told) if is_failure(told)) {
        ends.never();
    }
    first
}

/// Ends a task when it is dropped.
struct EndsAtDrop(Option<AbortHandle>);

impl EndsAtDrop {
    fn never(mut self) {
        self.0 = None;
    }
}

impl Drop for EndsAtDrop {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, ready},
        time::Duration,
    };

    use tokio::{sync::oneshot, time::sleep};

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    async fn told(
        opening: Option<Duration>,
        own: Duration,
        fails: bool,
    ) -> (First<u8, bool>, bool) {
        let (open, opened) = oneshot::channel();
        let opening = async move {
            match opening {
                Some(wait) => sleep(wait).await,
                None => return None,
            }
            let _ = open.send(());
            Some(1)
        };
        let ask = async move {
            sleep(own).await;
            fails
        };
        let first = first(opening, ask, |fails| *fails).await;
        (first, opened.await.is_ok())
    }

    #[tokio::test(start_paused = true)]
    async fn a_pool_that_opens_a_connection_answers_for_the_check() {
        for opens_in in [10 * MS, 400 * MS] {
            let (first, _) = told(Some(opens_in), 900 * MS, true).await;
            assert!(matches!(first, First::OfPool(1)), "{first:?}");
        }
        let asked = first(
            ready(Some(1)),
            async { panic!("it was asked") },
            |(): &()| true,
        );
        assert!(matches!(asked.await, First::OfPool(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_check_says_why_there_is_none_and_the_pool_goes_on_unless_that_is_in_vain() {
        for (opening, fails, goes_on) in [
            (Some(900 * MS), false, true),
            (Some(900 * MS), true, false),
            (None, true, false),
        ] {
            let (first, opened) = told(opening, 10 * MS, fails).await;
            assert!(
                matches!(first, First::Own(told) if told == fails),
                "{first:?}"
            );
            assert_eq!(opened, goes_on, "{opening:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_is_dropped_ends_what_the_pool_does_for_it() {
        let (open, opened) = oneshot::channel::<()>();
        let opening = async move {
            sleep(900 * MS).await;
            open.send(()).ok()
        };
        let asked = first(opening, pending::<()>(), |()| true);
        assert!(timeout(500 * MS, asked).await.is_err());
        assert!(opened.await.is_err());
    }
}

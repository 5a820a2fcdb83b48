//! Answers of the server on their way to the caller, each judged once.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::{future::BoxFuture, stream::BoxStream, stream::Stream};

use super::watch::Watch;

/// Rows, as sqlx hands them out.
pub(super) type RowStream<'s, T> = BoxStream<'s, sqlx::Result<T>>;

/// What a step of the answer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A row.
    Row,
    /// The end of a statement, and whether it says that rows were changed or returned.
    End { touched_rows: bool },
}

/// Rows that are judged by how they end.
pub(super) struct JudgedRows<'s, T> {
    /// `None` once it has ended.
    rows: Option<RowStream<'s, T>>,
    look: fn(&T) -> Step,
    watch: Watch<'s>,
}

impl<'s, T> JudgedRows<'s, T> {
    pub(super) fn new(rows: RowStream<'s, T>, look: fn(&T) -> Step, watch: Watch<'s>) -> Self {
        let rows = Some(rows);
        Self { rows, look, watch }
    }
}

impl<T> Stream for JudgedRows<'_, T> {
    type Item = sqlx::Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(rows) = &mut this.rows else {
            return Poll::Ready(None);
        };
        let error = match rows.as_mut().poll_next(cx) {
            Poll::Ready(Some(Ok(row))) => {
                this.watch.moved((this.look)(&row));
                return Poll::Ready(Some(Ok(row)));
            }
            Poll::Ready(None) => {
                this.rows = None;
                this.watch.succeeded();
                return Poll::Ready(None);
            }
            Poll::Ready(Some(Err(error))) => this.watch.failed(error),
            Poll::Pending => match this.watch.poll_late(cx) {
                Poll::Ready(after) => this.watch.cut(after),
                Poll::Pending => return Poll::Pending,
            },
        };
        this.rows = None;
        Poll::Ready(Some(Err(error)))
    }
}

/// One answer that is judged.
pub(super) struct JudgedAnswer<'s, T> {
    /// `None` once it is there.
    answer: Option<BoxFuture<'s, sqlx::Result<T>>>,
    watch: Watch<'s>,
}

impl<'s, T> JudgedAnswer<'s, T> {
    pub(super) fn new(answer: BoxFuture<'s, sqlx::Result<T>>, watch: Watch<'s>) -> Self {
        let answer = Some(answer);
        Self { answer, watch }
    }
}

impl<T> Future for JudgedAnswer<'_, T> {
    type Output = sqlx::Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let answer = this.answer.as_mut();
        let answer = answer.expect("it is not polled after it was ready");
        let judged = match answer.as_mut().poll(cx) {
            Poll::Ready(Ok(answer)) => {
                this.watch.succeeded();
                Ok(answer)
            }
            Poll::Ready(Err(error)) => Err(this.watch.failed(error)),
            Poll::Pending => match this.watch.poll_late(cx) {
                Poll::Ready(after) => Err(this.watch.cut(after)),
                Poll::Pending => return Poll::Pending,
            },
        };
        this.answer = None;
        Poll::Ready(judged)
    }
}

impl<T> fmt::Debug for JudgedAnswer<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JudgedAnswer").field(&self.watch).finish()
    }
}

#[cfg(test)]
mod tests;

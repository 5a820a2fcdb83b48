//! On a clock that jumps whenever all wait, with rows that come as a test says.

use std::{collections::VecDeque, future::poll_fn, sync::Arc, time::Duration};

use steadfast_core::{
    CallKind, Cause, Deadline, DependencyState, FailureClass, Name, Refusal, Trip,
    plumbing::CallTimedOut,
};
use tokio::time::{Instant, Sleep, sleep};

use super::*;
use crate::{
    clock,
    guard::{
        Error,
        observer::{Observer, SILENCE_MAX_DEFAULT},
        scout::Scout,
        underlying,
        watch::{Patience, Watcher},
    },
};

struct NoScout;

impl Scout for NoScout {
    fn look(&self) -> BoxFuture<'_, Option<bool>> {
        Box::pin(std::future::ready(None))
    }

    fn close_idle(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

const SECS: Duration = Duration::from_secs(1);

/// Rows that come after waits.
struct Slowly(VecDeque<Duration>, Option<Pin<Box<Sleep>>>);

impl Stream for Slowly {
    type Item = sqlx::Result<u32>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(wait) = self.0.front().copied() else {
            return Poll::Ready(None);
        };
        let timer = self.1.get_or_insert_with(|| Box::pin(sleep(wait)));
        std::task::ready!(timer.as_mut().poll(cx));
        self.1 = None;
        self.0.pop_front();
        Poll::Ready(Some(Ok(1)))
    }
}

fn watcher() -> (Watcher, Arc<DependencyState>) {
    let rules = Trip::default().build().expect("the defaults are in range");
    let name = Name::new("orders-db").expect("it is a name");
    let state = Arc::new(DependencyState::new(name, rules, 1, clock::now()));
    let observer = Observer::new(Arc::clone(&state), SILENCE_MAX_DEFAULT, Arc::new(NoScout));
    (Watcher::new(Arc::new(observer)), state)
}

/// Reads rows that come after `waits`, until they end; returns how many came, and the error.
async fn read(watcher: &mut Watcher, waits: &[u32]) -> (usize, Option<sqlx::Error>) {
    let waits = waits.iter().map(|secs| SECS * *secs).collect();
    let watch = watcher.watch(Patience::OfRequest);
    let mut rows = JudgedRows::new(Box::pin(Slowly(waits, None)), |_| Step::Row, watch);
    let mut count = 0;
    loop {
        match poll_fn(|cx| Pin::new(&mut rows).poll_next(cx)).await {
            Some(Ok(_)) => count += 1,
            Some(Err(error)) => return (count, Some(error)),
            None => return (count, None),
        }
    }
}

/// Asks for one answer, which is that the session is lost.
async fn lose(watcher: &mut Watcher) -> sqlx::Error {
    let lost = sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
    let answer = Box::pin(std::future::ready(sqlx::Result::<()>::Err(lost)));
    let judged = JudgedAnswer::new(answer, watcher.watch(Patience::OfServer));
    judged.await.expect_err("it is lost")
}

fn is_late(error: Option<sqlx::Error>) -> bool {
    matches!(error, Some(sqlx::Error::AnyDriverError(inner)) if inner.is::<CallTimedOut>())
}

/// Runs what is asked at once, with a deadline.
async fn within<T>(secs: u32, ask: impl Future<Output = T>) -> T {
    let deadline = Deadline::after(clock::now(), SECS * secs);
    let mut ask = Box::pin(ask);
    poll_fn(|cx| deadline.during(|| ask.as_mut().poll(cx))).await
}

#[tokio::test(start_paused = true)]
async fn rows_that_come_are_never_cut() {
    let (mut watcher, state) = watcher();
    let began = Instant::now();
    let (rows, error) = read(&mut watcher, &[40; 10]).await;
    assert_eq!((rows, error.is_none()), (10, true));
    assert!(Instant::now() - began >= 400 * SECS);
    // Nor by the deadline of a request that has its first row.
    let (rows, error) = within(2, read(&mut watcher, &[1, 30, 30])).await;
    assert_eq!((rows, error.is_none()), (3, true));
    assert_eq!(state.calls().of(CallKind::Success), 2);
}

#[tokio::test(start_paused = true)]
async fn rows_that_do_not_come_are_cut_and_count_against_the_server() {
    let (mut watcher, state) = watcher();
    let began = Instant::now();
    let (rows, error) = read(&mut watcher, &[1, 61]).await;
    assert_eq!((rows, is_late(error)), (1, true));
    assert_eq!((Instant::now() - began).as_secs(), 61);
    assert_eq!(state.calls().of(CallKind::Timeout), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_in_a_hurry_is_no_evidence() {
    let (mut watcher, state) = watcher();
    let began = Instant::now();
    let (rows, error) = within(2, read(&mut watcher, &[30])).await;
    assert_eq!((rows, is_late(error)), (0, true));
    assert_eq!((Instant::now() - began).as_secs(), 2);
    let calls = state.calls();
    assert_eq!(calls.of(CallKind::Timeout), 0);
    assert_eq!(calls.of(CallKind::Abandoned), 1);
}

#[tokio::test(start_paused = true)]
async fn one_who_said_that_it_takes_long_is_waited_for() {
    let (mut watcher, _) = watcher();
    watcher.expect_up_to(600 * SECS, clock::now());
    let (rows, error) = within(2, read(&mut watcher, &[300, 200])).await;
    assert_eq!((rows, error.is_none()), (2, true));
}

/// Goal: no query fails without a reason once health says what is wrong, although the breaker
/// is closed. Method: new sessions are refused as behind a pooler that has lost its server.
#[tokio::test(start_paused = true)]
async fn what_is_known_of_the_server_explains_a_query_that_fails_for_it() {
    let (mut watcher, state) = watcher();
    assert!(matches!(lose(&mut watcher).await, sqlx::Error::Io(_)));
    let now = clock::now();
    let refuse = |class| state.note_new_sessions_refused(class, &"no", 3, now);
    assert_eq!(read(&mut watcher, &[]).await.0, 0);
    refuse(FailureClass::Auth);
    let other = lose(&mut watcher).await;
    assert!(
        matches!(other, sqlx::Error::Io(_)),
        "it is no reason for that"
    );
    assert_eq!(read(&mut watcher, &[]).await.0, 0);
    refuse(FailureClass::Unreachable);
    let error = lose(&mut watcher).await;
    let refusal = Refusal::find(&error).expect("it is known");
    assert_eq!(refusal.cause(), Cause::DependencyDown);
    assert!(!refusal.safe_to_retry(), "the handler was entered");
    assert!(matches!(underlying(&error), sqlx::Error::Io(_)));
    let (refusal, driver) = Error::from(error).into_parts();
    assert!(refusal.is_some() && matches!(driver, Some(sqlx::Error::Io(_))));
}

//! Calls through a dependency: what is counted, what opens the breaker, and what does not.
//!
//! Method: time is paused, so every wait is exact. The traps are those in which breakers
//! failed elsewhere; each test is named after what must hold instead.

#![cfg(feature = "axum")]

#[path = "common/breaker.rs"]
mod breaker;

use std::{
    future::pending,
    io,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use breaker::{count, in_flight, state, trip};
use futures_util::{FutureExt, future::join_all};
use steadfast::{
    BreakerMode, BreakerState, CallError, CallFailure, CallKind, CallOutcome, Cause, Dependency,
    DependencyBuilder, FailureClass, Health, Trip,
};

const MS: Duration = Duration::from_millis(1);
const SEC: Duration = Duration::from_secs(1);

fn payments(trip: Trip) -> Dependency {
    builder().trip(trip).build().expect("valid")
}

fn builder() -> DependencyBuilder {
    Dependency::builder("payments")
}

async fn works() -> Result<u32, io::Error> {
    Ok(7)
}

async fn fails() -> Result<u32, io::Error> {
    Err(io::Error::new(io::ErrorKind::ConnectionRefused, "refused"))
}

async fn open(dependency: &Dependency) {
    while state(dependency) != BreakerState::Open {
        let _ = dependency.call(fails()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_result_arrives_as_it_is_and_an_open_breaker_does_not_poll_the_future() {
    let payments = payments(trip());
    assert_eq!(payments.call(works()).await.expect("it works"), 7);
    let error = payments.call(fails()).await.expect_err("it fails");
    assert!(matches!(error, CallError::Inner(error) if error.to_string() == "refused"));
    open(&payments).await;
    let polled = AtomicU32::new(0);
    let refused = payments.call(async {
        polled.fetch_add(1, Ordering::Relaxed);
        fails().await
    });
    let error = refused.await.expect_err("open");
    assert!(error.is_refused());
    assert_eq!(polled.into_inner(), 0);
    let refusal = error.refusal().expect("refused");
    assert!(!refusal.safe_to_retry(), "the handler was entered");
    assert_eq!(count(&payments, CallKind::Success), 1);
    assert_eq!(count(&payments, CallKind::Refused), 1);
}

#[tokio::test(start_paused = true)]
async fn a_future_that_nobody_polls_is_no_call() {
    let payments = payments(trip());
    drop(payments.call(pending::<Result<(), io::Error>>()));
    assert!(payments.view().breaker.is_none());
}

/// M1: a window that slides, whatever came before.
#[tokio::test(start_paused = true)]
async fn an_hour_of_success_does_not_outvote_an_outage() {
    let payments = payments(trip().no_consecutive_failures());
    for _ in 0..36_000 {
        payments.call(works()).await.expect("it works");
        tokio::time::advance(100 * MS).await;
    }
    let mut failed = 0;
    while state(&payments) != BreakerState::Open {
        assert!(payments.call(fails()).await.is_err());
        tokio::time::advance(100 * MS).await;
        failed += 1;
    }
    // The window of ten seconds holds a hundred calls; more than half of them must fail.
    assert!(failed <= 70, "{failed} failures");
}

/// M3: a call that was admitted before the outage decides nothing.
#[tokio::test(start_paused = true)]
async fn a_late_success_does_not_close() {
    let payments = payments(trip());
    let late = payments.try_acquire().expect("closed");
    open(&payments).await;
    tokio::time::advance(1_100 * MS).await;
    let probe = payments.try_acquire().expect("a probe");
    assert!(probe.is_probe());
    late.settle(CallOutcome::Success);
    assert_eq!(state(&payments), BreakerState::Probing);
    probe.settle(CallOutcome::Success);
    assert_eq!(
        state(&payments),
        BreakerState::Probing,
        "two successes are asked for"
    );
}

/// M4, without a guard: what is shown follows time, and the next call is let through.
#[tokio::test(start_paused = true)]
async fn an_open_breaker_without_traffic_does_not_stay_open() {
    let payments = payments(trip());
    open(&payments).await;
    assert_eq!(payments.health(), Health::Failing);
    assert!(payments.require().is_err());
    tokio::time::advance(3_600 * SEC).await;
    assert_eq!(state(&payments), BreakerState::Probing);
    assert!(payments.require().is_ok());
    for _ in 0..2 {
        payments.call(works()).await.expect("a probe");
    }
    assert_eq!(state(&payments), BreakerState::Ramping);
}

/// M5: a probe that hangs gives its slot up, with and without a timeout of its own.
#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_does_not_wedge() {
    let payments = builder()
        .trip(trip().probe_lease(5 * SEC))
        .no_call_timeout()
        .build()
        .expect("valid");
    open(&payments).await;
    tokio::time::advance(1_100 * MS).await;
    let hanging = tokio::spawn({
        let payments = payments.clone();
        async move { payments.call(pending::<Result<(), io::Error>>()).await }
    });
    tokio::task::yield_now().await;
    assert!(payments.try_acquire().is_err(), "the one slot is taken");
    tokio::time::advance(5 * SEC).await;
    // The lease is over: a failure, and a new wait. After it, somebody may probe again.
    assert!(payments.try_acquire().is_err());
    assert_eq!(state(&payments), BreakerState::Open);
    tokio::time::advance(3 * SEC).await;
    let probe = payments.try_acquire().expect("a new round");
    probe.settle(CallOutcome::Success);
    hanging.abort();
}

/// M6: panics are failures, inside `call` and with a permit by hand.
#[tokio::test(start_paused = true)]
async fn calls_that_panic_open_the_breaker() {
    let payments = payments(trip());
    for _ in 0..2 {
        let call = payments.call(async { panic!("told to") as Result<(), io::Error> });
        assert!(
            AssertUnwindSafe(call).catch_unwind().await.is_err(),
            "not swallowed"
        );
    }
    let permit = payments.try_acquire().expect("closed");
    let thrown = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let _permit = permit;
        panic!("told to")
    }));
    assert!(thrown.is_err());
    assert_eq!(state(&payments), BreakerState::Open);
    assert_eq!(count(&payments, CallKind::Failure), 3);
    assert_eq!(in_flight(&payments), 0);
}

/// M7: a dependency that hangs is seen, whoever cuts the calls.
#[tokio::test(start_paused = true)]
async fn a_hung_dependency_opens_the_breaker_by_its_own_timeout() {
    let payments = builder()
        .trip(trip())
        .call_timeout(200 * MS)
        .build()
        .expect("valid");
    for _ in 0..3 {
        let error = payments.call(pending::<Result<(), io::Error>>()).await;
        let CallError::TimedOut(late) = error.expect_err("it hangs") else {
            panic!("another error");
        };
        assert_eq!(
            (late.dependency().as_str(), late.after()),
            ("payments", 200 * MS)
        );
    }
    assert_eq!(state(&payments), BreakerState::Open);
    assert_eq!(count(&payments, CallKind::Timeout), 3);
    let last = payments.view().last_call_error.expect("noted");
    assert_eq!(
        (last.class, &*last.message),
        (FailureClass::Timeout, "no answer within 200ms")
    );
}

#[tokio::test(start_paused = true)]
async fn a_hung_dependency_opens_the_breaker_under_an_outer_timeout() {
    let payments = payments(trip());
    let mut calls = 0;
    while state(&payments) != BreakerState::Open {
        let call = payments.call(pending::<Result<(), io::Error>>());
        assert!(tokio::time::timeout(500 * MS, call).await.is_err());
        calls += 1;
        assert!(calls <= 40, "{:?}", payments.view().breaker);
    }
    let reason = payments.view().breaker.and_then(|seen| seen.reason);
    assert_eq!(reason.map(|it| it.code()), Some("unanswered"));
}

#[tokio::test(start_paused = true)]
async fn a_hung_dependency_opens_the_breaker_before_any_call_ends() {
    let payments = payments(trip().stall_limit(SEC));
    let hanging: Vec<_> = (0..3)
        .map(|_| payments.try_acquire().expect("closed"))
        .collect();
    tokio::time::advance(1_300 * MS).await;
    assert!(payments.try_acquire().is_err(), "three calls hang");
    assert_eq!(count(&payments, CallKind::Failure), 0);
    drop(hanging);
}

/// M9: a timer never undoes what a person set.
#[tokio::test(start_paused = true)]
async fn a_mode_holds_until_it_is_set_to_something_else() {
    let payments = payments(trip());
    payments.set_mode(BreakerMode::ForcedOpen);
    tokio::time::advance(3_600 * SEC).await;
    assert!(
        payments
            .call(works())
            .await
            .is_err_and(|error| error.is_refused())
    );
    payments.set_mode(BreakerMode::ForcedClosed);
    for _ in 0..100 {
        assert!(
            payments
                .call(fails())
                .await
                .is_err_and(|error| !error.is_refused())
        );
    }
    payments.set_mode(BreakerMode::Observe);
    open(&payments).await;
    assert_eq!(payments.call(works()).await.expect("it only observes"), 7);
    assert_eq!(count(&payments, CallKind::WouldRefuse), 1);
    assert_eq!(payments.mode(), BreakerMode::Observe);
}

/// The herd: after the wait, at most the allowed probes reach the sick backend at a time.
#[tokio::test(start_paused = true)]
async fn of_two_hundred_callers_one_reaches_the_sick_backend() {
    let payments = payments(trip());
    open(&payments).await;
    tokio::time::advance(1_100 * MS).await;
    let (running, most, reached) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
    let caller = || async {
        payments
            .call(async {
                reached.fetch_add(1, Ordering::Relaxed);
                let now = running.fetch_add(1, Ordering::Relaxed) + 1;
                most.fetch_max(now, Ordering::Relaxed);
                tokio::time::sleep(200 * MS).await;
                running.fetch_sub(1, Ordering::Relaxed);
                fails().await
            })
            .await
    };
    let ended = join_all((0..200).map(|_| caller())).await;
    let refused = ended
        .iter()
        .filter(|it| it.as_ref().is_err_and(CallError::is_refused))
        .count();
    assert_eq!(
        (most.into_inner(), reached.into_inner(), refused),
        (1, 1, 199)
    );
}

/// Clients that leave are no evidence against a dependency that answers others.
#[tokio::test(start_paused = true)]
async fn ten_thousand_cancellations_open_nothing_and_leak_nothing() {
    let payments = payments(trip());
    for turn in 0..10_000_u32 {
        let mut call = Box::pin(payments.call(pending::<Result<(), io::Error>>()));
        assert!(call.as_mut().now_or_never().is_none());
        tokio::time::advance(Duration::from_micros(u64::from(turn % 7) * 900)).await;
        drop(call);
        if turn % 50 == 0 {
            payments.call(works()).await.expect("still closed");
        }
    }
    assert_eq!(state(&payments), BreakerState::Closed);
    assert_eq!(in_flight(&payments), 0);
    assert_eq!(count(&payments, CallKind::Abandoned), 10_000);
    assert_eq!(count(&payments, CallKind::Success), 200);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_cancelled_probes_wedge_nothing() {
    let payments = payments(trip());
    open(&payments).await;
    let mut probes = 0;
    for _ in 0..10_000 {
        tokio::time::advance(100 * MS).await;
        if let Ok(permit) = payments.try_acquire() {
            assert!(permit.is_probe());
            drop(permit);
            probes += 1;
        }
    }
    assert!(probes > 100, "{probes} probes could start");
    tokio::time::advance(120 * SEC).await;
    for _ in 0..2 {
        payments.call(works()).await.expect("the slot is free");
    }
    assert_eq!(state(&payments), BreakerState::Ramping);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_asks_for_a_pause_gets_it() {
    let payments = payments(trip());
    let wait = CallFailure::new(FailureClass::Unhealthy).retry_after(20 * SEC);
    for _ in 0..3 {
        let permit = payments.try_acquire().expect("closed");
        permit.fail(wait, &"answered 503 Service Unavailable");
    }
    let refusal = payments.try_acquire().expect_err("open");
    assert!(
        refusal.retry_after() > 19 * SEC,
        "{:?}",
        refusal.retry_after()
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_pool_of_our_own_is_no_verdict_on_the_dependency() {
    let payments = payments(trip());
    for _ in 0..100 {
        let permit = payments.try_acquire().expect("closed");
        permit.fail(FailureClass::Saturated, &"no connection free");
    }
    assert_eq!(state(&payments), BreakerState::Closed);
    assert_eq!(count(&payments, CallKind::Saturated), 100);
}

/// The last error is what an operator reads; it carries no secret.
#[tokio::test(start_paused = true)]
async fn the_last_error_is_redacted() {
    let payments = payments(trip());
    let call = payments.call(async {
        Err::<(), _>(io::Error::other(
            "cannot reach https://app:hunter2@pay/charge?card=42",
        ))
    });
    assert!(call.await.is_err());
    let last = payments.view().last_call_error.expect("noted");
    assert_eq!(&*last.message, "cannot reach https://***@pay/charge?***");
}

#[test]
fn the_handle_is_shareable_and_its_futures_can_move_between_threads() {
    fn shareable<T: Send + Sync + 'static>(_: &T) {}
    fn movable<T: Send>(_: &T) {}
    let payments = Arc::new(payments(trip()));
    shareable(&payments);
    movable(&payments.call(works()));
    async fn owned(payments: Dependency) -> bool {
        payments.call(works()).await.is_ok()
    }
    movable(&owned(Dependency::clone(&payments)));
}

/// Writes that meet a read-only server are refused once it is known; reads and the breaker
/// never hear of it, and a write that succeeds lets all pass.
#[tokio::test(start_paused = true)]
async fn marked_writes_are_refused_while_the_server_takes_none() {
    let db = payments(trip());
    let by_text = |result: Result<&(), &io::Error>| match result {
        Ok(()) => CallOutcome::Success,
        Err(_) => CallOutcome::Failure(FailureClass::ReadOnly.into()),
    };
    let demoted = || async { Err::<(), _>(io::Error::other("READONLY")) };
    for _ in 0..2 {
        let ended = db.call_write_by(by_text, demoted()).await;
        assert!(matches!(ended, Err(CallError::Inner(_))), "{ended:?}");
    }
    let refused = db.call_write_by(by_text, demoted()).await;
    let Err(CallError::Refused(refusal)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(refusal.cause(), Cause::DependencyDown);
    assert!(!refusal.safe_to_retry(), "the handler was entered");
    for _ in 0..20 {
        let read = db.call(async { Ok::<_, io::Error>(()) }).await;
        assert!(read.is_ok(), "reads go on");
    }
    tokio::time::sleep(SEC).await;
    let healed = db.call_write(async { Ok::<_, io::Error>(()) }).await;
    assert!(healed.is_ok(), "one tries each second");
    assert!(
        db.call_write(async { Ok::<_, io::Error>(()) })
            .await
            .is_ok()
    );
}

//! A pool whose connections somebody has who has not asked the gate.

use super::{
    scripted::{Fault, MS, Pool, is_refused, waits},
    *,
};
use crate::{BreakerMode, CallKind, Cause};

/// A pool of four of which a raw holder has so many.
fn kept(count: u32, settings: &PoolSettings, now: Instant) -> Pool {
    let pool = Pool::with(settings, now);
    pool.driver.in_use.store(count, Ordering::Relaxed);
    pool
}

#[track_caller]
fn accuses_nobody(pool: &Pool) {
    let calls = pool.state.calls();
    let failed = calls.of(CallKind::Failure) + calls.of(CallKind::Timeout);
    assert_eq!(failed, 0, "the server has done nothing");
}

/// Goal: a driver whose own time is over before anybody could ask the server accuses nobody.
#[test]
fn a_driver_with_little_patience_whose_connections_are_kept_is_a_full_pool() {
    let start = origin();
    let short = PoolSettings::new(4).driver_waits(Some(80 * MS), Some(80 * MS));
    let pool = kept(4, &short, start);
    let mut acquire = pool.acquire(None);
    waits(&mut acquire, start);
    pool.connect(0, Err(Fault::TimedOut));
    let refusal = is_refused(&mut acquire, start + 80 * MS);
    let seen = exhausted(&refusal);
    assert_eq!((seen.in_use, seen.class), (4, FailureClass::Saturated));
    accuses_nobody(&pool);
    assert_eq!(pool.questions(), 0);
}

/// Goal: a server that hangs is no full pool, although the driver counts what it opens.
#[test]
fn a_driver_whose_own_connects_hang_is_no_full_pool() {
    let start = origin();
    let short = PoolSettings::new(4).driver_waits(Some(80 * MS), Some(80 * MS));
    let pool = kept(0, &short, start);
    let mut all: Vec<_> = (0..4).map(|_| pool.acquire(None)).collect();
    for (at, acquire) in (1..).zip(&mut all) {
        waits(acquire, start);
        pool.driver.in_use.store(at, Ordering::Relaxed);
    }
    pool.connect(0, Err(Fault::TimedOut));
    let refusal = is_refused(&mut all[0], start + 80 * MS);
    assert_eq!(refusal.cause(), Cause::DependencyDown);
}

/// Goal: those who only wait are told the same as those whose turn it was, and none of them
/// sooner than one who waits for connections that the gate has lent.
#[test]
fn everybody_who_waits_for_what_is_kept_elsewhere_is_told_so() {
    let start = origin();
    let settings = PoolSettings::new(4).driver_waits(Some(30 * SECOND), Some(30 * SECOND));
    let pool = kept(4, &settings, start);
    let mut all: Vec<_> = (0..6).map(|_| pool.acquire(None)).collect();
    for acquire in &mut all {
        waits(acquire, start);
    }
    for acquire in &mut all {
        waits(acquire, start + 150 * MS);
    }
    assert_eq!(pool.questions(), 1);
    pool.answer(0, Ok(()));
    for second in 1..4 {
        for acquire in &mut all {
            waits(acquire, start + second * SECOND);
        }
    }
    let later = start + NONE_BACK_MAX;
    for acquire in &mut all[4..] {
        let refusal = is_refused(acquire, later);
        assert_eq!(exhausted(&refusal).in_use, 4, "{refusal:?}");
    }
    accuses_nobody(&pool);
}

/// Goal: who waits when the breaker opens is told so, and not at once: an outage that is over in
/// a moment is waited for. Method: holders that keep everything, and a breaker that is opened.
#[test]
fn one_who_waits_hears_of_an_outage_after_a_moment() {
    let start = origin();
    let settings = PoolSettings::new(4).driver_waits(Some(30 * SECOND), Some(30 * SECOND));
    let pool = kept(0, &settings, start);
    let held: Vec<_> = (0..4).map(|_| lend(&pool.gate, start)).collect();
    let mut waiting = pool.acquire(None);
    waits(&mut waiting, start);
    pool.state
        .set_mode(BreakerMode::ForcedOpen, start + 100 * MS);
    assert_eq!(
        waiting.wake_at(),
        Some(start + SECOND),
        "it looks by itself"
    );
    waits(&mut waiting, start + SECOND);
    assert_eq!(waiting.wake_at(), Some(start + 2 * SECOND));
    let refusal = is_refused(&mut waiting, start + 2 * SECOND);
    assert_eq!(refusal.cause(), Cause::DependencyDown);

    // One that closes again in time costs nobody the wait.
    let since = start + 3 * SECOND;
    pool.state.set_mode(BreakerMode::ForcedClosed, since);
    let mut waiting = pool.acquire(None);
    waits(&mut waiting, since);
    pool.state.set_mode(BreakerMode::ForcedOpen, since);
    waits(&mut waiting, since + SECOND);
    pool.state
        .set_mode(BreakerMode::ForcedClosed, since + SECOND);
    waits(&mut waiting, since + 2 * SECOND - MS);
    drop(held);
}

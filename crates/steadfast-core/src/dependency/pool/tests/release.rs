//! When the place of a connection that goes back is free.

use std::sync::Mutex;

use super::{
    scripted::{MS, Pool, Scripted, step, waits},
    *,
};
use crate::Failure;

type Door = Arc<Mutex<bool>>;

/// A connection that is back when the door is opened.
fn returning(pool: &Pool, now: Instant) -> (PoolRelease<Scripted>, Door) {
    let door = Door::default();
    let opened = Arc::clone(&door);
    let back = std::future::poll_fn(move |_| match *opened.lock().expect("no panic") {
        true => Poll::Ready(()),
        false => Poll::Pending,
    });
    let lease = lend(&pool.gate, now);
    let driver = Arc::clone(&pool.driver);
    (PoolRelease::new(driver, lease, Box::pin(back), now), door)
}

fn is_cut(door: &Door) -> bool {
    Arc::strong_count(door) == 1
}

#[test]
fn a_place_is_taken_until_its_connection_is_back() {
    let start = origin();
    let pool = Pool::new(start);
    let (mut going, door) = returning(&pool, start);
    waits(&mut going, start);
    // An abandoned query: the server answers others, so it works on this one.
    assert_eq!(going.wake_at(), Some(start + SECOND));
    waits(&mut going, start + SECOND);
    pool.answer(0, Ok(()));
    waits(&mut going, start + SECOND + MS);
    waits(&mut going, start + 20 * SECOND);
    assert_eq!(pool.questions(), 1, "it is asked about once");
    assert_eq!(pool.taken(start), (1, 0));
    *door.lock().expect("no panic") = true;
    assert!(step(&mut going, start + 21 * SECOND).is_ready());
    assert_eq!(pool.taken(start), (0, 0));
}

/// Goal: whoever asks while a broken connection is replaced hears that the server is down,
/// and not that all connections are in use.
#[test]
fn a_place_is_free_when_its_connection_cannot_come_back() {
    let start = origin();
    let pool = Pool::new(start);
    let mut all: Vec<_> = (0..4).map(|_| returning(&pool, start)).collect();
    let late = start + SECOND;
    for (going, _) in &mut all {
        waits(going, start);
        waits(going, late);
    }
    assert_eq!(pool.questions(), 1, "one asks for all");
    pool.answer(0, Err(Failure::new(FailureClass::Unreachable, "refused")));
    for (going, door) in &mut all {
        waits(going, late + MS);
        assert!(!is_cut(door), "the driver goes on");
        assert_eq!(going.wake_at(), Some(start + RELEASE_MAX));
    }
    assert_eq!(pool.taken(late), (0, 0));
    // The connection comes back after all; its place was free long since.
    let (mut last, door) = all.remove(0);
    *door.lock().expect("no panic") = true;
    assert!(step(&mut last, late + SECOND).is_ready());
    assert_eq!(pool.taken(late), (0, 0));
}

#[test]
fn a_connection_that_never_comes_back_is_closed() {
    let start = origin();
    let pool = Pool::new(start);
    let (mut going, door) = returning(&pool, start);
    waits(&mut going, start + SECOND);
    pool.answer(0, Ok(()));
    waits(&mut going, start + RELEASE_MAX - MS);
    assert!(step(&mut going, start + RELEASE_MAX).is_ready());
    assert_eq!(pool.taken(start), (0, 0));
    drop(going);
    assert!(is_cut(&door));
}

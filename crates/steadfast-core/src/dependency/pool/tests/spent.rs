//! What a request that is measured hears of the time it spends at a pool.

use super::{
    scripted::{MS, Pool, acquired, waits},
    *,
};
use crate::plumbing::Spent;

/// A request that is measured, polled at moments that a test chooses.
struct Measured {
    start: Instant,
    spent: Option<Box<Spent>>,
}

impl Measured {
    fn poll<R>(&mut self, at: Instant, poll: impl FnOnce() -> R) -> R {
        Spent::measuring(&mut self.spent, || at, poll)
    }

    fn mostly(mut self, end: Instant) -> Option<String> {
        let spent = self.spent.as_deref_mut()?;
        spent.goes_on(end);
        spent
            .mostly(end.saturating_duration_since(self.start))
            .map(ToString::to_string)
    }
}

fn measured(start: Instant) -> Measured {
    Measured { start, spent: None }
}

#[test]
fn the_wait_for_a_turn_and_the_hold_are_the_pools() {
    let start = origin();
    let at = |ms| start + ms * MS;
    for (turn, back, end, mostly) in [
        (60, 61, 100, true),
        (1, 60, 100, true),
        (20, 60, 100, true),
        (1, 40, 100, false),
    ] {
        let pool = Pool::new(start);
        let mut acquire = pool.acquire(None);
        let mut request = measured(start);
        request.poll(start, || waits(&mut acquire, start));
        pool.connect(0, Ok(1));
        let got = request.poll(at(turn), || acquired(&mut acquire, at(turn)));
        request.poll(at(back), || got.lease.give_back(at(back)));
        let found = request.mostly(at(end));
        assert_eq!(
            found.as_deref(),
            mostly.then_some("orders-db"),
            "{turn} {back} {end}"
        );
    }
}

#[test]
fn a_connection_on_its_way_back_is_held_no_more() {
    let start = origin();
    let at = |ms| start + ms * MS;
    let pool = Pool::new(start);
    let mut acquire = pool.acquire(None);
    let mut request = measured(start);
    request.poll(start, || waits(&mut acquire, start));
    pool.connect(0, Ok(1));
    let got = request.poll(at(1), || acquired(&mut acquire, at(1)));
    let driver = Arc::clone(&pool.driver);
    let back = Box::pin(std::future::pending());
    let going = request.poll(at(2), || PoolRelease::new(driver, got.lease, back, at(2)));
    assert_eq!(request.mostly(at(100)), None, "its own work");
    drop(going);
}

#[test]
fn who_leaves_while_waiting_has_waited_for_the_pool() {
    let start = origin();
    let pool = Pool::new(start);
    let mut acquire = pool.acquire(None);
    let mut request = measured(start);
    request.poll(start, || waits(&mut acquire, start));
    drop(acquire);
    let found = request.mostly(start + SECOND);
    assert_eq!(found.as_deref(), Some("orders-db"));
}

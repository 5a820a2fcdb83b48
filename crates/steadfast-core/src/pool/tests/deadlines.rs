//! Whom a request's short deadline concerns: itself.

use std::sync::Mutex;

use super::*;
use crate::{Deadline, DependencyState, Failure, Trip};

const MS: Duration = Duration::from_millis(1);

/// A pool and a server that never answer.
#[derive(Debug, Default)]
struct Silent {
    connects: AtomicU32,
    asked_until: Mutex<Vec<Deadline>>,
}

impl PoolDriver for Silent {
    type Connection = ();
    type Error = ();

    fn connect(&self) -> PoolFuture<Result<(), ()>> {
        self.connects.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::pending())
    }

    fn ask(&self, until: Deadline) -> PoolFuture<Result<(), Failure>> {
        self.asked_until.lock().expect("no panic").push(until);
        Box::pin(std::future::pending())
    }

    fn in_use(&self) -> u32 {
        0
    }

    fn meaning(&self, (): &()) -> PoolMeaning {
        PoolMeaning::Silence
    }
}

struct Pool {
    driver: Arc<Silent>,
    state: Arc<DependencyState>,
    gate: Arc<PoolGate>,
}

impl Pool {
    fn new(now: Instant) -> Self {
        let rules = Trip::default().build().expect("the defaults are valid");
        let name = Name::from_static("orders-db");
        Self {
            driver: Arc::default(),
            state: Arc::new(DependencyState::new(name, rules, 1, now)),
            gate: gate(&PoolSettings::new(4).connect_max(SECOND), now),
        }
    }

    fn pursue(&self, left: Option<Duration>, now: Instant) -> PoolPursuit<Silent> {
        PoolPursuit::new(
            Arc::clone(&self.driver),
            Arc::clone(&self.state),
            &self.gate,
            left.map(|left| Deadline::at(now + left)),
            Location::caller(),
            now,
            7,
        )
    }
}

fn poll(pursuit: &mut PoolPursuit<Silent>, now: Instant) -> bool {
    let waker = Waker::from(Arc::new(Bell::default()));
    pursuit
        .poll(&mut Context::from_waker(&waker), now)
        .is_ready()
}

/// Goal: the answer that everybody hears is not cut by the deadline of the one who asks.
#[test]
fn a_short_deadline_is_no_evidence_for_others() {
    let start = origin();
    let pool = Pool::new(start);
    let mut hasty = pool.pursue(Some(150 * MS), start);
    let mut patient = pool.pursue(None, start);
    let late = start + 100 * MS;
    for pursuit in [&mut hasty, &mut patient] {
        assert!(!poll(pursuit, start));
        assert!(!poll(pursuit, late));
    }
    let asked = pool.driver.asked_until.lock().expect("no panic").clone();
    assert_eq!(asked.len(), 1, "one asks for all");
    assert!(asked[0].remaining(late) > 500 * MS, "{asked:?}");
    assert!(poll(&mut hasty, start + 150 * MS), "its own time is over");
    assert!(!poll(&mut patient, start + 150 * MS), "refused for another");
}

/// Goal: a request that nobody waits for costs the pool no connection.
#[test]
fn nothing_is_begun_for_a_deadline_that_is_over() {
    let start = origin();
    let pool = Pool::new(start);
    let mut gone = pool.pursue(Some(Duration::ZERO), start);
    assert!(poll(&mut gone, start));
    assert_eq!(pool.driver.connects.load(Ordering::Relaxed), 0);
    drop(gone);
    let leases: Vec<_> = (0..4).map(|_| lend(&pool.gate, start)).collect();
    assert_eq!(leases.len(), 4, "every place is there");
}

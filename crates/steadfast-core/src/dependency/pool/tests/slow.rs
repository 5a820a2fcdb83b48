//! A server that takes long for every answer: an idle connection is tested for as long as a new
//! one takes to open.

use super::{
    scripted::{MS, Pool, Scripted, acquired, step, waits},
    *,
};

const TESTED_IN: u64 = 150;
const OPENED_IN: u64 = 155;
const HELD_FOR: u64 = 150;

/// Requests at a steady rate, one every 50 ms, on a pool of ten.
struct Load {
    start: Instant,
    pool: Pool,
    coming: Vec<(u64, PoolAcquire<Scripted>)>,
    rest: Vec<PoolDetached<Scripted>>,
    held: Vec<(u64, PoolLease)>,
    /// When which connect is answered.
    answers: Vec<(u64, usize)>,
    opened: u32,
    waited: Vec<u64>,
}

impl Load {
    fn new() -> Self {
        let start = origin();
        let pool = Pool::with(&PoolSettings::new(10), start);
        pool.driver.idle.store(1, Ordering::Relaxed);
        Self {
            start,
            pool,
            coming: Vec::new(),
            rest: Vec::new(),
            held: Vec::new(),
            answers: Vec::new(),
            opened: 1,
            waited: Vec::new(),
        }
    }

    fn give_back(&self, lease: PoolLease, now: Instant) {
        self.pool.driver.idle.fetch_add(1, Ordering::Relaxed);
        lease.give_back(now);
    }

    /// Lets the driver begin what it was asked since the last time.
    fn begin(&mut self, ms: u64) {
        while self.answers.len() < self.pool.connects() {
            let idle = self.pool.driver.idle.load(Ordering::Relaxed);
            self.pool
                .driver
                .idle
                .store(idle.saturating_sub(1), Ordering::Relaxed);
            self.opened += u32::from(idle == 0);
            let takes = if idle > 0 { TESTED_IN } else { OPENED_IN };
            self.answers.push((ms + takes, self.answers.len()));
        }
    }

    fn step(&mut self, ms: u64) {
        let now = self.start + Duration::from_millis(ms);
        for (_, nth) in self.answers.iter().filter(|(at, _)| *at == ms) {
            self.pool.connect(*nth, Ok(1));
        }
        let (over, held) = std::mem::take(&mut self.held)
            .into_iter()
            .partition(|(until, _)| *until <= ms);
        self.held = held;
        let over: Vec<(u64, PoolLease)> = over;
        for (_, lease) in over {
            self.give_back(lease, now);
        }
        for (since, mut acquire) in std::mem::take(&mut self.coming) {
            if let Poll::Ready(end) = step(&mut acquire, now) {
                let (_, lease) = end.expect("nobody is refused").settle(now);
                self.held.push((ms + HELD_FOR, lease));
                self.waited.push(ms - since);
                self.rest.extend(acquire.detach(now));
            } else {
                self.coming.push((since, acquire));
            }
            self.begin(ms);
        }
        self.rest.retain_mut(|rest| step(rest, now).is_pending());
        let back = std::mem::take(&mut *self.pool.driver.given_back.lock().expect("no panic"));
        for (_, lease) in back {
            self.give_back(lease, now);
        }
    }
}

/// Goal: at a rate that six or seven connections serve nobody waits for one of ten. A connection
/// that came back used to be promised to one who was about to have its own, and tested for
/// nobody.
#[test]
fn nobody_waits_for_a_place_behind_tests_that_nobody_needs() {
    let mut load = Load::new();
    for ms in 0..5_000 {
        if ms % 50 == 0 && ms < 4_000 {
            load.coming.push((ms, load.pool.acquire(None)));
        }
        // Whoever is woken looks again within the same moment.
        for _ in 0..3 {
            load.step(ms);
        }
    }
    assert_eq!(load.waited.len(), 80);
    let longest = load.waited.iter().max().copied();
    assert!(longest <= Some(OPENED_IN), "{:?}", load.waited);
    assert!(load.opened < 10, "{} were opened", load.opened);
}

/// Method: one has learnt what connects and tests take; then a connect takes longer than that.
#[test]
fn one_whose_connect_is_late_takes_the_connection_that_lies_idle() {
    let mut now = origin();
    let pool = Pool::new(now);
    let idle = |count| pool.driver.idle.store(count, Ordering::Relaxed);
    let mut first = None;
    for nth in 0..2 {
        let mut acquire = pool.acquire(None);
        waits(&mut acquire, now);
        now += 150 * MS;
        pool.connect(nth, Ok(1));
        let (_, lease) = acquired(&mut acquire, now).settle(now);
        if nth == 0 {
            idle(1);
            lease.give_back(now);
        } else {
            first = Some(lease);
        }
    }
    idle(0);
    let mut late = pool.acquire(None);
    waits(&mut late, now);
    assert_eq!(pool.connects(), 3);
    idle(1);
    first.expect("it is held").give_back(now + 20 * MS);
    waits(&mut late, now + 20 * MS);
    waits(&mut late, now + 149 * MS);
    assert_eq!(pool.connects(), 3, "its own is about to come");
    assert!(late.wake_at() <= Some(now + 150 * MS));
    waits(&mut late, now + 150 * MS);
    assert_eq!(pool.connects(), 4);
}

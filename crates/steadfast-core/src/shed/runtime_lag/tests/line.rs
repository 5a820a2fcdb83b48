//! Who in line goes first, and who is refused there.

use super::*;

const MS: Duration = Duration::from_millis(1);

/// A loop that has just been late, so that requests stand in line.
fn lined(start: Instant) -> LagLoop {
    let lag_loop = LagLoop::new(LagMode::Enforce, start);
    lag_loop.beat(1, Duration::from_secs(1), start + MS);
    lag_loop
}

/// One in line on the first thread, who joined so many milliseconds after the start.
struct InLine<'a> {
    lag_loop: &'a LagLoop,
    line: Line,
    who: (Priority, Instant),
}

impl<'a> InLine<'a> {
    fn joins(lag_loop: &'a LagLoop, priority: Priority, since: Instant) -> Self {
        Self {
            lag_loop,
            line: lag_loop.stand(0, priority, "/"),
            who: (priority, since),
        }
    }

    fn gives_way(&mut self, now: Instant) -> bool {
        self.gives_way_on(0, 0, now)
    }

    /// Polled by a thread of a runtime with so many ready tasks that nobody has taken.
    fn gives_way_on(&mut self, stripe: usize, ready: usize, now: Instant) -> bool {
        let (line, who) = (&mut self.line, self.who);
        (self.lag_loop).gives_way(line, stripe, who, || ready, now)
    }
}

#[test]
fn everybody_gives_way_once_and_the_oldest_goes_first() {
    let start = origin();
    let lag_loop = lined(start);
    let joins = |ms| InLine::joins(&lag_loop, Priority::Default, start + ms * MS);
    let (mut old, mut young) = (joins(100), joins(110));
    let now = start + 120 * MS;
    assert!(young.gives_way(now) && old.gives_way(now), "once");
    // The thread woke the last first.
    assert!(young.gives_way(now + MS), "an older one is in line");
    assert!(!old.gives_way(now + MS));
    assert!(!young.gives_way(now + 2 * MS), "the round is young");
}

#[test]
fn who_has_let_an_older_one_go_first_does_so_once() {
    let start = origin();
    let lag_loop = lined(start);
    let joins = |ms| InLine::joins(&lag_loop, Priority::Default, start + ms * MS);
    let (mut old, mut young) = (joins(100), joins(110));
    let now = start + 120 * MS;
    assert!(young.gives_way(now) && old.gives_way(now));
    assert!(young.gives_way(now + MS));
    // The oldest has left meanwhile.
    lag_loop.leave(old.line, Priority::Default);
    assert!(!young.gives_way(now + 2 * MS), "it would wait for ever");
}

#[test]
fn when_a_round_has_taken_its_time_the_thread_looks_at_everything_else_first() {
    let start = origin();
    let lag_loop = lined(start);
    let joins = |ms| InLine::joins(&lag_loop, Priority::Default, start + ms * MS);
    let mut all = [100, 101, 102].map(joins);
    let now = start + 120 * MS;
    assert!(all.iter_mut().all(|one| one.gives_way(now)));
    let [first, second, third] = &mut all;
    assert!(!first.gives_way(now));
    assert!(!second.gives_way(now + ROUND - MS));
    assert!(third.gives_way(now + ROUND), "the round is over");
    assert!(!third.gives_way(now + ROUND), "it begins the next");
}

#[test]
fn a_round_has_begun_only_on_the_thread_on_which_somebody_began() {
    let start = origin();
    let lag_loop = lined(start);
    let joins = |ms| InLine::joins(&lag_loop, Priority::Default, start + ms * MS);
    let (mut one, mut other) = (joins(100), joins(101));
    let now = start + 120 * MS;
    for (stripe, it) in [(0, &mut one), (1, &mut other)] {
        assert!(it.gives_way_on(stripe, 0, now));
        assert!(!it.gives_way_on(stripe, 0, now));
    }
    // As many rounds on one as on the other.
    let mut last = joins(102);
    let now = now + 2 * ROUND;
    assert!(last.gives_way_on(0, 0, now));
    assert!(last.gives_way_on(1, 0, now), "that one has not looked");
    assert!(!last.gives_way_on(1, 0, now));
}

#[test]
fn what_takes_longer_than_is_left_of_a_round_begins_its_own() {
    let start = origin();
    let lag_loop = lined(start);
    let joins = |path, ms| InLine {
        lag_loop: &lag_loop,
        line: lag_loop.stand(0, Priority::Default, path),
        who: (Priority::Default, start + ms * MS),
    };
    let now = start + 120 * MS;
    let [mut first, mut long, mut short] =
        [("/page", 100), ("/login", 101), ("/page", 102)].map(|(path, ms)| joins(path, ms));
    for (of, ms) in [(&first, 1), (&long, 4)] {
        let timed = of.line.timed().expect("it is in line");
        lag_loop.computed(timed, ms * MS, 1, now);
    }
    for one in [&mut first, &mut long, &mut short] {
        assert!(one.gives_way(now));
    }
    assert!(!first.gives_way(now));
    assert!(long.gives_way(now + 2 * MS), "3 ms are left");
    assert!(!short.gives_way(now + 2 * MS));
    assert!(!long.gives_way(now + ROUND + MS));
}

/// Somebody begins on the first thread, and has computed for so long when the round is over.
fn computes(lag_loop: &LagLoop, took: Duration, ended: Instant) {
    let mut first = InLine::joins(lag_loop, Priority::Default, ended - 40 * MS);
    let began = ended - 2 * ROUND;
    assert!(first.gives_way(began) && !first.gives_way(began));
    let timed = first.line.timed().expect("it is in line");
    lag_loop.computed(timed, took, 0, ended);
    lag_loop.leave(first.line, Priority::Default);
}

#[test]
fn other_work_of_the_runtime_goes_first_for_as_long_as_the_line_has_computed() {
    let start = origin();
    let lag_loop = lined(start);
    let ended = start + 130 * MS;
    computes(&lag_loop, 8 * MS, ended);
    let joins = |ms| InLine::joins(&lag_loop, Priority::Default, start + ms * MS);
    let (mut old, mut young) = (joins(100), joins(101));
    assert!(old.gives_way(ended) && young.gives_way(ended), "once");
    let busy = |one: &mut InLine<'_>, at| one.gives_way_on(0, 3, at);
    assert!(busy(&mut young, ended + 7 * MS) && busy(&mut old, ended + 7 * MS));
    let half = ended + 8 * MS;
    assert!(busy(&mut young, half), "the old one is still there");
    assert!(!busy(&mut old, half), "half of the time is the line's");
}

#[test]
fn without_other_work_nobody_waits_for_it() {
    let start = origin();
    let lag_loop = lined(start);
    let ended = start + 130 * MS;
    computes(&lag_loop, 8 * MS, ended);
    let mut next = InLine::joins(&lag_loop, Priority::Default, start + 100 * MS);
    assert!(next.gives_way(ended), "once");
    assert!(!next.gives_way_on(0, 0, ended));
}

#[test]
fn a_long_computation_keeps_the_line_waiting_for_a_tenth_of_a_second_at_most() {
    let start = origin();
    let lag_loop = lined(start);
    let ended = start + 130 * MS;
    computes(&lag_loop, Duration::from_secs(9), ended);
    let mut next = InLine::joins(&lag_loop, Priority::Default, start + 100 * MS);
    assert!(next.gives_way(ended), "once");
    assert!(next.gives_way_on(0, 2, ended + OTHERS_MAX - MS));
    assert!(!next.gives_way_on(0, 2, ended + OTHERS_MAX));
}

#[test]
fn the_line_itself_is_no_other_work() {
    let start = origin();
    let lag_loop = lined(start);
    let ended = start + 130 * MS;
    computes(&lag_loop, 8 * MS, ended);
    let joins = |ms| InLine::joins(&lag_loop, Priority::Default, start + ms * MS);
    let mut line: Vec<_> = (100..120).map(joins).collect();
    assert!(line.iter_mut().all(|it| it.gives_way(ended)), "once");
    // A thread with hundreds in its own queue hands them on to all.
    assert!(line[0].gives_way_on(0, 21, ended), "one of them is another");
    assert!(!line[0].gives_way_on(0, 20, ended));
}

#[test]
fn before_anybody_is_refused_the_line_is_worked_off_by_every_thread() {
    let start = origin();
    let lag_loop = LagLoop::new(LagMode::Enforce, start);
    lag_loop.set_workers(4);
    lag_loop.beat(1, Duration::from_secs(1), start + MS);
    let mut now = start + 2 * MS;
    for _ in 0..100 {
        computes(&lag_loop, 8 * MS, now);
        now += 8 * MS;
        lag_loop.beat(1, Duration::from_secs(1), now);
    }
    let joins = |since| InLine::joins(&lag_loop, Priority::Default, since);
    let line: Vec<_> = (0..100).map(|_| joins(now)).collect();
    let mut old = joins(now);
    for begun in line.into_iter().take(40) {
        lag_loop.leave(begun.line, Priority::Default);
    }
    // Four threads would have done more in that time.
    let now = now + 100 * MS;
    let mut young = joins(now);
    assert!(old.gives_way(now) && young.gives_way(now), "once");
    assert!(young.gives_way(now + MS), "an older one is in line");
    assert!(!old.gives_way(now + MS));
}

#[test]
fn a_critical_request_counts_as_older_than_those_before_it() {
    let start = origin();
    let lag_loop = lined(start);
    let mut default = InLine::joins(&lag_loop, Priority::Default, start + 100 * MS);
    let mut critical = InLine::joins(&lag_loop, Priority::Critical, start + 150 * MS);
    let now = start + 160 * MS;
    assert!(default.gives_way(now) && critical.gives_way(now));
    assert!(default.gives_way(now + MS), "it lets the critical one pass");
    assert!(!critical.gives_way(now + MS));
}

/// Room for so many in line, each of whom waits for 20 ms when it is taken.
fn with_room(lag_loop: &LagLoop, room: u32) -> Published {
    let published = Published {
        lined: true,
        room: Some(room),
        full_wait_ms: 20,
    };
    lag_loop
        .published
        .store(published.to_word(), Ordering::Relaxed);
    published
}

#[test]
fn who_comes_behind_many_of_its_own_route_counts_as_younger_than_another() {
    let start = origin();
    let lag_loop = lined(start);
    with_room(&lag_loop, 4);
    let joins = |path, ms| InLine {
        lag_loop: &lag_loop,
        line: lag_loop.stand(0, Priority::Default, path),
        who: (Priority::Default, start + ms * MS),
    };
    // The fourth of its kind is due 15 ms after it came, before the page at 114 ms.
    let mut flood = [100, 100, 100, 100].map(|ms| joins("/login", ms));
    let (mut early, mut late) = (joins("/page", 114), joins("/page", 116));
    let now = start + 120 * MS;
    let [.., last] = &mut flood;
    assert!(last.gives_way(now) && early.gives_way(now));
    assert!(last.gives_way(now + MS), "the page goes first");
    assert!(!early.gives_way(now + MS));
    assert!(last.gives_way(now + ROUND + MS) && late.gives_way(now + ROUND + MS));
    assert!(late.gives_way(now + ROUND + 2 * MS), "that one came later");
    assert!(!last.gives_way(now + ROUND + 2 * MS));
}

#[test]
fn a_flood_of_one_route_leaves_another_its_share_of_the_line() {
    let start = origin();
    let lag_loop = lined(start);
    let published = with_room(&lag_loop, 8);
    let arrives = |path| {
        let who = (Priority::Default, path);
        lag_loop.arrive_lined(0, who, published, start + 2 * MS)
    };
    for _ in 0..8 {
        lag_loop.stand(0, Priority::Default, "/login");
    }
    let refused = arrives("/login").expect_err("there is no room");
    assert_eq!((refused.waiting, refused.room), (8, 8));
    for _ in 0..4 {
        assert_eq!(arrives("/page"), Ok(()));
        lag_loop.stand(0, Priority::Default, "/page");
    }
    let refused = arrives("/page").expect_err("half of it is taken");
    assert_eq!((refused.waiting, refused.room), (12, 8));
    let who = (Priority::Background, "/report");
    let refused = lag_loop.arrive_lined(0, who, published, start + 2 * MS);
    let refused = refused.expect_err("not while others are refused");
    assert_eq!((refused.waiting, refused.room), (12, 2));
}

#[test]
fn of_who_stands_in_line_critical_requests_see_only_their_like_before_them() {
    let start = origin();
    let lag_loop = lined(start);
    let room = 8;
    let published = with_room(&lag_loop, room);
    let standing: Vec<_> = (0..room)
        .map(|_| lag_loop.stand(0, Priority::Background, "/"))
        .collect();
    assert_eq!(standing.len(), 8);
    let arrives = |priority| lag_loop.arrive_lined(0, (priority, "/"), published, start + 2 * MS);
    let refused = arrives(Priority::Default).expect_err("there is no room");
    assert_eq!((refused.waiting, refused.room), (8, 8));
    assert_eq!(arrives(Priority::Critical), Ok(()));
    for _ in 0..room * 4 {
        lag_loop.stand(0, Priority::Critical, "/");
    }
    let refused = arrives(Priority::Critical).expect_err("all of them are critical");
    assert_eq!((refused.waiting, refused.room), (32, 32));
    assert_eq!(refused.waited, Duration::ZERO, "it has not waited");
}

#[test]
fn whose_turn_comes_after_its_client_has_likely_gone_is_refused() {
    let start = origin();
    let lag_loop = lined(start);
    with_room(&lag_loop, 8);
    let turn = |priority, waited: Duration| {
        let line = lag_loop.stand(0, priority, "/");
        let now = start + 400 * MS;
        // Nobody looks in between.
        lag_loop.due.store(NEVER, Ordering::Relaxed);
        lag_loop.turn(line, priority, now - waited, || 1, now)
    };
    // Four times what the whole line stands for, and sixteen times for critical ones.
    assert_eq!(turn(Priority::Default, 80 * MS), Ok(()));
    let refused = turn(Priority::Default, 81 * MS).expect_err("it is too late");
    assert_eq!(refused.waited, 81 * MS);
    assert_eq!(turn(Priority::Critical, 320 * MS), Ok(()));
    assert!(turn(Priority::Critical, 321 * MS).is_err());
    let snapshot = lag_loop.snapshot(start + 400 * MS);
    assert_eq!((snapshot.waiting, snapshot.refused), (0, 2));
}

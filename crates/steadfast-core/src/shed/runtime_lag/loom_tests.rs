//! The lag loop under every interleaving: who looks against who switches it off, joins the
//! line, or leaves it.

use loom::{sync::Arc, thread};

use super::*;
use crate::{request::priority::Priority, testing::origin};

const LATE: Duration = Duration::from_millis(200);

/// A lag loop that has beaten once, on time.
fn calm() -> (Arc<LagLoop>, Instant) {
    let start = origin();
    let lag = LagLoop::new(LagMode::Enforce, start);
    lag.beat(0, Duration::ZERO, start);
    (Arc::new(lag), start + BEAT)
}

#[test]
fn loom_switched_off_it_lines_nobody_up_whoever_is_looking() {
    loom::model(|| {
        let (lag, now) = calm();
        let other = Arc::clone(&lag);
        let beats = thread::spawn(move || other.beat(8, LATE, now));
        lag.set_mode(LagMode::Off);
        beats.join().expect("joined");
        assert!(!lag.stands(), "nothing would ever end the line");
        let due = lag.due.load(Ordering::Relaxed);
        assert_eq!(due, NEVER, "no request looks any more");
    });
}

#[test]
fn loom_who_joins_the_line_and_leaves_it_is_counted_out_again() {
    loom::model(|| {
        let (lag, now) = calm();
        lag.beat(8, LATE, now);
        let other = Arc::clone(&lag);
        let critical = thread::spawn(move || {
            let line = other.stand(1, Priority::Critical, "/");
            other.leave(line, Priority::Critical);
        });
        let mut line = lag.stand(0, Priority::Default, "/");
        let gives_way = lag.gives_way(&mut line, 1, (Priority::Default, now), || 0, now);
        assert!(gives_way, "once it always does");
        let turn = lag.turn(line, Priority::Default, now, || 9, now);
        assert!(turn.is_ok(), "nobody is refused before the line has stood");
        critical.join().expect("joined");
        assert_eq!(lag.waiting(), 0);
        assert_eq!(lag.total(|stripe| &stripe.critical), 0);
        assert_eq!(lag.total(|stripe| &stripe.standing), 0);
        let route = lag.costs.route("/");
        assert_eq!(lag.costs.standing(route), 0);
        assert_eq!(lag.sum(|stripe| &stripe.started), 1);
    });
}

#[test]
fn loom_two_who_look_at_once_count_each_start_once() {
    loom::model(|| {
        let (lag, now) = calm();
        lag.beat(8, LATE, now);
        let line = lag.stand(0, Priority::Default, "/");
        let other = Arc::clone(&lag);
        let turn = thread::spawn(move || {
            let _ = other.turn(line, Priority::Default, now, || 9, now + LOOK * 2);
        });
        lag.beat(9, LATE, now + BEAT);
        turn.join().expect("joined");
        lag.beat(9, LATE, now + BEAT * 2);
        let seen = lock(&lag.inner).started;
        assert_eq!(seen, 1, "what a look has seen is what has started");
        assert_eq!(lag.waiting(), 0);
    });
}

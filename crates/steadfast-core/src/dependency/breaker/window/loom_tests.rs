use loom::{sync::Arc, thread};

use super::*;

const FAILURE: Sample = Sample {
    call: true,
    failed: true,
    slow: false,
    abandoned: false,
};

/// Both threads find the bucket old and try to make it new; neither record may be lost.
#[test]
fn loom_two_records_that_roll_one_bucket_are_both_counted() {
    loom::model(|| {
        let window = Arc::new(Window::new(1, 1, 1));
        window.record(0, FAILURE, 0);
        let other = {
            let window = Arc::clone(&window);
            thread::spawn(move || window.record(0, FAILURE, 1))
        };
        window.record(0, FAILURE, 1);
        other.join().expect("the other thread records");
        let counts = window.counts(1);
        assert_eq!((counts.calls, counts.failed), (2, 2));
    });
}

/// A record of the old epoch that races the roll is expired or one bucket late; the
/// fields of the word stay apart either way.
#[test]
fn loom_a_record_that_straddles_a_roll_is_late_by_one_at_most() {
    loom::model(|| {
        let window = Arc::new(Window::new(1, 1, 1));
        let other = {
            let window = Arc::clone(&window);
            thread::spawn(move || window.record(0, FAILURE, 0))
        };
        window.record(0, FAILURE, 1);
        other.join().expect("the other thread records");
        let counts = window.counts(1);
        assert!(matches!((counts.calls, counts.failed), (1, 1) | (2, 2)));
    });
}

/// Store buffering: each records on its own stripe and then looks at both.
#[test]
fn loom_of_two_recorders_at_least_one_sees_both_records() {
    loom::model(|| {
        let window = Arc::new(Window::new(1, 1, 2));
        let other = {
            let window = Arc::clone(&window);
            thread::spawn(move || {
                window.record(1, FAILURE, 0);
                window.counts_after_record(0).failed
            })
        };
        window.record(0, FAILURE, 0);
        let mine = window.counts_after_record(0).failed;
        let theirs = other.join().expect("the other thread records");
        assert_eq!(mine.max(theirs), 2);
    });
}

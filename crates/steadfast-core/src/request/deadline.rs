//! Until when an answer is worth something, and how a request says so.
//!
//! A caller that gives up after two seconds gains nothing from an answer after three. So
//! whoever lets a request wait (the queue of the load-shedding gate, the guard of a
//! connection pool) first asks how long its caller still listens. [`Deadline`] is that
//! moment; [`grpc_timeout`] and [`whole_millis`] read it from what callers send; and
//! [`Deadline::current`] hands it to code that never sees the request, such as a pool
//! inside a handler.
//!
//! The present deadline belongs to the request that this thread is polling: the guard sets
//! it for the length of one poll. Work that a handler moved to another task does not see
//! it, and may pass it on by hand. A request without a deadline costs nothing here.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use steadfast_core::plumbing::deadline::{self, Deadline};
//!
//! let now = Instant::now();
//! let left = deadline::grpc_timeout(b"250m").expect("well formed");
//! let waited_at_most = Deadline::after(now, left).during(|| {
//!     // Somewhere deep inside.
//!     Deadline::current().map_or(Duration::MAX, |deadline| deadline.remaining(now))
//! });
//! assert_eq!(waited_at_most, Duration::from_millis(250));
//! assert_eq!(Deadline::current(), None);
//! ```

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// Longest time a request can ask for; more is taken as this much. Nothing here waits for
/// a fraction of it, and every moment that far ahead can be written on every platform.
pub const LENGTH_MAX: Duration = Duration::from_secs(86_400);

/// Most digits in a timeout: what gRPC allows, and enough for a day in milliseconds.
const DIGITS_MAX: usize = 8;

std::thread_local! {
    static CURRENT: Cell<Option<Deadline>> = const { Cell::new(None) };
}

/// The moment after which an answer is worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// Makes a deadline of a moment.
    #[must_use]
    pub const fn at(moment: Instant) -> Self {
        Self(moment)
    }

    /// Makes the deadline of who listens for this long from `now` on; at most
    /// [`LENGTH_MAX`].
    #[must_use]
    pub fn after(now: Instant, left: Duration) -> Self {
        Self(now + left.min(LENGTH_MAX))
    }

    /// Returns the deadline of the request that this thread is polling, if it has one.
    ///
    /// Only as exact as the caller's word: a header that was not sent is no deadline.
    #[must_use]
    pub fn current() -> Option<Self> {
        // While a thread ends there is no cell any more, and no request is being polled.
        CURRENT.try_with(Cell::get).ok().flatten()
    }

    /// Runs `poll` with this as the present deadline, or an earlier one that holds already:
    /// what runs inside another request ends with it. What held before holds again
    /// afterwards, also after a panic.
    pub fn during<R>(self, poll: impl FnOnce() -> R) -> R {
        struct Restore(Option<Deadline>);
        impl Drop for Restore {
            fn drop(&mut self) {
                let _ = CURRENT.try_with(|current| current.set(self.0));
            }
        }
        let before = Self::current();
        let _restore = Restore(before);
        let mine = before.map_or(self, |before| before.min(self));
        let _ = CURRENT.try_with(|current| current.set(Some(mine)));
        poll()
    }

    /// Returns the moment.
    #[must_use]
    pub const fn instant(self) -> Instant {
        self.0
    }

    /// Returns the time left, zero if it has passed.
    #[must_use]
    pub fn remaining(self, now: Instant) -> Duration {
        self.0.saturating_duration_since(now)
    }

    /// Returns an earlier deadline, so that the one who waits under it can still answer:
    /// nine tenths of the time left at `now`.
    #[must_use]
    pub fn with_margin(self, now: Instant) -> Self {
        Self(now + self.remaining(now) * 9 / 10)
    }
}

/// Reads the value of a `grpc-timeout` header: one to eight digits and one of the units
/// `H M S m u n`, hours to nanoseconds ("Requests" in gRPC's `PROTOCOL-HTTP2.md`).
///
/// Zero is read as no time at all, which is what a client sends whose time has passed.
/// Returns `None` for everything else.
#[must_use]
pub fn grpc_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    let number = number(digits)?;
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Reads a whole number of milliseconds above zero in one to eight digits: the value of
/// Envoy's `x-envoy-expected-rq-timeout-ms`, which Envoy leaves out where there is no
/// timeout, and of most headers that people invent for this.
#[must_use]
pub fn whole_millis(value: &[u8]) -> Option<Duration> {
    number(value)
        .filter(|millis| *millis > 0)
        .map(Duration::from_millis)
}

fn number(digits: &[u8]) -> Option<u64> {
    let plain = (1..=DIGITS_MAX).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| {
        digits
            .iter()
            .fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::origin;
    use proptest::prelude::*;

    #[test]
    fn every_unit_of_grpc_is_read_and_nothing_else() {
        for (value, nanos) in [
            ("1H", Some(3_600_000_000_000)),
            ("2M", Some(120_000_000_000)),
            ("3S", Some(3_000_000_000)),
            ("100m", Some(100_000_000)),
            ("5u", Some(5_000)),
            ("7n", Some(7)),
            ("0n", Some(0)),
            ("99999999H", Some(99_999_999 * 3_600_000_000_000)),
            ("00000001S", Some(1_000_000_000)),
            ("", None),
            ("S", None),
            ("1", None),
            ("123456789m", None),
            ("-1S", None),
            ("+1S", None),
            ("1.5S", None),
            ("1 S", None),
            ("1s", None),
            ("1h", None),
            ("1SS", None),
        ] {
            let read = grpc_timeout(value.as_bytes()).map(|left| left.as_nanos());
            assert_eq!(read, nanos, "{value:?}");
        }
    }

    #[test]
    fn milliseconds_are_whole_and_above_zero() {
        for (value, millis) in [
            ("1500", Some(1500)),
            ("99999999", Some(99_999_999)),
            ("0", None),
            ("", None),
            ("100000000", None),
            ("1.5", None),
            ("15ms", None),
            ("-3", None),
        ] {
            let read = whole_millis(value.as_bytes()).map(|left| left.as_millis());
            assert_eq!(read, millis, "{value:?}");
        }
    }

    #[test]
    fn the_present_deadline_is_the_earlier_one_and_ends_with_its_poll() {
        let now = origin();
        let after = |secs| Deadline::after(now, Duration::from_secs(secs));
        after(5).during(|| {
            assert_eq!(Deadline::current(), Some(after(5)));
            after(9).during(|| assert_eq!(Deadline::current(), Some(after(5))));
            after(2).during(|| assert_eq!(Deadline::current(), Some(after(2))));
            assert_eq!(Deadline::current(), Some(after(5)));
        });
        assert_eq!(Deadline::current(), None);
    }

    #[test]
    fn a_panic_leaves_no_deadline_behind() {
        let deadline = Deadline::at(origin());
        let panicked = std::panic::catch_unwind(|| deadline.during(|| panic!("in a handler")));
        assert!(panicked.is_err());
        assert_eq!(Deadline::current(), None);
    }

    #[test]
    fn a_margin_leaves_time_to_answer() {
        let now = origin();
        let deadline = Deadline::at(now + Duration::from_secs(1));
        assert_eq!(
            deadline.with_margin(now).remaining(now),
            Duration::from_millis(900)
        );
        assert_eq!(
            deadline.remaining(now + Duration::from_secs(2)),
            Duration::ZERO
        );
    }

    proptest! {
        #[test]
        fn no_value_panics_and_no_deadline_is_further_than_a_day(value in proptest::collection::vec(any::<u8>(), 0..12)) {
            let now = origin();
            for left in [grpc_timeout(&value), whole_millis(&value)].into_iter().flatten() {
                let deadline = Deadline::after(now, left);
                prop_assert_eq!(deadline.remaining(now), left.min(LENGTH_MAX));
            }
        }

        #[test]
        fn what_grpc_writes_is_read_back(number in 0_u64..100_000_000, unit in 0_usize..6) {
            let (unit, nanos) = [
                ("H", 3_600_000_000_000_u128), ("M", 60_000_000_000), ("S", 1_000_000_000),
                ("m", 1_000_000), ("u", 1000), ("n", 1),
            ][unit];
            let read = grpc_timeout(format!("{number}{unit}").as_bytes()).expect("well formed");
            prop_assert_eq!(read.as_nanos(), u128::from(number) * nanos);
        }
    }
}

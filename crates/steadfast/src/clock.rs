//! The one place that reads a clock.
//!
//! Decisions use the monotonic clock of tokio, which a test can pause. Wall time is for
//! people only: it is derived from the monotonic clock and one reading at the start, so
//! that a stepped clock can neither reorder a timeline nor move a decision.

use std::{
    pin::{Pin, pin},
    sync::OnceLock,
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Returns the present moment.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Polls a timer, or whatever else ends something, also when the task has used up its turn.
///
/// tokio gives a task a budget of polls for each turn, and what is asked after it is used up
/// says *pending* and asks for another turn. So a timer that is asked after something which is
/// always ready, a peer that sends without a pause say, would never be over. tokio's own
/// `timeout` looks past the budget in this way too.
pub(crate) fn poll_past_budget<F: Future>(
    future: Pin<&mut F>,
    cx: &mut Context<'_>,
) -> Poll<F::Output> {
    pin!(tokio::task::unconstrained(future)).poll(cx)
}

/// Returns what both clocks of the host say, for whoever looks whether one was set. The
/// monotonic one is the host's own and not tokio's, because a test that pauses that one moves
/// it against the other.
#[allow(
    clippy::disallowed_methods,
    reason = "the two readings are compared with each other and decide nothing"
)]
pub(crate) fn both() -> (SystemTime, Instant) {
    (SystemTime::now(), Instant::now())
}

/// Returns the wall time of a moment, as a length since the Unix epoch.
pub(crate) fn wall(moment: Instant) -> Duration {
    let (origin, epoch) = anchor();
    if moment >= *origin {
        *epoch + moment.duration_since(*origin)
    } else {
        epoch.saturating_sub(origin.duration_since(moment))
    }
}

/// The same in whole milliseconds, which is what ids have.
pub(crate) fn wall_millis(moment: Instant) -> u64 {
    let wall = wall(moment);
    wall.as_secs() * 1000 + u64::from(wall.subsec_millis())
}

/// Returns the moment of a wall time, `None` if no `Instant` can say it.
pub(crate) fn moment(wall: Duration) -> Option<Instant> {
    let (origin, epoch) = anchor();
    match wall.checked_sub(*epoch) {
        Some(later) => origin.checked_add(later),
        None => origin.checked_sub(*epoch - wall),
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the one reading of the wall clock; everything later is counted from it"
)]
fn anchor() -> &'static (Instant, Duration) {
    static ANCHOR: OnceLock<(Instant, Duration)> = OnceLock::new();
    ANCHOR.get_or_init(|| {
        (
            now(),
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        )
    })
}

/// Formats a moment as RFC 3339 in UTC with milliseconds: `2026-01-31T10:02:11.250Z`.
pub(crate) fn rfc3339(moment: Instant) -> String {
    let since = wall(moment);
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        since.subsec_millis()
    )
}

/// Formats whole seconds since the Unix epoch as RFC 3339 in UTC.
pub(crate) fn rfc3339_of(seconds: u64) -> String {
    let (year, month, day) = civil(seconds / 86_400);
    let time = time_of_day(seconds);
    format!("{year:04}-{month:02}-{day:02}T{time}Z")
}

/// Formats a moment for a sentence: `10:02:11 UTC`, with the date if it is not today's.
pub(crate) fn people(moment: Instant, now: Instant) -> String {
    let (then, today) = (wall(moment).as_secs(), wall(now).as_secs());
    let time = time_of_day(then);
    if then / 86_400 == today / 86_400 {
        return format!("{time} UTC");
    }
    let (year, month, day) = civil(then / 86_400);
    format!("{year:04}-{month:02}-{day:02} {time} UTC")
}

fn time_of_day(seconds: u64) -> String {
    let (hour, minute) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{hour:02}:{minute:02}:{:02}", seconds % 60)
}

/// Turns days since 1970-01-01 into a date of the Gregorian calendar, by counting the days
/// of 400-year, 100-year, 4-year and single-year cycles from 0000-03-01.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_BEFORE_1970: u64 = 719_468;
    let day = days + DAYS_BEFORE_1970;
    let (era, day_of_era) = (day / 146_097, day % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_found_again_by_its_wall_time() {
        let now = now();
        let later = now + Duration::from_secs(5);
        let earlier = now.checked_sub(Duration::from_millis(1)).unwrap_or(now);
        for at in [earlier, now, later] {
            assert_eq!(moment(wall(at)), Some(at));
        }
        assert_eq!(moment(Duration::MAX), None);
    }

    #[test]
    fn dates_are_right_across_leap_years() {
        for (days, expected) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (20_780, (2026, 11, 23)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil(days), expected, "{days}");
        }
    }
}

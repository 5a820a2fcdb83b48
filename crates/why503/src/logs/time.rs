//! Times as logs write them, in seconds since 1970 of the clock on the wall.
//!
//! The offset is left out on purpose: nginx's error log and HAProxy write none, and lines of one
//! host must fall on the same second. A time that is a number (Caddy) is in UTC.

use super::bytes::{cut, decimal, number};

const DAY: i64 = 86_400;

/// `29/Nov/2026:08:35:47`, with anything behind it.
pub(crate) fn common(text: &[u8]) -> Option<i64> {
    let (date, clock) = (text.get(..11)?, text.get(12..20)?);
    let month = month(&date[3..6])?;
    let shape = [date[2], date[6], text[11]] == *b"//:";
    let day = day(number(&date[7..11])?, month, number(&date[..2])?)?;
    shape.then_some(day * DAY + time_of_day(clock)?)
}

/// `2026-11-29T08:35:47`, or with other signs between the parts (`2026/11/29 08:35:47`).
pub(crate) fn iso(text: &[u8]) -> Option<i64> {
    let (date, clock) = (text.get(..10)?, text.get(11..19)?);
    let signs = date[4] == date[7]
        && matches!(date[4], b'-' | b'/')
        && matches!(text[10], b'T' | b' ' | b't');
    let day = day(
        number(&date[..4])?,
        number(&date[5..7])?,
        number(&date[8..10])?,
    )?;
    signs.then_some(day * DAY + time_of_day(clock)?)
}

/// `Sun Nov 29 08:36:47.178852 2026`.
pub(crate) fn apache(text: &[u8]) -> Option<i64> {
    let (month, day_of_month, clock) = (text.get(4..7)?, text.get(8..10)?, text.get(11..19)?);
    let (_, year) = cut(text.get(19..)?, b' ')?;
    let day = day(
        number(year.get(..4)?)?,
        self::month(month)?,
        padded(day_of_month)?,
    )?;
    Some(day * DAY + time_of_day(clock)?)
}

/// A number: seconds, or milli-, micro- or nanoseconds where it is too large for that.
#[expect(
    clippy::cast_possible_truncation,
    reason = "bounded by the check above it"
)]
pub(crate) fn epoch(text: &[u8]) -> Option<i64> {
    let mut seconds = decimal(text)?;
    for _ in 0..3 {
        if seconds > EPOCH_MAX {
            seconds /= 1e3;
        }
    }
    (seconds <= EPOCH_MAX).then_some(seconds as i64)
}

/// Any of those that a JSON field may hold.
pub(crate) fn any(text: &[u8]) -> Option<i64> {
    iso(text).or_else(|| common(text)).or_else(|| epoch(text))
}

/// Year, month, day, hour, minute and second of a moment.
pub(crate) fn parts(seconds: i64) -> (i64, u32, u32, u32, u32, u32) {
    let (year, month, day) = civil(seconds.div_euclid(DAY));
    let left = u32::try_from(seconds.rem_euclid(DAY)).unwrap_or(0);
    (year, month, day, left / 3600, left / 60 % 60, left % 60)
}

/// `2026-11-29 08:35:47`.
pub(crate) fn written(seconds: i64) -> String {
    let (year, month, day, hour, minute, second) = parts(seconds);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

fn time_of_day(text: &[u8]) -> Option<i64> {
    let (hour, minute, second) = (
        number(&text[..2])?,
        number(&text[3..5])?,
        number(&text[6..8])?,
    );
    // A leap second is the last of its minute.
    let real = text[2] == b':' && text[5] == b':' && hour < 24 && minute < 60 && second <= 60;
    real.then_some(i64::from(hour * 3600 + minute * 60 + second.min(59)))
}

fn padded(text: &[u8]) -> Option<u32> {
    number(text.strip_prefix(b" ").unwrap_or(text))
}

fn month(text: &[u8]) -> Option<u32> {
    let at = MONTHS.iter().position(|it| text.eq_ignore_ascii_case(it))?;
    u32::try_from(at + 1).ok()
}

/// Days since 1970 of a date in the Gregorian calendar.
fn day(year: u32, month: u32, day: u32) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year < 1 {
        return None;
    }
    let shifted = i64::from(year) - i64::from(month <= 2);
    let (era, of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let of_year = (153 * ((i64::from(month) + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

fn civil(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let small = |it: i64| u32::try_from(it).unwrap_or(0);
    (
        year + era * 400 + i64::from(month <= 2),
        small(month),
        small(day),
    )
}

/// The year 3000; a larger number counts something finer than seconds.
const EPOCH_MAX: f64 = 32_503_680_000.0;

const MONTHS: [&[u8]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_time_means_the_same_second() {
        let second = 1_795_941_347;
        assert_eq!(written(second), "2026-11-29 08:35:47");
        assert_eq!(common(b"29/Nov/2026:08:35:47.990"), Some(second));
        assert_eq!(common(b"29/Nov/2026:08:35:47 +0200"), Some(second));
        assert_eq!(iso(b"2026-11-29T08:35:47.927026+00:00"), Some(second));
        assert_eq!(iso(b"2026/11/29 08:35:47"), Some(second));
        assert_eq!(apache(b"Sun Nov 29 08:35:47.178852 2026"), Some(second));
        for epoch in [
            "1795941347.11",
            "1795941347110",
            "1795941347110000",
            "1795941347110000000",
        ] {
            assert_eq!(any(epoch.as_bytes()), Some(second), "{epoch}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "29/Nov/2026",
            "99/Nov/2026:08:35:47",
            "29/Nox/2026:08:35:47",
            "29/Nov/2026:28:35:47",
        ] {
            assert_eq!(common(text.as_bytes()), None, "{text}");
        }
        assert_eq!(epoch(b"1e300"), None);
        assert_eq!(iso(b"2026-13-29T08:35:47"), None);
    }

    #[test]
    fn days_come_back() {
        for days in (-800_000..1_200_000).step_by(37) {
            let (year, month, of_month) = civil(days);
            let Ok(year) = u32::try_from(year) else {
                continue;
            };
            assert!(
                year < 1 || day(year, month, of_month) == Some(days),
                "{days}"
            );
        }
    }
}

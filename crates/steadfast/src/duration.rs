//! Durations as people write them: `250ms`, `5s`, `10m`, `2h`.

use std::time::Duration;

/// Longest length that can be written: 366 days.
const LENGTH_MAX: Duration = Duration::from_secs(366 * 86_400);

/// Reads a duration: a whole or decimal number and a unit.
///
/// # Errors
/// What was found, and what is allowed.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let fault = || {
        let shown: String = text.chars().take(32).collect();
        format!(
            "{shown:?} is not a duration; allowed is a number and ms, s, m or h, up to 366 days"
        )
    };
    let split = text
        .find(|c: char| c.is_ascii_alphabetic())
        .ok_or_else(fault)?;
    let (number, unit) = text.split_at(split);
    let seconds_per_unit = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(fault()),
    };
    let plain = number
        .trim_end()
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = number
        .trim_end()
        .parse()
        .ok()
        .filter(|_| plain)
        .ok_or_else(fault)?;
    Duration::try_from_secs_f64(number * seconds_per_unit)
        .ok()
        .filter(|length| *length <= LENGTH_MAX)
        .ok_or_else(fault)
}

/// Writes a duration for a sentence: `20 ms`, `1.5 s`, `4 min`, `3 h`, `2 d`.
pub(crate) fn spoken(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..=9 if time.subsec_millis() >= 100 => format!("{:.1} s", time.as_secs_f64()),
        1..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_spoken_in_the_unit_that_a_person_would_take() {
        for (millis, expected) in [
            (0, "0 ms"),
            (20, "20 ms"),
            (1_000, "1 s"),
            (1_540, "1.5 s"),
            (42_000, "42 s"),
            (240_000, "4 min"),
            (10_800_000, "3 h"),
            (200_000_000, "2 d"),
        ] {
            assert_eq!(spoken(Duration::from_millis(millis)), expected);
        }
    }

    #[test]
    fn lengths_are_read_and_nonsense_says_what_is_allowed() {
        for (text, millis) in [
            ("250ms", 250),
            ("5s", 5000),
            ("1.5s", 1500),
            ("10m", 600_000),
            ("2h", 7_200_000),
            ("0s", 0),
            (" 3 s ", 3000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            "-1s",
            "1e99h",
            "5 parsecs",
            "1d",
            "NaNs",
            "infs",
            "99999h",
        ] {
            let fault = parse(text).expect_err(text);
            assert!(fault.contains("allowed"), "{fault}");
        }
    }
}

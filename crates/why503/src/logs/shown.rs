//! Bytes from a log as text that no terminal obeys, cut to the columns there are.

use std::fmt::Write;

use unicode_width::UnicodeWidthChar;

/// The bytes as text: what is no UTF-8, controls a terminal or turns the direction of writing is
/// written as an escape that can be read.
pub(crate) fn inert(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            } else if is_invisible(c) {
                let _ = write!(out, "\\u{{{:04x}}}", u32::from(c));
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// Marks without width, of direction, of lines, tags and private use.
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{00ad}' | '\u{061c}' | '\u{115f}'..='\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// The text in at most so many columns, with `…` where it was cut.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    // A mark on the letter before it takes no column and counts for one, or a stranger could pile
    // up as many as he likes.
    let wide = |c: char| c.width().unwrap_or(0).max(1);
    if text.chars().map(wide).sum::<usize>() <= columns {
        return text.to_owned();
    }
    let mut left = columns.saturating_sub(1);
    let mut out = String::new();
    for c in text.chars() {
        match left.checked_sub(wide(c)) {
            Some(rest) => left = rest,
            None => break,
        }
        out.push(c);
    }
    out.push('…');
    out
}

/// `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `25 %`, with a decimal where it would be nothing.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    let ratio = ratio(part, whole) * 100.0;
    if part > 0 && ratio < 1.0 {
        format!("{:.1} %", ratio.max(0.1))
    } else if part < whole {
        format!("{:.0} %", ratio.min(99.0))
    } else {
        format!("{ratio:.0} %")
    }
}

/// A share, 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "a share for people")]
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_sees_nothing_to_obey() {
        let hostile = b"GET /\x1b[31m\xe2\x80\xae\xff\x00\xc2\x9b\r\n\xf3\xa0\x81\x81";
        assert_eq!(
            inert(hostile),
            "GET /\\x1b[31m\\u{202e}\\xff\\x00\\x9b\\x0d\\x0a\\u{e0041}"
        );
        assert_eq!(inert("/größe/日本".as_bytes()), "/größe/日本");
    }

    #[test]
    fn columns_are_kept() {
        assert_eq!(fit("abcdef", 4), "abc…");
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(fit("abc", 3), "abc");
        assert_eq!(fit("abc", 0), "…");
        assert_eq!(fit(&"a\u{302e}".repeat(9), 4), "a\u{302e}a…");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(999), "999");
        assert_eq!(percent(999, 1000), "99 %");
        assert_eq!(percent(1, 100_000), "0.1 %");
        assert_eq!(percent(0, 0), "0 %");
    }
}

//! Small readers over bytes: no allocation, no UTF-8, no panic.

use memchr::memchr;

/// The part before the byte and the part after it.
pub(crate) fn cut(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr(byte, text)?;
    Some((&text[..at], &text[at + 1..]))
}

/// The next word and what follows the blanks behind it; empty at the end.
pub(crate) fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let text = skip_blanks(text);
    match cut(text, b' ') {
        Some((word, rest)) => (word, skip_blanks(rest)),
        None => (text, &[]),
    }
}

/// What stands in double quotes at the start (`\"` does not end it), and what follows.
pub(crate) fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = text.strip_prefix(b"\"")?;
    let mut from = 0;
    loop {
        let at = from + memchr(b'"', inner.get(from..)?)?;
        let slashes = inner[..at].iter().rev().take_while(|it| **it == b'\\');
        if slashes.count() % 2 == 0 {
            return Some((&inner[..at], &inner[at + 1..]));
        }
        from = at + 1;
    }
}

/// A quoted text or a bare word, and what follows the blanks behind it.
pub(crate) fn value(text: &[u8]) -> (&[u8], &[u8]) {
    match quoted(text) {
        Some((inner, rest)) => (inner, skip_blanks(rest)),
        None => word(text),
    }
}

pub(crate) fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|it| **it == b' ').count();
    &text[blanks..]
}

/// A whole number of at most nine digits.
pub(crate) fn number(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 9 {
        return None;
    }
    text.iter().try_fold(0_u32, |sum, byte| {
        byte.is_ascii_digit()
            .then(|| sum * 10 + u32::from(byte - b'0'))
    })
}

/// Three digits that are a status.
pub(crate) fn status(text: &[u8]) -> Option<u16> {
    let status = number(text).filter(|_| text.len() == 3)?;
    u16::try_from(status).ok().filter(|it| *it >= 100)
}

/// A decimal number, without a sign or an exponent.
pub(crate) fn decimal(text: &[u8]) -> Option<f64> {
    if text.len() > 32 || !text.first()?.is_ascii_digit() {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `METHOD target HTTP/1.1`, in parts.
pub(crate) fn request_line(text: &[u8]) -> (&[u8], &[u8]) {
    let (method, rest) = word(text);
    let target = match memchr::memrchr(b' ', rest) {
        Some(at) if rest[at + 1..].starts_with(b"HTTP/") => &rest[..at],
        _ => rest,
    };
    (method, target)
}

/// A target without its query.
pub(crate) fn path(target: &[u8]) -> &[u8] {
    cut(target, b'?').map_or(target, |it| it.0)
}

/// An address without its port.
pub(crate) fn without_port(address: &[u8]) -> &[u8] {
    match memchr::memrchr(b':', address) {
        Some(at) if number(&address[at + 1..]).is_some() => &address[..at],
        _ => address,
    }
}

/// Where the text occurs.
pub(crate) fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, needle)
}

pub(crate) fn contains(text: &[u8], needle: &[u8]) -> bool {
    find(text, needle).is_some()
}

/// What stands between the two marks.
pub(crate) fn between<'a>(text: &'a [u8], before: &[u8], after: &[u8]) -> Option<&'a [u8]> {
    let rest = &text[find(text, before)? + before.len()..];
    Some(&rest[..find(rest, after)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_text_ends_at_the_first_bare_quote() {
        let read = |text: &'static str| quoted(text.as_bytes());
        assert_eq!(read(r#""a \" b" c"#), Some((&br#"a \" b"#[..], &b" c"[..])));
        assert_eq!(read(r#""a\\" c"#), Some((&br"a\\"[..], &b" c"[..])));
        assert_eq!(read(r#""a"#), None);
        assert_eq!(read(r#""a\""#), None);
    }

    #[test]
    fn a_request_line_may_be_broken() {
        for (line, method, target) in [
            ("GET /a b HTTP/1.1", "GET", "/a b"),
            ("GET /a", "GET", "/a"),
            ("-", "-", ""),
            ("", "", ""),
        ] {
            let read = request_line(line.as_bytes());
            assert_eq!(read, (method.as_bytes(), target.as_bytes()), "{line}");
        }
    }

    #[test]
    fn numbers_have_bounds() {
        assert_eq!(number(b"999999999"), Some(999_999_999));
        assert_eq!(number(b"9999999999"), None);
        assert_eq!(status(b"099"), None);
        assert_eq!(status(b"503"), Some(503));
        assert_eq!(decimal(b"1e400"), Some(f64::INFINITY));
        assert_eq!(decimal(b"-1"), None);
        assert_eq!(without_port(b"[::1]:80"), b"[::1]");
    }
}

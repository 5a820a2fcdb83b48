//! What collectors of logs put in front of a line: syslog (RFC 3164 and 5424), rsyslog's ISO
//! times, the container runtime's stream names, and the names that `docker compose logs` prints.

use crate::logs::{
    bytes::{cut, word},
    time,
};

/// The line without its header, and the header's time if it has a year.
pub(crate) fn strip(line: &[u8]) -> (Option<i64>, &[u8]) {
    let line = without_service(line);
    let line = without_priority(line);
    if let Some(rest) = line
        .strip_prefix(b"1 ")
        .filter(|it| time::iso(it).is_some())
    {
        return rfc5424(rest).unwrap_or((None, line));
    }
    if let Some(found) = traditional(line).or_else(|| stamped(line)) {
        return found;
    }
    (None, line)
}

/// `web-1  | line`.
fn without_service(line: &[u8]) -> &[u8] {
    let head = &line[..line.len().min(SERVICE_LEN_MAX)];
    let Some(at) = memchr::memmem::find(head, b" | ") else {
        return line;
    };
    let name = head[..at].trim_ascii_end();
    let plain = |it: &u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b'.');
    if !name.is_empty() && name.iter().all(plain) {
        line[at + 3..].trim_ascii_start()
    } else {
        line
    }
}

fn without_priority(line: &[u8]) -> &[u8] {
    let Some(rest) = line.strip_prefix(b"<") else {
        return line;
    };
    match cut(&rest[..rest.len().min(5)], b'>') {
        Some((number, _)) if number.iter().all(u8::is_ascii_digit) => &rest[number.len() + 1..],
        _ => line,
    }
}

/// `2026-11-29T08:35:47.927026+00:00 host app pid id - message`, after the version.
fn rfc5424(line: &[u8]) -> Option<(Option<i64>, &[u8])> {
    let at = time::iso(line);
    let mut rest = line;
    for _ in 0..5 {
        rest = word(rest).1;
    }
    // Structured data: `-`, or groups in brackets.
    while rest.starts_with(b"[") {
        rest = cut(rest, b']')?.1;
    }
    let rest = rest.strip_prefix(b"-").unwrap_or(rest).trim_ascii_start();
    Some((at, rest.strip_prefix(b"\xef\xbb\xbf").unwrap_or(rest)))
}

/// `Nov 29 08:35:47 host haproxy[12579]: message`; the year is missing, so the time is left.
fn traditional(line: &[u8]) -> Option<(Option<i64>, &[u8])> {
    let clock = line.get(7..15)?;
    let shape = line[3] == b' ' && line[6] == b' ' && clock[2] == b':' && clock[5] == b':';
    let month = line[..3].iter().all(u8::is_ascii_alphabetic);
    (shape && month && clock[0].is_ascii_digit()).then_some(())?;
    Some((None, tagged(line.get(16..)?)?))
}

/// `2026-11-29T08:35:47.927026+00:00 host haproxy[12579]: message`, or a stream's name instead.
fn stamped(line: &[u8]) -> Option<(Option<i64>, &[u8])> {
    (line.get(10)? == &b'T').then_some(())?;
    let at = time::iso(line)?;
    let (_, rest) = word(line);
    for stream in [&b"stdout "[..], b"stderr "] {
        if let Some(rest) = rest.strip_prefix(stream) {
            let part = rest
                .strip_prefix(b"F ")
                .or_else(|| rest.strip_prefix(b"P "));
            return Some((Some(at), part.unwrap_or(rest)));
        }
    }
    Some((Some(at), tagged(rest).unwrap_or(rest)))
}

/// The message after `host tag[pid]: ` or `tag[pid]: `.
fn tagged(line: &[u8]) -> Option<&[u8]> {
    let mut rest = line;
    for _ in 0..2 {
        let (name, after) = word(rest);
        if name.ends_with(b":") {
            return Some(after);
        }
        rest = after;
    }
    None
}

/// Names of services are short.
const SERVICE_LEN_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_header_comes_off() {
        let message = "10.0.0.1:1 [29/Nov/2026:08:35:47.990] web";
        for header in [
            "",
            "<134>Nov 29 08:35:47 localhost haproxy[12579]: ",
            "Nov  9 08:35:47 lb1 haproxy[1]: ",
            "Nov 29 08:35:47 haproxy[1]: ",
            "<134>1 2026-11-29T08:35:47.927026+00:00 - haproxy 12579 - - ",
            "<134>1 2026-11-29T08:35:47Z lb1 haproxy 1 - [a@1 b=\"c\"] ",
            "2026-11-29T08:35:47.927026+00:00 lb1 haproxy[12579]: ",
            "2026-11-29T08:35:47.927026123Z stdout F ",
            "haproxy-1  | ",
        ] {
            let line = format!("{header}{message}");
            let (_, rest) = strip(line.as_bytes());
            assert_eq!(String::from_utf8_lossy(rest), message, "{header}");
        }
    }
}

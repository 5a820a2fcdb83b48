//! A route out of a request: the path without its query, with what names one thing left out.

use super::bytes::cut;

/// Writes the route of a request into `out`, which is emptied first: `GET /orders/{id}`.
pub(crate) fn of(method: &[u8], target: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let named = !method.is_empty()
        && method.len() <= METHOD_LEN_MAX
        && method.iter().all(u8::is_ascii_uppercase);
    out.extend_from_slice(if named { method } else { b"-" });
    out.push(b' ');
    let path = path(target);
    if !path.starts_with(b"/") {
        out.extend_from_slice(if path == b"*" { b"*" } else { b"-" });
        return;
    }
    for (at, segment) in path[1..].split(|it| *it == b'/').enumerate() {
        out.push(b'/');
        if at == SEGMENTS_MAX {
            out.extend_from_slice("…".as_bytes());
            return;
        }
        out.extend_from_slice(if names_one(segment) { b"{id}" } else { segment });
    }
}

/// The path of a target in any form, without query and fragment.
fn path(target: &[u8]) -> &[u8] {
    let target = match target
        .iter()
        .position(|it| matches!(it, b'?' | b'#' | b';'))
    {
        Some(at) => &target[..at],
        None => target,
    };
    let absolute = [&b"http://"[..], b"https://", b"ws://", b"wss://"]
        .iter()
        .find_map(|scheme| target.strip_prefix(*scheme));
    match absolute {
        Some(rest) => cut(rest, b'/').map_or(b"/", |(host, _)| &rest[host.len()..]),
        None => target,
    }
}

/// Whether a segment names one of many: a number, an id in hex, a token, a date, a name that is
/// too long to be a word.
fn names_one(segment: &[u8]) -> bool {
    let digits = segment.iter().filter(|it| it.is_ascii_digit()).count();
    let hex = || {
        segment
            .iter()
            .all(|it| it.is_ascii_hexdigit() || *it == b'-')
    };
    match segment.len() {
        0 => false,
        len if digits == len => true,
        len if len > SEGMENT_LEN_MAX => true,
        len if len >= 8 && digits > 0 && hex() => true,
        len if len >= 16 => digits >= 4,
        _ => digits >= 3 && digits * 2 >= segment.len(),
    }
}

/// Deeper than this nobody reads a route.
const SEGMENTS_MAX: usize = 8;
/// A longer one is a token, or hostile.
const SEGMENT_LEN_MAX: usize = 40;
/// `VERSION-CONTROL` has 15.
const METHOD_LEN_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_collapse_and_words_stay() {
        let mut out = Vec::new();
        for (target, route) in [
            ("/orders/17?n=1", "/orders/{id}"),
            (
                "/v1/users/8c367096-f9e8-4c4c-a5fc-3a165d659208/cart",
                "/v1/users/{id}/cart",
            ),
            ("/img/deadbeef01.png", "/img/deadbeef01.png"),
            ("/a/0190f5c2deadbeef", "/a/{id}"),
            ("/o/AB-10023", "/o/{id}"),
            ("/facade", "/facade"),
            ("http://shop.test/orders/1", "/orders/{id}"),
            ("http://shop.test", "/"),
            ("/", "/"),
            ("/a/b/c/d/e/f/g/h/i/j", "/a/b/c/d/e/f/g/h/…"),
        ] {
            of(b"GET", target.as_bytes(), &mut out);
            assert_eq!(
                String::from_utf8_lossy(&out),
                format!("GET {route}"),
                "{target}"
            );
        }
        of(b"\x16\x03\x01", b"", &mut out);
        assert_eq!(out, b"- -");
    }

    #[test]
    fn a_route_has_a_bound() {
        let mut out = Vec::new();
        let long = [b"/".repeat(100), vec![b'a'; 100_000]].concat();
        of(b"GET", &long, &mut out);
        assert!(out.len() < 500);
    }
}

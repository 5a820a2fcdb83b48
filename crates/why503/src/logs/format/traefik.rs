//! Traefik: what its common format adds (`count "router" "server" 12ms`), and what a status of it
//! means. It answers 502 for a server that refuses, 504 for one that is slow, and 503 only when
//! there is no server to ask.

use crate::logs::{
    bytes::{decimal, number, quoted, skip_blanks, word},
    cause::Cause,
    entry::{Request, failed},
};

/// Reads the fields behind the common format into the request; false if they are others.
pub(crate) fn tail<'a>(text: &'a [u8], size: &[u8], request: &mut Request<'a>) -> bool {
    let (count, rest) = word(text);
    let (Some(_), Some((router, rest))) = (number(count), quoted(rest)) else {
        return false;
    };
    let Some((server, rest)) = quoted(skip_blanks(rest)) else {
        return false;
    };
    let Some(took) = skip_blanks(rest).strip_suffix(b"ms").and_then(decimal) else {
        return false;
    };
    request.backend = if server == b"-" { router } else { server };
    request.millis = Some(took);
    request.cause = failed(request.status).then(|| cause(request.status, server != b"-", size));
    true
}

/// Why this status, by whether a server was asked and the size of the answer: what Traefik itself
/// answers to a failure are the words of the status, `Bad Gateway` or `Gateway Timeout`.
pub(crate) fn cause(status: u16, asked: bool, size: &[u8]) -> Cause {
    match (status, asked, size) {
        (503, false, _) => Cause::TraefikNoServer,
        (502, _, b"11" | b"") => Cause::TraefikRefused,
        (504, _, b"15" | b"") => Cause::TraefikTimeout,
        _ => Cause::Passthrough,
    }
}

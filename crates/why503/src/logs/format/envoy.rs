//! Envoy: the default format, and what its response flags mean, in text or in JSON.

use crate::logs::{
    bytes::{cut, decimal, quoted, request_line, skip_blanks, status, value, word},
    cause::Cause,
    entry::{Entry, Kind, Maker, Request, failed},
    time,
};

/// `[start] "METHOD path PROTO" status FLAGS received sent took upstream "xff" "agent" "id" "host" "upstream"`,
/// or with details and more behind the flags, as Istio writes it.
pub(crate) fn parse(line: &[u8]) -> Option<Entry<'_>> {
    let (start, rest) = cut(line.strip_prefix(b"[")?, b']')?;
    let at = time::iso(start)?;
    let (asked, rest) = quoted(skip_blanks(rest))?;
    let (code, rest) = word(rest);
    let code = status(code).or_else(|| (code == b"0").then_some(0))?;
    let (flags, mut rest) = word(rest);
    let mut details = None;
    let mut numbers = [None; 4];
    // Istio has details, a termination and a transport failure before the numbers.
    let mut at_number = 0;
    for field in 0..WORDS_MAX {
        if rest.starts_with(b"\"") && field > 0 {
            break;
        }
        let (text, after) = value(rest);
        if at_number == 0 && decimal(text).is_none() {
            details = details.or(Some(text));
        } else if at_number < numbers.len() {
            numbers[at_number] = decimal(text);
            at_number += 1;
        }
        rest = skip_blanks(after);
    }
    let mut host = &rest[..0];
    for field in 0..QUOTED_MAX {
        let Some((inner, after)) = quoted(rest) else {
            break;
        };
        if field == 4 {
            host = inner;
        }
        rest = skip_blanks(after);
    }
    let host = if host == b"-" { &host[..0] } else { host };
    // Istio names the cluster right behind it.
    let cluster = word(rest).0;
    let (method, target) = request_line(asked);
    let known = host.is_empty() && !cluster.is_empty() && cluster != b"-";
    Some(Entry {
        maker: Maker::Envoy,
        time: Some(at),
        kind: Kind::Request(Request {
            status: code,
            method,
            target,
            backend: if known { cluster } else { host },
            client: &[],
            millis: numbers[2],
            cause: failed(code)
                .then(|| cause(flags, details, !host.is_empty()))
                .flatten(),
        }),
    })
}

/// Why, by the flags (a list), the details and whether a host was chosen.
pub(crate) fn cause(flags: &[u8], details: Option<&[u8]>, host: bool) -> Option<Cause> {
    let by_flag = |wanted: &(&[u8], Cause)| {
        let mut flags = flags.split(|it| *it == b',');
        flags.any(|flag| flag == wanted.0).then_some(wanted.1)
    };
    if let Some(cause) = FLAGS.iter().find_map(by_flag) {
        return Some(cause);
    }
    let flagged = !matches!(flags, b"-" | b"");
    match details {
        Some(b"via_upstream") => Some(Cause::Passthrough),
        Some(b"direct_response") => Some(Cause::EnvoyDirect),
        Some(b"no_healthy_upstream") => Some(Cause::EnvoyUh),
        Some(b"cluster_not_found") => Some(Cause::EnvoyNc),
        Some(it) if it.starts_with(b"overload") => Some(Cause::EnvoyOm),
        _ if flagged => None,
        _ if host => Some(Cause::Passthrough),
        _ => Some(Cause::EnvoyDirect),
    }
}

/// In the order in which one explains another: `URX,UF` is a connection that failed.
const FLAGS: &[(&[u8], Cause)] = &[
    (b"UF", Cause::EnvoyUf),
    (b"UO", Cause::EnvoyUo),
    (b"UH", Cause::EnvoyUh),
    (b"NC", Cause::EnvoyNc),
    (b"UC", Cause::EnvoyUc),
    (b"UPE", Cause::NotHttp),
    (b"UR", Cause::EnvoyUr),
    (b"LR", Cause::EnvoyLr),
    (b"LH", Cause::EnvoyLh),
    (b"UDO", Cause::EnvoyUdo),
    (b"DO", Cause::EnvoyDo),
    (b"OM", Cause::EnvoyOm),
    (b"UT", Cause::EnvoyUt),
    (b"DT", Cause::EnvoyUt),
    (b"SI", Cause::UpstreamSlow),
    (b"DF", Cause::Dns),
];

/// Fields between the flags and the quoted ones, in Istio's format.
const WORDS_MAX: usize = 8;
/// Forwarded-for, agent, id, host, upstream.
const QUOTED_MAX: usize = 5;

//! The common and the combined format, alone or with more behind it: nginx's upstream fields by
//! name or in the order of ingress-nginx, Traefik's router and server.

use super::{nginx::Upstream, traefik};
use crate::logs::{
    bytes::{cut, decimal, find, number, quoted, request_line, skip_blanks, status, value, word},
    cause::Cause,
    entry::{Entry, Kind, Maker, Request, failed},
    time,
};

/// `client ident user [date] "request" status bytes "referer" "agent" …`.
pub(crate) fn parse(line: &[u8]) -> Option<Entry<'_>> {
    let open = find(&line[..line.len().min(DATE_WITHIN)], b" [")?;
    let (client, _) = word(&line[..open]);
    let (date, rest) = cut(&line[open + 2..], b']')?;
    let at = time::common(date)?;
    let (asked, rest) = quoted(skip_blanks(rest))?;
    let (code, rest) = word(rest);
    let code = status(code)?;
    let (size, mut rest) = word(rest);
    // Referer and agent; the common format ends before them.
    for _ in 0..2 {
        rest = quoted(rest).map_or(rest, |(_, rest)| skip_blanks(rest));
    }
    let (method, target) = request_line(asked);
    let mut request = Request {
        status: code,
        method,
        target,
        client: client.strip_suffix(b",").unwrap_or(client),
        ..Request::default()
    };
    let maker = if traefik::tail(rest, size, &mut request) {
        Maker::Traefik
    } else {
        let tail = tail(rest);
        request.millis = tail.millis;
        request.backend = tail.upstream.server();
        if tail.upstream.is_known() {
            request.cause = failed(code).then(|| tail.upstream.cause(code));
            Maker::Nginx
        } else {
            request.cause = alone(code, size);
            Maker::Combined
        }
    };
    Some(Entry {
        maker,
        time: Some(at),
        kind: Kind::Request(request),
    })
}

/// What can be said when nothing of an upstream is logged: whether the answer is as long as the
/// page that nginx makes itself.
fn alone(code: u16, size: &[u8]) -> Option<Cause> {
    let (page, cause) = match code {
        502 => (150, Cause::NgxBadGateway),
        503 => (190, Cause::NgxOwnPage),
        504 => (160, Cause::NgxGatewayTimeout),
        _ => return None,
    };
    // Without a version; `/1.22.1`, `/1.9.9` to `/1.31.12`; the same with ` (Ubuntu)`.
    let version = number(size)?.checked_sub(page)?;
    matches!(version, 0 | 6..=8 | 15..=17).then_some(cause)
}

#[derive(Default)]
struct Tail<'a> {
    upstream: Upstream<'a>,
    millis: Option<f64>,
}

/// Fields by name (`us="503"`, `upstream_status=503`), or by place.
fn tail(text: &[u8]) -> Tail<'_> {
    if let Some(tail) = ingress(text) {
        return tail;
    }
    let mut found = Tail::default();
    let mut rest = text;
    let mut named = false;
    for _ in 0..FIELDS_MAX {
        rest = skip_blanks(rest);
        let name = rest
            .iter()
            .take_while(|it| it.is_ascii_alphanumeric() || **it == b'_')
            .count();
        if name > 0 && matches!(rest.get(name), Some(b'=' | b':')) {
            let (inner, after) = list(&rest[name + 1..]);
            named |= found.take(&rest[..name], inner);
            rest = after;
        } else {
            rest = value(rest).1;
        }
        if rest.is_empty() {
            break;
        }
    }
    if named { found } else { by_place(text) }
}

impl<'a> Tail<'a> {
    fn take(&mut self, name: &[u8], text: &'a [u8]) -> bool {
        let field = match name {
            b"ua" | b"upstream" | b"upstream_addr" | b"upstreamaddr" => &mut self.upstream.addr,
            b"us" | b"ups_status" | b"upstream_status" | b"ustatus" => &mut self.upstream.status,
            b"uct" | b"upstream_connect_time" | b"cs" => &mut self.upstream.connect,
            b"uht" | b"upstream_header_time" => &mut self.upstream.header,
            b"lr" | b"limit_req" | b"limit_req_status" => &mut self.upstream.limit_req,
            b"lc" | b"limit_conn" | b"limit_conn_status" => &mut self.upstream.limit_conn,
            b"rt" | b"request_time" => {
                self.millis = decimal(text).map(|seconds| seconds * 1e3);
                return false;
            }
            _ => return false,
        };
        *field = Some(text);
        true
    }
}

/// `length time [upstream] [other] addr length time status id`, where the last four are lists.
fn ingress(text: &[u8]) -> Option<Tail<'_>> {
    let (_length, rest) = word(text);
    let (took, rest) = word(rest);
    let (name, rest) = cut(rest.strip_prefix(b"[")?, b']')?;
    let (_, rest) = cut(skip_blanks(rest).strip_prefix(b"[")?, b']')?;
    let (addr, rest) = list(skip_blanks(rest));
    let (_length, rest) = list(rest);
    let (_time, rest) = list(rest);
    let (status, _) = list(rest);
    let upstream = Upstream {
        addr: Some(if addr == b"-" { name } else { addr }),
        status: Some(status),
        ..Upstream::default()
    };
    Some(Tail {
        upstream,
        millis: decimal(took).map(|seconds| seconds * 1e3),
    })
}

/// Unnamed fields: a time, an address and a status that follow each other in the usual order.
fn by_place(text: &[u8]) -> Tail<'_> {
    let mut found = Tail::default();
    let mut rest = text;
    for _ in 0..FIELDS_MAX {
        let (field, after) = list(skip_blanks(rest));
        let last = field.rsplit(|it| *it == b' ').next().unwrap_or(field);
        if found.millis.is_none()
            && memchr::memchr(b'.', field).is_some()
            && decimal(field).is_some()
        {
            found.millis = decimal(field).map(|seconds| seconds * 1e3);
        } else if found.upstream.addr.is_none() && is_server(last) {
            found.upstream.addr = Some(field);
        } else if found.upstream.addr.is_some() && status(last).is_some() {
            found.upstream.status = Some(field);
            break;
        }
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    if found.upstream.status.is_none() {
        found.upstream = Upstream::default();
    }
    found
}

fn is_server(text: &[u8]) -> bool {
    let port = memchr::memrchr(b':', text).and_then(|at| number(&text[at + 1..]));
    text.starts_with(b"unix:") || port.is_some()
}

/// One value that may be a list (`a, b`, `a : b`), quoted or not, and what follows.
fn list(text: &[u8]) -> (&[u8], &[u8]) {
    if let Some((inner, rest)) = quoted(text) {
        return (inner, skip_blanks(rest));
    }
    let mut rest = text;
    loop {
        let (field, after) = word(rest);
        let more = after.strip_prefix(b": ");
        rest = more.unwrap_or(after);
        if rest.is_empty() || (more.is_none() && !field.ends_with(b",")) {
            let whole = &text[..text.len() - rest.len()];
            return (whole.trim_ascii_end(), rest);
        }
    }
}

/// Client, ident and user are short; a longer line is something else.
const DATE_WITHIN: usize = 512;
/// More fields than any format in use.
const FIELDS_MAX: usize = 32;

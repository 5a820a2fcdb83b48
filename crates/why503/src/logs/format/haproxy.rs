//! HAProxy: `option httplog` and what follows its shape, and the lines about servers.
//!
//! `client [accept date] frontend backend/server TR/Tw/Tc/Tr/Ta status bytes cookie cookie
//! state conns queues {captures} "request"`. The two letters of the state say who ended the
//! session and where it stood then (configuration manual, section 8.5).

use crate::logs::{
    bytes::{
        between, contains, cut, decimal, find, quoted, request_line, status, without_port, word,
    },
    cause::Cause,
    entry::{Backend, Change, Entry, Kind, Maker, Request, failed},
    time,
};

/// Reads a line of either kind.
pub(crate) fn parse(line: &[u8]) -> Option<Entry<'_>> {
    request(line).or_else(|| change(line))
}

fn request(line: &[u8]) -> Option<Entry<'_>> {
    let (client, rest) = cut(line, b' ')?;
    let (date, rest) = cut(rest.strip_prefix(b"[")?, b']')?;
    let at = time::common(date)?;
    let (_frontend, rest) = word(rest);
    let (backend, rest) = word(rest);
    let (timers, rest) = word(rest);
    cut(backend, b'/')?;
    cut(timers, b'/')?;
    let (code, rest) = word(rest);
    let mut line = Line {
        backend,
        timers,
        // A client that left before the answer has -1.
        status: status(code).or_else(|| (code == b"-1").then_some(0))?,
        state: [b'-'; 2],
        retried: false,
    };
    let mut rest = word(rest).1;
    // Two captured cookies, then the state; a format of one's own may have more in front.
    for _ in 0..STATE_FIELDS_MAX {
        let (field, after) = word(rest);
        rest = after;
        if is_state(field) {
            line.state = [field[0], field[1]];
            break;
        }
    }
    let conns = word(rest).0.rsplit(|it| *it == b'/').next();
    line.retried = conns.is_some_and(|it| it.iter().any(|it| matches!(it, b'1'..=b'9' | b'+')));
    let (asked, _) = find(rest, b"\"")
        .and_then(|at| quoted(&rest[at..]))
        .unwrap_or_default();
    let (method, target) = request_line(asked);
    Some(Entry {
        maker: Maker::HaProxy,
        time: Some(at),
        kind: Kind::Request(Request {
            status: line.status,
            method,
            target,
            backend,
            client: without_port(client),
            millis: timers.rsplit(|it| *it == b'/').next().and_then(|it| {
                // `+` marks a session that is logged before its end.
                decimal(it.strip_prefix(b"+").unwrap_or(it))
            }),
            cause: failed(line.status).then(|| line.cause()),
        }),
    })
}

struct Line<'a> {
    backend: &'a [u8],
    timers: &'a [u8],
    status: u16,
    state: [u8; 2],
    retried: bool,
}

impl Line<'_> {
    fn cause(&self) -> Cause {
        let nobody = self.backend.ends_with(b"/<NOSRV>");
        match self.state {
            [b'-' | b'C' | b'c' | b'D', b'-' | b'D' | b'L'] if !nobody => Cause::Passthrough,
            [b'S', b'C'] if nobody => Cause::HapNoServer,
            [b'S', b'C'] => Cause::HapRefused,
            [b's', b'C'] => Cause::HapConnectTimeout,
            [b's', b'Q'] => Cause::HapQueueTimeout,
            [b'S', b'Q'] => Cause::HapNoServer,
            [b'R', _] | [b'P', b'C'] => Cause::HapResource,
            [b'P' | b'L', b'R' | b'-' | b'D' | b'L'] => Cause::HapLocalDeny,
            [b's', b'H' | b'D' | b'L'] => Cause::HapServerTimeout,
            [b'S', b'H' | b'D' | b'L'] => Cause::UpstreamDown,
            [b'P', b'H'] => Cause::NotHttp,
            // A connection that nobody accepted: the states of old versions do not say it.
            _ if self.retried && !nobody && self.unconnected() => Cause::HapRefused,
            _ => Cause::HapOther,
        }
    }

    /// Whether the third timer says that no connection was made.
    fn unconnected(&self) -> bool {
        self.timers.split(|it| *it == b'/').nth(2) == Some(b"-1")
    }
}

fn is_state(field: &[u8]) -> bool {
    field.len() == 4 && STATES[0].contains(&field[0]) && STATES[1].contains(&field[1])
}

/// `Server be/s1 is DOWN, reason: …`, `backend be has no server available!`, `Proxy web started.`
fn change(line: &[u8]) -> Option<Entry<'_>> {
    // On standard error the same sentence has a level and the process in front.
    let text = match line.strip_prefix(b"[") {
        Some(rest) => cut(rest, b':').map(|it| it.1.trim_ascii_start())?,
        None => line,
    };
    let server = text
        .strip_prefix(b"Server ")
        .or_else(|| text.strip_prefix(b"Backup Server "));
    let backend = if let Some(rest) = server {
        let (name, rest) = word(rest);
        let (backend, _) = cut(name, b'/')?;
        let state = match rest {
            _ if contains(rest, b"maintenance") && contains(rest, b"DOWN") => Backend::Maint,
            _ if rest.starts_with(b"is DOWN") => Backend::Down,
            _ if rest.starts_with(b"is UP") => Backend::Up,
            _ if rest.starts_with(b"is stopping") || contains(rest, b"drain") => Backend::Maint,
            _ => return None,
        };
        Some((backend, state))
    } else {
        let empty = between(text, b"ackend ", b" has no server available");
        let proxy =
            text.starts_with(b"Proxy ") && (contains(text, b"start") || contains(text, b"stop"));
        (empty.is_some() || proxy || text.starts_with(b"New worker")).then_some(())?;
        None
    };
    Some(Entry {
        maker: Maker::HaProxy,
        time: None,
        kind: Kind::Change(Change { text, backend }),
    })
}

/// Who ended it, and where it stood.
const STATES: [&[u8]; 2] = [b"-LcCsSPRIDKU", b"-RCHDLQT"];
/// The bytes, two cookies, and room for what a site adds.
const STATE_FIELDS_MAX: usize = 8;

//! nginx: what an access log says of the upstream, and the sentences of the error log.
//!
//! Stock nginx never makes a 503 of a failing upstream: that is a 502 or a 504. A 503 of its own
//! is a limit or a `return 503`; any other came from the upstream, whose status says so.

use crate::logs::{
    bytes::{between, contains, cut, find, number, request_line, word},
    cause::Cause,
    entry::{Change, Complaint, Entry, Kind, Maker},
    time,
};

/// What an access log may say of the upstream; a list names every server that was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Upstream<'a> {
    pub(crate) addr: Option<&'a [u8]>,
    pub(crate) status: Option<&'a [u8]>,
    pub(crate) connect: Option<&'a [u8]>,
    pub(crate) header: Option<&'a [u8]>,
    pub(crate) limit_req: Option<&'a [u8]>,
    pub(crate) limit_conn: Option<&'a [u8]>,
}

impl<'a> Upstream<'a> {
    /// Whether the line says anything of an upstream.
    pub(crate) fn is_known(&self) -> bool {
        self.addr.is_some() || self.status.is_some()
    }

    /// The same with empty texts, which JSON has where others have `-`, as `-`.
    pub(crate) fn as_written(&self) -> Self {
        let dash = |it: Option<&'a [u8]>| it.map(|it| if it.is_empty() { &b"-"[..] } else { it });
        Self {
            addr: dash(self.addr),
            status: dash(self.status),
            connect: dash(self.connect),
            header: dash(self.header),
            limit_req: dash(self.limit_req),
            limit_conn: dash(self.limit_conn),
        }
    }

    /// The server that was tried last.
    pub(crate) fn server(&self) -> &'a [u8] {
        self.addr
            .map(last)
            .filter(|it| *it != b"-")
            .unwrap_or_default()
    }

    /// Why this status, if anything was logged that tells.
    pub(crate) fn cause(&self, status: u16) -> Cause {
        let asked = last(self.status.unwrap_or(b"-"));
        let refused = |it: Option<&[u8]>| it == Some(b"REJECTED");
        match status {
            _ if refused(self.limit_req) => Cause::NgxLimitReq,
            _ if refused(self.limit_conn) => Cause::NgxLimitConn,
            503 if number(asked) == Some(503) => Cause::NgxPassthrough,
            503 if self.limit_req.is_some() && self.limit_conn.is_some() => Cause::NgxReturn,
            503 => Cause::NgxOwn,
            _ => self.of_failure(status),
        }
    }

    fn of_failure(&self, status: u16) -> Cause {
        let absent = |it: Option<&[u8]>| it.map(|it| matches!(last(it), b"-" | b""));
        let group = self
            .addr
            .map(last)
            .is_some_and(|it| !is_address(it) && it != b"-" && !it.is_empty());
        match (absent(self.connect), absent(self.header)) {
            // Nobody was asked: the name of an upstream was not resolved.
            _ if absent(self.status) == Some(true) => Cause::NgxBadGateway,
            _ if group && status == 502 => Cause::NgxNoLive,
            (_, Some(false)) => Cause::NgxPassthrough,
            (Some(true), _) if status == 502 => Cause::NgxRefused,
            (Some(true), _) => Cause::NgxConnectTimeout,
            (Some(false), Some(true)) if status == 504 => Cause::NgxReadTimeout,
            (Some(false), Some(true)) => Cause::NgxNoAnswer,
            _ if status == 504 => Cause::NgxGatewayTimeout,
            _ => Cause::NgxBadGateway,
        }
    }
}

/// The last of `a, b` or of `a : b` (an internal redirect).
fn last(list: &[u8]) -> &[u8] {
    let at = memchr::memrchr(b' ', list).map_or(0, |at| at + 1);
    &list[at..]
}

fn is_address(text: &[u8]) -> bool {
    text.starts_with(b"unix:") || cut(text, b':').is_some()
}

/// `2026/11/29 08:35:56 [error] 12800#12800: *10 sentence, client: …, request: "…", …`.
pub(crate) fn error(line: &[u8]) -> Option<Entry<'_>> {
    let at = time::iso(line)?;
    let rest = line.get(20..)?.strip_prefix(b"[")?;
    let (_level, rest) = cut(rest, b']')?;
    let (_pid, rest) = word(rest);
    let (thread, sentence) = match rest.strip_prefix(b"*") {
        Some(_) => word(rest),
        None => (&rest[..0], rest),
    };
    let entry = |kind| {
        Some(Entry {
            maker: Maker::NginxError,
            time: Some(at),
            kind,
        })
    };
    let end = find(sentence, b", client: ").unwrap_or(sentence.len());
    let (said, details) = sentence.split_at(end);
    let Some(cause) = cause(said) else {
        let change = CHANGES.iter().any(|it| contains(said, it));
        return entry(if change {
            Kind::Change(Change {
                text: said,
                backend: None,
            })
        } else {
            Kind::Other
        });
    };
    let request = between(details, b"request: \"", b"\"").unwrap_or_default();
    let (method, target) = request_line(request);
    let client = between(details, b", client: ", b",").unwrap_or_default();
    let backend = between(details, b"upstream: \"", b"\"")
        .map(server)
        .unwrap_or_default();
    entry(Kind::Complaint(Complaint {
        cause,
        method,
        target,
        client,
        backend,
        thread,
        again: false,
    }))
}

/// What is asked of `http://127.0.0.1:8000/path`.
fn server(url: &[u8]) -> &[u8] {
    let rest = find(url, b"://").map_or(url, |at| &url[at + 3..]);
    let unix = rest.starts_with(b"unix:");
    let end = rest.iter().position(|it| *it == b'/' && !unix);
    &rest[..end.unwrap_or(rest.len())]
}

fn cause(said: &[u8]) -> Option<Cause> {
    let has = |text: &str| contains(said, text.as_bytes());
    if has("dry run") {
        return None;
    }
    Some(match () {
        () if said.starts_with(b"limiting requests") => Cause::NgxLimitReq,
        () if said.starts_with(b"limiting connections") => Cause::NgxLimitConn,
        () if has("no live upstreams") => Cause::NgxNoLive,
        () if has("worker_connections are not enough") => Cause::NgxWorkerConns,
        () if has("could not be resolved") || has("no resolver defined") => Cause::Dns,
        () if has("(24: ") && has("upstream") => Cause::NoFiles,
        () if has("(99: ") => Cause::NoPorts,
        () if has("SSL") && has("upstream") => Cause::Tls,
        () if has("upstream timed out") && has("while connecting") => Cause::NgxConnectTimeout,
        () if has("upstream timed out") => Cause::NgxReadTimeout,
        () if has("upstream prematurely closed") => Cause::UpstreamDown,
        () if has("upstream sent") && (has("invalid") || has("no valid") || has("too big")) => {
            Cause::NotHttp
        }
        () if has("connect() ") && has("upstream") => Cause::NgxRefused,
        () if (has("recv() failed") || has("send() failed")) && has("upstream") => {
            Cause::UpstreamDown
        }
        () => return None,
    })
}

/// What says that something began, ended or was set aside.
const CHANGES: &[&[u8]] = &[
    b"upstream server temporarily disabled",
    b"start worker processes",
    b"gracefully shutting down",
    b"reconfiguring",
    b"exited on signal",
    b"exited with fatal code",
    b"received from",
];

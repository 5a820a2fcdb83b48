//! Caddy: its access log says how a request ended, its error log why.
//!
//! It answers 502 for an upstream that refuses or breaks off, 504 for one that is slow, and 503
//! when none is available or the configuration says so.

use super::json::Fields;
use crate::logs::{
    bytes::{contains, decimal},
    cause::Cause,
    entry::{Change, Complaint, Kind, Request, failed},
};

/// Reads a line of either log.
pub(crate) fn kind<'a>(fields: &Fields<'a>, logger: &[u8]) -> Kind<'a> {
    let message = fields.message.unwrap_or_default();
    if logger.starts_with(b"http.log.error") {
        return complaint(fields, message);
    }
    if message != b"handled request" {
        let change = CHANGES.iter().any(|it| message.starts_with(it));
        return if change {
            Kind::Change(Change {
                text: message,
                backend: None,
            })
        } else {
            Kind::Other
        };
    }
    let status = fields.status();
    Kind::Request(Request {
        status,
        method: fields.method.unwrap_or_default(),
        target: fields.target.unwrap_or_default(),
        backend: &[],
        client: fields.client.unwrap_or_default(),
        millis: fields
            .duration
            .and_then(decimal)
            .map(|seconds| seconds * 1e3),
        cause: failed(status).then(|| cause(fields, status)),
    })
}

fn cause(fields: &Fields<'_>, status: u16) -> Cause {
    let own = fields.via.is_none();
    match (status, fields.size.unwrap_or_default()) {
        _ if !own => Cause::Passthrough,
        (503, b"0" | b"") => Cause::CaddyOwn,
        (503, _) => Cause::CaddyRespond,
        (504, _) => Cause::UpstreamSlow,
        _ => Cause::CaddyBadGateway,
    }
}

fn complaint<'a>(fields: &Fields<'a>, message: &[u8]) -> Kind<'a> {
    let has = |text: &str| contains(message, text.as_bytes());
    let cause = match () {
        () if has("no upstreams available") => Cause::CaddyNoUpstream,
        () if has("no such host") || has("lookup ") => Cause::Dns,
        () if has("timeout awaiting") || has("deadline exceeded") => Cause::UpstreamSlow,
        () if has("too many open files") => Cause::NoFiles,
        () if has("cannot assign requested address") => Cause::NoPorts,
        () if has("dial ") => Cause::CaddyRefused,
        () if has("malformed") || has("HTTP response to HTTPS") => Cause::NotHttp,
        () if has("tls: ") || has("x509: ") => Cause::Tls,
        () if has("EOF") || has("reset by peer") || has("broken pipe") => Cause::UpstreamDown,
        () => return Kind::Other,
    };
    Kind::Complaint(Complaint {
        cause,
        method: fields.method.unwrap_or_default(),
        target: fields.target.unwrap_or_default(),
        client: fields.client.unwrap_or_default(),
        backend: &[],
        thread: &[],
        again: false,
    })
}

/// What says that something began, ended or was set aside.
const CHANGES: &[&[u8]] = &[
    b"server running",
    b"shutting down",
    b"serving initial configuration",
    b"host is up",
    b"host is down",
    b"HTTP request failed",
    b"unexpected status code",
    b"shutdown complete",
];

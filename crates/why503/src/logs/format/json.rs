//! One JSON object a line: whose it is shows in its members' names.
//!
//! The object is walked once, without building it; what is not asked for is skipped.

use super::{caddy, envoy, nginx::Upstream, traefik};
use crate::logs::{
    bytes::{contains, decimal, quoted, status, without_port},
    cause::Cause,
    entry::{Entry, Kind, Maker, Request, failed},
    time,
};

/// The members that any of the formats uses.
#[derive(Debug, Default)]
pub(crate) struct Fields<'a> {
    pub(crate) time: Option<&'a [u8]>,
    pub(crate) status: Option<&'a [u8]>,
    pub(crate) method: Option<&'a [u8]>,
    pub(crate) target: Option<&'a [u8]>,
    pub(crate) client: Option<&'a [u8]>,
    pub(crate) message: Option<&'a [u8]>,
    pub(crate) logger: Option<&'a [u8]>,
    pub(crate) size: Option<&'a [u8]>,
    pub(crate) duration: Option<&'a [u8]>,
    pub(crate) duration_ms: Option<&'a [u8]>,
    pub(crate) request_time: Option<&'a [u8]>,
    pub(crate) via: Option<&'a [u8]>,
    pub(crate) upstream: Upstream<'a>,
    flags: Option<&'a [u8]>,
    details: Option<&'a [u8]>,
    upstream_host: Option<&'a [u8]>,
    upstream_cluster: Option<&'a [u8]>,
    traefik: Option<&'a [u8]>,
    service: Option<&'a [u8]>,
    server: Option<&'a [u8]>,
    cause: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    /// The status, 0 if there is none.
    pub(crate) fn status(&self) -> u16 {
        self.traefik.or(self.status).and_then(status).unwrap_or(0)
    }

    fn take(&mut self, parent: &[u8], name: &[u8], text: &'a [u8]) {
        let field = match (parent, name) {
            (b"resp_headers", b"Via") if contains(text, b"Caddy") => &mut self.via,
            (b"resp_headers" | b"headers", _) => return,
            (
                _,
                b"time" | b"timestamp" | b"ts" | b"@timestamp" | b"start_time" | b"StartUTC"
                | b"time_local" | b"time_iso8601",
            ) => &mut self.time,
            (
                _,
                b"status" | b"status_code" | b"statusCode" | b"response_code" | b"http_status"
                | b"code",
            ) => &mut self.status,
            (
                _,
                b"method" | b"request_method" | b"RequestMethod" | b"requestMethod"
                | b"http_method",
            ) => &mut self.method,
            (
                _,
                b"path" | b"uri" | b"request_uri" | b"RequestPath" | b"requestUrl" | b"url"
                | b"request_path",
            ) => &mut self.target,
            (
                _,
                b"remote_addr"
                | b"client_ip"
                | b"ClientHost"
                | b"remoteIp"
                | b"client"
                | b"downstream_remote_address",
            ) => &mut self.client,
            (_, b"remote_ip") => return,
            (_, b"msg" | b"message") => &mut self.message,
            (_, b"logger") => &mut self.logger,
            (_, b"size" | b"DownstreamContentSize") => &mut self.size,
            (_, b"duration" | b"Duration") => &mut self.duration,
            (_, b"duration_ms" | b"latency_ms" | b"elapsed_ms" | b"response_time_ms") => {
                &mut self.duration_ms
            }
            (_, b"request_time") => &mut self.request_time,
            (_, b"upstream_addr") => &mut self.upstream.addr,
            (_, b"upstream_status") => &mut self.upstream.status,
            (_, b"upstream_connect_time") => &mut self.upstream.connect,
            (_, b"upstream_header_time") => &mut self.upstream.header,
            (_, b"limit_req_status") => &mut self.upstream.limit_req,
            (_, b"limit_conn_status") => &mut self.upstream.limit_conn,
            (_, b"response_flags") => &mut self.flags,
            (_, b"response_code_details") => &mut self.details,
            (_, b"upstream_host") => &mut self.upstream_host,
            (_, b"upstream_cluster") => &mut self.upstream_cluster,
            (_, b"DownstreamStatus") => &mut self.traefik,
            (_, b"ServiceName" | b"service" | b"backend") => &mut self.service,
            (_, b"ServiceAddr") => &mut self.server,
            (_, b"cause" | b"why_503" | b"why503" | b"why-503") => &mut self.cause,
            _ => return,
        };
        // The first of an array, and the outermost of a name.
        if field.is_none() {
            *field = Some(text);
        }
    }
}

/// Reads a line.
pub(crate) fn parse(line: &[u8]) -> Option<Entry<'_>> {
    let mut fields = Fields::default();
    walk(line, |parent, name, text| fields.take(parent, name, text))?;
    let at = fields.time.and_then(time::any);
    let entry = |maker, kind| {
        Some(Entry {
            maker,
            time: at,
            kind,
        })
    };
    if let Some(logger) = fields.logger {
        let theirs = logger.starts_with(b"http.") || fields.message == Some(b"handled request");
        if theirs {
            return entry(Maker::Caddy, caddy::kind(&fields, logger));
        }
    }
    if fields.message == Some(b"handled request") && fields.via.is_some() {
        return entry(Maker::Caddy, caddy::kind(&fields, b"http.log.access"));
    }
    let code = fields.status();
    if code == 0 && fields.flags.is_none() {
        return entry(Maker::Json, Kind::Other);
    }
    let mut request = Request {
        status: code,
        method: fields.method.unwrap_or_default(),
        target: fields.target.unwrap_or_default(),
        client: fields.client.map(without_port).unwrap_or_default(),
        ..Request::default()
    };
    let maker = whose(&fields, &mut request);
    if !failed(code) {
        request.cause = None;
    }
    entry(maker, Kind::Request(request))
}

fn whose<'a>(fields: &Fields<'a>, request: &mut Request<'a>) -> Maker {
    let millis = |text: Option<&[u8]>, unit: f64| text.and_then(decimal).map(|it| it * unit);
    if let Some(flags) = fields.flags {
        let chosen = fields.upstream_host;
        request.cause = envoy::cause(flags, fields.details, chosen.is_some_and(|it| it != b"-"));
        request.backend = fields.upstream_cluster.or(chosen).unwrap_or_default();
        request.millis = millis(fields.duration, 1.0);
        return Maker::Envoy;
    }
    if fields.traefik.is_some() {
        let size = fields.size.unwrap_or_default();
        request.cause = Some(traefik::cause(
            request.status,
            fields.server.is_some(),
            size,
        ));
        request.backend = fields.service.unwrap_or_default();
        request.millis = millis(fields.duration, 1e-6);
        return Maker::Traefik;
    }
    request.millis = millis(fields.duration_ms, 1.0).or_else(|| millis(fields.request_time, 1e3));
    if fields.upstream.is_known() {
        let upstream = fields.upstream.as_written();
        request.cause = Some(upstream.cause(request.status));
        request.backend = upstream.server();
        return Maker::Nginx;
    }
    request.backend = fields.service.unwrap_or_default();
    request.cause = fields.cause.and_then(|text| {
        let token = text.strip_prefix(b"cause=").unwrap_or(text);
        let end = token.iter().position(|it| matches!(it, b';' | b','));
        Cause::of_library(&token[..end.unwrap_or(token.len())])
    });
    Maker::Json
}

/// Calls `visit` with the parent's name, the name and the text of each value that is no object;
/// the values of an array have the array's name. `None` if this is no object.
pub(crate) fn walk<'a>(
    text: &'a [u8],
    mut visit: impl FnMut(&'a [u8], &'a [u8], &'a [u8]),
) -> Option<()> {
    let mut open: Vec<Open<'a>> = Vec::with_capacity(DEPTH_MAX);
    let mut rest = text.trim_ascii().strip_prefix(b"{")?;
    open.push(Open {
        name: b"",
        array: false,
    });
    while let Some(inner) = open.last() {
        rest = rest.trim_ascii_start();
        rest = rest.strip_prefix(b",").unwrap_or(rest).trim_ascii_start();
        let close = *rest.first()?;
        if matches!(close, b'}' | b']') {
            open.pop();
            rest = &rest[1..];
            continue;
        }
        let (parent, mut name) = match open.len() {
            _ if !inner.array => (inner.name, inner.name),
            1 => (&b""[..], inner.name),
            depth => (open[depth - 2].name, inner.name),
        };
        if !inner.array {
            let (key, after) = quoted(rest)?;
            name = key;
            rest = after
                .trim_ascii_start()
                .strip_prefix(b":")?
                .trim_ascii_start();
        }
        match rest.first()? {
            b'"' => {
                let (inner, after) = quoted(rest)?;
                visit(parent, name, inner);
                rest = after;
            }
            sign @ (b'{' | b'[') => {
                (open.len() < DEPTH_MAX).then_some(())?;
                open.push(Open {
                    name,
                    array: *sign == b'[',
                });
                rest = &rest[1..];
            }
            _ => {
                let end = rest
                    .iter()
                    .position(|it| matches!(it, b',' | b'}' | b']'))?;
                let scalar = rest[..end].trim_ascii_end();
                if scalar != b"null" {
                    visit(parent, name, scalar);
                }
                // An empty scalar would stand still.
                (end > 0).then_some(())?;
                rest = &rest[end..];
            }
        }
    }
    Some(())
}

struct Open<'a> {
    name: &'a [u8],
    array: bool,
}

/// Deeper than any log.
const DEPTH_MAX: usize = 16;

//! What a client of the service saw: one observation for each probe, and who made the answer.

use std::time::Duration;

use steadfast_core::{Cause, Rule};

use super::{area, words};
use crate::text::{Lasting, Text};

words! {
    /// Which way a probe went.
    Via {
        Given = "as given",
        Direct = "direct to the local listener",
    }
}

words! {
    /// What a probe asked for.
    Path {
        Given = "the URL",
        Root = "/",
        Health = "the health check's path",
        Ready = "the readiness path",
    }
}

/// What became of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Outcome {
    /// An HTTP answer with this status.
    Answered(u16),
    /// A gRPC answer with this status, over HTTP 200.
    Grpc(u16),
    /// The connection was refused.
    Refused,
    /// No handshake in time: the SYN was not answered.
    ConnectTimedOut,
    /// No route, or a router said no.
    Unroutable,
    /// Connected, and no byte in time.
    Silent,
    /// Connected, and closed or reset before an answer.
    Closed,
    /// Something was answered that is no HTTP.
    NotHttp,
    /// TLS failed; an observation of `Tls` says why.
    TlsFailed,
    /// The name was not found; an observation of `Dns` says why.
    NameUnknown,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match self {
            Self::Answered(status) => return write!(f, "{status}"),
            Self::Grpc(status) => return write!(f, "gRPC status {status}"),
            Self::Refused => "connection refused",
            Self::ConnectTimedOut => "no connection in time",
            Self::Unroutable => "no route",
            Self::Silent => "connected, no answer in time",
            Self::Closed => "connected, closed before an answer",
            Self::NotHttp => "no HTTP",
            Self::TlsFailed => "TLS failed",
            Self::NameUnknown => "name not found",
        };
        f.write_str(text)
    }
}

words! {
    /// Who can make a 503.
    Maker {
        Haproxy = "HAProxy",
        Nginx = "nginx",
        IngressNginx = "ingress-nginx",
        Envoy = "Envoy",
        Traefik = "Traefik",
        Caddy = "Caddy",
        Apache = "Apache httpd",
        Varnish = "Varnish",
        Linkerd = "Linkerd",
        Alb = "AWS load balancer",
        Iis = "IIS or HTTP.sys",
        Cloudflare = "Cloudflare",
        Heroku = "Heroku's router",
        Gunicorn = "gunicorn",
        Steadfast = "the application, by Steadfast",
        Application = "the application",
    }
}

words! {
    /// What the body, the headers or the reason of an answer that a proxy made says.
    Mark {
        HaproxyNoServer = "HAProxy's page for 503",
        HaproxyBadGateway = "HAProxy's page for 502",
        HaproxyTimeout = "HAProxy's page for 504",
        NginxUnavailable = "nginx's page for 503",
        NginxBadGateway = "nginx's page for 502",
        NginxTimeout = "nginx's page for 504",
        EnvoyNoHealthy = "no healthy upstream",
        EnvoyOverflow = "reset reason: overflow",
        EnvoyConnectionFailure = "reset reason: connection failure",
        EnvoyConnectionTimeout = "reset reason: connection timeout",
        EnvoyConnectionTermination = "reset reason: connection termination",
        EnvoyRemoteReset = "reset reason: remote reset",
        EnvoyOtherReset = "another reset reason",
        EnvoyTimeout = "upstream request timeout",
        EnvoyEmpty = "an empty answer of Envoy",
        EnvoyLocalOverload = "x-envoy-local-overloaded",
        EnvoyRateLimited = "local_rate_limited",
        TraefikNoServer = "no available server",
        TraefikBadGateway = "Bad Gateway of Traefik",
        TraefikTimeout = "Gateway Timeout of Traefik",
        TraefikNotFound = "404 page not found of Traefik",
        CaddyEmpty = "an empty 503 of Caddy",
        CaddyBadGateway = "an empty 502 of Caddy",
        ApacheUnavailable = "maintenance downtime or capacity problems",
        ApacheBadGateway = "Apache's page for 502",
        ApacheTimeout = "Apache's page for 504",
        VarnishFetchFailed = "Backend fetch failed",
        LinkerdShed = "Linkerd's load shedding",
        LinkerdFailfast = "Linkerd in fail-fast",
        AlbUnavailable = "the load balancer's page for 503",
        AlbBadGateway = "the load balancer's page for 502",
        AlbTimeout = "the load balancer's page for 504",
        GunicornError = "gunicorn's page for 500",
        RateLimited = "429",
        Other = "a page of its own",
    }
}

area! {
    /// What a client of the service saw.
    Wire {
        /// One probe: the way it went, what it asked for, what became of it, and how long
        /// after its beginning.
        Probe { via: Via, path: Path, outcome: Outcome, after: Duration }
            = "probe", "{outcome} after {} ({via}, {path})", Lasting(*after);
        /// Who made an answer with this status, by its body first and its headers second,
        /// and the mark that says so. `after` is the time to its first byte.
        Made { by: Maker, mark: Mark, status: u16, after: Duration }
            = "made by", "{by}: {mark} ({status} after {})", Lasting(*after);
        /// A proxy on the way passed on the answer of what is behind it.
        Passed { by: Maker, status: u16 } = "passed on by", "{by} ({status})";
        /// An answer that bears no mark of a proxy and none of the library.
        Unmarked { status: u16, server: Text } = "unmarked answer", "{status}, server: {server}";
        /// The `why-503` header of an answer.
        Why {
            #[cfg_attr(feature = "serde", serde(with = "crate::codes::cause"))]
            cause: Cause,
            #[cfg_attr(feature = "serde", serde(with = "crate::codes::rule"))]
            rule: Option<Rule>,
            id: Text
        } = "why-503", "cause={cause}{}, id {id}", RuleOf(*rule);
        /// What `/ready/` says, in its own line.
        Readiness { status: u16, line: Text } = "/ready/", "{status}: {line}";
        /// What `/health/` says: the status, and for how long the runtime is stalled.
        Liveness { status: u16, stalled: Option<Duration> } = "/health/", "{status}";
        /// The path that a balancer's check asks for answered this.
        HealthCheck { path: Text, status: u16 } = "health check", "{path} answered {status}";
        /// How long the service keeps an idle connection, measured by holding one.
        KeepAlive { idle: Duration } = "idle connection closed", "after {}", Lasting(*idle);
        /// The time of the other side differs from this host's by so much.
        ClockOff { by: Duration } = "date header", "{} off", Lasting(*by);
    }
}

/// `;rule=limit`, or nothing.
struct RuleOf(Option<Rule>);

impl std::fmt::Display for RuleOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0
            .map_or(Ok(()), |rule| write!(f, ";rule={}", rule.code()))
    }
}

//! What a line says about why: one value for each thing that a proxy's own code can mean.
//!
//! A code is often less than a cause: HAProxy writes the same `SC` and `<NOSRV>` whether all
//! servers are down, in maintenance, or there are none. Such a value names every finding that the
//! line fits, and is replaced by one of them where the rest of the log tells (see `join`).

macro_rules! causes {
    ($($name:ident = $id:literal or [$($or:literal),*], $says:literal;)*) => {
        /// Why a request was answered 502, 503 or 504, as far as the line says.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) enum Cause {
            $(
                #[doc = $says]
                $name,
            )*
        }

        impl Cause {
            /// Every one, in the order of declaration.
            #[cfg(test)]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the finding's id.
            pub(crate) const fn id(self) -> &'static str {
                match self {
                    $(Self::$name => $id,)*
                }
            }

            /// Returns the findings among which the line does not decide; empty if it does.
            pub(crate) const fn or(self) -> &'static [&'static str] {
                match self {
                    $(Self::$name => &[$($or),*],)*
                }
            }

            /// Returns what the code means, in words.
            pub(crate) const fn says(self) -> &'static str {
                match self {
                    $(Self::$name => $says,)*
                }
            }
        }
    };
}

causes! {
    HapAllDown = "hap.all_down" or [], "every server of the backend is down";
    HapMaint = "hap.maint" or [], "every server of the backend is in maintenance";
    HapNoServer = "hap.unattributed" or ["hap.all_down", "hap.maint", "hap.empty_backend"],
        "no server was available: all down, all in maintenance, or none configured";
    HapRefused = "hap.refused_unchecked" or [], "the server refused the connection, and no check had taken it out";
    HapConnectTimeout = "hap.connect_timeout" or [], "the connection to the server was not accepted in time";
    HapQueueTimeout = "hap.queue_timeout" or [], "every place of the server was taken until the time in the queue was over";
    HapLocalDeny = "hap.local_deny" or [], "a rule of the proxy answered";
    HapResource = "hap.resource" or [], "the proxy ran out of sockets, memory or ports";
    HapServerTimeout = "hap.server_timeout" or [], "the server did not answer in time";
    HapOther = "hap.unattributed" or [], "the proxy ended it, with a code that names no cause";
    NgxLimitReq = "ngx.limit_req" or [], "the rate limit refused it";
    NgxLimitConn = "ngx.limit_conn" or [], "the limit of connections refused it";
    NgxReturn = "ngx.return503" or [], "the configuration answers 503";
    NgxOwn = "ngx.unattributed" or ["ngx.limit_req", "ngx.limit_conn", "ngx.return503"],
        "nginx answered without asking an upstream: a limit or a `return 503`";
    NgxOwnPage = "ngx.unattributed" or ["ngx.limit_req", "ngx.limit_conn", "ngx.return503", "proxy.passthrough"],
        "the answer is as long as nginx's own page; the upstream's status is not logged";
    NgxPassthrough = "ngx.passthrough" or [], "the upstream answered so itself";
    NgxNoLive = "ngx.no_live" or [], "every server of the upstream was set aside after failures";
    NgxRefused = "ngx.no_live" or [], "the upstream refused the connection";
    NgxConnectTimeout = "ngx.timeout" or [], "the upstream did not accept the connection in time";
    NgxReadTimeout = "ngx.timeout" or [], "the upstream did not answer in time";
    NgxNoAnswer = "proxy.upstream_down" or ["app.not_http"], "the upstream took the connection and sent no valid answer";
    NgxGatewayTimeout = "ngx.timeout" or ["ngx.passthrough"], "the upstream did not answer in time, or answered so itself";
    NgxBadGateway = "ngx.unattributed" or ["ngx.no_live", "proxy.upstream_down", "app.not_http", "dns.fail", "ngx.passthrough"],
        "the upstream failed; what it did is not logged";
    NgxWorkerConns = "ngx.worker_conns" or [], "the worker had no connection left";
    ApacheWorker = "apache.worker_error" or [], "the backend could not be reached, or is set aside after it could not";
    EnvoyUh = "envoy.UH" or [], "no healthy upstream: none passed its check, or there is none";
    EnvoyUf = "envoy.UF" or [], "the connection to the upstream failed";
    EnvoyUo = "envoy.UO" or [], "the cluster's circuit breaker is full";
    EnvoyUc = "envoy.UC" or [], "the upstream closed the connection before it answered";
    EnvoyUr = "envoy.UR" or [], "the upstream reset the request";
    EnvoyLr = "envoy.LR" or [], "the proxy itself reset the connection";
    EnvoyLh = "envoy.LH" or [], "the proxy failed its own health check";
    EnvoyDo = "envoy.DO" or [], "the upstream's overload policy drops requests";
    EnvoyUdo = "envoy.UDO" or [], "the upstream's policy drops every request";
    EnvoyOm = "envoy.OM" or [], "the proxy is out of resources";
    EnvoyNc = "envoy.NC" or [], "the route names a cluster that does not exist";
    EnvoyUt = "envoy.UT" or [], "the upstream did not answer within the route's time";
    EnvoyDirect = "envoy.direct_response" or [], "the route answers so by configuration";
    TraefikNoServer = "traefik.no_server" or [], "no server of the service passed its check, or there is none";
    TraefikRefused = "traefik.refused" or ["proxy.upstream_down"], "the server refused the connection, or closed it before it answered";
    TraefikTimeout = "traefik.timeout" or [], "the server did not accept or did not answer in time";
    CaddyNoUpstream = "caddy.no_upstream" or [], "no upstream was available";
    CaddyRefused = "caddy.refused" or [], "the upstream refused the connection, or did not accept it in time";
    CaddyRespond = "caddy.respond" or [], "the configuration answers 503";
    CaddyOwn = "caddy.no_upstream" or ["caddy.respond"], "an empty 503 of the proxy's own: no upstream was available, or the configuration says so";
    CaddyBadGateway = "caddy.refused" or ["proxy.upstream_down", "app.not_http", "dns.fail"],
        "the upstream failed; the error log says how";
    AlbNoTargets = "alb.no_targets" or [], "the target group has no registered target";
    AlbTarget = "alb.target" or [], "the target closed the connection, did not answer in time, or answered something else than HTTP";
    Passthrough = "proxy.passthrough" or [], "the server behind answered so itself";
    UpstreamDown = "proxy.upstream_down" or [], "the server closed the connection before it answered";
    UpstreamSlow = "proxy.upstream_slow" or [], "the server did not answer in time";
    NotHttp = "app.not_http" or [], "the server answered something else than HTTP";
    Dns = "dns.fail" or [], "the upstream's name was not resolved";
    Tls = "tls.chain" or [], "the TLS handshake with the upstream failed";
    NoPorts = "host.ephemeral_ports" or [], "there was no port left to connect from";
    NoFiles = "host.fd_exhausted" or [], "there was no file descriptor left";
    Overloaded = "app.shed" or [], "the service refused it: overloaded";
    Starting = "app.starting" or [], "the service refused it: starting";
    Draining = "app.draining" or [], "the service refused it: draining";
    Maintenance = "app.maintenance" or [], "the service refused it: maintenance";
    BreakerOpen = "app.breaker_open" or [], "the service refused it: a dependency is down";
    PoolExhausted = "pool.app" or [], "the service refused it: no connection of the pool was free";
    OwnAnswer = "app.own_503" or [], "the service's own code answered so";
}

impl Cause {
    /// Reads a cause token of the library's refusals.
    pub(crate) fn of_library(token: &[u8]) -> Option<Self> {
        Some(match token {
            b"overloaded" => Self::Overloaded,
            b"starting" => Self::Starting,
            b"draining" => Self::Draining,
            b"maintenance" => Self::Maintenance,
            b"dependency-down" => Self::BreakerOpen,
            b"pool-exhausted" => Self::PoolExhausted,
            b"application" => Self::OwnAnswer,
            _ => return None,
        })
    }

    /// Whether the line left it open.
    pub(crate) const fn is_open(self) -> bool {
        !self.or().is_empty()
    }

    /// Whether what an error log says of the same request may stand in its place.
    pub(crate) fn admits(self, other: Self) -> bool {
        self.or().contains(&other.id()) || self.id() == other.id()
    }
}

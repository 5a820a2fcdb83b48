//! The names of findings: a contract, as the codes of causes are. An id is never renamed
//! and never used for something else.

use std::fmt;

macro_rules! ids {
    ($($name:ident = $text:literal,)*) => {
        /// What can be found. The order is the order of the runbook.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Id {
            $(
                #[doc = concat!("`", $text, "`")]
                $name,
            )*
        }

        impl Id {
            /// Every id, in the order of the runbook.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the id as it is written.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

ids! {
    // The process, as it is seen from outside and on its host.
    AppNotListening = "app.not_listening",
    AppWrongBind = "app.wrong_bind",
    AppCrashLoop = "app.crash_loop",
    AppHung = "app.hung",
    AppWorkersBusy = "app.workers_busy",
    AppWorkerTimeout = "app.worker_timeout",
    AppNotHttp = "app.not_http",
    AppWrongPath = "app.wrong_path",
    AppStarting = "app.starting",
    AppMaintenance = "app.maintenance",
    AppDraining = "app.draining",
    AppNotReady = "app.not_ready",
    AppHealthMisconfig = "app.health_misconfig",
    AppRuntimeStalled = "app.runtime_stalled",
    AppBlockingHandler = "app.blocking_handler",
    AppRuntimeLag = "app.runtime_lag",
    AppSlowHandler = "app.slow_handler",
    AppShed = "app.shed",
    AppBreakerOpen = "app.breaker_open",
    AppCheckDisagrees = "app.check_disagrees",
    AppOwn503 = "app.own_503",
    AppForeign503 = "app.foreign_503",
    // The pools of the process.
    PoolLeak = "pool.leak",
    PoolStuck = "pool.stuck",
    PoolUnreachable = "pool.unreachable",
    PoolServerFull = "pool.server_full",
    PoolSessionsRefused = "pool.sessions_refused",
    PoolApp = "pool.app",
    // Kernel and host.
    HostAcceptQueueFull = "host.accept_queue_full",
    HostSynFlood = "host.syn_flood",
    HostFdExhausted = "host.fd_exhausted",
    HostFileTable = "host.file_table",
    HostCpuThrottled = "host.cpu_throttled",
    HostCpuSaturated = "host.cpu_saturated",
    HostOomKill = "host.oom_kill",
    HostMemPressure = "host.mem_pressure",
    HostIoStall = "host.io_stall",
    HostDiskFull = "host.disk_full",
    HostConntrackFull = "host.conntrack_full",
    HostEphemeralPorts = "host.ephemeral_ports",
    HostPidsLimit = "host.pids_limit",
    HostFirewallDrop = "host.firewall_drop",
    // Proxies and load balancers.
    HapEmptyBackend = "hap.empty_backend",
    HapMaint = "hap.maint",
    HapAllDown = "hap.all_down",
    HapRefusedUnchecked = "hap.refused_unchecked",
    HapConnectTimeout = "hap.connect_timeout",
    HapQueueTimeout = "hap.queue_timeout",
    HapLocalDeny = "hap.local_deny",
    HapResource = "hap.resource",
    HapServerTimeout = "hap.server_timeout",
    HapUnattributed = "hap.unattributed",
    NgxLimitReq = "ngx.limit_req",
    NgxLimitConn = "ngx.limit_conn",
    NgxReturn503 = "ngx.return503",
    NgxPassthrough = "ngx.passthrough",
    NgxNoLive = "ngx.no_live",
    NgxTimeout = "ngx.timeout",
    NgxWorkerConns = "ngx.worker_conns",
    NgxUnattributed = "ngx.unattributed",
    ApacheWorkerError = "apache.worker_error",
    ApacheRespond = "apache.respond",
    EnvoyUh = "envoy.UH",
    EnvoyUf = "envoy.UF",
    EnvoyUo = "envoy.UO",
    EnvoyUc = "envoy.UC",
    EnvoyUr = "envoy.UR",
    EnvoyLr = "envoy.LR",
    EnvoyLh = "envoy.LH",
    EnvoyDo = "envoy.DO",
    EnvoyUdo = "envoy.UDO",
    EnvoyOm = "envoy.OM",
    EnvoyNc = "envoy.NC",
    EnvoyUt = "envoy.UT",
    EnvoyRl = "envoy.RL",
    EnvoyDirect = "envoy.direct_response",
    TraefikNoServer = "traefik.no_server",
    TraefikRefused = "traefik.refused",
    TraefikTimeout = "traefik.timeout",
    CaddyNoUpstream = "caddy.no_upstream",
    CaddyRefused = "caddy.refused",
    CaddyRespond = "caddy.respond",
    VarnishBackend = "varnish.backend",
    VarnishSynth = "varnish.synth",
    LinkerdShed = "linkerd.shed",
    LinkerdFailfast = "linkerd.failfast",
    AlbNoTargets = "alb.no_targets",
    AlbTarget = "alb.target",
    K8sNoEndpoints = "k8s.no_endpoints",
    K8sProbeFailing = "k8s.probe_failing",
    K8sOomKilled = "k8s.oom_killed",
    ProxyPassthrough = "proxy.passthrough",
    ProxyRateLimit = "proxy.rate_limit",
    ProxyUpstreamDown = "proxy.upstream_down",
    ProxyUpstreamSlow = "proxy.upstream_slow",
    ProxyRoute = "proxy.route",
    // What the process depends on.
    DnsFail = "dns.fail",
    TlsExpired = "tls.expired",
    TlsExpiring = "tls.expiring",
    TlsName = "tls.name",
    TlsChain = "tls.chain",
    DepUnreachable = "dep.unreachable",
    DepHung = "dep.hung",
    DepFailing = "dep.failing",
    DepReadOnly = "dep.read_only",
    DepLogin = "dep.login",
    PgDown = "pg.down",
    PgStarting = "pg.starting",
    PgHung = "pg.hung",
    PgIdleInTx = "pg.idle_in_tx",
    PgLocks = "pg.locks",
    PgExhausted = "pg.exhausted",
    PgReplication = "pg.replication",
    PgReadOnly = "pg.read_only",
    PgbClientLimit = "pgb.client_limit",
    PgbWait = "pgb.wait",
    MysqlDown = "mysql.down",
    MysqlHung = "mysql.hung",
    MysqlExhausted = "mysql.exhausted",
    MysqlLocks = "mysql.locks",
    MysqlHostBlocked = "mysql.host_blocked",
    MysqlReadOnly = "mysql.read_only",
    RedisDown = "redis.down",
    RedisHung = "redis.hung",
    RedisMaxclients = "redis.maxclients",
    RedisOom = "redis.oom",
    RedisLoading = "redis.loading",
    RedisReadonly = "redis.readonly",
    RedisMisconf = "redis.misconf",
    RedisClusterDown = "redis.cluster_down",
    MemcachedDown = "memcached.down",
    RabbitDown = "rabbit.down",
    RabbitBlocked = "rabbit.blocked",
    KafkaDown = "kafka.down",
    // What changed.
    DeployNoDrain = "deploy.no_drain",
    DeployRollout = "deploy.rollout",
    TrafficSurge = "traffic.surge",
    TrafficRoute = "traffic.route",
    TrafficTenant = "traffic.tenant",
    TrafficRetries = "traffic.retries",
    ScaleGap = "scale.gap",
    ClockWindow = "clock.window",
    ClockStep = "clock.step",
    // What cannot work, found before it fails.
    ProbeMissing = "probe.missing",
    ProbeSlow = "probe.slow",
    ProbeLimited = "probe.limited",
    DeployLameDuck = "deploy.lame_duck",
    DeployKeepaliveRace = "deploy.keepalive_race",
    ConfigCheckTimeout = "config.check_timeout",
    ConfigTimeoutOrder = "config.timeout_order",
    ConfigPoolSum = "config.pool_sum",
    ConfigCors = "config.cors",
    ConfigShadowedRoute = "config.shadowed_route",
    ConfigGrace = "config.grace",
}

impl Id {
    /// Finds the id that is written so.
    ///
    /// ```
    /// use steadfast_diagnosis::Id;
    ///
    /// assert_eq!(Id::parse("pg.exhausted"), Some(Id::PgExhausted));
    /// assert_eq!(Id::parse("pg.exhaust"), None);
    /// ```
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|id| id.as_str() == text)
    }

    /// Returns the area: what stands before the dot.
    #[must_use]
    pub fn area(self) -> &'static str {
        self.as_str().split_once('.').map_or("", |(area, _)| area)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Id {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Id {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        let unknown = || serde::de::Error::custom(format!("unknown finding id {text:?}"));
        Self::parse(&text).ok_or_else(unknown)
    }
}

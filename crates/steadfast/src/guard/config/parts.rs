//! What each section of a configuration holds, and which values its keys take.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use http::HeaderName;
use steadfast_core::{
    Priority, Requirement, RetryHint, ShedMode, Trip,
    plumbing::{
        BreakerMode, CheckSettings, LIMIT_MAX, LagMode, QUEUE_LEN_MAX, RETRY_AFTER_MIN, RouteClass,
        Streams, WhenDraining,
    },
};

use super::reader::Section;
use crate::{
    drain::Drain,
    guard::{START_HOLD_MAX, START_WAIT_LONGEST},
    probe::{access, settings::is_probe_path},
    refusal::{self, Disclosure},
    serve::Connections,
};

/// Declares a section: a value for each key, if it was given, and what a stronger source
/// does to a weaker one.
macro_rules! section {
    ($(#[$docs:meta])* $name:ident { $($key:ident: $kind:ty,)* }) => {
        $(#[$docs])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub(crate) struct $name {
            $(pub(crate) $key: Option<$kind>,)*
        }

        impl $name {
            pub(crate) fn merge(self, stronger: Self) -> Self {
                Self { $($key: stronger.$key.or(self.$key),)* }
            }
        }
    };
}

section! {
    /// The keys outside every section.
    TopConfig {
        request_timeout: Duration,
        deadline_header: String,
        unready_budget: Duration,
    }
}

section! {
    /// `[shed]`
    ShedConfig {
        limit: u32,
        queue: u32,
        mode: ShedMode,
        lag: LagMode,
        memory: ShedMode,
        streams_max: u32,
        held_max: Duration,
        by_backend: bool,
        tenant_header: HeaderName,
    }
}

section! {
    /// `[drain]`
    DrainConfig {
        lame_duck_min: Duration,
        lame_duck_max: Duration,
        failing_probes: u32,
        grace: Duration,
        idle_linger: Duration,
        hooks: Duration,
    }
}

section! {
    /// `[connections]`
    ConnectionsConfig {
        max: u32,
        backlog: u32,
        first_request: Duration,
        header_read: Duration,
        idle: Duration,
        write_stall: Duration,
        read_stall: Duration,
        bytes_per_sec_min: u32,
        head_max: u32,
        nodelay: bool,
        pacing: bool,
        streams_max: u32,
        resets_max: u32,
        ping_every: Duration,
        ping_timeout: Duration,
    }
}

section! {
    /// `[start]`
    StartConfig {
        hold: Duration,
        wait_max: Duration,
    }
}

section! {
    /// `[explain]`
    ExplainConfig {
        type_base: String,
        disclosure: Disclosure,
        retry_after_min: Duration,
        retry_after_max: Duration,
    }
}

section! {
    /// `[probes]`
    ProbesConfig {
        health_path: String,
        ready_path: String,
        operator_path: String,
        aliases: bool,
        strict: bool,
        envoy: bool,
        not_found_while_draining: bool,
        listen: SocketAddr,
        listen_trusted: bool,
        socket: PathBuf,
    }
}

section! {
    /// `[operator]`
    OperatorConfig {
        token: Secret,
        history_file: PathBuf,
    }
}

section! {
    /// `[maintenance]`
    MaintenanceConfig {
        file: PathBuf,
    }
}

section! {
    /// `[route."PATTERN"]`
    RouteConfig {
        priority: Priority,
        exempt: bool,
        streams: Streams,
        draining: WhenDraining,
    }
}

section! {
    /// `[dependency.NAME]`
    DependencyConfig {
        requirement: Requirement,
        interval: Duration,
        interval_failing: Duration,
        timeout: Duration,
        fall: u32,
        rise: u32,
        mode: BreakerMode,
        call_timeout: Duration,
        window: Duration,
        calls_min: u32,
        failure_ratio: f64,
        consecutive_failures: u32,
        slow_limit: Duration,
        slow_ratio: f64,
        stalled_calls: u32,
        stall_limit: Duration,
        open_base: Duration,
        open_max: Duration,
        probes: u32,
        probe_successes: u32,
        probe_lease: Duration,
        ramp: Duration,
    }
}

impl TopConfig {
    pub(super) fn read(top: &mut Section<'_>) -> Self {
        Self {
            request_timeout: top.length("request_timeout", "above 0s", |length| !length.is_zero()),
            deadline_header: top.text("deadline_header", "the name of a header", |text| {
                HeaderName::try_from(text).is_ok().then(|| text.to_owned())
            }),
            unready_budget: top.length("unready_budget", "0s or more", |_| true),
        }
    }
}

impl ShedConfig {
    pub(super) fn read(shed: &mut Section<'_>) -> Self {
        let modes = [
            ("enforce", ShedMode::Enforce),
            ("observe", ShedMode::Observe),
        ];
        Self {
            limit: shed.count("limit", 1..=LIMIT_MAX),
            queue: shed.count("queue", 0..=QUEUE_LEN_MAX),
            mode: shed.word("mode", &modes),
            lag: shed.word("lag", &LagMode::WORDS),
            memory: shed.word("memory", &modes),
            streams_max: shed.count("streams_max", 1..=LIMIT_MAX),
            held_max: shed.length("held_max", "above 0s", |length| !length.is_zero()),
            by_backend: shed.flag("by_backend"),
            tenant_header: shed.text("tenant_header", "the name of a header", |text| {
                HeaderName::try_from(text).ok()
            }),
        }
    }
}

impl DrainConfig {
    pub(super) fn read(drain: &mut Section<'_>) -> Self {
        let mut up_to_max =
            |key| drain.length(key, "0s to 1h", |length| length <= Drain::LENGTH_MAX);
        Self {
            lame_duck_min: up_to_max("lame_duck_min"),
            lame_duck_max: up_to_max("lame_duck_max"),
            idle_linger: up_to_max("idle_linger"),
            hooks: up_to_max("hooks"),
            failing_probes: drain.count("failing_probes", 1..=Drain::FAILING_PROBES_MAX),
            grace: drain.length("grace", "above 0s to 1h", |length| {
                !length.is_zero() && length <= Drain::LENGTH_MAX
            }),
        }
    }
}

impl ConnectionsConfig {
    pub(super) fn read(connections: &mut Section<'_>) -> Self {
        let allowed = Connections::LENGTH_MIN..=Connections::LENGTH_MAX;
        let mut bound =
            |key| connections.length(key, "10ms to 24h", |length| allowed.contains(&length));
        Self {
            first_request: bound("first_request"),
            header_read: bound("header_read"),
            idle: bound("idle"),
            write_stall: bound("write_stall"),
            read_stall: bound("read_stall"),
            ping_every: bound("ping_every"),
            ping_timeout: bound("ping_timeout"),
            max: connections.count("max", 1..=Connections::COUNT_MAX),
            backlog: connections.count("backlog", 1..=Connections::BACKLOG_MAX),
            bytes_per_sec_min: connections
                .count("bytes_per_sec_min", 1..=Connections::BYTES_PER_SEC_MAX),
            head_max: connections.count("head_max", Connections::HEAD_MIN..=Connections::HEAD_MAX),
            nodelay: connections.flag("nodelay"),
            pacing: connections.flag("pacing"),
            streams_max: connections.count("streams_max", 1..=Connections::STREAMS_MAX),
            resets_max: connections.count("resets_max", 0..=Connections::RESETS_MAX),
        }
    }
}

impl StartConfig {
    pub(super) fn read(start: &mut Section<'_>) -> Self {
        Self {
            hold: start.length("hold", "0s to 1h", |length| length <= START_HOLD_MAX),
            wait_max: start.length("wait_max", "0s to 1m", |length| {
                length <= START_WAIT_LONGEST
            }),
        }
    }
}

impl ExplainConfig {
    pub(super) fn read(explain: &mut Section<'_>) -> Self {
        let disclosures = [("public", Disclosure::Public), ("full", Disclosure::Full)];
        let bound = |length| (RETRY_AFTER_MIN..=RetryHint::MAX_ALLOWED).contains(&length);
        Self {
            type_base: explain.text("type_base", "an absolute URL without a fragment", |text| {
                refusal::is_type_base(text).then(|| text.to_owned())
            }),
            disclosure: explain.word("disclosure", &disclosures),
            retry_after_min: explain.length("retry_after_min", "1s to 24h", bound),
            retry_after_max: explain.length("retry_after_max", "1s to 24h", bound),
        }
    }
}

impl ProbesConfig {
    pub(super) fn read(probes: &mut Section<'_>) -> Self {
        let mut path = |key| {
            probes.text(key, "a path below / without ? # { }", |text| {
                is_probe_path(text).then(|| text.to_owned())
            })
        };
        Self {
            health_path: path("health_path"),
            ready_path: path("ready_path"),
            operator_path: path("operator_path"),
            aliases: probes.flag("aliases"),
            strict: probes.flag("strict"),
            envoy: probes.flag("envoy"),
            not_found_while_draining: probes.flag("not_found_while_draining"),
            listen: probes.text(
                "listen",
                "an address and a port such as \"127.0.0.1:9090\"",
                |text| text.parse().ok(),
            ),
            listen_trusted: probes.flag("listen_trusted"),
            socket: probes.text("socket", "the path of a socket", |text| {
                (!text.is_empty()).then(|| text.into())
            }),
        }
    }
}

impl OperatorConfig {
    pub(super) fn read(operator: &mut Section<'_>) -> Self {
        Self {
            token: operator
                .secret("token", access::TOKEN_ALLOWED, access::is_token)
                .map(Secret),
            history_file: operator.text("history_file", "the path of a file", |text| {
                (!text.is_empty()).then(|| text.into())
            }),
        }
    }
}

impl MaintenanceConfig {
    pub(super) fn read(maintenance: &mut Section<'_>) -> Self {
        Self {
            file: maintenance.text("file", "the path of a file", |text| {
                (!text.is_empty()).then(|| text.into())
            }),
        }
    }
}

impl DependencyConfig {
    pub(super) fn read(dependency: &mut Section<'_>) -> Self {
        let requirement = dependency.text(
            "requirement",
            "\"required-to-start\", \"required\", \"degrades\" or \"informs\"",
            Requirement::from_word,
        );
        let length = |section: &mut Section<'_>, key| {
            section.length(key, "above 0s to 1h", |length| {
                !length.is_zero() && length <= CheckSettings::LENGTH_MAX
            })
        };
        let any_length = |section: &mut Section<'_>, key| {
            section.length(key, "0s to 1h", |length| {
                length <= CheckSettings::LENGTH_MAX
            })
        };
        Self {
            requirement,
            interval: length(dependency, "interval"),
            interval_failing: length(dependency, "interval_failing"),
            timeout: length(dependency, "timeout"),
            fall: dependency.count("fall", 1..=CheckSettings::STREAK_MAX),
            rise: dependency.count("rise", 1..=CheckSettings::STREAK_MAX),
            mode: dependency.word("mode", &BreakerMode::ALL.map(|it| (it.code(), it))),
            call_timeout: length(dependency, "call_timeout"),
            // The bounds of a breaker hang together; it checks them itself.
            window: any_length(dependency, "window"),
            calls_min: dependency.count("calls_min", 1..=u32::MAX),
            failure_ratio: dependency.ratio("failure_ratio"),
            consecutive_failures: dependency.count("consecutive_failures", 1..=u32::MAX),
            slow_limit: any_length(dependency, "slow_limit"),
            slow_ratio: dependency.ratio("slow_ratio"),
            stalled_calls: dependency.count("stalled_calls", 1..=u32::MAX),
            stall_limit: any_length(dependency, "stall_limit"),
            open_base: any_length(dependency, "open_base"),
            open_max: any_length(dependency, "open_max"),
            probes: dependency.count("probes", 1..=u32::MAX),
            probe_successes: dependency.count("probe_successes", 1..=u32::MAX),
            probe_lease: any_length(dependency, "probe_lease"),
            ramp: any_length(dependency, "ramp"),
        }
    }

    /// Lays what is configured of the breaker over the code's; `None` if nothing is.
    pub(crate) fn trip(&self, mut trip: Trip) -> Option<Trip> {
        let before = trip.clone();
        macro_rules! lay {
            ($($key:ident)*) => {
                $(if let Some(value) = self.$key { trip = trip.$key(value); })*
            };
        }
        lay! {
            window calls_min failure_ratio consecutive_failures slow_limit slow_ratio
            stalled_calls stall_limit open_base open_max probes probe_successes probe_lease ramp
        }
        (trip != before).then_some(trip)
    }
}

impl RouteConfig {
    pub(super) fn read(route: &mut Section<'_>) -> Self {
        Self {
            priority: route.word("priority", &Priority::ALL.map(|it| (it.code(), it))),
            exempt: route.flag("exempt"),
            streams: route.word("streams", &Streams::WORDS),
            draining: route.word("draining", &WhenDraining::WORDS),
        }
    }

    /// Lays what it says over what the code says, which keeps the rest.
    pub(crate) fn over(&self, code: RouteClass) -> RouteClass {
        let streams = self.streams.unwrap_or(code.streams());
        let mut class = RouteClass::new().with_streams(streams);
        if let Some(priority) = self.priority.or(code.priority()) {
            class = class.with_priority(priority);
        }
        if self.exempt.unwrap_or(code.is_exempt()) {
            class = class.with_exemption();
        }
        if let Some(draining) = self.draining.or(code.draining()) {
            class = class.when_draining(draining);
        }
        class
    }
}

/// Text that nothing prints.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

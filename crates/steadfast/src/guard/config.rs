//! Settings of a guard from a file, from any serde format, and from the environment.
//!
//! Flow: a format becomes a [`tree::Tree`], [`reader`] asks the tree for the keys that
//! [`parts`] knows, and the guard's builder lays what was found over what the code says.
//! Reading by hand and not by derive is what makes one error tell every fault: a derived
//! reader stops at the first, and quotes values that may be secret.

mod distance;
mod env;
mod parts;
mod reader;
#[cfg(test)]
mod tests;
mod tree;

use std::{ffi::OsString, fs::File, io::Read, path::Path};

use serde::{Deserialize, Deserializer, de::Error};
use steadfast_core::ConfigError;

pub(crate) use distance::nearest;
pub(crate) use parts::*;
use reader::Source;
use tree::Tree;

/// Settings of a guard that are not in its code: what each says replaces what the code
/// said, what it leaves out stays as it is.
///
/// For what differs between places (a limit, a grace, a token), so that it changes without
/// a build. What belongs to the code (which dependencies there are, how they are checked)
/// has no key.
///
/// ```
/// use steadfast::{Guard, GuardConfig};
///
/// let file = GuardConfig::from_toml_str(r#"
/// request_timeout = "30s"
/// deadline_header = "x-request-timeout-ms"
/// unready_budget = "5m"
///
/// [shed]
/// limit = 64
/// queue = 16
/// mode = "enforce"
/// lag = "enforce"
/// memory = "enforce"
/// streams_max = 10000
/// held_max = "10s"
/// by_backend = true
/// tenant_header = "x-tenant"
///
/// [drain]
/// lame_duck_min = "1s"
/// lame_duck_max = "10s"
/// failing_probes = 3
/// grace = "15s"
/// idle_linger = "1s"
/// hooks = "3s"
///
/// [connections]
/// max = 20000
/// backlog = 65535
/// first_request = "30s"
/// header_read = "30s"
/// idle = "620s"
/// write_stall = "1m"
/// read_stall = "1m"
/// bytes_per_sec_min = 1024
/// head_max = 65536
/// nodelay = true
/// pacing = true
/// streams_max = 200
/// resets_max = 20
/// ping_every = "30s"
/// ping_timeout = "20s"
///
/// [start]
/// hold = "30s"
/// wait_max = "2s"
///
/// [explain]
/// type_base = "https://errors.example.com/503"
/// disclosure = "public"
/// retry_after_min = "1s"
/// retry_after_max = "30s"
///
/// [probes]
/// health_path = "/health"
/// ready_path = "/ready"
/// operator_path = "/why503"
/// aliases = true
/// strict = false
/// envoy = false
/// not_found_while_draining = false
/// listen = "127.0.0.1:9090"
/// listen_trusted = false
/// socket = "/run/shop/probe.sock"
///
/// [operator]
/// token = "a-long-random-secret"
/// history_file = "/var/lib/shop/history"
///
/// [maintenance]
/// file = "/run/shop/maintenance"
///
/// [route."/reports/*"]
/// priority = "background"
/// exempt = false
/// streams = "by-answer"
/// draining = "finish"
///
/// [dependency.orders-db]
/// requirement = "required-to-start"
/// interval = "5s"
/// interval_failing = "1s"
/// timeout = "1s"
/// fall = 3
/// rise = 2
/// mode = "auto"
/// call_timeout = "2s"
/// window = "10s"
/// calls_min = 20
/// failure_ratio = 0.5
/// consecutive_failures = 5
/// slow_limit = "800ms"
/// slow_ratio = 0.8
/// stalled_calls = 3
/// stall_limit = "2s"
/// open_base = "1s"
/// open_max = "1s"
/// probes = 1
/// probe_successes = 2
/// probe_lease = "5s"
/// ramp = "10s"
/// "#)?;
/// // What an operator sets for one instance goes on top of what the file says for all.
/// let config = file.merge(GuardConfig::from_env("STEADFAST")?);
/// # use steadfast::{CheckOutcome, Dependency, check};
/// # let check = check::closure(|| async { CheckOutcome::pass() });
/// # let orders_db = Dependency::builder("orders-db").check(check).build()?;
///
/// let guard = Guard::builder()
///     .dependency(&orders_db)
///     .config(config)
///     .build()?;
/// # Ok::<(), steadfast::ConfigError>(())
/// ```
///
/// # Keys
/// Each key may be left out. The default is what holds when the code says nothing either.
///
/// | key | takes | default |
/// |---|---|---|
/// | `request_timeout` | above 0s | off |
/// | `deadline_header` | the name of a header that says how long the caller listens, beside those known | none |
/// | `unready_budget` | 0s or more | `5m` |
/// | `shed.limit` | 1 to 1000000: a fixed limit without a queue, enforced unless `shed.mode` says otherwise | 512, observed |
/// | `shed.queue` | 0 to 1024 requests may wait for a moment; 0 is none | as the code says; none with `shed.limit` |
/// | `shed.mode` | `enforce` or `observe` | `observe` |
/// | `shed.lag` | `enforce`, `observe` or `off`: whether requests are refused because the runtime is late | as `shed.mode` |
/// | `shed.memory` | `enforce` or `observe`: whether requests are refused because memory is close to its limit | as `shed.mode` |
/// | `shed.streams_max` | 1 to 1000000: streams that may be open at once | `10000` |
/// | `shed.held_max` | above 0s | `10s` |
/// | `shed.by_backend` | true or false: whether requests that wait for different dependencies get limits of their own, where the limit is found by an algorithm | as the code says, which is yes for the adaptive limit |
/// | `shed.tenant_header` | the name of a header that says whose a request is, for fair shares while the limit is met | none |
/// | `drain.lame_duck_min` | 0s to 1h | `1s` |
/// | `drain.lame_duck_max` | 0s to 1h | `10s` |
/// | `drain.failing_probes` | 1 to 1000 | `3` |
/// | `drain.grace` | above 0s to 1h | `15s` |
/// | `drain.idle_linger` | 0s to 1h | `1s` |
/// | `drain.hooks` | 0s to 1h | `3s` |
/// | `connections.max` | 1 to 1000000: connections of [`Guard::serve`](crate::Guard::serve) that may be open; further ones wait | `20000` |
/// | `connections.backlog` | 1 to 65535: connections that may wait in the kernel's queue before a TCP listener, within `net.core.somaxconn` | `65535` |
/// | `connections.first_request` | 10ms to 24h: how long a new connection may be silent | `30s` |
/// | `connections.header_read` | 10ms to 24h: how long a request's head may take | `30s` |
/// | `connections.idle` | 10ms to 24h between two requests; longer than the balancer keeps it | `620s` |
/// | `connections.write_stall` | 10ms to 24h: how long a peer may take no byte of its answer | `1m` |
/// | `connections.read_stall` | 10ms to 24h: how long no byte may come of a body that is waited for | `1m` |
/// | `connections.bytes_per_sec_min` | 1 to 1048576: the rate that a transfer keeps to on average | `1024` |
/// | `connections.head_max` | 8192 to 1048576: bytes of a request's head | `65536` |
/// | `connections.nodelay` | true or false: whether TCP sends small packets at once | `true` |
/// | `connections.pacing` | true or false: whether clients that ask again as soon as they are refused are paced while they keep the runtime busy | `true` |
/// | `connections.streams_max` | 1 to 10000: streams of one HTTP/2 connection | `200` |
/// | `connections.resets_max` | 0 to 10000: HTTP/2 streams that were reset before they were looked at | `20` |
/// | `connections.ping_every` | 10ms to 24h between two pings over HTTP/2 | `30s` |
/// | `connections.ping_timeout` | 10ms to 24h to answer one | `20s` |
/// | `start.hold` | 0s to 1h: how long requests are held back at most while the first round of checks has not passed | `30s` |
/// | `start.wait_max` | 0s to 1m: how long a request waits at most for the first round to be over | `2s` |
/// | `explain.type_base` | an absolute URL without a fragment | [`TYPE_BASE_DEFAULT`](crate::refusal::TYPE_BASE_DEFAULT) |
/// | `explain.disclosure` | `public` or `full` | `public` |
/// | `explain.retry_after_min` | 1s to 24h | `1s` |
/// | `explain.retry_after_max` | 1s to 24h | `30s` |
/// | `probes.health_path` | a path | `/health` |
/// | `probes.ready_path` | a path | `/ready` |
/// | `probes.operator_path` | a path | `/why503` |
/// | `probes.aliases` | true or false | `false` |
/// | `probes.strict` | true or false | `false` |
/// | `probes.envoy` | true or false | `false` |
/// | `probes.not_found_while_draining` | true or false | `false` |
/// | `probes.listen` | the address and port of the probe listener | none |
/// | `probes.listen_trusted` | true or false: whether only operators reach it, so that they need no token to read; the loopback is trusted anyway | `false` |
/// | `probes.socket` | the path of a socket at which probes are answered too, and names without a token | none |
/// | `operator.token` | 16 or more visible ASCII characters | none |
/// | `operator.history_file` | the path of a file that keeps incidents and changes over a restart | none |
/// | `maintenance.file` | the path of a file | none |
/// | `route.PATTERN.priority` | `critical`, `default`, `sheddable` or `background` | `default` |
/// | `route.PATTERN.exempt` | true or false | `false` |
/// | `route.PATTERN.streams` | `by-answer`, `always` or `never` | `by-answer` |
/// | `route.PATTERN.draining` | `finish` or `leave` | by the kind of answer |
/// | `dependency.NAME.requirement` | `required-to-start`, `required`, `degrades` or `informs` | `required-to-start` |
/// | `dependency.NAME.interval` | above 0s to 1h | `5s` |
/// | `dependency.NAME.interval_failing` | above 0s to 1h; brought down to the interval | `1s` |
/// | `dependency.NAME.timeout` | above 0s to 1h | `1s` |
/// | `dependency.NAME.fall` | 1 to 100 | `3` |
/// | `dependency.NAME.rise` | 1 to 100 | `2` |
/// | `dependency.NAME.mode` | `auto`, `forced-open`, `forced-closed` or `observe` | `auto` |
/// | `dependency.NAME.call_timeout` | above 0s to 1h | `30s` |
/// | `dependency.NAME.window` | 1s to 1h | `10s` |
/// | `dependency.NAME.calls_min` | 1 to 10000 | `20` |
/// | `dependency.NAME.failure_ratio` | above 0, below 1 | `0.5` |
/// | `dependency.NAME.consecutive_failures` | 1 to 10000 | `5` |
/// | `dependency.NAME.slow_limit` | 1ms to 1h; turns the slow rule on | off |
/// | `dependency.NAME.slow_ratio` | above 0, below 1 | `0.8` |
/// | `dependency.NAME.stalled_calls` | 1 to 10000 | `3` |
/// | `dependency.NAME.stall_limit` | 10ms to 1h, not below the slow limit | twice the slow limit, `30s` without one |
/// | `dependency.NAME.open_base` | 10ms to 1h | `1s`; `50ms` for what cannot be reached and `250ms` for what still loads, if neither is set |
/// | `dependency.NAME.open_max` | 10ms to 1h, not below the base | `1s` |
/// | `dependency.NAME.probes` | 1 to 15 | `1` |
/// | `dependency.NAME.probe_successes` | 1 to 15 | `2` |
/// | `dependency.NAME.probe_lease` | 10ms to 1h | `5s` |
/// | `dependency.NAME.ramp` | 0s to 1h | `10s` |
///
/// Durations are text with a unit: `250ms`, `5s`, `1.5s`, `10m`, `2h`.
///
/// # Faults
/// One [`ConfigError`] tells all of them: unknown keys, wrong types, values out of range,
/// each with its key in full, what was found and what is allowed. What only the whole
/// configuration shows (a dependency that the guard does not know, bounds that cross) is a
/// fault of [`GuardBuilder::build`](crate::GuardBuilder::build), beside those of the code.
/// No error and no `Debug` shows the token.
///
/// # In a configuration of your own
/// It implements `Deserialize` for formats that describe themselves (TOML, JSON, YAML), so
/// it can be a field of an application's own configuration. Some formats quote the lines
/// around a fault when they print it: if the token is in the same file, print the
/// message alone.
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct GuardConfig {
    pub(crate) top: TopConfig,
    pub(crate) shed: ShedConfig,
    pub(crate) drain: DrainConfig,
    pub(crate) connections: ConnectionsConfig,
    pub(crate) start: StartConfig,
    pub(crate) explain: ExplainConfig,
    pub(crate) probes: ProbesConfig,
    pub(crate) operator: OperatorConfig,
    pub(crate) maintenance: MaintenanceConfig,
    /// Weaker ones first, by pattern.
    pub(crate) routes: Vec<(String, RouteConfig)>,
    /// Weaker ones first. Names meet only when the guard's dependencies are known, since
    /// several names can have one spelling in the environment.
    pub(crate) dependencies: Vec<Named>,
}

/// What is said of one dependency in one source.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Named {
    pub(crate) spelling: Spelling,
    /// The key in full, as its author would look for it.
    pub(crate) key: String,
    pub(crate) config: DependencyConfig,
}

/// How a dependency is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// As [`steadfast_core::Name::env_key`] spells it.
    Environment(String),
    Exact(String),
}

/// Longest file that is read: far above any real one, far below what hurts.
const FILE_LEN_MAX: u64 = 1 << 20;

impl GuardConfig {
    /// Reads TOML.
    ///
    /// # Errors
    /// Every fault of the text; if it is not TOML, every place where it is not.
    pub fn from_toml_str(text: &str) -> Result<Self, ConfigError> {
        Self::from_toml(&Source::Text, text)
    }

    /// Reads a TOML file of at most 1 MiB. Reads it at once: call it before the service
    /// serves.
    ///
    /// # Errors
    /// The file cannot be read, or every fault of its text, each with the file's path.
    pub fn from_toml_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let source = Source::File(path.to_owned());
        let mut text = String::new();
        let read =
            File::open(path).and_then(|file| file.take(FILE_LEN_MAX + 1).read_to_string(&mut text));
        match read {
            Err(error) => Err(source.within(&error.to_string()).into()),
            Ok(_) if text.len() as u64 > FILE_LEN_MAX => {
                let fault = "found a file above 1 MiB; allowed is up to 1 MiB";
                Err(source.within(fault).into())
            }
            Ok(_) => Self::from_toml(&source, &text),
        }
    }

    /// Reads the environment: with the prefix `STEADFAST`, `STEADFAST__SHED__LIMIT=16` is
    /// `shed.limit` and `STEADFAST__DEPENDENCY__ORDERS_DB__TIMEOUT=2s` is the timeout of
    /// `orders-db`. Two underscores part; upper and lower case are the same; in a
    /// dependency's name `_` stands for `-` and `.` too.
    ///
    /// Nothing else of Steadfast reads the environment.
    ///
    /// # Errors
    /// Every fault, also a key under the prefix that there is not: a slip in a variable's
    /// name would otherwise change nothing and say nothing.
    pub fn from_env(prefix: &str) -> Result<Self, ConfigError> {
        Self::from_variables(prefix, std::env::vars_os())
    }

    /// Lays a stronger configuration over this one, key by key.
    ///
    /// ```
    /// use steadfast::GuardConfig;
    ///
    /// let all = GuardConfig::from_toml_str("shed = { limit = 64, held_max = '20s' }")?;
    /// let here = GuardConfig::from_toml_str("shed.limit = 16")?;
    /// let both = GuardConfig::from_toml_str("shed = { limit = 16, held_max = '20s' }")?;
    /// assert_eq!(all.merge(here), both);
    /// # Ok::<(), steadfast::ConfigError>(())
    /// ```
    pub fn merge(mut self, stronger: Self) -> Self {
        self.dependencies.extend(stronger.dependencies);
        self.routes.extend(stronger.routes);
        Self {
            top: self.top.merge(stronger.top),
            shed: self.shed.merge(stronger.shed),
            drain: self.drain.merge(stronger.drain),
            connections: self.connections.merge(stronger.connections),
            start: self.start.merge(stronger.start),
            explain: self.explain.merge(stronger.explain),
            probes: self.probes.merge(stronger.probes),
            operator: self.operator.merge(stronger.operator),
            maintenance: self.maintenance.merge(stronger.maintenance),
            routes: self.routes,
            dependencies: self.dependencies,
        }
    }

    fn from_variables(
        prefix: &str,
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let (source, tree) = env::tree(prefix, variables)?;
        Self::from_tree(&source, tree)
    }

    fn from_toml(source: &Source, text: &str) -> Result<Self, ConfigError> {
        let (table, errors) = toml::de::DeTable::parse_recoverable(text);
        // An error's own `Display` quotes the line, which may hold the token.
        let fault = |error: &toml::de::Error| {
            let before = &text[..error.span().map_or(0, |span| span.start.min(text.len()))];
            let line = before.matches('\n').count() + 1;
            source.within(&format!("line {line}: {}", error.message()))
        };
        ConfigError::check(errors.iter().map(fault).collect())?;
        let tree = Tree::deserialize(toml::de::Deserializer::from(table))
            .map_err(|error| fault(&error))?;
        Self::from_tree(source, tree)
    }

    fn from_tree(source: &Source, tree: Tree) -> Result<Self, ConfigError> {
        reader::read(source, tree, |top| Self {
            top: TopConfig::read(top),
            shed: top.section("shed", ShedConfig::read),
            drain: top.section("drain", DrainConfig::read),
            connections: top.section("connections", ConnectionsConfig::read),
            start: top.section("start", StartConfig::read),
            explain: top.section("explain", ExplainConfig::read),
            probes: top.section("probes", ProbesConfig::read),
            operator: top.section("operator", OperatorConfig::read),
            maintenance: top.section("maintenance", MaintenanceConfig::read),
            routes: top
                .named_sections("route", RouteConfig::read)
                .into_iter()
                .map(|(pattern, _, config)| (pattern, config))
                .collect(),
            dependencies: top
                .named_sections("dependency", DependencyConfig::read)
                .into_iter()
                .map(|(name, key, config)| Named {
                    spelling: match source {
                        Source::Environment { .. } => Spelling::Environment(name),
                        Source::File(_) | Source::Text => Spelling::Exact(name),
                    },
                    key,
                    config,
                })
                .collect(),
        })
    }
}

impl<'de> Deserialize<'de> for GuardConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tree = Tree::deserialize(deserializer)?;
        Self::from_tree(&Source::Text, tree).map_err(D::Error::custom)
    }
}

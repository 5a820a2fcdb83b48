//! What was seen: one enum for each area, so that rules match on types and not on strings.
//!
//! Each observation knows how it is called (`field`) and how its value is written, so every
//! room that shows evidence shows the same words. A collector fills in what it saw and
//! judges nothing: thresholds belong to the rules in [`crate::knowledge`].

use std::fmt;

mod data;
mod host;
mod kubernetes;
mod log;
mod own;
mod process;
mod proxy;
mod wire;

pub use data::{
    Broker, Dns, DnsFault, Http, Mysql, Pgbouncer, Postgres, Reach, Redis, RedisReply, Server,
    ServerKind, Tls, TlsFault,
};
pub use host::{Cgroup, Host, KernelLog, Resource};
pub use kubernetes::{Kubernetes, ProbeKind};
pub use log::Log;
pub use own::{BreakerIs, Certainty, CheckIs, Own, PhaseIs, PoolIs};
pub use process::{LogKind, Process, RunState};
pub use proxy::{ApacheLog, EnvoyFlag, HaproxyCode, NginxLog, Proxy, ServerIs};
pub use wire::{Maker, Mark, Outcome, Path, Via, Wire};

/// Makes the enum of an area: each variant with its field's name and the form of its value.
macro_rules! area {
    (
        $(#[$meta:meta])*
        $name:ident {
            $(
                $(#[$vmeta:meta])*
                $variant:ident { $( $(#[$fmeta:meta])* $field:ident : $type:ty ),* $(,)? }
                    = $word:literal, $($form:expr),+ ;
            )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
        #[allow(missing_docs, reason = "the sentence of a variant names its members")]
        #[non_exhaustive]
        pub enum $name {
            $(
                $(#[$vmeta])*
                $variant { $( $(#[$fmeta])* $field: $type ),* },
            )*
        }

        impl $name {
            /// Returns how the thing that was looked at is called.
            #[must_use]
            pub const fn field(&self) -> &'static str {
                match self {
                    $( Self::$variant { .. } => $word, )*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    $(
                        #[allow(unused_variables, reason = "not each member is worth a word")]
                        Self::$variant { $($field),* } => write!(f, $($form),+),
                    )*
                }
            }
        }

        impl From<$name> for super::Observation {
            fn from(seen: $name) -> Self {
                Self::$name(seen)
            }
        }
    };
}

/// Makes an enum of bare words, with the text of each.
macro_rules! words {
    (
        $(#[$meta:meta])*
        $name:ident {
            $( $(#[$vmeta:meta])* $variant:ident = $text:literal, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
        #[non_exhaustive]
        pub enum $name {
            $(
                $(#[$vmeta])*
                #[doc = concat!("`", $text, "`")]
                $variant,
            )*
        }

        impl $name {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the words for it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => $text, )*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

use {area, words};

/// What was seen, in one of the areas.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Observation {
    /// What a client of the service saw.
    Wire(Wire),
    /// The process behind the port, as its host sees it.
    Process(Process),
    /// Kernel and host.
    Host(Host),
    /// The control group of the process.
    Cgroup(Cgroup),
    /// What proxies say of themselves: sockets, administration pages, logs, configuration.
    Proxy(Proxy),
    /// A server that the process depends on, whatever it speaks.
    Server(Server),
    /// PostgreSQL.
    Postgres(Postgres),
    /// PgBouncer.
    Pgbouncer(Pgbouncer),
    /// MySQL and MariaDB.
    Mysql(Mysql),
    /// Redis and what speaks its protocol.
    Redis(Redis),
    /// RabbitMQ and Kafka.
    Broker(Broker),
    /// An HTTP service that is called.
    Http(Http),
    /// Names.
    Dns(Dns),
    /// Certificates and handshakes.
    Tls(Tls),
    /// What a process that uses the library says of itself.
    Own(Own),
    /// What `why503 logs` and its like counted.
    Log(Log),
    /// The cluster.
    Kubernetes(Kubernetes),
}

impl Observation {
    /// Returns how the thing that was looked at is called.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        each(self).0
    }
}

/// The name and the writer of whatever it is.
const fn each(seen: &Observation) -> (&'static str, &dyn fmt::Display) {
    match seen {
        Observation::Wire(it) => (it.field(), it),
        Observation::Process(it) => (it.field(), it),
        Observation::Host(it) => (it.field(), it),
        Observation::Cgroup(it) => (it.field(), it),
        Observation::Proxy(it) => (it.field(), it),
        Observation::Server(it) => (it.field(), it),
        Observation::Postgres(it) => (it.field(), it),
        Observation::Pgbouncer(it) => (it.field(), it),
        Observation::Mysql(it) => (it.field(), it),
        Observation::Redis(it) => (it.field(), it),
        Observation::Broker(it) => (it.field(), it),
        Observation::Http(it) => (it.field(), it),
        Observation::Dns(it) => (it.field(), it),
        Observation::Tls(it) => (it.field(), it),
        Observation::Own(it) => (it.field(), it),
        Observation::Log(it) => (it.field(), it),
        Observation::Kubernetes(it) => (it.field(), it),
    }
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        each(self).1.fmt(f)
    }
}

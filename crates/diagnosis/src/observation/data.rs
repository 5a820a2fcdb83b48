//! What the process depends on: servers by their protocols, names, certificates. A fact is
//! tied to its dependency by the name that the process itself uses for it, where that is
//! known, and by `host:port` otherwise.

use std::time::Duration;

use super::{area, words};
use crate::text::{Bytes, Lasting, Ratio, Text};

words! {
    /// What kind of server it is.
    ServerKind {
        Postgres = "PostgreSQL",
        Pgbouncer = "PgBouncer",
        Mysql = "MySQL",
        Redis = "Redis",
        Memcached = "memcached",
        Rabbitmq = "RabbitMQ",
        Kafka = "Kafka",
        Http = "HTTP",
        Backend = "a server behind the proxy",
        Other = "a server",
    }
}

words! {
    /// How far one gets with a server.
    Reach {
        Answers = "answers",
        Refused = "connection refused",
        ConnectTimedOut = "no connection in time",
        Silent = "connected, no answer in time",
        Closed = "connected, closed at once",
        NameUnknown = "name not found",
        Unroutable = "no route",
        TlsFailed = "TLS failed",
        NotThisKind = "answers in another protocol",
        LoginRefused = "login refused",
    }
}

area! {
    /// A server that the process depends on, whatever it speaks.
    Server {
        /// How far one gets: connect, handshake, first answer.
        Reached { kind: ServerKind, how: Reach, after: Duration } = "reached", "{kind}: {how} after {}", Lasting(*after);
        /// The state of its process, if it runs on this host; stopped is `T`.
        Stopped { kind: ServerKind, pid: u32 } = "/proc/PID/stat, state", "{kind}, process {pid}: T (stopped)";
        /// What the library says of it in a request that failed: class and text.
        Says { kind: ServerKind, text: Text } = "error", "{kind}: {text}";
    }
}

area! {
    /// PostgreSQL.
    Postgres {
        /// An error that the server answered, at start-up or to a question.
        Error { code: Text, message: Text } = "SQLSTATE", "{code}: {message}";
        /// Sessions of clients, the most there may be, and those kept for the few.
        Slots { used: u64, max: u64, reserved: u64 } = "client sessions", "{used} of {max}, {reserved} reserved";
        /// Sessions that are idle in a transaction, the longest of them, and whose most are.
        IdleInTransaction { count: u64, longest: Duration, whose: Text }
            = "idle in transaction", "{count}, longest {}, {whose}", Lasting(*longest);
        /// Sessions that wait for a lock, the longest wait, and the session at the root.
        Locks { waiting: u64, longest: Duration, root: u32, query: Text }
            = "lock waits", "{waiting}, longest {}, root pid {root}: {query}", Lasting(*longest);
        /// On the master: standbys that are connected and those of them that a commit waits
        /// for, the setting that says which, how far the last is behind, and commits that wait
        /// for one.
        Standbys { connected: u64, synchronous: u64, wanted: Text, behind: Duration, waiting: u64, longest: Duration }
            = "pg_stat_replication", "{connected} standbys, {synchronous} synchronous (of \"{wanted}\"), {} behind, {waiting} commits wait", Lasting(*behind);
        /// On a standby: how far it is behind, and whether it receives.
        Standby { behind: Duration, receives: bool }
            = "pg_stat_wal_receiver", "{} behind, {}", Lasting(*behind), if *receives { "receives" } else { "receives nothing" };
        /// Whether it takes no writes, and why: recovery, or a setting.
        ReadOnly { on: bool, why: Text } = "read-only", "{on} {why}";
    }
}

area! {
    /// PgBouncer.
    Pgbouncer {
        /// An error that it answered.
        Error { code: Text, message: Text } = "SQLSTATE", "{code}: {message}";
        /// `SHOW POOLS`: clients that wait, the longest wait, sessions at the server.
        Pool { waiting: u64, longest: Duration, active: u64, max: u64 }
            = "SHOW POOLS", "{waiting} waiting for {}, {active} of {max} server sessions", Lasting(*longest);
        /// Clients and their bound.
        Clients { now: u64, max: u64 } = "clients", "{now} of {max}";
    }
}

area! {
    /// MySQL and MariaDB.
    Mysql {
        /// An error that the server answered.
        Error { code: u16, message: Text } = "error", "{code}: {message}";
        /// Sessions and their bound.
        Sessions { used: u64, max: u64 } = "Threads_connected", "{used} of {max}";
        /// Sessions that wait for a lock, the longest wait, and the session at the root (0 if it
        /// is not known) with what it does.
        Locks { waiting: u64, longest: Duration, root: u32, holder: Text }
            = "waiting for a lock", "{waiting}, the longest for {}, behind session {root} {holder}", Lasting(*longest);
        /// Whether it takes no writes.
        ReadOnly { on: bool } = "read_only", "{on}";
    }
}

words! {
    /// An answer of Redis that is no answer.
    RedisReply {
        Maxclients = "ERR max number of clients reached",
        Oom = "OOM",
        Loading = "LOADING",
        Readonly = "READONLY",
        Misconf = "MISCONF",
        NoAuth = "NOAUTH or WRONGPASS",
        NoPermission = "NOPERM",
        ClusterDown = "CLUSTERDOWN",
        MasterDown = "MASTERDOWN",
        Busy = "BUSY",
        Moved = "MOVED",
        Other = "another error",
    }
}

area! {
    /// Redis and what speaks its protocol.
    Redis {
        /// An error that it answered.
        Reply { is: RedisReply, text: Text } = "reply", "{is}: {text}";
        /// Clients, their bound, and how many were refused between two samples.
        Clients { now: u64, max: u64, refused: u64 } = "connected_clients", "{now} of {max}, {refused} refused";
        /// Memory, its bound (none: no bound), and whether old keys are given up for new ones.
        Memory { used: Bytes, max: Option<Bytes>, evicts: bool }
            = "used_memory", "{used} of {}, {}",
              max.map_or_else(|| "no bound".to_owned(), |max| max.to_string()),
              if *evicts { "evicts" } else { "noeviction" };
        /// Its role, and whether its link to the master is up.
        Role { master: bool, link_up: bool, reads_only: bool } = "role", "{}", if *master { "master" } else { "replica" };
        /// The last save to disk failed, and writes stop for that.
        SaveFailed { stops_writes: bool } = "rdb_last_bgsave_status", "err";
        /// It reads its data set.
        Loading { eta: Duration } = "loading", "{} left", Lasting(*eta);
    }
}

area! {
    /// RabbitMQ and Kafka.
    Broker {
        /// An alarm (memory, disk) that blocks those who publish.
        Blocked { kind: ServerKind, by: Text } = "alarm", "{kind}: {by}";
        /// Partitions without a leader, or a queue without its node.
        NoLeader { kind: ServerKind, count: u64 } = "without a leader", "{count}";
    }
}

area! {
    /// An HTTP service that is called.
    Http {
        /// Answers of it: how many of how many were 5xx or 429, and the last status.
        Failing { failed: u64, of: u64, last: u16 } = "answers", "{failed} of {of} failed, last {last}";
        /// It said so itself: the `why-503` header of its answer.
        Why { text: Text } = "why-503 of the upstream", "{text}";
    }
}

words! {
    /// Why a name was not found.
    DnsFault {
        NotThere = "no such name",
        NoAddress = "no address for the name",
        TryAgain = "the resolver does not answer",
        Refused = "the resolver refuses",
        Other = "another error",
    }
}

area! {
    /// Names.
    Dns {
        /// A name was found.
        Found { name: Text, addresses: u64, after: Duration } = "name", "{name}: {addresses} addresses after {}", Lasting(*after);
        /// A name was not found.
        Failed { name: Text, why: DnsFault, after: Duration } = "name", "{name}: {why} after {}", Lasting(*after);
    }
}

words! {
    /// Why a handshake failed, or would for a careful client.
    TlsFault {
        Expired = "expired",
        NotYetValid = "not valid yet",
        WrongName = "made for another name",
        UnknownIssuer = "issuer not known",
        Incomplete = "intermediate certificate missing",
        Revoked = "revoked",
        Protocol = "no common version or cipher",
        ClientRequired = "asks for a client's certificate",
        Other = "another fault",
    }
}

area! {
    /// Certificates and handshakes.
    Tls {
        /// The certificate that was shown, and how long it is still valid.
        Certificate { subject: Text, names: Text, left: Duration } = "certificate", "{subject}, {} left", Lasting(*left);
        /// What is wrong with the certificate or the handshake.
        Fault { why: TlsFault, detail: Text } = "TLS", "{why}: {detail}";
        /// Share of the certificate's life that is over.
        Aged { ratio: Ratio } = "certificate", "{ratio} of its life is over";
    }
}

//! The process behind the port, as its host sees it: `/proc`, sockets, the service manager
//! and its log.

use std::time::Duration;

use super::{area, words};
use crate::text::{Lasting, Text};

words! {
    /// The state in `/proc/PID/stat`.
    RunState {
        Running = "R (running)",
        Sleeping = "S (sleeping)",
        Disk = "D (waiting for a disk)",
        Stopped = "T (stopped)",
        Zombie = "Z (ended)",
    }
}

words! {
    /// What a line of the process's log is about.
    LogKind {
        NoDescriptors = "out of descriptors",
        NoAddress = "no local port left",
        AddressInUse = "the port is taken",
        NoThreads = "no thread could be started",
        NoMemory = "out of memory",
        NoSpace = "no space left",
        WorkerTimeout = "a worker was killed by its time-out",
        Panic = "a panic",
        DatabaseFull = "the database gives no session",
        NameUnknown = "a name was not found",
        Other = "the last line",
    }
}

area! {
    /// The process behind the port, as its host sees it.
    Process {
        /// Which process it is: the name of its program.
        Program { name: Text } = "program", "{name}";
        /// Nothing listens on the port.
        NoListener {} = "listening socket", "none";
        /// Somebody listens, on this address; `loopback` if only this host can reach it.
        Listener { address: Text, loopback: bool } = "listening socket", "{address}";
        /// The port is asked for at an address of this host that is not loopback.
        AskedAt { address: Text, loopback: bool } = "asked at", "{address}";
        /// The accept queue of one listening socket: connections in it now, and its bound.
        /// Two or more samples tell whether it stays.
        AcceptQueue { now: u64, max: u64 } = "accept queue", "{now} of {max}";
        /// Handshakes of this port that are not complete.
        SynReceived { count: u64 } = "SYN_RECV", "{count}";
        /// Its state.
        State { is: RunState } = "/proc/PID/stat, state", "{is}";
        /// How long it has been running.
        Age { age: Duration } = "age", "{}", Lasting(*age);
        /// Open descriptors and the soft limit.
        Descriptors { used: u64, max: u64 } = "descriptors", "{used} of {max}";
        /// Processors that it used over the sample, and those it may use.
        Cpu { used: f64, allowed: f64 } = "processors used", "{used:.2} of {allowed:.2}";
        /// Its threads.
        Threads { count: u64 } = "threads", "{count}";
        /// Worker processes, and those of them that work on a request now.
        Workers { busy: u64, all: u64 } = "workers busy", "{busy} of {all}";
        /// Established connections to a place outside: what it is, and how many.
        Connected { to: Text, count: u64 } = "connections", "{count} to {to}";
        /// Connects to a place that have not been answered.
        Connecting { to: Text, count: u64 } = "SYN_SENT", "{count} to {to}";
        /// What the service manager says of the unit.
        Unit { active: Text, sub: Text, result: Text } = "unit", "{active} ({sub}), result {result}";
        /// How often the manager restarted it: in all, and during this run.
        Restarts { total: u64, during: u64 } = "NRestarts", "{total}, {during} of them during this run";
        /// Starts of the process within this time.
        Starts { count: u64, within: Duration } = "starts", "{count} within {}", Lasting(*within);
        /// A line of its log.
        LogLine { about: LogKind, line: Text, count: u64 } = "log", "{about}, {count} times: {line}";
    }
}

//! Kernel and host. Counters are differences between two samples: what a counter has gathered
//! since the machine was booted says nothing about now, and is kept apart (`SinceBoot`).

use std::time::Duration;

use super::{area, words};
use crate::text::{Bytes, Lasting, Ratio, Text};

words! {
    /// What tasks wait for, in the kernel's pressure files.
    Resource {
        Cpu = "cpu",
        Memory = "memory",
        Io = "io",
    }
}

words! {
    /// What a line of the kernel's log is about.
    KernelLog {
        OomKill = "killed a process for want of memory",
        ConntrackFull = "connection tracking is full",
        FileTableFull = "the file table is full",
        SynFlood = "possible SYN flooding",
    }
}

area! {
    /// Kernel and host.
    Host {
        /// Load average over one minute, beside the processors.
        LoadAverage { one: f64, processors: u64 } = "load average", "{one:.1} on {processors} processors";
        /// Tasks that can run now, beside the processors.
        Runnable { tasks: u64, processors: u64 } = "runnable tasks", "{tasks} on {processors} processors";
        /// Share of the last ten seconds in which some, and in which all, waited.
        Pressure { on: Resource, some: Ratio, full: Ratio } = "pressure", "{on}: some {some}, full {full}";
        /// Connections that came to a full accept queue, by how much the counter grew
        /// between two samples this far apart.
        ListenOverflows { grew: u64, over: Duration } = "ListenOverflows", "+{grew} in {}", Lasting(*over);
        /// Handshakes dropped or answered with cookies, grown between two samples.
        SynDrops { grew: u64, over: Duration } = "TCPReqQFullDrop and cookies", "+{grew} in {}", Lasting(*over);
        /// A counter as it stands since boot. Never evidence for a finding.
        SinceBoot { counter: Text, value: u64 } = "since boot", "{counter} {value}";
        /// Sockets in TIME_WAIT. Never evidence for a finding.
        TimeWait { count: u64 } = "TIME_WAIT", "{count}";
        /// Local ports in use towards one destination, of those that there are.
        LocalPorts { to: Text, used: u64, all: u64 } = "local ports", "{used} of {all} to {to}";
        /// Open files of the host and their bound.
        FileTable { used: u64, max: u64 } = "/proc/sys/fs/file-nr", "{used} of {max}";
        /// Tracked connections and their bound.
        Conntrack { used: u64, max: u64 } = "nf_conntrack_count", "{used} of {max}";
        /// A file system that the service or its log writes to: free share, free bytes, and
        /// free share of inodes.
        Disk { at: Text, free: Ratio, free_bytes: Bytes, free_inodes: Ratio }
            = "free space", "{at}: {free} ({free_bytes}), inodes {free_inodes}";
        /// Processes that the kernel killed for memory between two samples, or in the window;
        /// `ours` if it is this service.
        OomKill { name: Text, count: u64, ours: bool } = "oom_kill", "{count} ({name})";
        /// A line of the kernel's log in the window.
        Kernel { about: KernelLog, line: Text } = "kernel log", "{about}: {line}";
        /// The wall clock jumped by so much, against the monotonic clock.
        ClockStep { by: Duration, backwards: bool }
            = "wall clock", "jumped {} {}", Lasting(*by), if *backwards { "back" } else { "ahead" };
    }
}

area! {
    /// The control group of the process, version 1 or 2.
    Cgroup {
        /// Scheduling periods between two samples, and those of them that were cut.
        Throttled { periods: u64, cut: u64, lost: Duration }
            = "nr_throttled", "{cut} of {periods} periods, {} lost", Lasting(*lost);
        /// The share of the last periods that were cut, where only that is kept.
        Cut { ratio: Ratio } = "periods cut", "{ratio}";
        /// Processors that the quota allows.
        Quota { processors: f64 } = "cpu quota", "{processors:.2} processors";
        /// Memory in use and its limit, without what the kernel can take back at once.
        Memory { used: Bytes, max: Bytes } = "memory", "{used} of {max}";
        /// How often memory met its high mark or its limit, and kills, grown between samples.
        MemoryEvents { high: u64, max: u64, oom_kill: u64 }
            = "memory.events", "high +{high}, max +{max}, oom_kill +{oom_kill}";
        /// Share of the last ten seconds in which some, and in which all of the group waited.
        Pressure { on: Resource, some: Ratio, full: Ratio } = "pressure of the group", "{on}: some {some}, full {full}";
        /// Tasks and their bound, and starts that were refused between two samples.
        Pids { now: u64, max: u64, refused: u64 } = "pids", "{now} of {max}, {refused} refused";
    }
}

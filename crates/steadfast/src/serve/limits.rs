//! What a connection may cost before it is closed.

use std::time::Duration;

/// Bounds on the connections of [`crate::Guard::serve`].
///
/// In a file, [`crate::GuardConfig`] has them as `[connections]`. They keep peers that send or read slowly, or not at all, from holding a connection for
/// ever. None of them limits how long a handler may take or how much it may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Connections {
    pub(crate) max: usize,
    pub(crate) backlog: u32,
    pub(crate) first_request: Duration,
    pub(crate) header_read: Duration,
    pub(crate) idle: Duration,
    pub(crate) write_stall: Duration,
    pub(crate) read_stall: Duration,
    pub(crate) bytes_per_sec_min: u32,
    pub(crate) head_max: usize,
    pub(crate) nodelay: bool,
    pub(crate) pacing: bool,
    pub(crate) streams_max: u32,
    pub(crate) resets_max: usize,
    pub(crate) ping_every: Duration,
    pub(crate) ping_timeout: Duration,
}

impl Default for Connections {
    /// 20,000 connections, and as many before them as the system allows; 30 s to the first request, 30 s for a head of at most 64 KiB,
    /// 620 s idle, 60 s without progress in writing or reading, and 1 KiB a second; small
    /// packets leave at once; hasty clients are paced; over HTTP/2 200 streams, 20 resets, a ping each 30 s.
    fn default() -> Self {
        Self {
            max: 20_000,
            backlog: Self::BACKLOG_MAX,
            first_request: Duration::from_secs(30),
            header_read: Duration::from_secs(30),
            idle: Duration::from_secs(620),
            write_stall: Duration::from_secs(60),
            read_stall: Duration::from_secs(60),
            bytes_per_sec_min: 1024,
            head_max: 64 * 1024,
            nodelay: true,
            pacing: true,
            streams_max: 200,
            resets_max: 20,
            ping_every: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(20),
        }
    }
}

impl Connections {
    /// Longest and shortest time of any of them.
    pub(crate) const LENGTH_MAX: Duration = Duration::from_secs(24 * 3600);
    pub(crate) const LENGTH_MIN: Duration = Duration::from_millis(10);

    /// Most connections at all; a file descriptor each.
    pub(crate) const COUNT_MAX: u32 = 1_000_000;

    /// Longest queue before them: what Linux takes at most on every machine.
    pub(crate) const BACKLOG_MAX: u32 = 65_535;

    /// Most streams of a connection: a request that begins looks for a place among them.
    pub(crate) const STREAMS_MAX: u32 = 10_000;

    /// Most resets of a connection that may wait to be looked at. What this bounds is work
    /// for nothing, so a bound far above the default is none.
    pub(crate) const RESETS_MAX: u32 = 10_000;

    /// Fastest transfer that may be asked for. What is asked of every peer must suit the
    /// slowest.
    pub(crate) const BYTES_PER_SEC_MAX: u32 = 1 << 20;

    /// Smallest and largest head: hyper reads no less, and a connection may hold as much.
    pub(crate) const HEAD_MIN: u32 = 8 * 1024;
    pub(crate) const HEAD_MAX: u32 = 1 << 20;

    /// Sets how many connections may be open. Further ones wait in the kernel's queue.
    /// Default 20,000, some hundreds of megabytes when all are in use; a lower limit of
    /// the process on open files holds first, and accepting then backs off. Probes that come
    /// over the same listener wait too, so give balancers the probe listener.
    pub const fn max(mut self, count: usize) -> Self {
        self.max = count;
        self
    }

    /// Sets how many connections may wait in the kernel's queue before a TCP listener until they
    /// are accepted (`listen(2)`), 1 to 65,535; the system has a bound of its own
    /// (`net.core.somaxconn`). Default 65,535, so as many as that allows, whatever the listener
    /// was made with: std and tokio ask for 128, and whoever finds the queue full asks
    /// again after a second, which is longer than many clients wait. A short queue sends a
    /// balancer's connections elsewhere sooner where this process does not accept.
    ///
    /// Sockets of other kinds, and listeners of types that are not known here, keep theirs.
    pub const fn backlog(mut self, count: u32) -> Self {
        self.backlog = count;
        self
    }

    /// Sets how long a new connection may take until its first request is there. Default 30 s.
    pub const fn first_request(mut self, length: Duration) -> Self {
        self.first_request = length;
        self
    }

    /// Sets how long a request's head may take from its first byte to its end. Default 30 s.
    pub const fn header_read(mut self, length: Duration) -> Self {
        self.header_read = length;
        self
    }

    /// Sets how long a connection may be idle between requests. Default 620 s: longer than
    /// the 600 s of Google's and the 60 s of Amazon's balancers and of nginx, because the
    /// side that sends requests must be the first to close, or a request and the close cross.
    pub const fn idle(mut self, length: Duration) -> Self {
        self.idle = length;
        self
    }

    /// Sets how long a peer may take no byte of an answer that is ready for it. Default 60 s.
    ///
    /// A peer that has taken bytes has longer, as much as [`Connections::bytes_per_sec_min`]
    /// gives it for them, up to ten times this: what it reads slowly out of its own buffers
    /// looks like silence from here. So who never takes anything is ended after this, who
    /// stops later after eleven times this at most, and who keeps above the rate never.
    ///
    /// Bytes count when the peer's system has acknowledged them, where the kernel tells
    /// (TCP on Linux), and when they were written elsewhere. Over HTTP/2 a stream whose own
    /// window is closed is ended, and a connection that takes nothing at all; a stream that
    /// waits for its turn among others is not.
    pub const fn write_stall(mut self, length: Duration) -> Self {
        self.write_stall = length;
        self
    }

    /// Sets how long no byte may come of a request's body for which a handler waits. Default
    /// 60 s. The time runs only while the body is being read, so a handler that does
    /// something else meanwhile is not taken for a slow peer.
    ///
    /// The reader of the body gets an error whose source is an [`std::io::Error`] of the kind
    /// `TimedOut`; axum's extractors answer with 400. Exempt are requests of routes whose
    /// [`RouteClass`](steadfast_core::plumbing::RouteClass) says that they are streams, and gRPC and
    /// Connect requests once the service has answered in that protocol: such requests may be
    /// silent for as long as there is nothing to say.
    pub const fn read_stall(mut self, length: Duration) -> Self {
        self.read_stall = length;
        self
    }

    /// Sets the rate in bytes a second that an upload or a download has to keep to on
    /// average, 1 to 1,048,576. Default 1,024. The average is over the bound on silence,
    /// [`Connections::read_stall`] or [`Connections::write_stall`]; a transfer above it is
    /// never ended while the process serves.
    pub const fn bytes_per_sec_min(mut self, bytes: u32) -> Self {
        self.bytes_per_sec_min = bytes;
        self
    }

    /// Sets how many bytes the head of a request may have, 8 KiB to 1 MiB. Default 64 KiB,
    /// more than the proxies in front let pass. Over HTTP/1 a longer one is answered with 431;
    /// it is also the most that is gathered of an answer before it is written.
    pub const fn head_max(mut self, bytes: usize) -> Self {
        self.head_max = bytes;
        self
    }

    /// Sets whether TCP sends small packets at once (`TCP_NODELAY`). Default true: answers
    /// are written as a whole, so waiting for more only delays their last packet.
    pub const fn nodelay(mut self, at_once: bool) -> Self {
        self.nodelay = at_once;
        self
    }

    /// Sets whether clients that ask again as soon as they are refused are paced. Default true.
    ///
    /// Many of them keep the runtime so busy with refusals that requests which are served, new
    /// connections and probes wait. So while the runtime is late and there are at least 75 such
    /// clients for each of its threads, an HTTP/1 connection that was refused four times in a
    /// row, and asked for again within 200 ms each time, is not read for a moment: 50 ms for
    /// 1,500 clients on two threads, 250 ms at most (a quarter more or less at random), and 50
    /// ms at most where requests are passed on by a proxy that says so (`Via`, `Forwarded`,
    /// `X-Forwarded-For`). What it sends meanwhile is answered then. Nobody who waits for as
    /// long by himself sees a difference; nothing is paced while the process leaves.
    pub const fn pacing(mut self, paced: bool) -> Self {
        self.pacing = paced;
        self
    }

    /// Sets how many HTTP/2 streams a connection may have open, at most 10,000. Default 200.
    pub const fn streams_max(mut self, count: u32) -> Self {
        self.streams_max = count;
        self
    }

    /// Sets how many HTTP/2 streams a peer may have opened and reset before they were looked
    /// at, at most 10,000; more close the connection (CVE-2023-44487). Default 20.
    pub const fn resets_max(mut self, count: usize) -> Self {
        self.resets_max = count;
        self
    }

    /// Sets how often a ping asks whether an HTTP/2 peer is there, and how long it may take
    /// to say so. Default 30 s and 20 s.
    pub const fn ping(mut self, every: Duration, timeout: Duration) -> Self {
        self.ping_every = every;
        self.ping_timeout = timeout;
        self
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let lengths = [
            ("first_request", self.first_request),
            ("header_read", self.header_read),
            ("idle", self.idle),
            ("write_stall", self.write_stall),
            ("read_stall", self.read_stall),
            ("ping_every", self.ping_every),
            ("ping_timeout", self.ping_timeout),
        ];
        for (key, length) in lengths {
            if !(Self::LENGTH_MIN..=Self::LENGTH_MAX).contains(&length) {
                faults.push(format!(
                    "connections: {key} {length:?}; allowed is 10ms to 24h"
                ));
            }
        }
        let streams = self.streams_max as usize;
        let rate = self.bytes_per_sec_min as usize;
        let counts = [
            ("max", self.max, 1, Self::COUNT_MAX),
            ("backlog", self.backlog as usize, 1, Self::BACKLOG_MAX),
            ("bytes_per_sec_min", rate, 1, Self::BYTES_PER_SEC_MAX),
            ("head_max", self.head_max, Self::HEAD_MIN, Self::HEAD_MAX),
            ("streams_max", streams, 1, Self::STREAMS_MAX),
            ("resets_max", self.resets_max, 0, Self::RESETS_MAX),
        ];
        for (key, count, min, max) in counts {
            if !(min as usize..=max as usize).contains(&count) {
                faults.push(format!(
                    "connections: {key} {count}; allowed is {min} to {max}"
                ));
            }
        }
        faults
    }
}

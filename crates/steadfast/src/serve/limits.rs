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
    pub(crate) first_request: Duration,
    pub(crate) header_read: Duration,
    pub(crate) idle: Duration,
    pub(crate) write_stall: Duration,
    pub(crate) streams_max: u32,
    pub(crate) resets_max: usize,
    pub(crate) ping_every: Duration,
    pub(crate) ping_timeout: Duration,
}

impl Default for Connections {
    /// 20,000 connections; 30 s to the first request, 30 s for a head, 620 s idle, 60 s
    /// without progress in writing; over HTTP/2 200 streams, 20 resets, a ping each 30 s.
    fn default() -> Self {
        Self {
            max: 20_000,
            first_request: Duration::from_secs(30),
            header_read: Duration::from_secs(30),
            idle: Duration::from_secs(620),
            write_stall: Duration::from_secs(60),
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

    /// Most streams of a connection: a request that begins looks for a place among them.
    pub(crate) const STREAMS_MAX: u32 = 10_000;

    /// Most resets of a connection that may wait to be looked at. What this bounds is work
    /// for nothing, so a bound far above the default is none.
    pub(crate) const RESETS_MAX: u32 = 10_000;

    /// Sets how many connections may be open. Further ones wait in the kernel's queue.
    /// Default 20,000, some hundreds of megabytes when all are in use; a lower limit of
    /// the process on open files holds first, and accepting then backs off. Probes that come
    /// over the same listener wait too, so give balancers the probe listener.
    pub const fn max(mut self, count: usize) -> Self {
        self.max = count;
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
    pub const fn write_stall(mut self, length: Duration) -> Self {
        self.write_stall = length;
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
        let counts = [
            ("max", self.max, 1, Self::COUNT_MAX),
            ("streams_max", streams, 1, Self::STREAMS_MAX),
            ("resets_max", self.resets_max, 0, Self::RESETS_MAX),
        ];
        for (key, count, min, max) in counts {
            if !(min..=max as usize).contains(&count) {
                faults.push(format!(
                    "connections: {key} {count}; allowed is {min} to {max}"
                ));
            }
        }
        faults
    }
}

//! What is said of peers that were too slow, and what is learned about requests that are
//! meant to be.

use std::sync::{Mutex, OnceLock, PoisonError};

use http::{HeaderMap, header};

use crate::{clock, log::Seldom, meter};

/// Which bound ended something. Over HTTP/2 the first two end a stream, and the others the
/// connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    ReadStall,
    StreamStall,
    WriteStall,
    HeaderRead,
}

impl Bound {
    const fn word(self) -> &'static str {
        match self {
            Self::ReadStall => "read_stall",
            Self::StreamStall | Self::WriteStall => "write_stall",
            Self::HeaderRead => "header_read",
        }
    }
}

/// Shared by the connections of a server.
#[derive(Debug, Default)]
pub(super) struct Slow {
    report: Mutex<Seldom>,
    streams_both_ways: OnceLock<()>,
}

impl Slow {
    /// Something was ended because its peer was too slow.
    pub(super) fn ended(&self, bound: Bound, path: &str) {
        let bound = bound.word();
        meter::count("steadfast_slow_peers_total", &[("bound", bound)], 1);
        let may_say = {
            let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
            report.may_say(clock::now())
        };
        if let Some(unsaid) = may_say {
            tracing::warn!(target: crate::log::SERVE, bound, path, unsaid, "a peer was too slow and was ended");
        }
    }

    /// An answer shows that this service speaks a protocol whose requests may be silent.
    pub(super) fn answers(&self, headers: &HeaderMap) {
        if self.streams_both_ways.get().is_none() && streams_both_ways(headers) {
            let _ = self.streams_both_ways.set(());
        }
    }

    /// Whether a request of such a protocol is taken for one. Anybody can send its content
    /// type, so a service that has never answered in it is not impressed.
    pub(super) fn may_be_silent(&self) -> bool {
        self.streams_both_ways.get().is_some()
    }
}

/// Whether a message is of a protocol with streams of requests, which may be silent for as
/// long as there is nothing to say: gRPC, and Connect's streams.
pub(super) fn streams_both_ways(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else {
        return false;
    };
    let kind = kind.as_bytes();
    let begins = |with: &[u8]| {
        kind.get(..with.len())
            .is_some_and(|it| it.eq_ignore_ascii_case(with))
    };
    begins(b"application/connect+")
        || begins(b"application/grpc") && !begins(b"application/grpc-web")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_service_shows_by_its_answers_that_requests_may_be_silent() {
        let slow = Slow::default();
        for (kind, expected) in [
            ("application/json", false),
            ("application/grpc-web+proto", false),
            ("Application/gRPC+proto", true),
        ] {
            let kind = HeaderValue::from_static(kind);
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]);
            slow.answers(&headers);
            assert_eq!(slow.may_be_silent(), expected, "{headers:?}");
        }
    }
}

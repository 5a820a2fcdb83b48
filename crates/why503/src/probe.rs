//! Asks the target a few times, and times each step apart: name, connection, TLS, first byte, whole.
//!
//! One probe is one request on a connection of its own. It follows no redirect, sends no cookie,
//! asks for no compression, and reads at most [`BODY_MAX`] of the answer; a server that sends
//! more, slower or something else is an answer too. Every probe of the target is taken from one
//! [`Ration`], whoever asks, so that a run never sends more than `-n` requests.

use std::{net::SocketAddr, sync::Mutex, time::Duration};

use http::HeaderMap;
use steadfast_diagnosis::{Outcome, Path, Via};

use crate::{cli::HttpVersion, clock, target::Target};

mod connect;
mod exchange;
mod tls;
mod watched;

pub(crate) use connect::resolve;
pub(crate) use tls::{Certificate, Distrust};

/// How much of a body is kept: every maker's page is far smaller.
pub(crate) const BODY_MAX: usize = 64 * 1024;

/// How long one probe waits: beyond the time-outs that proxies ship with (5 s), within the budget.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(8);

/// One request, and what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Probe {
    /// The way it went.
    pub(crate) via: Via,
    /// What it asked for.
    pub(crate) path: Path,
    /// The same, as it was written.
    pub(crate) url: String,
    /// How long after the beginning of the run it was sent.
    pub(crate) at: Duration,
    /// How long each step took.
    pub(crate) timing: Timing,
    /// Whom it reached.
    pub(crate) remote: Option<SocketAddr>,
    /// What became of it.
    pub(crate) outcome: Outcome,
    /// More about a failure, in the words of the library or the kernel.
    pub(crate) detail: Option<String>,
    /// The answer, if one came.
    pub(crate) answer: Option<Answer>,
    /// The certificate, if there was one.
    pub(crate) certificate: Option<Certificate>,
}

/// How long each step took, counted from its own beginning; `total` from the first.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Timing {
    /// The name.
    pub(crate) dns: Option<Duration>,
    /// The handshake of TCP.
    pub(crate) connect: Option<Duration>,
    /// The handshake of TLS.
    pub(crate) tls: Option<Duration>,
    /// From the request sent to the first byte of the answer.
    pub(crate) first_byte: Option<Duration>,
    /// Everything.
    pub(crate) total: Duration,
}

/// An answer, as far as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The reason phrase, if it is not the usual one.
    pub(crate) reason: Option<String>,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`.
    pub(crate) version: http::Version,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The trailers, of gRPC.
    pub(crate) trailers: HeaderMap,
    /// The beginning of the body.
    pub(crate) body: Vec<u8>,
    /// When it was asked for, by this host's clock.
    pub(crate) asked: jiff::Timestamp,
    /// When its head came, by this host's clock.
    pub(crate) received: jiff::Timestamp,
    /// Whether that was all of it.
    pub(crate) whole: bool,
}

/// What a probe asks, and how.
#[derive(Debug, Clone)]
pub(crate) struct Question<'a> {
    /// Whom and what.
    pub(crate) target: &'a Target,
    /// The way it goes.
    pub(crate) via: Via,
    /// What it asks for.
    pub(crate) path: Path,
    /// More headers.
    pub(crate) headers: &'a [(http::HeaderName, http::HeaderValue)],
    /// The version of HTTP.
    pub(crate) http: HttpVersion,
    /// Go here instead of where the name leads.
    pub(crate) address: Option<SocketAddr>,
    /// Give up after this.
    pub(crate) wait: Duration,
}

/// How many requests may still be sent to the target.
#[derive(Debug)]
pub(crate) struct Ration(Mutex<u8>);

impl Ration {
    /// Allows this many.
    pub(crate) fn new(probes: u8) -> Self {
        Self(Mutex::new(probes))
    }

    /// Takes one, if there is one.
    pub(crate) fn take(&self) -> bool {
        let mut left = self.0.lock().expect("nothing panics while it counts");
        let taken = left.checked_sub(1);
        *left = taken.unwrap_or(0);
        taken.is_some()
    }
}

impl Answer {
    /// A header as text, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as text; what is no UTF-8 is replaced.
    pub(crate) fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}

impl Probe {
    /// The status, if an answer came.
    pub(crate) fn status(&self) -> Option<u16> {
        self.answer.as_ref().map(|it| it.status)
    }
}

/// Asks once. Whatever the other side does, this returns within the question's wait.
pub(crate) async fn ask(question: &Question<'_>, since: tokio::time::Instant) -> Probe {
    let begin = clock::now();
    let mut probe = Probe {
        via: question.via,
        path: question.path,
        url: question.target.to_string(),
        at: begin.saturating_duration_since(since),
        timing: Timing::default(),
        remote: None,
        outcome: Outcome::Silent,
        detail: None,
        answer: None,
        certificate: None,
    };
    let whole = exchange::exchange(question, &mut probe);
    // The exchange writes down each step as it is done, so a cut leaves what is known.
    if tokio::time::timeout(question.wait, whole).await.is_err() {
        exchange::cut(&mut probe, question.wait);
    }
    probe.timing.total = clock::now().saturating_duration_since(begin);
    probe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ration_is_given_out_once() {
        let ration = Ration::new(2);
        assert_eq!(
            [ration.take(), ration.take(), ration.take(), ration.take()],
            [true, true, false, false]
        );
    }
}

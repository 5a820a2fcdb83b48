//! The guard's own paths: which requests are for the guard itself.
//!
//! A request's path is compared with the guard's own paths before any gate sees it, so
//! probes and the operator's view answer while the service refuses everything else. All
//! other requests pass through untouched, with no header read.

use std::{fmt, pin::Pin, sync::Once};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::Full;
use steadfast_core::Local;

use crate::{
    clock,
    instance::{Control, probers::ProbeKind},
    probe::{
        access::Access,
        answer::{self, Profile},
        operator::events::Feed,
        page_request::PageRequest,
        session::Attempts,
    },
    refusal::Disclosure,
};

/// The guard's own paths, without a trailing slash. Each is served with and without one.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    pub(crate) health: String,
    pub(crate) ready: String,
    pub(crate) operator: String,
    pub(crate) aliases: bool,
}

/// Everything the own paths are answered from.
pub(crate) struct ProbeState {
    pub(crate) control: Control,
    pub(crate) paths: Paths,
    pub(crate) profile: Profile,
    pub(crate) access: Access,
    pub(crate) disclosure: Disclosure,
    pub(crate) balancer_warning: Once,
    /// Wrong tokens.
    pub(crate) attempts: Attempts,
    /// What those who watch the page are told.
    pub(crate) feed: Feed,
}

impl fmt::Debug for ProbeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeState")
            .field("paths", &self.paths)
            .field("access", &self.access)
            .finish()
    }
}

/// The guard's own paths, and what they are answered from. Clones share.
#[derive(Clone, Debug)]
pub(crate) struct OwnPaths(pub(crate) Local<ProbeState>);

/// Where a request for the guard came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// With everybody else's.
    Main,
    /// On the probe listener's own port.
    Probe {
        /// Whether only operators reach it: it is this host's own, or somebody said so.
        trusted: bool,
    },
    /// On the probe listener's own socket in the file system, which only operators reach.
    Socket,
}

/// Lies beside the answer to a probe, for the accept loop: it sees what layers outside the
/// guard have made of it, and how long they took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnswersProbe;

/// What a request for the guard gets.
pub(crate) enum Answer<A> {
    Own(Response<Full<Bytes>>),
    /// The operator's page, which may have to read a form first.
    Page(Pin<Box<PageRequest<A>>>),
}

/// What a request for the guard wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted<'a> {
    Health,
    Ready,
    OneCheck(&'a str),
    Live,
    Started,
    Operator(&'a str),
}

impl ProbeState {
    /// Returns what a path wants from the guard, if it is one of the guard's.
    fn wanted<'p>(&self, path: &'p str, door: Door) -> Option<Wanted<'p>> {
        let paths = &self.paths;
        if let Some(rest) = under(path, &paths.ready) {
            return Some(if rest.is_empty() {
                Wanted::Ready
            } else {
                Wanted::OneCheck(rest)
            });
        }
        if under(path, &paths.health) == Some("") {
            return Some(Wanted::Health);
        }
        if let Some(rest) = under(path, &paths.operator) {
            let mounted = door != Door::Main || self.access.is_possible();
            return mounted.then_some(Wanted::Operator(rest));
        }
        if paths.aliases {
            if let Some(rest) = under(path, "/readyz") {
                return Some(if rest.is_empty() {
                    Wanted::Ready
                } else {
                    Wanted::OneCheck(rest)
                });
            }
            return match (under(path, "/livez"), under(path, "/startupz")) {
                (Some(""), _) => Some(Wanted::Live),
                (_, Some("")) => Some(Wanted::Started),
                _ => None,
            };
        }
        None
    }

    fn answer(&self, wanted: Wanted<'_>, door: Door, parts: &Parts) -> Response<Full<Bytes>> {
        if !matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return answer::method_not_allowed("GET, HEAD, OPTIONS");
        }
        let ready = self.control.readiness();
        let names = self.disclosure == Disclosure::Full || self.may_read(door, parts);
        let mut answer = match wanted {
            Wanted::Health => {
                self.warn_of_balancer(parts);
                let answer = answer::health(ready, &self.profile, parts, names);
                self.note_prober(parts, ProbeKind::Health, answer.status());
                answer
            }
            Wanted::Ready => {
                let answer = answer::ready(ready, &self.profile, parts, names);
                self.note_prober(parts, ProbeKind::Ready, answer.status());
                // Evidence for the end of the lame duck: somebody has been told.
                if answer.status() != StatusCode::OK {
                    ready.life.note_failing_probe(clock::now());
                }
                answer
            }
            Wanted::Live => answer::live(ready, &parts.method),
            Wanted::Started => answer::started(ready, &parts.method),
            Wanted::OneCheck(name) => names
                .then(|| answer::one_check(ready, name, &parts.method))
                .flatten()
                .unwrap_or_else(not_found),
            Wanted::Operator(_) => unreachable!("the page is answered by `PageRequest`"),
        };
        answer.extensions_mut().insert(AnswersProbe);
        answer
    }

    /// Whether this request may see names and numbers.
    pub(crate) fn may_read(&self, door: Door, parts: &Parts) -> bool {
        let trusted = match door {
            Door::Main => false,
            Door::Probe { trusted } => trusted && is_host_of_its_own(&parts.headers),
            // No browser gets there, whatever host it was made to ask.
            Door::Socket => true,
        };
        trusted || self.access.is_possible() && self.access.allows(parts)
    }

    fn note_prober(&self, parts: &Parts, probe: ProbeKind, status: StatusCode) {
        let agent = parts.headers.get(header::USER_AGENT);
        let agent = agent.and_then(|agent| agent.to_str().ok());
        let was_ok = status == StatusCode::OK;
        let probers = self.control.probers();
        probers.saw(agent, probe, was_ok, clock::now());
    }

    /// Says once that a balancer asks the wrong question: `/health/` stays 200 while the
    /// instance is leaving, so a balancer that probes it sends requests into the drain.
    fn warn_of_balancer(&self, parts: &Parts) {
        const BALANCERS: [&str; 5] = [
            "ELB-HealthChecker",
            "Envoy/HC",
            "GoogleHC",
            "Consul Health Check",
            "HAProxy",
        ];
        let agent = parts
            .headers
            .get(header::USER_AGENT)
            .and_then(|agent| agent.to_str().ok());
        let Some(agent) = agent else { return };
        if BALANCERS.iter().any(|balancer| agent.starts_with(balancer)) {
            self.balancer_warning.call_once(|| {
                let agent: String = agent.chars().take(64).collect();
                tracing::warn!(
                    target: crate::log::AUDIT,
                    agent, ready = %self.paths.ready,
                    "a load balancer probes the health path; it should probe the ready path, \
                     because health stays 200 while this instance leaves"
                );
            });
        }
    }
}

impl Paths {
    /// Whether this is the path of a probe, as far as a head of it tells.
    pub(crate) fn is_probe(&self, path: &str) -> bool {
        let aliases = || self.aliases && matches!(path, "/livez" | "/readyz" | "/startupz");
        let ours = [&self.ready, &self.health];
        ours.iter().any(|it| under(path, it) == Some("")) || aliases()
    }
}

impl OwnPaths {
    /// Whether a request with this path is for the guard.
    #[inline]
    pub(crate) fn wants(&self, path: &str) -> bool {
        self.0.wanted(path, Door::Main).is_some()
    }

    /// Answers a request that the guard wants.
    #[cold]
    pub(crate) fn answer<A>(&self, request: Request<A>) -> Answer<A> {
        self.answer_at(Door::Main, request)
    }

    /// Answers a request at a door.
    pub(crate) fn answer_at<A>(&self, door: Door, request: Request<A>) -> Answer<A> {
        let (parts, body) = request.into_parts();
        match self.0.wanted(parts.uri.path(), door) {
            Some(Wanted::Operator(_)) => {
                Answer::Page(Box::pin(PageRequest::new(self.clone(), door, parts, body)))
            }
            Some(wanted) => Answer::Own(self.0.answer(wanted, door, &parts)),
            None => Answer::Own(not_found()),
        }
    }
}

/// Whether a request names its host by number, or `localhost`, or not at all. A page on the
/// web can make a browser ask this host by a name of the page's own, and would read what
/// needs no token here.
fn is_host_of_its_own(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else {
        return true;
    };
    let Ok(host) = host.to_str() else {
        return false;
    };
    let Ok(authority) = host.parse::<http::uri::Authority>() else {
        return host.is_empty();
    };
    let host = authority.host().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok()
}

fn not_found() -> Response<Full<Bytes>> {
    answer::answer(StatusCode::NOT_FOUND, answer::TEXT, "not found\n")
}

/// Returns what follows `base/` in `path`, without a trailing slash: empty for `base`
/// itself, `None` for another path.
pub(crate) fn under<'p>(path: &'p str, base: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(base)?;
    match rest.strip_prefix('/') {
        Some(rest) => Some(rest.strip_suffix('/').unwrap_or(rest)),
        None => rest.is_empty().then_some(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_ones_own_by_number_or_as_localhost() {
        for (host, own) in [
            ("127.0.0.1:9000", true),
            ("[::1]:9000", true),
            ("localhost", true),
            ("LOCALHOST:1", true),
            ("", true),
            ("evil.example", false),
            ("localhost.evil.example:9000", false),
            ("127.0.0.1.evil.example", false),
        ] {
            let value = http::HeaderValue::from_static(host);
            let headers = HeaderMap::from_iter([(header::HOST, value)]);
            assert_eq!(is_host_of_its_own(&headers), own, "{host}");
        }
        assert!(is_host_of_its_own(&HeaderMap::new()));
    }

    #[test]
    fn a_path_matches_with_and_without_its_slash_and_nothing_else() {
        for (path, expected) in [
            ("/ready", Some("")),
            ("/ready/", Some("")),
            ("/ready/db", Some("db")),
            ("/ready/db/", Some("db")),
            ("/readyz", None),
            ("/read", None),
            ("/x/ready", None),
        ] {
            assert_eq!(under(path, "/ready"), expected, "{path}");
        }
    }
}

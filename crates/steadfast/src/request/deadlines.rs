//! Which headers of a request say how long its caller still listens.
//!
//! A caller's own timeout is the best bound on any wait for it: work that ends later is
//! thrown away. gRPC clients send it with every call, and an Envoy with every request
//! whose route has a timeout; others can be told here. What is read becomes the
//! [`crate::Deadline`] of the request, which nothing but a wait looks at: no request is
//! refused for its deadline while it need not wait.
//!
//! Hazard: the header is the caller's word. It can only shorten a wait, so a liar harms
//! itself; but a proxy that passes a stranger's header on lets the stranger choose how
//! soon its requests give up.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderName, HeaderValue, Request};
use steadfast_core::plumbing::deadline::{Deadline, grpc_timeout, whole_millis};

use crate::{duration, request::class::HeadView};

type Rule = dyn Fn(HeadView<'_>) -> Option<Duration> + Send + Sync;

/// Where a request's deadline is read. The earliest of all that are sent holds; a value
/// that is malformed counts as not sent, because a typing error in a header must not make
/// a request fail.
///
/// ```
/// use std::time::Duration;
/// use steadfast::{Deadlines, Guard};
///
/// let deadlines = Deadlines::default().header("x-request-timeout-ms");
/// let guard = Guard::builder().deadlines(deadlines).build()?;
/// # Ok::<(), steadfast::ConfigError>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Deadlines {
    /// Whether the headers of gRPC and Envoy count.
    known: bool,
    header: Option<HeaderName>,
    rule: Option<Arc<Rule>>,
    fault: Option<String>,
}

impl Deadlines {
    /// No header counts until one is named.
    pub const fn none() -> Self {
        Self {
            known: false,
            header: None,
            rule: None,
            fault: None,
        }
    }

    /// `grpc-timeout` and `x-envoy-expected-rq-timeout-ms` count.
    pub const fn known() -> Self {
        let mut known = Self::none();
        known.known = true;
        known
    }

    /// Adds a header whose value is the time left when it was sent: a whole number of
    /// milliseconds above zero (`1500`), or a length with a unit (`1.5s`). One header; the
    /// last call wins.
    pub fn header(mut self, name: &str) -> Self {
        match HeaderName::try_from(name) {
            Ok(name) => (self.header, self.fault) = (Some(name), None),
            Err(_) => {
                let shown: String = name.chars().take(32).collect();
                self.fault = Some(format!(
                    "deadlines: header {shown:?}; allowed is the name of a header"
                ));
            }
        }
        self
    }

    /// Adds a rule of your own: it is asked once for each request, before anything decides,
    /// and returns the time left, if the request says so. Keep it short; it must not block.
    pub fn rule(
        mut self,
        rule: impl Fn(HeadView<'_>) -> Option<Duration> + Send + Sync + 'static,
    ) -> Self {
        self.rule = Some(Arc::new(rule));
        self
    }

    pub(crate) fn fault(&self) -> Option<String> {
        self.fault.clone()
    }
}

impl Default for Deadlines {
    /// As [`Deadlines::known`].
    fn default() -> Self {
        Self::known()
    }
}

impl fmt::Debug for Deadlines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadlines")
            .field("known", &self.known)
            .field("header", &self.header)
            .field("rule", &self.rule.is_some())
            .finish()
    }
}

/// Collects what one request says, while somebody walks over its headers anyway.
#[derive(Debug)]
pub(crate) struct Reading<'a> {
    deadlines: &'a Deadlines,
    left: Option<Duration>,
}

impl<'a> Reading<'a> {
    pub(crate) const fn new(deadlines: &'a Deadlines) -> Self {
        Self {
            deadlines,
            left: None,
        }
    }

    #[cold]
    pub(crate) fn grpc(&mut self, value: &HeaderValue) {
        if self.deadlines.known {
            self.found(grpc_timeout(value.as_bytes()));
        }
    }

    #[cold]
    pub(crate) fn envoy(&mut self, value: &HeaderValue) {
        if self.deadlines.known {
            self.found(whole_millis(value.as_bytes()));
        }
    }

    /// A header that nobody else wants.
    #[inline]
    pub(crate) fn other(&mut self, name: &HeaderName, value: &HeaderValue) {
        if self.deadlines.header.as_ref() == Some(name) {
            self.found(length(value));
        }
    }

    /// Returns the deadline, once every header has gone by.
    #[inline]
    pub(crate) fn end<A>(mut self, request: &Request<A>, now: Instant) -> Option<Deadline> {
        if let Some(rule) = &self.deadlines.rule {
            self.found(rule(HeadView::of(request)));
        }
        self.left.map(|left| Deadline::after(now, left))
    }

    fn found(&mut self, left: Option<Duration>) {
        self.left = match (self.left, left) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
}

fn length(value: &HeaderValue) -> Option<Duration> {
    whole_millis(value.as_bytes()).or_else(|| {
        let length = duration::parse(value.to_str().ok()?).ok()?;
        (!length.is_zero()).then_some(length)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock, request::head::RequestHead};

    fn left(deadlines: &Deadlines, headers: &[(&str, &str)]) -> Option<u128> {
        let mut request = Request::get("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let now = clock::now();
        let head = RequestHead::at(&request.body(()).expect("a request"), deadlines, now);
        head.deadline
            .map(|deadline| deadline.remaining(now).as_millis())
    }

    #[test]
    fn grpc_and_envoy_are_known_and_the_earliest_holds() {
        let known = Deadlines::default();
        for (headers, millis) in [
            (&[][..], None),
            (&[("grpc-timeout", "2S")], Some(2000)),
            (&[("x-envoy-expected-rq-timeout-ms", "1500")], Some(1500)),
            (
                &[
                    ("grpc-timeout", "2S"),
                    ("x-envoy-expected-rq-timeout-ms", "1500"),
                ],
                Some(1500),
            ),
            (
                &[("grpc-timeout", "1S"), ("grpc-timeout", "2S")],
                Some(1000),
            ),
            (&[("grpc-timeout", "soon")], None),
            (&[("grpc-timeout", "0n")], Some(0)),
            (&[("x-timeout", "5s")], None),
        ] {
            assert_eq!(left(&known, headers), millis, "{headers:?}");
        }
        assert_eq!(left(&Deadlines::none(), &[("grpc-timeout", "2S")]), None);
    }

    #[test]
    fn a_header_of_the_applications_own_is_read_as_people_write_it() {
        let deadlines = Deadlines::default().header("X-Timeout");
        for (value, millis) in [
            ("1500", Some(1500)),
            ("1.5s", Some(1500)),
            ("250ms", Some(250)),
            ("0", None),
            ("0s", None),
            ("-1", None),
            ("forever", None),
            ("", None),
        ] {
            assert_eq!(
                left(&deadlines, &[("x-timeout", value)]),
                millis,
                "{value:?}"
            );
        }
        let both = [("x-timeout", "3s"), ("grpc-timeout", "1S")];
        assert_eq!(left(&deadlines, &both), Some(1000));
    }

    #[test]
    fn a_rule_joins_the_headers() {
        let rule = |head: HeadView<'_>| {
            let hasty = head.headers().contains_key("x-hasty");
            hasty.then_some(Duration::from_millis(20))
        };
        let deadlines = Deadlines::default().rule(rule);
        let hasty = [("x-hasty", "1"), ("grpc-timeout", "1S")];
        assert_eq!(left(&deadlines, &hasty), Some(20));
        assert_eq!(left(&deadlines, &hasty[1..]), Some(1000));
    }

    #[test]
    fn a_name_that_is_none_is_a_fault() {
        let fault = Deadlines::default().header("no name").fault();
        assert!(fault.is_some_and(|fault| fault.contains("\"no name\"")));
    }
}

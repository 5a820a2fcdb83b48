//! Which class a request belongs to: the table of paths, and the application's own rules
//! over the head.
//!
//! A request is classified once, before any gate looks at it, from what can be read
//! without its body. The application's rules come last, so that a header can overrule a
//! path. A service that classifies nothing pays one look at the method.
//!
//! Hazard: whatever a client may send, a client may lie about. Let a header raise a
//! priority only if your own proxy sets it and strips it from strangers.

use std::{fmt, sync::Arc};

use http::{Extensions, HeaderMap, Method, Request, Uri, header};
use steadfast_core::{
    Priority,
    plumbing::{RouteClass, RouteTable},
};

/// The head of a request, as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct HeadView<'a> {
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
}

impl<'a> HeadView<'a> {
    pub(crate) fn of<A>(request: &'a Request<A>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }

    /// Returns the method.
    #[must_use]
    pub const fn method(self) -> &'a Method {
        self.method
    }

    /// Returns the path, as it was sent.
    #[must_use]
    pub fn path(self) -> &'a str {
        self.uri.path()
    }

    /// Returns the whole target.
    #[must_use]
    pub const fn uri(self) -> &'a Uri {
        self.uri
    }

    /// Returns the headers.
    #[must_use]
    pub const fn headers(self) -> &'a HeaderMap {
        self.headers
    }

    /// Returns what layers outside have put beside the request.
    #[must_use]
    pub const fn extensions(self) -> &'a Extensions {
        self.extensions
    }
}

/// Says how much it hurts to refuse a request; `None` leaves it to the table.
type PriorityRule = Arc<dyn Fn(HeadView<'_>) -> Option<Priority> + Send + Sync>;

/// Says whether a request passes every rule about load.
type ExemptRule = Arc<dyn Fn(HeadView<'_>) -> bool + Send + Sync>;

/// The application's own rules.
#[derive(Clone, Default)]
pub(crate) struct Rules {
    pub(crate) priority: Option<PriorityRule>,
    pub(crate) exempt: Option<ExemptRule>,
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("priority", &self.priority.is_some())
            .field("exempt", &self.exempt.is_some())
            .finish()
    }
}

/// Classifies requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Classes {
    routes: RouteTable,
    rules: Rules,
}

impl Classes {
    pub(crate) const fn new(routes: RouteTable, rules: Rules) -> Self {
        Self { routes, rules }
    }

    /// Returns what the table says of a path.
    #[inline]
    pub(crate) fn of_path(&self, path: &str) -> RouteClass {
        self.routes.class(path)
    }

    /// Returns the class of a request.
    #[inline]
    pub(crate) fn of<A>(&self, request: &Request<A>) -> RouteClass {
        let mut class = self.routes.class(request.uri().path());
        if let Some(rule) = &self.rules.priority {
            if let Some(priority) = rule(HeadView::of(request)) {
                class = class.with_priority(priority);
            }
        }
        let exempt = *request.method() == Method::OPTIONS && is_preflight(request.headers());
        let ruled = |rule: &ExemptRule| rule(HeadView::of(request));
        if exempt || self.rules.exempt.as_ref().is_some_and(ruled) {
            class = class.with_exemption();
        }
        class
    }
}

/// A browser's question whether it may send a request. It costs nothing to answer, and
/// refused it reads as "not allowed" instead of "try again". Whether it has these headers
/// is all that tells it from any other OPTIONS (Fetch standard, CORS-preflight request).
pub(crate) fn is_preflight(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(classes: &Classes, method: &str, path: &str, headers: &[&str]) -> RouteClass {
        let mut request = Request::builder().method(method).uri(path);
        for name in headers {
            request = request.header(*name, "low");
        }
        classes.of(&request.body(()).expect("a request"))
    }

    #[test]
    fn the_rule_over_the_head_comes_after_the_table() {
        let routes = RouteTable::new([("/pay", RouteClass::critical())]).expect("valid");
        let rules = Rules {
            priority: Some(Arc::new(|head: HeadView<'_>| {
                head.headers()
                    .contains_key("x-low")
                    .then_some(Priority::Background)
            })),
            exempt: Some(Arc::new(|head: HeadView<'_>| head.path() == "/version")),
        };
        let classes = Classes::new(routes, rules);
        let priority = |path, headers: &[&str]| class(&classes, "GET", path, headers).priority();
        assert_eq!(priority("/pay", &[]), Some(Priority::Critical));
        assert_eq!(priority("/pay", &["x-low"]), Some(Priority::Background));
        assert_eq!(priority("/", &[]), None);
        assert!(class(&classes, "GET", "/version", &[]).is_exempt());
    }

    #[test]
    fn only_a_real_preflight_is_exempt_by_itself() {
        let classes = Classes::default();
        let asks = ["origin", "access-control-request-method"];
        assert!(class(&classes, "OPTIONS", "/", &asks).is_exempt());
        assert!(!class(&classes, "OPTIONS", "/", &asks[..1]).is_exempt());
        assert!(!class(&classes, "GET", "/", &asks).is_exempt());
    }
}

//! What is said, once, about an application whose parts hide each other.
//!
//! Both are faults that nobody sees in a test: a route that is never asked because the guard
//! answers its path, and a refusal that a browser hides from its script because the layer
//! that would have said who may read it is inside the guard.

use std::sync::{Arc, Once, OnceLock};

#[cfg(feature = "axum")]
use axum::Router;
use http::{HeaderMap, header};

use steadfast_diagnosis::Id;

#[cfg(feature = "axum")]
use crate::probe::paths::OwnPaths;
use crate::{instance::around::Around, request::class::is_preflight};

/// Says which routes of the application the guard answers itself, and keeps them for the
/// diagnosis.
#[cfg(feature = "axum")]
pub(super) fn warn_of_shadowed(app: &Router, own_paths: &OwnPaths) {
    let shadowed = shadowed(app, own_paths);
    if !shadowed.is_empty() {
        own_paths.0.control.around().hides(&shadowed);
        tracing::warn!(
            target: crate::log::AUDIT, id = %Id::ConfigShadowedRoute,
            routes = %shadowed.join(" "),
            "the guard answers these paths itself, so the application's routes are never asked; \
             move them, or the guard's with Probes"
        );
    }
}

/// A Router tells nobody its paths, but for its `Debug`. If that changes, the warning is lost
/// and a test fails.
#[cfg(feature = "axum")]
fn shadowed(app: &Router, own_paths: &OwnPaths) -> Vec<String> {
    let shown = format!("{app:?}");
    let mut found: Vec<String> = shown
        .split("RouteId(")
        .filter_map(|part| {
            let (_, path) = part.split_once("): \"")?;
            let (path, _) = path.split_once('"')?;
            (path.starts_with('/') && own_paths.wants(path)).then(|| path.to_owned())
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Finds out whether CORS headers are added inside the guard.
#[derive(Debug)]
pub(super) struct Cors {
    around: Arc<Around>,
    /// Whether a request of a browser's script was refused, or asked whether it may be sent.
    matters: OnceLock<()>,
    said: Once,
}

impl Cors {
    pub(super) const fn new(around: Arc<Around>) -> Self {
        Self {
            around,
            matters: OnceLock::new(),
            said: Once::new(),
        }
    }

    /// Notes that a request with these headers is refused.
    pub(super) fn refuses(&self, request: &HeaderMap) {
        if request.contains_key(header::ORIGIN) {
            self.around.cors.refused.add(1);
            let _ = self.matters.set(());
        }
    }

    /// Notes a browser's question whether its script may send a request. A layer outside would
    /// have answered it.
    pub(super) fn preflight(&self, request: &HeaderMap) {
        if is_preflight(request) {
            self.around.cors.preflights.add(1);
            let _ = self.matters.set(());
        }
    }

    /// Looks at what the application has answered. Costs a load until it matters.
    #[inline]
    pub(super) fn answered(&self, response: &HeaderMap) {
        if self.matters.get().is_some() {
            self.look(response);
        }
    }

    #[cold]
    fn look(&self, response: &HeaderMap) {
        if response.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
            let _ = self.around.cors.inside.set(());
            // A preflight alone hides nothing.
            if self.around.cors.refused.sum() == 0 {
                return;
            }
            self.said.call_once(|| {
                tracing::warn!(
                    target: crate::log::AUDIT, id = %Id::ConfigCors,
                    "the CORS layer is inside the guard, so browsers show scripts a network error \
                     instead of a refusal; put it outside: guard.protect(app).layer(cors)"
                );
            });
        }
    }
}

#[cfg(all(test, feature = "axum"))]
mod tests {
    use super::*;
    use crate::guard::Guard;
    use axum::routing::{get, post};

    #[test]
    fn routes_that_the_guard_answers_are_found() {
        let guard = Guard::builder().token("0123456789abcdef").build();
        let guard = guard.expect("valid");
        let nested = Router::new().route("/report", get(|| async {}));
        let app: Router = Router::new()
            .route("/health", post(|| async {}))
            .route("/healthy", get(|| async {}))
            .route("/why503/{id}", get(|| async {}))
            .route("/", get(|| async {}))
            .nest("/ready", nested)
            .fallback(|| async {});
        let found = shadowed(&app, guard.own_paths());
        assert_eq!(found, ["/health", "/ready/report", "/why503/{id}"]);
        assert!(shadowed(&Router::new(), guard.own_paths()).is_empty());
    }
}

//! What answers say while the process leaves.

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use steadfast_core::Lifecycle;

use crate::clock;

/// How a process that leaves says so on its answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeavingHeaders {
    /// Also in Envoy's words.
    pub(crate) envoy: bool,
    /// Whether the connection has a header that can end it.
    pub(crate) http1: bool,
}

impl LeavingHeaders {
    /// Tells an Envoy in front to send nothing more, and an HTTP/1 client that the connection
    /// ends here: a growing share of them over the lame duck, all of them once the process
    /// drains.
    #[inline]
    pub(crate) fn say<B>(self, life: &Lifecycle, response: &mut Response<B>) {
        if !life.is_leaving() {
            return;
        }
        let headers = response.headers_mut();
        if self.envoy {
            headers.insert(ENVOY_FAIL, HeaderValue::from_static("true"));
        }
        // An upgrade's own `connection: upgrade` must stay.
        let upgrade = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if self.http1 && !upgrade && asks_to_close(life) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
    }
}

/// On any answer, it takes the instance out of an Envoy's rotation at once.
const ENVOY_FAIL: HeaderName = HeaderName::from_static("x-envoy-immediate-health-check-fail");

/// Whether this answer asks its connection to end: a growing share of them over the lame
/// duck, and every one from draining on.
fn asks_to_close(life: &Lifecycle) -> bool {
    life.is_closing() || life.close_ratio(clock::now()) > fastrand::f64()
}

//! A ready-made error for handlers: anything with `?`, and refusals stay refusals.

use std::fmt;

use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use steadfast_core::Refusal;

use super::CallTimedOut;
use crate::refusal;

/// The error of a handler that may be refused by what it calls.
///
/// `?` turns any error into it, a [`crate::CallError`] of a dependency included. A refusal in
/// it, however deep in the sources, becomes an explained 503; a call that was cut becomes a
/// 504; everything else is logged and becomes a 500. The last two say nothing.
///
/// An `anyhow::Error` or `eyre::Report` passes a refusal on as well, with and without
/// `.context(…)`. An error type that keeps another error without showing it as its `source()`
/// hides a refusal in it; the explain layer notices that and says so in the log.
///
/// It does not implement `std::error::Error` itself, which is what lets it take every
/// error by `From` (`anyhow::Error` does the same for the same reason).
///
/// ```
/// use steadfast::{Dependency, Error};
///
/// async fn pay(payments: &Dependency) -> Result<String, Error> {
///     payments.require()?;
///     let text = String::from_utf8(b"paid".to_vec())?;
///     Ok(text)
/// }
/// ```
pub struct Error {
    inner: Box<dyn std::error::Error + Send + Sync>,
}

impl<E> From<E> for Error
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn from(error: E) -> Self {
        Self {
            inner: error.into(),
        }
    }
}

impl Error {
    /// Returns the refusal in it, if it is one.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        Refusal::find(&*self.inner)
    }

    /// Whether a call to a dependency was cut because it took too long.
    fn is_late(&self) -> bool {
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(&*self.inner);
        // Bounded: an error chain that loops must not hang a handler.
        for _ in 0..64 {
            let Some(error) = next else { break };
            if error.is::<CallTimedOut>() {
                return true;
            }
            next = error.source();
        }
        false
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        if let Some(refusal) = self.refusal() {
            return refusal::carry(refusal.clone());
        }
        tracing::error!(target: crate::log::APPLICATION, error = %Chain(&*self.inner), "a handler failed");
        if self.is_late() {
            return StatusCode::GATEWAY_TIMEOUT.into_response();
        }
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner, f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

/// An error with its sources on one line, for the log.
struct Chain<'a>(&'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(source) = next {
            write!(f, ": {source}")?;
            next = source.source();
        }
        Ok(())
    }
}

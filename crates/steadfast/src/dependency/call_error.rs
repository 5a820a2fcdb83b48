//! How a call through a dependency can end badly.

use std::{error::Error, fmt};

use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use steadfast_core::{Refusal, plumbing::CallTimedOut};

use crate::refusal;

/// Why a call gave no result. Complete: it was not made, it was not answered in time, or
/// it failed by itself.
///
/// An application with an error type of its own needs one `From` for all its dependencies:
///
/// ```
/// use steadfast::{CallError, CallTimedOut, Refusal};
///
/// enum AppError {
///     Refused(Refusal),
///     TimedOut(CallTimedOut),
///     Http(std::io::Error), // stands for `reqwest::Error`, which is no response
/// }
///
/// impl From<std::io::Error> for AppError {
///     fn from(error: std::io::Error) -> Self {
///         Self::Http(error)
///     }
/// }
///
/// impl<E: Into<AppError>> From<CallError<E>> for AppError {
///     fn from(error: CallError<E>) -> Self {
///         match error {
///             CallError::Refused(refusal) => Self::Refused(refusal),
///             CallError::TimedOut(late) => Self::TimedOut(late),
///             CallError::Inner(error) => error.into(),
///         }
///     }
/// }
///
/// async fn pay(payments: &steadfast::Dependency) -> Result<u32, AppError> {
///     Ok(payments.call(async { Ok::<_, std::io::Error>(7) }).await?)
/// }
/// # futures_util::FutureExt::now_or_never(async {
/// #     let payments = steadfast::Dependency::builder("payments").build().unwrap();
/// #     assert!(matches!(pay(&payments).await, Ok(7)));
/// # }).unwrap();
/// ```
///
/// As an answer of a handler it is the explained 503, a 504, or what the inner error answers.
/// [`crate::Error`] takes it as it is if `E` is an error, and [`CallError::into_boxed`] what
/// is less (`anyhow::Error`, `Box<dyn Error>`).
#[derive(Debug)]
pub enum CallError<E> {
    /// The call was not made: the dependency is known to be down.
    Refused(Refusal),
    /// The call was cut because it took longer than the dependency's `call_timeout`.
    TimedOut(CallTimedOut),
    /// The call was made, and failed with this.
    Inner(E),
}

impl<E> CallError<E> {
    /// Returns the refusal, if the call was not made.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::TimedOut(_) | Self::Inner(_) => None,
        }
    }

    /// Whether the breaker refused the call. A retry policy should leave such a call alone
    /// and spend none of its budget: the next answer will be the same, at once.
    #[must_use]
    pub const fn is_refused(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    /// Turns the inner error into another.
    pub fn map<F>(self, change: impl FnOnce(E) -> F) -> CallError<F> {
        match self {
            Self::Refused(refusal) => CallError::Refused(refusal),
            Self::TimedOut(late) => CallError::TimedOut(late),
            Self::Inner(error) => CallError::Inner(change(error)),
        }
    }

    /// Turns it into a boxed error in which a refusal can still be found: for inner errors
    /// that are no `std::error::Error` themselves, as `anyhow::Error`.
    #[must_use]
    pub fn into_boxed(self) -> Box<dyn Error + Send + Sync>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        match self {
            Self::Refused(refusal) => Box::new(refusal),
            Self::TimedOut(late) => Box::new(late),
            Self::Inner(error) => error.into(),
        }
    }
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::TimedOut(late) => late.fmt(f),
            Self::Inner(error) => error.fmt(f),
        }
    }
}

/// For handlers whose errors answer by themselves.
///
/// ```
/// use axum::{Router, http::StatusCode, routing::get};
/// use steadfast::{CallError, Dependency};
///
/// async fn pay(payments: Dependency) -> Result<String, CallError<StatusCode>> {
///     let asked = async { Err(StatusCode::BAD_GATEWAY) };
///     payments.call(asked).await
/// }
/// ```
impl<E: IntoResponse> IntoResponse for CallError<E> {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(refusal) => refusal::carry(refusal),
            Self::TimedOut(late) => {
                tracing::error!(target: crate::log::APPLICATION, error = %late, "a handler failed");
                StatusCode::GATEWAY_TIMEOUT.into_response()
            }
            Self::Inner(error) => error.into_response(),
        }
    }
}

impl<E: Error + 'static> Error for CallError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::TimedOut(late) => Some(late),
            // It shows itself as the inner error, so its source is that one's.
            Self::Inner(error) => error.source(),
        }
    }
}

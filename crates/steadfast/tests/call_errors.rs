//! In whatever error a refused call leaves a handler, it is answered as what it is.

#![cfg(feature = "axum")]

use std::{error::Error as StdError, fmt, io, time::Duration};

use axum::{
    Router,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{Request, StatusCode};
use steadfast::{
    BreakerMode, CallError, Cause, Dependency, Error, Guard, Refusal, explain,
    test_util::assert_refused,
};
use tower::ServiceExt;

/// An application's error, as it was before there was a breaker: it has no variant for
/// refusals, and its inner error is no response.
#[derive(Debug)]
struct Existing(io::Error);

impl fmt::Display for Existing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot pay")
    }
}

impl StdError for Existing {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

/// One generic `From`, and `?` does the rest.
enum AppError {
    Refused(Refusal),
    Late,
    Io(io::Error),
}

impl From<io::Error> for AppError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl<E: Into<Self>> From<CallError<E>> for AppError {
    fn from(error: CallError<E>) -> Self {
        match error {
            CallError::Refused(refusal) => Self::Refused(refusal),
            CallError::TimedOut(_) => Self::Late,
            CallError::Inner(error) => error.into(),
        }
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(refusal) => explain::carry(refusal),
            Self::Late => StatusCode::GATEWAY_TIMEOUT.into_response(),
            Self::Io(error) => {
                (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
            }
        }
    }
}

/// Goal: in whatever error a refusal leaves a handler, it is answered as what it is.
#[tokio::test(start_paused = true)]
async fn a_refusal_is_never_a_500() {
    let payments = Dependency::builder("payments").build().expect("valid");
    payments.set_mode(BreakerMode::ForcedOpen);
    let guard = Guard::builder().dependency(&payments).without_signals();
    let guard = guard.start_hold(Duration::ZERO).build().expect("valid");
    let _running = guard.start().expect("a runtime");
    let pay = || async { Err::<(), _>(io::Error::other("boom")) };
    let asks = payments.clone();
    let call = move || {
        let payments = payments.clone();
        async move { payments.call(pay()).await }
    };
    let (own, anyhowed, boxed, wrapped, existing) = (
        call.clone(),
        call.clone(),
        call.clone(),
        call.clone(),
        call.clone(),
    );
    let app = Router::new()
        .route(
            "/own",
            get(|| async move { Ok::<_, AppError>(own().await?) }),
        )
        .route(
            "/anyhow",
            get(|| async move {
                use anyhow::Context;
                let paid: anyhow::Result<()> = anyhowed().await.context("paying");
                Ok::<_, Error>(paid?)
            }),
        )
        .route(
            "/boxed",
            get(|| async move {
                let paid: Result<(), Box<dyn StdError + Send + Sync>> =
                    boxed().await.map_err(Into::into);
                Ok::<_, Error>(paid?)
            }),
        )
        .route(
            "/io",
            get(|| async move {
                let paid = wrapped().await.map_err(io::Error::other);
                Ok::<_, Error>(paid?)
            }),
        )
        .route(
            "/existing",
            get(move || async move {
                let error = existing()
                    .await
                    .map_err(|error| Existing(io::Error::other(error.to_string())));
                let error = error.expect_err("open");
                match asks.explain(&error) {
                    Some(refusal) => explain::carry(refusal),
                    None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
                }
            }),
        );
    let app = guard.protect(app);
    for path in ["/own", "/anyhow", "/boxed", "/io", "/existing"] {
        let request = Request::get(path)
            .body(axum::body::Body::empty())
            .expect("a request");
        let answer = app.clone().oneshot(request).await.expect("infallible");
        assert_refused(&answer, Cause::DependencyDown);
        assert!(
            !answer.headers()["why-503"]
                .to_str()
                .expect("text")
                .contains("safe-to-retry"),
            "{path}"
        );
    }
    let recent = guard.control().explain().ledger().view().recent;
    assert!(
        recent
            .iter()
            .all(|it| it.refusal.refused_by().as_str() == "payments")
    );
    assert_eq!(recent.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_cut_is_a_504_and_an_error_of_another_cause_is_explained_by_nobody() {
    let builder = Dependency::builder("payments").call_timeout(Duration::from_millis(50));
    let payments = builder.build().expect("valid");
    let late = payments
        .call(std::future::pending::<Result<(), io::Error>>())
        .await;
    let answer = Error::from(late.expect_err("cut")).into_response();
    assert_eq!(answer.status(), 504);
    assert!(
        payments.explain(&io::Error::other("boom")).is_none(),
        "payments is up"
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_that_answers_by_itself_still_does_around_a_call() {
    let answer = |error: CallError<StatusCode>| error.into_response();
    assert_eq!(
        answer(CallError::Inner(StatusCode::IM_A_TEAPOT)).status(),
        418
    );
    let payments = Dependency::builder("payments").call_timeout(Duration::from_millis(5));
    let payments = payments.build().expect("valid");
    let hangs = payments.call(std::future::pending::<Result<(), StatusCode>>());
    assert_eq!(answer(hangs.await.expect_err("it hangs")).status(), 504);
    payments.set_mode(BreakerMode::ForcedOpen);
    let refused = payments.call(async { Ok::<(), StatusCode>(()) }).await;
    let refused = answer(refused.expect_err("open"));
    assert_eq!(refused.status(), 503);
    let why = refused.headers()["why-503"].to_str().expect("text");
    assert!(why.starts_with("cause=dependency-down"), "{why}");
}

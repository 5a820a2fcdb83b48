//! Every style of writing handlers and errors: a refusal made inside one stays a 503.

use std::error::Error as StdError;

use crate::common::Answer;
use axum::response::{IntoResponse, Response};
use steadfast::{Cause, Refusal, test_util::assert_refused};

use super::*;

/// An application's own error type, with the one `From` that the docs show.
struct Own(Box<dyn StdError + Send + Sync>);

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for Own {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Own {
    fn into_response(self) -> Response {
        match Refusal::find(&*self.0) {
            Some(refusal) => explain::carry(refusal.clone()),
            None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

/// The usual newtype around anyhow.
struct Anyhow(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Anyhow {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Anyhow {
    fn into_response(self) -> Response {
        match Refusal::find(self.0.as_ref()) {
            Some(refusal) => explain::carry(refusal.clone()),
            None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

/// An error enum as an application has it already, with one variant more.
#[derive(Debug)]
enum Existing {
    #[allow(dead_code, reason = "what it was there for")]
    NotFound,
    Refused(Refusal),
}

impl From<Refusal> for Existing {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl IntoResponse for Existing {
    fn into_response(self) -> Response {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND.into_response(),
            Self::Refused(refusal) => explain::carry(refusal),
        }
    }
}

/// An error of a lower layer that wraps the refusal.
#[derive(Debug)]
struct Lower(Refusal);

impl fmt::Display for Lower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lower layer")
    }
}

impl StdError for Lower {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

pub(super) fn every_style(payments: &Dependency) -> Router {
    use anyhow::Context;
    macro_rules! handler {
        ($error:ty, |$payments:ident| $body:expr) => {{
            let $payments = payments.clone();
            get(move || async move {
                let result: Result<(), $error> = $body;
                result.map(|()| "paid")
            })
        }};
    }
    fn any(payments: &Dependency) -> anyhow::Result<()> {
        payments.require()?;
        Ok(())
    }
    fn through<E: From<anyhow::Error>>(result: anyhow::Result<()>) -> Result<(), E> {
        result?;
        Ok(())
    }
    Router::new()
        .route(
            "/steadfast",
            handler!(Error, |it| it.require().map_err(Error::from)),
        )
        .route(
            "/steadfast-deep",
            handler!(Error, |it| it.require().map_err(Lower).map_err(Error::from)),
        )
        .route(
            "/steadfast-io",
            handler!(Error, |it| it
                .require()
                .map_err(io::Error::other)
                .map_err(Error::from)),
        )
        .route("/steadfast-anyhow", handler!(Error, |it| through(any(&it))))
        .route(
            "/steadfast-anyhow-context",
            handler!(Error, |it| through(any(&it).context("paying"))),
        )
        .route(
            "/steadfast-anyhow-twice",
            handler!(Error, |it| through(
                any(&it).context("paying").context("ordering")
            )),
        )
        .route("/own", handler!(Own, |it| it.require().map_err(Own::from)))
        .route(
            "/own-deep",
            handler!(Own, |it| it.require().map_err(Lower).map_err(Own::from)),
        )
        .route("/own-anyhow", handler!(Own, |it| through(any(&it))))
        .route("/anyhow", handler!(Anyhow, |it| through(any(&it))))
        .route(
            "/anyhow-context",
            handler!(Anyhow, |it| through(any(&it).context("paying"))),
        )
        .route(
            "/enum",
            handler!(Existing, |it| it.require().map_err(Existing::from)),
        )
        .route(
            "/with-status",
            handler!((StatusCode, Error), |it| it.require().map_err(|refusal| {
                (StatusCode::BAD_GATEWAY, Error::from(refusal))
            })),
        )
}

const STYLES: [&str; 13] = [
    "/steadfast",
    "/steadfast-deep",
    "/steadfast-io",
    "/steadfast-anyhow",
    "/steadfast-anyhow-context",
    "/steadfast-anyhow-twice",
    "/own",
    "/own-deep",
    "/own-anyhow",
    "/anyhow",
    "/anyhow-context",
    "/enum",
    "/with-status",
];

#[tokio::test(start_paused = true)]
async fn a_refusal_made_in_a_handler_is_an_explained_503_in_every_error_style() {
    let (guard, payments, health) = payments_down(builder());
    let app = guard.protect(every_style(&payments));
    for (path, count) in STYLES.iter().zip(1..) {
        let answer = ask(&app, to(path)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.cause()),
            (503, "dependency-down"),
            "{path}"
        );
        assert!(
            !answer.header("why-503").contains("safe-to-retry"),
            "{path}: it was entered"
        );
        assert_eq!(answer.json()["safe_to_retry"], false, "{path}");
        assert!(!answer.body.contains("payments"), "{path}: {}", answer.body);
        let ledger = guard.control().explain().ledger().clone_of(&answer.id());
        assert_eq!(ledger, ["payments"], "{path}");
        assert_eq!(
            guard
                .control()
                .explain()
                .ledger()
                .count(Cause::DependencyDown),
            count
        );
    }
    health.pass();
    for path in STYLES {
        assert_eq!(ask(&app, to(path)).await.body, "paid", "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_guard_a_carried_refusal_is_a_plain_503_with_its_cause() {
    let (_guard, payments, _health) = payments_down(builder());
    let response = every_style(&payments)
        .oneshot(to("/own"))
        .await
        .expect("infallible");
    assert_refused(&response, Cause::DependencyDown);
    let answer = Answer::read(response).await;
    assert!(
        answer
            .header("retry-after")
            .parse::<u64>()
            .expect("seconds")
            >= 1
    );
    assert_eq!(answer.json()["cause"], "dependency-down");
    assert!(!answer.body.contains("payments"), "{}", answer.body);
}

#[tokio::test]
async fn an_error_that_is_no_refusal_stays_a_silent_500() {
    let guard = builder().build().expect("valid");
    let fails = || async { Err::<(), _>(Error::from(io::Error::other("secret detail"))) };
    let app = guard.protect(Router::new().route("/", get(fails)));
    let answer = ask(&app, to("/")).await;
    assert_eq!(
        (
            answer.status.as_u16(),
            &*answer.body,
            answer.header("why-503")
        ),
        (500, "", "")
    );
}

//! For the tests of services that use Steadfast: dependencies whose health the test sets,
//! causes on demand, and an assertion that says what it found.
//!
//! Time is tokio's: a test with `#[tokio::test(start_paused = true)]` moves it with
//! `tokio::time::advance`, and checks, holds and graces follow.
//!
//! ```
//! use axum::{Router, body::Body, routing::get};
//! use http::Request;
//! use steadfast::{Cause, Error, Guard, test_util};
//! use tower::ServiceExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (payments, health) = test_util::dependency("payments");
//! let guard = Guard::builder().dependency(&payments).build()?;
//! let pay = get(move || async move { payments.require().map_err(Error::from) });
//! let app = guard.protect(Router::new().route("/pay", pay));
//!
//! health.fail("connection refused");
//! let response = app.oneshot(Request::get("/pay").body(Body::empty())?).await?;
//! test_util::assert_refused(&response, Cause::DependencyDown);
//! # Ok(())
//! # }
//! ```

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum_core::{extract::Request, response::Response};
use futures_util::future::{Either, Ready, ready};
use http::{StatusCode, header};
use steadfast_core::{
    Cause, Check, CheckOutcome, CheckRun, DependencyDown, Evidence, FailureClass, Name, Overloaded,
    PoolExhausted, Refusal, Rule,
};
use tower_layer::Layer;
use tower_service::Service;

use crate::{clock, dependency::Dependency, instance::Control, refusal};

/// Asserts that a response is a refusal with this cause.
///
/// # Panics
/// Panics, with the status and the headers found, if it is not.
#[track_caller]
pub fn assert_refused<B>(response: &http::Response<B>, cause: Cause) {
    let status = response.status();
    let headers = response.headers();
    let grpc = headers
        .get("grpc-status")
        .is_some_and(|status| status == "14");
    assert!(
        (status == StatusCode::SERVICE_UNAVAILABLE || grpc) && refusal::says(headers, cause),
        "expected a refusal with cause {cause}; found {status}, why-503 {:?}, retry-after {:?}",
        headers.get("why-503"),
        headers.get(header::RETRY_AFTER),
    );
}

/// Makes a dependency whose health the test sets. It starts as passing.
///
/// # Panics
/// Panics if `name` is not a valid name.
#[must_use]
pub fn dependency(name: &str) -> (Dependency, HealthSwitch) {
    let answer = Arc::new(Mutex::new(CheckOutcome::pass()));
    let check = Switched(Arc::clone(&answer));
    let dependency = Dependency::builder(name).check(check).build();
    let dependency = dependency.unwrap_or_else(|error| panic!("{error}"));
    let switch = HealthSwitch {
        dependency: dependency.clone(),
        answer,
    };
    switch.pass();
    (dependency, switch)
}

struct Switched(Arc<Mutex<CheckOutcome>>);

impl Check for Switched {
    async fn run(&self, _run: CheckRun) -> CheckOutcome {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn kind(&self) -> &'static str {
        "test"
    }
}

/// Sets the health of a test's dependency, at once and for its check's later runs.
#[derive(Clone, Debug)]
pub struct HealthSwitch {
    dependency: Dependency,
    answer: Arc<Mutex<CheckOutcome>>,
}

impl HealthSwitch {
    /// It works.
    pub fn pass(&self) {
        self.set(CheckOutcome::pass());
    }

    /// It is unreachable, for this reason.
    pub fn fail(&self, message: &str) {
        self.set(CheckOutcome::fail(FailureClass::Unreachable, message));
    }

    /// Its check answers this, and has for long enough to be believed.
    pub fn set(&self, outcome: CheckOutcome) {
        let (_, settings) = self.dependency.settings();
        for _ in 0..settings.fall.max(settings.rise) {
            let _ = self
                .dependency
                .record(outcome.clone(), Duration::ZERO, clock::now());
        }
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
    }
}

/// Has [`crate::Guard::serve`] pace hasty clients for the next moments, as if many of them kept
/// the runtime busy: whoever is refused again and again over one HTTP/1 connection and asks at
/// once each time is read only after a pause of up to 250 ms. Call it before each request of a
/// client that is to see this; it ends half a second later.
pub fn pace(control: &Control) {
    /// Of so many clients that the pause is the longest, however many threads there are.
    const BETWEEN: Duration = Duration::from_secs(3600);
    /// The pause follows what is seen by halves.
    const LOOKS: u32 = 10;
    let (shedder, now) = (control.shedder(), clock::now());
    for look in 0..LOOKS {
        shedder.refused_again(BETWEEN);
        let at = now + look * Duration::from_millis(1);
        shedder.pace(Duration::from_secs(1), 0, 1.0, at);
    }
}

/// Makes a layer that refuses every request with the cause the test asks for. Put it on the
/// Router, inside the guard, which then renders the refusal as a real one.
#[must_use]
pub fn forced_cause() -> ForcedCause {
    ForcedCause::default()
}

/// See [`forced_cause`]. Clones share.
#[derive(Clone, Debug, Default)]
pub struct ForcedCause(Arc<Mutex<Option<Cause>>>);

impl ForcedCause {
    /// Refuses with this cause from now on; `None` lets requests pass.
    pub fn set(&self, cause: Option<Cause>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = cause;
    }

    fn refusal(&self) -> Option<Refusal> {
        let cause = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        let evidence = evidence(cause);
        Some(Refusal::new(
            FORCED,
            evidence,
            Duration::from_secs(1),
            clock::now(),
        ))
    }
}

const FORCED: Name = Name::from_static("test");

fn evidence(cause: Cause) -> Evidence {
    let since = Duration::ZERO;
    match cause {
        Cause::DependencyDown => Evidence::DependencyDown(DependencyDown::new(
            FORCED,
            since,
            FailureClass::Unreachable,
            "forced by a test",
        )),
        Cause::Draining => Evidence::Draining { since },
        Cause::Maintenance => Evidence::Maintenance {
            reason: "forced by a test".into(),
            since,
            left: None,
        },
        Cause::Overloaded => Evidence::Overloaded(Overloaded {
            rule: Rule::Limit,
            in_flight: 1,
            limit: 1,
            stuck: None,
            queue: None,
            pressure: None,
            backend: None,
        }),
        Cause::PoolExhausted => Evidence::PoolExhausted(PoolExhausted {
            dependency: FORCED,
            in_use: 1,
            max: 1,
            waiting: 0,
            waited: since,
            class: FailureClass::Saturated,
            mean_hold: None,
            longest: None,
            last_error: None,
        }),
        Cause::Starting => Evidence::Starting {
            since,
            hold_left: Duration::from_secs(1),
            waiting: 0,
        },
        _ => Evidence::Application,
    }
}

impl<S> Layer<S> for ForcedCause {
    type Service = ForcedCauseService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ForcedCauseService {
            inner,
            forced: self.clone(),
        }
    }
}

/// See [`forced_cause`].
#[derive(Clone, Debug)]
pub struct ForcedCauseService<S> {
    inner: S,
    forced: ForcedCause,
}

impl<S> Service<Request> for ForcedCauseService<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response, Infallible>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match self.forced.refusal() {
            Some(refusal) => Either::Left(ready(Ok(refusal::carry(refusal)))),
            None => Either::Right(self.inner.call(request)),
        }
    }
}

/// A future that is polled by hand: what a test needs to see what a single poll does.
pub fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(std::task::Waker::noop()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Guard;

    #[tokio::test(start_paused = true)]
    async fn a_health_that_was_set_stays_while_the_check_runs_on() {
        let (payments, health) = dependency("payments");
        let guard = Guard::builder().without_signals().dependency(&payments);
        let _running = guard.build().expect("valid").start().expect("started");
        health.fail("connection refused");
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(payments.require().is_err(), "its check says so too");
        health.pass();
        assert!(payments.require().is_ok());
    }
}

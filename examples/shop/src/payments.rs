//! Payments: somebody else's service, asked over HTTP.

pub(crate) mod stand_in;
mod transport;

use std::{error::Error, fmt, time::Duration};

use axum::http::{Request, StatusCode, Uri, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde::{Deserialize, Serialize};
use steadfast::{
    CallError, CallOutcome, Dependency, FailureClass, Trip, check,
    classifier::{Classify, Errors},
};
use uuid::Uuid;

use crate::Fatal;
use transport::Transport;

/// Longest wait for an answer.
const CHARGE_MAX: Duration = Duration::from_secs(2);

/// Longest answer that is read, in bytes.
const ANSWER_LEN_MAX: usize = 16 * 1024;

/// A customer who waits for a payment should not wait long for a recovery to be noticed.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
const CHECK_INTERVAL_FAILING: Duration = Duration::from_millis(500);

/// Traffic comes back as soon as that: the payments service keeps no cache to warm.
const RAMP: Duration = Duration::from_secs(3);

/// What is sent; the order's id makes a second charge the same charge.
#[derive(Debug, Deserialize, Serialize)]
struct Charge {
    order: Uuid,
    cents: i64,
}

/// What comes back.
#[derive(Debug, Deserialize, Serialize)]
struct Receipt {
    receipt: String,
}

/// Why there is no receipt.
#[derive(Debug)]
pub(crate) enum ChargeError {
    /// The customer's money was not given.
    Declined,
    /// There was no answer.
    Unanswered(hyper_util::client::legacy::Error),
    /// An answer that is none.
    Broken(String),
}

impl fmt::Display for ChargeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Declined => f.write_str("declined"),
            Self::Unanswered(_) => f.write_str("no answer"),
            Self::Broken(error) => f.write_str(error),
        }
    }
}

impl Error for ChargeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unanswered(error) => Some(error),
            Self::Declined | Self::Broken(_) => None,
        }
    }
}

/// The client, and the dependency that says whether asking makes sense.
#[derive(Clone, Debug)]
pub(crate) struct Payments {
    pub(crate) dependency: Dependency,
    client: Client<Transport, Full<Bytes>>,
    charges: Uri,
}

impl Payments {
    pub(crate) fn new(url: &str) -> Result<Self, Fatal> {
        let base = url.trim_end_matches('/');
        let check = check::http_get(format!("{base}/healthz"))
            .map_err(|error| Fatal::new(format!("PAYMENTS_URL: {error}")))?;
        let dependency = Dependency::builder("payments")
            .check(check)
            // Everything but paying goes on without it.
            .degrades()
            .interval(CHECK_INTERVAL)
            .interval_failing(CHECK_INTERVAL_FAILING)
            .call_timeout(CHARGE_MAX)
            .trip(Trip::default().ramp(RAMP))
            .build()
            .map_err(Fatal::config)?;
        let charges = format!("{base}/charges").parse();
        Ok(Self {
            dependency,
            client: Client::builder(TokioExecutor::new()).build(transport::new()),
            // The same text with another end has been parsed by the check.
            charges: charges.map_err(|_| Fatal::new("PAYMENTS_URL is no URL"))?,
        })
    }

    /// Asks for the money of one order, and returns the receipt. It is refused while
    /// payments is known to be down, and cut when payments takes too long.
    pub(crate) async fn charge(
        &self,
        order: Uuid,
        cents: i64,
    ) -> Result<String, CallError<ChargeError>> {
        let asked = self.ask(Charge { order, cents });
        self.dependency.call_by(Judge, asked).await
    }

    async fn ask(&self, charge: Charge) -> Result<String, ChargeError> {
        let broken = |error: &dyn fmt::Display| ChargeError::Broken(error.to_string());
        let body = serde_json::to_vec(&charge).map_err(|error| broken(&error))?;
        let request = Request::post(self.charges.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body))
            .map_err(|error| broken(&error))?;
        let answer = self
            .client
            .request(request)
            .await
            .map_err(ChargeError::Unanswered)?;
        match answer.status() {
            StatusCode::PAYMENT_REQUIRED => return Err(ChargeError::Declined),
            status if !status.is_success() => return Err(broken(&status)),
            _ => {}
        }
        let body = Limited::new(answer.into_body(), ANSWER_LEN_MAX)
            .collect()
            .await;
        let body = body.map_err(|error| broken(&error))?.to_bytes();
        let receipt: Receipt = serde_json::from_slice(&body).map_err(|error| broken(&error))?;
        Ok(receipt.receipt)
    }
}

/// A customer without money is not a payments service without health, and one that cannot be
/// reached is another trouble than one that answers with errors.
#[derive(Clone, Copy)]
struct Judge;

impl Classify<String, ChargeError> for Judge {
    fn classify(&self, ended: Result<&String, &ChargeError>) -> CallOutcome {
        match ended {
            Err(ChargeError::Declined) => CallOutcome::Neutral,
            Err(ChargeError::Broken(_)) => CallOutcome::Failure(FailureClass::Unhealthy.into()),
            Ok(_) | Err(ChargeError::Unanswered(_)) => Errors.classify(ended),
        }
    }

    fn describe(&self, ended: Result<&String, &ChargeError>) -> Option<String> {
        Errors.describe(ended)
    }
}

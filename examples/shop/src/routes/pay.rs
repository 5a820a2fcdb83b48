//! `POST /pay/{id}`, and the switch of the payments service's stand-in.

use std::{error::Error, sync::Arc};

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
};
use serde::{Deserialize, Serialize};
use steadfast::CallError;
use uuid::Uuid;

use super::orders;
use crate::{
    app::Shop,
    payments::{ChargeError, stand_in::Mode},
    problem::{Failure, Path, Problem, Query},
};

/// The proof of payment.
#[derive(Debug, Serialize)]
pub(crate) struct Paid {
    order: Uuid,
    receipt: String,
}

pub(crate) async fn pay(
    State(shop): State<Arc<Shop>>,
    Path(id): Path<Uuid>,
) -> Result<axum::Json<Paid>, Failure> {
    // While payments is known to be down nobody comes here: a gate stands in front.
    let order = orders::find(&shop, id).await?;
    if let Some(receipt) = order.receipt {
        return Ok(axum::Json(Paid { order: id, receipt }));
    }
    let (payments, store) = (shop.payments.clone(), shop.store.clone());
    // On a task of its own: what has been charged is written down, whoever waits for it.
    let charged = async move {
        let charged = payments.charge(id, order.total_cents).await;
        let receipt = charged.map_err(failure)?;
        store.paid(id, &receipt).await?;
        Ok::<_, Failure>(receipt)
    };
    let receipt = shop.writes.finish(charged).await?;
    Ok(axum::Json(Paid { order: id, receipt }))
}

fn failure(error: CallError<ChargeError>) -> Failure {
    match error {
        CallError::Refused(refusal) => refusal.into(),
        CallError::Inner(ChargeError::Declined) => {
            Problem::new(StatusCode::PAYMENT_REQUIRED, "the payment was declined").into()
        }
        CallError::TimedOut(_) => Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "payments did not answer in time; try again",
        )
        .into(),
        CallError::Inner(error) => {
            let cause = error.source().map(tracing::field::display);
            tracing::warn!(%error, cause, "payments failed");
            Problem::new(
                StatusCode::BAD_GATEWAY,
                "payments failed; nothing was charged twice, try again",
            )
            .into()
        }
    }
}

/// `PUT /stand-in/payments?mode=failing`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Switch {
    mode: Mode,
}

pub(crate) async fn switch(
    State(shop): State<Arc<Shop>>,
    headers: HeaderMap,
    Query(switch): Query<Switch>,
) -> Result<axum::Json<Switch>, Problem> {
    if !shows_token(&headers, &shop.token) {
        let detail = "send the operator's token as `Authorization: Bearer …`";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, detail));
    }
    if let Some(stand_in) = &shop.stand_in {
        stand_in.set(switch.mode);
    }
    Ok(axum::Json(switch))
}

fn shows_token(headers: &HeaderMap, token: &str) -> bool {
    let shown = headers.get(header::AUTHORIZATION);
    let shown = shown.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    // Every byte is compared, so that the time it takes does not tell where they differ.
    shown.is_some_and(|shown| {
        shown.len() == token.len()
            && shown
                .iter()
                .zip(token.as_bytes())
                .fold(0, |sum, (a, b)| sum | (a ^ b))
                == 0
    })
}

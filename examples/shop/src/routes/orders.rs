//! `POST /orders` and `GET /orders/{id}`.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use uuid::Uuid;

use crate::{
    app::Shop,
    problem::{Failure, Json, Path, Problem},
    store::{CreateError, NewOrder, Order},
};

const LINES_MAX: usize = 50;
const QUANTITY_MAX: i64 = 100;
const CUSTOMER_LEN_MAX: usize = 100;

pub(crate) async fn create(
    State(shop): State<Arc<Shop>>,
    Json(new): Json<NewOrder>,
) -> Result<impl IntoResponse, Failure> {
    check(&new)?;
    shop.orders_db.require()?;
    let store = shop.store.clone();
    // On a task of its own, so that a client that leaves does not cut the transaction.
    let order = shop
        .writes
        .finish(async move { store.create(new).await })
        .await;
    let order = order.map_err(|error| match error {
        CreateError::UnknownProduct(id) => {
            Problem::unprocessable(format!("there is no product {id}")).into()
        }
        CreateError::TooMuch => Problem::unprocessable("the sum is too large").into(),
        CreateError::Database(error) => Failure::from(error),
    })?;
    let location = format!("/orders/{}", order.id);
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        axum::Json(order),
    ))
}

pub(crate) async fn show(
    State(shop): State<Arc<Shop>>,
    Path(id): Path<Uuid>,
) -> Result<axum::Json<Order>, Failure> {
    Ok(axum::Json(find(&shop, id).await?))
}

pub(super) async fn find(shop: &Shop, id: Uuid) -> Result<Order, Failure> {
    shop.orders_db.require()?;
    let order = shop.store.order(id).await?;
    let unknown = || Problem::new(StatusCode::NOT_FOUND, format!("there is no order {id}"));
    Ok(order.ok_or_else(unknown)?)
}

/// What serde cannot see: that the order makes sense.
fn check(new: &NewOrder) -> Result<(), Problem> {
    let fault = |text: String| Err(Problem::unprocessable(text));
    let customer = new.customer.trim();
    if customer.is_empty() || customer.chars().count() > CUSTOMER_LEN_MAX {
        return fault(format!(
            "customer: allowed are 1 to {CUSTOMER_LEN_MAX} characters"
        ));
    }
    if new.lines.is_empty() || new.lines.len() > LINES_MAX {
        return fault(format!(
            "lines: found {}; allowed are 1 to {LINES_MAX}",
            new.lines.len()
        ));
    }
    let mut seen = BTreeSet::new();
    for line in &new.lines {
        if !(1..=QUANTITY_MAX).contains(&line.quantity) {
            return fault(format!(
                "quantity {}; allowed is 1 to {QUANTITY_MAX}",
                line.quantity
            ));
        }
        if !seen.insert(line.product) {
            return fault(format!("product {} is in two lines", line.product));
        }
    }
    Ok(())
}

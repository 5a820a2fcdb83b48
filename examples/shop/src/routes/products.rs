//! `GET /products`: the list, from the cache if there is one and it has it.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderName, header},
    response::IntoResponse,
};

use crate::{app::Shop, problem::Failure};

/// Tells where the list came from: `hit`, `miss`, or `none` without a cache.
const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

pub(crate) async fn list(State(shop): State<Arc<Shop>>) -> Result<impl IntoResponse, Failure> {
    let json = |from, list: String| {
        (
            [(header::CONTENT_TYPE, "application/json"), (X_CACHE, from)],
            list,
        )
    };
    let Some(cache) = &shop.cache else {
        return Ok(json("none", fresh(&shop).await?));
    };
    if let Some(list) = cache.products().await {
        return Ok(json("hit", list));
    }
    let list = fresh(&shop).await?;
    cache.put_products(&list).await;
    Ok(json("miss", list))
}

async fn fresh(shop: &Shop) -> Result<String, Failure> {
    shop.orders_db.require()?;
    Ok(serde_json::to_string(&shop.store.products().await?)?)
}

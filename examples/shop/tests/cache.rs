//! The cache behind its guard, from outside: it helps while it is there, and is not missed
//! while it is not.

mod redis;

use axum::http::Method;
use example_testing::{Answer, Example, eventually};
use redis::FakeRedis;
use serde_json::Value;

const SHOP: &str = env!("CARGO_BIN_EXE_shop");

const TOKEN: &str = "0123456789abcdef";
const BEARER: (&str, &str) = ("authorization", "Bearer 0123456789abcdef");

async fn shop(redis: &FakeRedis) -> Example {
    let url = redis.url();
    let environment = [("WHY503_TOKEN", TOKEN), ("REDIS_URL", url.as_str())];
    Example::start(SHOP, &environment).await.ready().await
}

/// What the operator sees of the cache.
async fn cache(shop: &Example) -> Value {
    let page = shop
        .ask(Method::GET, "/why503/", &[BEARER], "")
        .await
        .json();
    let all = page["dependencies"].as_array().expect("a list").clone();
    let is_cache = |one: &&Value| one["name"] == "cache";
    all.iter().find(is_cache).expect("it is there").clone()
}

async fn products(shop: &Example) -> Answer {
    let products = shop.get("/products").await;
    assert_eq!(products.status, 200, "{products:?}");
    assert!(products.text().contains("price_cents"));
    products
}

#[tokio::test]
async fn a_miss_is_an_answer_and_no_failure() {
    let redis = FakeRedis::start().await;
    let shop = shop(&redis).await;
    for _ in 0..20 {
        assert_eq!(products(&shop).await.header("x-cache"), "miss");
        redis.forget();
    }
    assert_eq!(products(&shop).await.header("x-cache"), "miss");
    assert_eq!(products(&shop).await.header("x-cache"), "hit");
    let seen = cache(&shop).await;
    let breaker = &seen["breaker"];
    assert_eq!(breaker["state"], "closed", "{seen}");
    assert_eq!(breaker["failed"], 0, "{seen}");
    assert!(breaker["calls"].as_u64() >= Some(40), "{seen}");
    assert_eq!(seen["pool"]["max"], 10, "{seen}");
    assert_eq!(seen["pool"]["in_use"], 0, "{seen}");
}

#[tokio::test]
async fn a_cache_that_goes_is_left_alone_and_found_again() {
    let mut redis = FakeRedis::start().await;
    let shop = shop(&redis).await;
    assert_eq!(products(&shop).await.header("x-cache"), "miss");
    assert_eq!(products(&shop).await.header("x-cache"), "hit");
    redis.stop().await;
    eventually("it is left alone", || async {
        assert_eq!(products(&shop).await.header("x-cache"), "miss");
        (cache(&shop).await["breaker"]["state"] == "open").then_some(())
    })
    .await;
    // No client hears of it, and the instance stays in.
    assert_eq!(shop.get("/ready/").await.text(), "degraded\n");
    let page = shop
        .ask(Method::GET, "/why503/", &[BEARER], "")
        .await
        .json();
    let refused = page["recent"].as_array().expect("a list");
    assert!(refused.iter().all(|it| it["answered"] == "200"), "{page}");
    redis.start_again().await;
    eventually("it helps again", || async {
        (products(&shop).await.header("x-cache") == "hit").then_some(())
    })
    .await;
}

//! What the guard does for the shop, from outside.

use axum::http::Method;
use example_testing::{Answer, Example, eventually};
use tokio::task::JoinSet;

const SHOP: &str = env!("CARGO_BIN_EXE_shop");

const TOKEN: &str = "0123456789abcdef";
const BEARER: (&str, &str) = ("authorization", "Bearer 0123456789abcdef");

async fn shop(environment: &[(&str, &str)]) -> Example {
    let mut all = vec![("WHY503_TOKEN", TOKEN)];
    all.extend(environment);
    Example::start(SHOP, &all).await.ready().await
}

async fn operator(shop: &Example, method: Method, path: &str) -> Answer {
    shop.ask(method, path, &[BEARER], "").await
}

/// Fills both places and waits until they are taken. They are given back when the set is
/// dropped, because then their clients leave.
async fn fill(shop: &Example) -> JoinSet<Answer> {
    let mut held = JoinSet::new();
    for _ in 0..2 {
        let caller = shop.caller();
        held.spawn(async move { caller.get("/work?ms=60000").await });
    }
    eventually("both places are taken", || async {
        let page = operator(shop, Method::GET, "/why503/").await.json();
        (page["shed"]["in_flight"] == 2).then_some(())
    })
    .await;
    held
}

#[tokio::test]
async fn a_token_is_made_and_told_if_there_is_none() {
    let shop = Example::start(SHOP, &[]).await.ready().await;
    let told = eventually("the token is told", || async {
        let said = shop.said();
        let (_, after) = said.split_once("Bearer ")?;
        Some(after.split('\'').next()?.to_owned())
    })
    .await;
    assert_eq!(shop.get("/why503/").await.status, 401);
    let shown = format!("Bearer {told}");
    let shown = [("authorization", shown.as_str())];
    let page = shop.ask(Method::GET, "/why503/", &shown, "").await;
    assert_eq!(page.status, 200);
}

#[tokio::test]
async fn the_probes_answer_and_tell_names_to_the_operator_only() {
    let shop = shop(&[]).await;
    for path in [
        "/health/",
        "/health",
        "/ready/",
        "/ready",
        "/livez",
        "/readyz",
        "/startupz",
    ] {
        assert_eq!(shop.get(path).await.status, 200, "{path}");
    }
    assert!(!shop.get("/health/").await.text().contains("orders-db"));
    let health = operator(&shop, Method::GET, "/health/").await;
    assert_eq!(health.header("content-type"), "application/health+json");
    for name in ["orders-db", "schema", "payments"] {
        assert!(health.text().contains(name), "{name}: {}", health.text());
    }
}

#[tokio::test]
async fn one_too_many_is_refused_and_told_why() {
    let shop = shop(&[("STEADFAST__SHED__LIMIT", "2")]).await;
    let held = fill(&shop).await;

    let refused = shop
        .ask(Method::GET, "/products", &[("x-request-id", "mine-1")], "")
        .await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(
        refused
            .header("why-503")
            .starts_with("cause=overloaded;rule=limit")
    );
    assert!(refused.header("why-503").contains("safe-to-retry"));
    assert!(
        refused
            .header("retry-after")
            .parse::<u64>()
            .expect("seconds")
            >= 1
    );
    assert_eq!(refused.header("content-type"), "application/problem+json");
    assert_eq!(refused.header("x-request-id"), "mine-1");
    assert_eq!(
        shop.get("/ready/").await.status,
        200,
        "probes are outside the limit"
    );

    let found = operator(&shop, Method::GET, "/why503/mine-1").await.json();
    assert_eq!(found["refusals"][0]["request"], "GET /products");
    assert_eq!(found["refusals"][0]["evidence"]["limit"], 2);
    eventually("the access log has the refusal", || async {
        let log = shop.logged();
        let line = log
            .lines()
            .find(|line| line.contains("mine-1") && line.contains("access"))?;
        assert!(
            line.contains("503") && line.contains("cause=overloaded"),
            "{line}"
        );
        Some(())
    })
    .await;

    drop(held);
    eventually("the places are free again", || async {
        (shop.get("/products").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_browser_of_another_origin_can_read_why_it_was_refused() {
    let shop = shop(&[("STEADFAST__SHED__LIMIT", "2")]).await;
    let held = fill(&shop).await;
    let origin = ("origin", "https://elsewhere.example");
    let preflight = [
        origin,
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type"),
    ];
    let allowed = shop.ask(Method::OPTIONS, "/orders", &preflight, "").await;
    assert_eq!(
        allowed.status, 200,
        "a preflight is never refused: {allowed:?}"
    );
    assert_eq!(allowed.header("access-control-allow-origin"), "*");
    assert!(
        allowed
            .header("access-control-allow-headers")
            .contains("content-type")
    );

    let refused = shop.ask(Method::POST, "/orders", &[origin], "{}").await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("access-control-allow-origin"), "*");
    let readable = refused.header("access-control-expose-headers");
    for name in ["why-503", "retry-after"] {
        assert!(readable.contains(name), "{name}: {readable}");
    }
    drop(held);
}

#[tokio::test]
async fn paying_is_refused_while_payments_is_down_and_nothing_else_is() {
    let shop = shop(&[]).await;
    let order = r#"{"customer":"Ada","lines":[{"product":1,"quantity":1}]}"#;
    let order = shop.post("/orders", order).await.json();
    let pay = format!("/pay/{}", order["id"].as_str().expect("an id"));

    let stranger = shop
        .ask(Method::PUT, "/stand-in/payments?mode=failing", &[], "")
        .await;
    assert_eq!(stranger.status, 401);
    assert_eq!(
        operator(&shop, Method::PUT, "/stand-in/payments?mode=failing")
            .await
            .status,
        200
    );
    let refused = eventually("it is known that payments is down", || async {
        let answer = shop.post(&pay, "").await;
        // Until it is known, the try itself fails.
        assert!(matches!(answer.status, 502 | 503), "{answer:?}");
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert!(
        refused
            .header("why-503")
            .starts_with("cause=dependency-down")
    );
    assert!(
        !refused.text().contains("payments"),
        "strangers learn no names: {}",
        refused.text()
    );
    assert_eq!(shop.get("/products").await.status, 200);
    assert_eq!(shop.get("/ready/").await.text(), "degraded\n");
    assert_eq!(
        operator(&shop, Method::PUT, "/stand-in/payments?mode=working")
            .await
            .status,
        200
    );
    eventually("it is paid", || async {
        (shop.post(&pay, "").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_pool_with_nothing_to_give_is_told_as_such() {
    let shop = shop(&[]).await;
    let mut held = JoinSet::new();
    // As many as the pool has connections.
    for _ in 0..10 {
        let caller = shop.caller();
        held.spawn(async move { caller.get("/report?ms=60000").await });
    }
    let refused = eventually("every connection is in use", || async {
        Some(shop.get("/products").await).filter(|answer| answer.status != 200)
    })
    .await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(
        refused
            .header("why-503")
            .starts_with("cause=pool-exhausted"),
        "{refused:?}"
    );
    let page = operator(&shop, Method::GET, "/why503/").await.json();
    let incident = &page["incidents"][0];
    assert_eq!(
        (&incident["source"], &incident["evidence"]["in_use"]),
        (&"orders-db".into(), &10.into())
    );
    drop(held);
    eventually("connections are free again", || async {
        (shop.get("/products").await.status == 200).then_some(())
    })
    .await;
}

#[cfg(unix)]
#[tokio::test]
async fn sigterm_finishes_what_runs_and_ends_with_0() {
    let mut shop = shop(&[("STEADFAST__DRAIN__LAME_DUCK_MAX", "1s")]).await;
    let caller = shop.caller();
    let running = tokio::spawn(async move { caller.get("/work?ms=5000").await });
    eventually("the request runs", || async {
        // This one does not run: the operator's page is outside the gates.
        let page = operator(&shop, Method::GET, "/why503/").await.json();
        (page["shed"]["in_flight"] == 1).then_some(())
    })
    .await;
    shop.terminate();
    assert_eq!(
        running.await.expect("no panic").status,
        200,
        "served to its end"
    );
    assert!(shop.ended().await.success(), "{}", shop.logged());
    assert!(shop.logged().contains("draining"), "{}", shop.logged());
}

/// Goal: whoever deploys sees by the exit status whether the restart cut anything.
#[cfg(unix)]
#[tokio::test]
async fn the_exit_status_says_whether_the_drain_cut_anything() {
    for (work, status) in [(false, 0), (true, 75)] {
        let mut shop = shop(&[
            ("STEADFAST__DRAIN__LAME_DUCK_MAX", "0s"),
            ("STEADFAST__DRAIN__GRACE", "1s"),
        ])
        .await;
        let caller = shop.caller();
        let mut held = JoinSet::new();
        if work {
            held.spawn(async move {
                let _ = caller.try_ask(Method::GET, "/work?ms=60000", &[], "").await;
            });
            eventually("it works", || async {
                let page = operator(&shop, Method::GET, "/why503/").await.json();
                (page["shed"]["in_flight"] == 1).then_some(())
            })
            .await;
        }
        shop.terminate();
        let ended = shop.ended().await;
        assert_eq!(ended.code(), Some(status), "{}", shop.logged());
    }
}

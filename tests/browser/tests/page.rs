//! The operator's page of the shop, as a person sees it in a browser: in health and in each
//! trouble of the runbook.
//!
//! Goal: the first sentence, the plot and the checklist are right, whoever reads them by
//! whatever means: with and without a script, on a phone, enlarged, in the dark, or by ear.

mod shop;

use browser::{Browser, Page};
use serde_json::json;
use shop::{Shop, TOKEN};

/// Whether anything is wider than the window, which makes a person scroll both ways.
const OVERFLOWS: &str = "document.scrollingElement.scrollWidth > window.innerWidth";

/// Whether this is the first finding.
fn first_finding(id: &str) -> String {
    format!("document.querySelector('#findings .card .small code')?.innerText === '{id}'")
}

/// What a person with any means must be able to do with a page, and what it must not do.
async fn is_fit_for_everybody(page: &Page, own: &str) {
    for dark in [false, true] {
        page.dark(dark).await;
        let broken = page.axe().await;
        assert!(broken.is_empty(), "dark: {dark}: {broken:#?}");
    }
    // A narrow phone; and a desk at 200 %, which is half as wide.
    for (width, height, scale) in [(320, 640, 2.0), (640, 450, 2.0)] {
        page.size(width, height, scale).await;
        let wide = page
            .eval("[...document.querySelectorAll('main *')].filter(it => it.getBoundingClientRect().right > window.innerWidth + 1 && !it.closest('.scroll, svg, pre, .hidden')).map(it => it.outerHTML.slice(0, 120)).slice(0, 3)")
            .await;
        let overflows = page.eval(OVERFLOWS).await;
        assert_eq!(
            (overflows, &wide),
            (json!(false), &json!([])),
            "{width} wide: {wide:#}"
        );
    }
    page.size(1280, 900, 1.0).await;
    let faults = page.faults();
    assert!(faults.is_empty(), "{faults:#?}");
    for address in page.asked() {
        let ours = address.starts_with(own) || address.starts_with("data:,");
        assert!(ours || address == "about:blank", "it asked {address}");
    }
}

#[tokio::test]
async fn a_healthy_service_says_so_to_everybody() {
    let shop = Shop::start(&[]).await;
    shop.get("/ready/").await;
    let browser = Browser::start().await;
    let page = browser.page().await;
    // The address that the shop prints opens the page, and loses the token on the way.
    page.go(&shop.link()).await;
    page.says(&[
        "Serving everything.",
        "Live.",
        "Nothing has been refused since it started.",
    ])
    .await;
    assert_eq!(
        page.eval("location.hash + location.search").await,
        json!("")
    );
    assert!(!shop.logged().contains(TOKEN), "{}", shop.logged());
    let headings = page
        .eval("[...document.querySelectorAll('h1,h2')].map(it => it.innerText)")
        .await;
    assert!(
        headings.as_array().expect("a list").len() >= 10,
        "{headings}"
    );
    assert_eq!(
        page.eval("document.querySelectorAll('#checklist li').length")
            .await,
        json!(8)
    );
    page.says(&[
        "All 3 pass.",
        "orders-db 0 of 10 in use.",
        "In the last hour: none",
    ])
    .await;
    is_fit_for_everybody(&page, shop.url()).await;
    shop.picture(&page, "healthy").await;
    let stranger = browser.page().await;
    stranger.go(&format!("{}/why503/", shop.url())).await;
    stranger.says(&["Sign in to why503"]).await;
    is_fit_for_everybody(&stranger, shop.url()).await;
    // By the keyboard, the first stop leads past everything to the content.
    let first = page
        .eval("document.querySelector('a, button, input').getAttribute('href')")
        .await;
    assert_eq!(first, json!("#main"));
}

#[tokio::test]
async fn without_a_script_the_token_is_typed_and_everything_is_there() {
    let shop = Shop::start(&[("STEADFAST__SHED__LIMIT", "1")]).await;
    let browser = Browser::start().await;
    let page = browser.page().await;
    page.scripts(false).await;
    page.go(&format!("{}/why503/", shop.url())).await;
    page.says(&["Sign in to why503", "The operator's token"])
        .await;
    page.fill(&[("sign-in-token", "wrong-token-wrong-token")], "Sign in")
        .await;
    page.says(&["That is not the token."]).await;
    page.fill(&[("sign-in-token", TOKEN)], "Sign in").await;
    page.says(&["Serving everything.", "Reload the page for newer numbers."])
        .await;
    let held = shop.hold("/work?ms=60000", 1).await;
    let refused = shop.get("/products").await;
    assert_eq!(refused.status, 503);
    page.go(&format!("{}/why503/", shop.url())).await;
    page.says(&["because 1 of 1 places are taken", "overloaded (limit)"])
        .await;
    // One refusal, by the id that its client was told.
    let id = shop::id(&refused);
    page.fill(&[("find-id", &id)], "Look up").await;
    page.says(&["The refusal known as", &id, "GET /products", "in_flight"])
        .await;
    drop(held);
}

#[tokio::test]
async fn an_overload_comes_into_an_open_page_by_itself() {
    let shop = Shop::start(&[("STEADFAST__SHED__LIMIT", "2")]).await;
    let browser = Browser::start().await;
    let page = browser.page().await;
    page.go(&shop.link()).await;
    page.says(&["Serving everything."]).await;
    let held = shop.hold("/work?ms=60000", 2).await;
    for _ in 0..20 {
        assert_eq!(shop.get("/products").await.status, 503);
    }
    let asking = shop.keep_asking("/products");
    page.says(&[
        "Refusing ",
        "because 2 of 2 places are taken",
        "What would fix it:",
        "/work",
    ])
    .await;
    page.until(
        "the plot",
        "document.querySelector('#refusals svg rect.c-overloaded')",
    )
    .await;
    page.until("the title", "document.title.startsWith('Refusing – shop')")
        .await;
    let told = page
        .eval("document.querySelector('#plot-hour-d').textContent")
        .await;
    assert!(
        told.as_str()
            .expect("text")
            .contains(" overloaded, at most "),
        "{told}"
    );
    is_fit_for_everybody(&page, shop.url()).await;
    shop.picture(&page, "overload").await;
    page.dark(false).await;
    let picture = page.window().await;
    assert!(picture.len() > 10_000, "{} bytes", picture.len());
    // For README, when somebody asks for it: `WHY503_PICTURE=docs/images/why503.png`.
    if let Some(file) = std::env::var_os("WHY503_PICTURE") {
        std::fs::write(file, picture).expect("the picture is written");
    }
    drop((held, asking));
}

#[tokio::test]
async fn maintenance_and_drain_are_ordered_by_whoever_types_the_token() {
    let shop = Shop::start(&[]).await;
    let browser = Browser::start().await;
    let page = browser.page().await;
    page.go(&shop.link()).await;
    page.says(&["Serving everything.", "It is off."]).await;
    let wrong = [
        ("maintenance-reason", "painting"),
        ("maintenance-token", "not-the-token-at-all"),
    ];
    page.fill(&wrong, "Begin maintenance").await;
    page.says(&["That is not the token, so nothing was done."])
        .await;
    assert_eq!(shop.get("/products").await.status, 200);
    page.go(&shop.link()).await;
    page.says(&["It is off."]).await;
    let right = [
        ("maintenance-reason", "painting <b>"),
        ("maintenance-token", TOKEN),
    ];
    page.fill(&right, "Begin maintenance").await;
    page.says(&["Not ready: maintenance: painting <b>", "It is on since"])
        .await;
    assert_eq!(shop.get("/products").await.status, 503);
    let asking = shop.keep_asking("/products");
    page.says(&[
        "because of maintenance: painting <b>",
        "What would fix it: End the maintenance",
    ])
    .await;
    drop(asking);
    is_fit_for_everybody_but_faults(&page).await;
    shop.picture(&page, "maintenance").await;
    page.fill(&[("maintenance-token", TOKEN)], "End maintenance")
        .await;
    page.says(&["It is off."]).await;
    assert_eq!(shop.get("/products").await.status, 200);
    page.fill(&[("drain-token", TOKEN)], "Drain this instance")
        .await;
    page.says(&[
        "Leaving since",
        "This process is leaving; that cannot be taken back.",
    ])
    .await;
    shop.picture(&page, "drain").await;
}

/// After a wrong token the console has the 401 of its answer.
async fn is_fit_for_everybody_but_faults(page: &Page) {
    let broken = page.axe().await;
    assert!(broken.is_empty(), "{broken:#?}");
    let faults = page.faults();
    let others: Vec<_> = faults.iter().filter(|it| !it.contains("401")).collect();
    assert!(others.is_empty(), "{others:#?}");
}

#[tokio::test]
async fn a_dead_database_is_named_with_its_last_error() {
    let mut postgres = support::Postgres::builder().start();
    let shop = Shop::start(&[("DATABASE_URL", &postgres.admin_url())]).await;
    let browser = Browser::start().await;
    let page = browser.page().await;
    page.go(&shop.link()).await;
    page.says(&["Serving everything."]).await;
    postgres.stop();
    let asking = shop.keep_asking("/report?ms=1");
    page.says(&[
        "Refusing ",
        "orders-db",
        "failing",
        "dependency-down",
        "next probe",
    ])
    .await;
    page.until(
        "the plot",
        "document.querySelector('#refusals svg rect.c-dependency-down')",
    )
    .await;
    let asked = page.eval("[...document.querySelectorAll('#checklist li')].find(it => it.innerText.includes('Do the dependencies answer?')).innerText").await;
    assert!(
        asked.as_str().expect("text").contains("look here"),
        "{asked}"
    );
    is_fit_for_everybody(&page, shop.url()).await;
    shop.picture(&page, "dead-database").await;
    postgres.start_again();
    page.says(&["Serving"]).await;
    page.until("health", "document.querySelector('#state .well')")
        .await;
    drop(asking);
}

/// Ten of fourteen have a connection and keep it; who waits is refused.
#[tokio::test]
async fn an_exhausted_pool_names_the_line_that_holds_its_connections() {
    let shop = Shop::start(&[]).await;
    let browser = Browser::start().await;
    let page = browser.page().await;
    page.go(&shop.link()).await;
    page.says(&["Serving everything."]).await;
    let held = shop.hold("/report?ms=60000", 14).await;
    let asking = shop.keep_asking("/report?ms=1");
    page.says(&["Refusing ", "10 of 10 connections of orders-db are in use"])
        .await;
    page.says(&[
        "orders-db 10 of 10 in use",
        "Who holds connections",
        "store.rs:",
    ])
    .await;
    page.until(
        "the plot",
        "document.querySelector('#refusals svg rect.c-pool-exhausted')",
    )
    .await;
    is_fit_for_everybody(&page, shop.url()).await;
    shop.picture(&page, "exhausted-pool").await;
    drop((held, asking));
}

/// Goal: connections that are kept are called a leak, with the line that keeps them. Method: all
/// ten are held for a minute, again and again, and half a minute is the pool's own bound.
#[tokio::test]
async fn connections_that_are_kept_are_a_leak_with_their_line() {
    let shop = Shop::start(&[]).await;
    let browser = Browser::start().await;
    let page = browser.page().await;
    page.go(&shop.link()).await;
    page.says(&["Serving everything."]).await;
    let held = shop.keep_asking_from("/report?ms=60000", 10);
    let asking = shop.keep_asking("/report?ms=1");
    page.until("the leak as the first finding", &first_finding("pool.leak"))
        .await;
    page.says(&["store.rs:", "held for too long", "Who holds connections"])
        .await;
    page.until(
        "who keeps it too long",
        "document.querySelector('#dependencies .tag.bad')",
    )
    .await;
    let asked = page.eval("[...document.querySelectorAll('#checklist li')].find(it => it.innerText.includes('Are connections available?')).innerText").await;
    let asked = asked.as_str().expect("text");
    assert!(asked.contains("look here"), "{asked}");
    is_fit_for_everybody(&page, shop.url()).await;
    shop.picture(&page, "leak").await;
    drop((held, asking));
}

/// Goal: handlers that take long stand in front of the overload that they make, with their
/// route. Method: they fill both places for longer than the ten seconds after which one is slow.
#[tokio::test]
async fn a_slow_handler_is_named_before_the_overload_that_it_makes() {
    let shop = Shop::start(&[("STEADFAST__SHED__LIMIT", "2")]).await;
    let browser = Browser::start().await;
    let page = browser.page().await;
    page.go(&shop.link()).await;
    page.says(&["Serving everything."]).await;
    let held = shop.hold("/work?ms=60000", 2).await;
    let asking = shop.keep_asking("/products");
    page.says(&["Refusing ", "because 2 of 2 places are taken"])
        .await;
    page.until(
        "the handler as the first finding",
        &first_finding("app.slow_handler"),
    )
    .await;
    page.says(&["/work", "app.shed"]).await;
    page.says(&["The request that has run longest: /work"])
        .await;
    is_fit_for_everybody(&page, shop.url()).await;
    shop.picture(&page, "slow-handler").await;
    drop((held, asking));
}

#[tokio::test]
async fn handlers_that_block_every_worker_are_named_at_the_probe_listener() {
    let shop = Shop::start(&[("PROBE_ADDR", "127.0.0.1:0")]).await;
    let probe = shop.probe_url();
    let browser = Browser::start().await;
    let page = browser.page().await;
    // It listens on the loopback, so it asks nobody for a token.
    page.go(&format!("{probe}/why503/")).await;
    page.says(&["Serving everything.", "Live."]).await;
    let held = shop.hold("/spin?ms=10000", 64).await;
    page.says(&[
        "has been in one task for",
        "Does the runtime get to its work?",
    ])
    .await;
    page.says(&["/spin"]).await;
    is_fit_for_everybody(&page, &probe).await;
    drop(held);
}

/// Goal: a customer of the shop reads in their language what is the matter, and is served
/// without doing anything once there is room.
#[tokio::test]
async fn a_refused_customer_reads_why_and_is_served_later_by_itself() {
    let shop = Shop::start(&[("STEADFAST__SHED__LIMIT", "1")]).await;
    let held = shop.hold("/work?ms=60000", 1).await;
    let browser = Browser::start().await;
    let page = browser.page().await;
    page.headers(json!({ "accept-language": "de-AT,de;q=0.9,en;q=0.8" }))
        .await;
    page.go(&format!("{}/products", shop.url())).await;
    page.says(&[
        "Gerade ist sehr viel los",
        "Diese Seite versucht es von selbst wieder",
    ])
    .await;
    assert_eq!(
        page.eval("document.documentElement.lang").await,
        json!("de")
    );
    for dark in [false, true] {
        page.dark(dark).await;
        let broken = page.axe().await;
        assert!(broken.is_empty(), "dark: {dark}: {broken:#?}");
    }
    page.size(320, 640, 2.0).await;
    assert_eq!(page.eval(OVERFLOWS).await, json!(false));
    drop(held);
    page.says(&["price_cents"]).await;
    // Nothing is tried again that was stopped, and without a script there is a link.
    let held = shop.hold("/work?ms=60000", 1).await;
    page.scripts(false).await;
    page.headers(json!({})).await;
    page.go(&format!("{}/products", shop.url())).await;
    page.says(&["We are very busy right now", "Try again now"])
        .await;
    let text = page.text().await;
    assert!(!text.contains("by itself"), "{text}");
    drop(held);
}

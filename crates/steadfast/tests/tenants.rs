//! Fair shares at the limit, through the guard and through the layer alone.

#![cfg(feature = "axum")]

mod common;

use std::{borrow::Cow, time::Duration};

use axum::{Router, routing::get};
use common::{Answer, request};
use http::{HeaderName, StatusCode};
use steadfast::{Explain, Guard, Shed, ShedLayer, diagnosis::Id};
use tokio::task::JoinSet;
use tower::ServiceExt;

const TENANT: HeaderName = HeaderName::from_static("x-tenant");

/// Handlers that take 10 ms behind eight places.
fn shed() -> Shed {
    Shed::fixed(8).tenant_header(TENANT)
}

fn routes() -> Router {
    Router::new().fallback(get(|| async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        "served"
    }))
}

async fn ask(app: &Router, tenant: &str) -> Answer {
    let request = request("GET", "/orders", &[("x-tenant", tenant)]);
    let asked = app.clone().oneshot(request.map(axum::body::Body::new));
    Answer::read(asked.await.expect("infallible")).await
}

/// What became of requests after the first second, in which it is seen who asks for how much.
#[derive(Debug, Default)]
struct Fate {
    loud: u32,
    loud_served: u32,
    others_refused: u32,
    /// What the last of the loud one's refusals said, header and body.
    told: (String, String),
}

/// Every 12 ms a tenant sends twenty times what the places serve, and two others come after
/// it, a request each.
async fn flood(app: &Router, name: &str) -> Fate {
    let mut asked = JoinSet::new();
    for round in 0..250_u32 {
        for tenant in std::iter::repeat_n(name, 160).chain(["acme", "globex"]) {
            let (app, tenant) = (app.clone(), tenant.to_owned());
            asked.spawn(async move {
                let answer = ask(&app, &tenant).await;
                (round, tenant, answer)
            });
        }
        tokio::time::sleep(Duration::from_millis(12)).await;
    }
    let mut fate = Fate::default();
    while let Some(done) = asked.join_next().await {
        let (round, tenant, answer) = done.expect("answered");
        if round <= 80 {
            continue;
        }
        let served = answer.status == StatusCode::OK;
        if tenant != name {
            fate.others_refused += u32::from(!served);
            continue;
        }
        fate.loud += 1;
        fate.loud_served += u32::from(served);
        if !served {
            let header = &answer.headers["why-503"];
            let header = header.to_str().expect("text").to_owned();
            assert!(header.contains("rule=tenant-share"), "{header}");
            fate.told = (header, answer.body);
        }
    }
    fate
}

fn check(fate: &Fate) {
    assert_eq!(fate.others_refused, 0, "{fate:?}");
    // The others take two of eight places in each round; of the six that are left it has half.
    let rounds = fate.loud / 160;
    assert!(fate.loud_served >= 3 * rounds, "{fate:?}");
    assert!(fate.told.0.contains("safe-to-retry"), "{fate:?}");
}

#[tokio::test(start_paused = true)]
async fn one_tenant_at_twenty_times_the_load_is_held_to_its_share_and_named() {
    let guard = Guard::builder().without_signals().shed(shed());
    let guard = guard.build().expect("valid");
    let app = guard.protect(routes()).into_router();
    let _running = guard.start().expect("a runtime");
    let fate = flood(&app, "noisy-client").await;
    check(&fate);
    let (header, body) = &fate.told;
    assert!(
        !header.contains("noisy") && !body.contains("noisy"),
        "{fate:?}"
    );
    let control = guard.control();
    let seen = control
        .shedder()
        .snapshot()
        .tenants
        .expect("they are told apart");
    assert_eq!(
        (seen.most[0].name.as_str(), seen.known),
        ("noisy-client", 3)
    );
    assert!(seen.most[0].greedy && !seen.most[1].greedy, "{seen:?}");
    let told = control.diagnosis();
    let grew = told.findings.iter().find(|it| it.id == Id::TrafficTenant);
    let grew = grew.unwrap_or_else(|| panic!("{:?}", told.findings));
    assert!(
        grew.summary.starts_with("noisy-client asks for "),
        "{}",
        grew.summary
    );
}

#[tokio::test(start_paused = true)]
async fn the_layer_alone_shares_alike_by_a_rule_over_the_head() {
    let shed = Shed::fixed(8).tenant(|head| {
        let value = head.headers().get(TENANT)?.to_str().ok()?;
        Some(Cow::Owned(value.to_uppercase()))
    });
    let layer = ShedLayer::new(shed, Explain::default()).expect("valid");
    let shedder = layer.shedder();
    let app = routes().layer(layer);
    let fate = flood(&app, "loud").await;
    check(&fate);
    let seen = shedder.snapshot().tenants.expect("they are told apart");
    assert_eq!(seen.most[0].name, "LOUD");
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_of_tenants_is_told_nothing_of_them() {
    let guard = Guard::builder().without_signals().shed(Shed::fixed(8));
    let guard = guard.build().expect("valid");
    let app = guard.protect(routes()).into_router();
    assert_eq!(ask(&app, "acme").await.status, 200);
    assert_eq!(guard.control().shedder().snapshot().tenants, None);
}

//! The JSON: its schema, and its order.

use serde_json::{Value, json};

use super::*;

fn schema() -> Value {
    let text = include_str!("../../../../docs/why503.schema.json");
    serde_json::from_str(text).expect("JSON")
}

#[track_caller]
fn keeps_to(schema: &Value, answer: &Answer) {
    let checked = jsonschema::validator_for(schema).expect("a schema");
    let given = answer.json();
    let faults: Vec<_> = checked
        .iter_errors(&given)
        .map(|fault| format!("{} at {}", fault, fault.instance_path()))
        .collect();
    assert!(faults.is_empty(), "{faults:#?}\n{}", answer.body);
}

/// Goal: real answers keep to the schema that is written down, whatever goes on. Method:
/// everything that adds a member happens, and the page is asked for after each.
#[tokio::test(start_paused = true)]
async fn every_answer_keeps_to_its_schema() {
    let (payments, health) = test_util::dependency("payments");
    let gated = payments.clone();
    let pay = get(|| async { "paid" }).layer(gated.gate());
    let guard = builder()
        .dependency(&payments)
        .shed(Shed::fixed(1).tenant_header(http::HeaderName::from_static("x-tenant")))
        .build()
        .expect("valid");
    let app = guard.protect(app().route("/pay", pay).route(
        "/slow",
        get(|| async { tokio::time::sleep(SECOND * 60).await }),
    ));
    let schema = schema();
    let page = async || keeps_to(&schema, &ask(&app, with_token("/why503/", &[])).await);
    page().await;
    let running = guard.start().expect("started");
    tokio::time::sleep(5 * SECOND).await;
    page().await;
    health.fail("connection refused");
    tokio::time::sleep(60 * SECOND).await;
    page().await;
    let refused = ask(&app, to("/pay")).await;
    assert_eq!(refused.cause(), "dependency-down", "{}", refused.body);
    let slow = app.clone();
    tokio::spawn(async move { ask(&slow, to("/slow")).await });
    tokio::time::sleep(SECOND).await;
    for _ in 0..3 {
        let app = app.clone();
        let traced = [("x-request-id", "r-1"), ("traceparent", TRACE)];
        let request = request("GET", "/", &traced);
        tokio::spawn(async move { ask(&app, request).await });
    }
    tokio::time::sleep(2 * SECOND).await;
    page().await;
    let found = json!({ "$ref": "#/$defs/found", "$defs": schema["$defs"] });
    for id in [refused.id().as_str(), "r-1", &TRACE[3..35]] {
        let by_path = ask(&app, with_token(&format!("/why503/{id}"), &[])).await;
        assert_eq!(by_path.status, 200, "{id}");
        keeps_to(&found, &by_path);
        let by_query = ask(&app, with_token(&format!("/why503/find?id={id}"), &[])).await;
        assert_eq!(by_query.json(), by_path.json());
    }
    let nothing = ask(&app, with_token("/why503/nothing", &[])).await;
    assert_eq!(nothing.status, 404);
    keeps_to(&found, &nothing);
    guard
        .control()
        .begin_maintenance("moving", Some(60 * SECOND));
    let _ = ask(&app, to("/")).await;
    page().await;
    guard.control().begin_drain("a test");
    tokio::time::sleep(120 * SECOND).await;
    page().await;
    drop(running);
}

/// Goal: in a storm not every refusal is kept one by one, and yet each id that a client was
/// told leads to its cause, its rule, its moment and its incident; an invented one does not.
#[tokio::test(start_paused = true)]
async fn every_id_of_a_storm_is_known() {
    let (guard, app) = refusing();
    let mut ids = Vec::new();
    for _ in 0..200 {
        ids.push(ask(&app, to("/")).await.id());
    }
    let not_kept = guard.control().explain().ledger().passed_over();
    assert!(not_kept >= 100, "{not_kept}");
    let found = json!({ "$ref": "#/$defs/found", "$defs": schema()["$defs"] });
    let mut recalled = 0;
    for id in &ids {
        let answer = ask(&app, with_token(&format!("/why503/{id}"), &[])).await;
        assert_eq!(answer.status, 200, "{id}");
        keeps_to(&found, &answer);
        let one = &answer.json()["refusals"][0];
        assert_eq!(one["id"], **id);
        assert_eq!(one["cause"], "maintenance");
        assert_eq!(one["safe_to_retry"], true);
        assert_eq!(one["evidence"]["reason"], "moving house");
        recalled += u64::from(one["note"].is_string());
    }
    assert_eq!(recalled, not_kept);
    let page = ask(&app, with_token(&format!("/why503/{}", ids[199]), &[HTML])).await;
    assert!(page.body.contains("start of its incident"), "{}", page.body);
    // As another instance would make it: one digit of its own differs.
    let last = &ids[199];
    let digit = if &last[22..23] == "0" { "1" } else { "0" };
    let other = format!("{}{digit}{}", &last[..22], &last[23..]);
    let nothing = ask(&app, with_token(&format!("/why503/{other}"), &[])).await;
    assert_eq!(nothing.status, 404, "{other}");
}

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Goal: whoever reads the JSON in a terminal meets the sentence first and the details last.
#[tokio::test]
async fn members_stand_in_the_order_in_which_a_person_reads() {
    let (_guard, app) = refusing();
    let refused = ask(&app, to("/")).await;
    let page = ask(&app, with_token("/why503/", &[])).await;
    let members = [
        "schema",
        "at",
        "state",
        "fix",
        "standing",
        "reasons",
        "phase",
        "maintenance",
        "findings",
        "incidents",
        "refusals",
        "checklist",
        "runtime_lag_ms",
        "shed",
        "runtime",
        "dependencies",
        "timeline",
        "process",
        "recent",
        "ruled_out",
        "not_checked",
    ];
    let places: Vec<_> = members
        .iter()
        .map(|name| page.body.find(&format!("\"{name}\":")).expect(name))
        .collect();
    assert!(places.is_sorted(), "{places:?} in {}", page.body);
    let one = ask(&app, with_token(&format!("/why503/{}", refused.id()), &[])).await;
    let places = [
        "id", "at", "cause", "source", "request", "answered", "evidence",
    ]
    .map(|name| one.body.rfind(&format!("\"{name}\":")).expect(name));
    assert!(places.is_sorted(), "{places:?} in {}", one.body);
    let state = page.json()["state"]
        .as_str()
        .expect("a sentence")
        .to_owned();
    assert!(state.starts_with("Refusing "), "{state}");
    assert!(
        state.contains("because of maintenance: moving house"),
        "{state}"
    );
    let fix = page.json()["fix"].as_str().expect("a fix").to_owned();
    assert!(fix.starts_with("End "), "{fix}");
    // No number that only a machine can read.
    assert!(!page.body.contains("e-0"), "{}", page.body);
}

/// Goal: the plot's numbers are those of the ledger, minute by minute, and a quarter of an
/// hour holds its minutes.
#[tokio::test(start_paused = true)]
async fn refusals_are_counted_by_cause_and_time() {
    let (guard, app) = refusing();
    let _running = guard.start().expect("started");
    for _ in 0..3 {
        for _ in 0..4 {
            let _ = ask(&app, to("/")).await;
        }
        tokio::time::sleep(61 * SECOND).await;
    }
    tokio::time::sleep(3600 * SECOND).await;
    let _ = ask(&app, to("/")).await;
    tokio::time::sleep(2 * SECOND).await;
    let refusals = ask(&app, with_token("/why503/", &[])).await.json()["refusals"].clone();
    assert_eq!(refusals["by_cause"], json!({ "maintenance": 13 }));
    assert_eq!(
        refusals["last_hour"]["by_cause"],
        json!({ "maintenance": 1 })
    );
    assert_eq!(
        refusals["last_day"]["by_cause"],
        json!({ "maintenance": 13 })
    );
    let slots = refusals["last_hour"]["slots"].as_array().expect("a list");
    assert_eq!(slots.len(), 1, "{refusals}");
    let quarters = refusals["last_day"]["slots"].as_array().expect("a list");
    assert!((2..=3).contains(&quarters.len()), "{refusals}");
    assert!(
        quarters.is_sorted_by_key(|slot| slot["from"].as_str()),
        "{refusals}"
    );
}

/// Goal: how long people wait for an answer to begin is told apart from how long a place is
/// held. Method: an answer that begins after 100 ms and takes 5 s, often enough that some are
/// measured.
#[tokio::test(start_paused = true)]
async fn the_head_of_an_answer_is_measured_apart_from_its_body() {
    fastrand::seed(7);
    let guard = builder().build().expect("valid");
    let download = || async {
        tokio::time::sleep(SECOND / 10).await;
        let slow = futures_util::stream::once(async {
            tokio::time::sleep(5 * SECOND).await;
            Ok::<_, std::convert::Infallible>("the end")
        });
        Body::from_stream(slow)
    };
    let app = guard.protect(app().route("/download", get(download)));
    let _running = guard.start().expect("started");
    let page = async || ask(&app, with_token("/why503/", &[])).await.json()["shed"].clone();
    assert!(page().await["head"].is_null(), "nothing was answered yet");
    let asked: Vec<_> = (0..200)
        .map(|_| {
            let app = app.clone();
            tokio::spawn(async move { ask(&app, to("/download")).await.body })
        })
        .collect();
    for answer in asked {
        assert_eq!(answer.await.expect("no panic"), "the end");
    }
    let shed = page().await;
    let ms = |it: &Value| it.as_f64().expect("a number");
    let head = &shed["head"];
    for time in ["mean_ms", "p50_ms", "p99_ms"] {
        assert!(
            (100.0..=111.0).contains(&ms(&head[time])),
            "{time}: {shed:#}"
        );
    }
    assert!(head["samples"].as_u64() >= Some(1), "{shed:#}");
    assert!(ms(&shed["mean_held_ms"]) >= 5_000.0, "{shed:#}");
    keeps_to(&schema(), &ask(&app, with_token("/why503/", &[])).await);
    let html = ask(&app, with_token("/why503/", &[HTML])).await.body;
    assert!(html.contains("Answers begin after"), "{html}");
}

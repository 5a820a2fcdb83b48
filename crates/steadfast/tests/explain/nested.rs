//! Rooms in rooms, upstreams behind us, and a guard around itself: each refusal is explained
//! and written down once, by whoever made it.

use super::*;
use axum::response::IntoResponse;
use steadfast::{Explain, ExplainLayer};

/// Goal: an upstream's promise that a request may be repeated ends where a handler was
/// entered; what else it said stays readable.
#[tokio::test(start_paused = true)]
async fn an_upstreams_promise_does_not_survive_a_handler() {
    for (said, kept) in [
        (
            &["cause=overloaded;rule=limit, id=\"0190\", safe-to-retry"][..],
            "cause=overloaded;rule=limit, id=\"0190\"",
        ),
        (&["cause=draining", "safe-to-retry;a=1"], "cause=draining"),
        (&["safe-to-retry=?1"], ""),
        (
            &["id=\"a, safe-to-retry\", safe-to-retry"],
            "id=\"a, safe-to-retry\"",
        ),
        (
            &["cause=\"a \\\" b, c\", safe-to-retry"],
            "cause=\"a \\\" b, c\"",
        ),
    ] {
        let guard = builder().build().expect("valid");
        let passes_on = move || async move {
            let mut answer = (StatusCode::SERVICE_UNAVAILABLE, "theirs").into_response();
            for value in said {
                answer
                    .headers_mut()
                    .append("why-503", value.parse().expect("a value"));
            }
            answer
        };
        let app = guard.protect(Router::new().route("/", get(passes_on)));
        let answer = ask(&app, to("/")).await;
        assert_eq!(answer.body, "theirs");
        let values = answer.headers.get_all("why-503").iter();
        let values: Vec<_> = values.map(|it| it.to_str().expect("text")).collect();
        let (ours, theirs) = values.split_last().expect("a mark");
        assert!(ours.starts_with("cause=application, id=\""), "{values:?}");
        assert!(!ours.contains("safe-to-retry"), "{values:?}");
        assert_eq!(theirs.join(", "), kept);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_an_inner_room_is_neither_marked_nor_written_down_again() {
    let (inner, _running) = (builder().build().expect("valid"), ());
    inner.control().begin_maintenance("moving house", None);
    let outer = builder().build().expect("valid");
    let app = Router::new().route("/", get(|| async { "hello" }));
    let app = outer.protect(inner.protect(app).into_router());
    let answer = ask(&app, to("/")).await;
    assert_eq!(answer.cause(), "maintenance");
    assert_eq!(answer.headers.get_all("why-503").iter().count(), 1);
    assert!(answer.header("why-503").contains("safe-to-retry"));
    let recent = |guard: &Guard| guard.control().explain().ledger().view().recent.len();
    assert_eq!((recent(&inner), recent(&outer)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_explain_layer_inside_a_guard_explains_once() {
    let (guard, payments, _health) = payments_down(builder());
    let own = Explain::default();
    let refused = move || async move { payments.require().map_err(Error::from) };
    let app = Router::new().route("/", get(refused));
    let layer = ExplainLayer::new(own.clone());
    let layered =
        Router::new().fallback_service(tower::ServiceBuilder::new().layer(layer).service(app));
    let answer = ask(&guard.protect(layered), to("/")).await;
    assert_eq!(answer.cause(), "dependency-down");
    assert_eq!(answer.headers.get_all("why-503").iter().count(), 1);
    let outer = guard.control().explain().ledger().view().recent.len();
    assert_eq!((own.ledger().view().recent.len(), outer), (1, 0));
}

/// Goal: an application that is protected twice by one guard is guarded once, and somebody is
/// told.
#[tokio::test(start_paused = true)]
async fn a_guard_around_itself_steps_aside_and_says_so_once() {
    let (log, _subscriber) = Log::capture();
    let guard = builder().shed(Shed::fixed(1)).build().expect("valid");
    let control = guard.control();
    let shedder = control.shedder().clone();
    let running = move || async move { shedder.in_flight().to_string() };
    let own = || async { StatusCode::SERVICE_UNAVAILABLE };
    let app = Router::new()
        .route("/", get(running))
        .route("/503", get(own));
    let twice = guard.protect(guard.protect(app).into_router().layer(guard.layer()));
    for _ in 0..3 {
        let answer = ask(&twice, to("/")).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, "1"));
    }
    assert_eq!(control.shedder().in_flight(), 0);
    let said = log.lines("protected twice");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("ERROR"), "{said:?}");
    let answer = ask(&twice, to("/503")).await;
    assert_eq!(answer.headers.get_all("why-503").iter().count(), 1);
    assert_eq!(control.explain().ledger().view().recent.len(), 1);
}

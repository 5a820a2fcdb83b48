//! State lives in the layer: every service made from it shares it.

use steadfast::{BreakerMode, Phase};

use super::*;

#[tokio::test]
async fn two_services_of_one_layer_share_one_limit() {
    for (subject, shedder) in holders() {
        let (mut first, mut second) =
            ((subject.wrap)(Strict::new()), (subject.wrap)(Strict::new()));
        ready(&mut first).await;
        let mut running = first.call(to("/hang"));
        assert!(poll_once(Pin::new(&mut running)).is_pending());
        ready(&mut second).await;
        let refused = second.call(to("/")).await.expect(subject.name);
        assert_eq!(refused.status(), 503, "{}", subject.name);
        drop(running);
        assert_eq!(
            shedder.in_flight(),
            0,
            "{}: a dropped future returns it",
            subject.name
        );
        ready(&mut second).await;
        let served = second.call(to("/")).await.expect(subject.name);
        assert_eq!(served.status(), 200, "{}", subject.name);
    }
}

#[tokio::test]
async fn two_services_of_one_drain_layer_follow_one_life() {
    let now = tokio::time::Instant::now().into_std();
    let life = Arc::new(Lifecycle::new(now));
    let layer = DrainLayer::new(Arc::clone(&life), Explain::default());
    let wrap = wrapped(layer);
    let (mut first, mut second) = (wrap(Strict::new()), wrap(Strict::new()));
    life.advance(Phase::Stopped, now);
    for service in [&mut first, &mut second] {
        ready(service).await;
        assert_eq!(service.call(to("/")).await.expect("answered").status(), 503);
    }
}

#[tokio::test]
async fn two_services_of_one_gate_refuse_for_one_dependency_in_call() {
    let payments = Dependency::builder("payments").build().expect("valid");
    let wrap = wrapped(payments.gate());
    let (mut first, mut second) = (wrap(Strict::new()), wrap(Strict::new()));
    payments.set_mode(BreakerMode::ForcedOpen);
    for service in [&mut first, &mut second] {
        ready(service).await;
        // The path says that the inner service would panic if it were called.
        let refused = service.call(to("/panic-in-call")).await.expect("answered");
        assert_eq!(refused.status(), 503);
    }
    payments.set_mode(BreakerMode::Auto);
    ready(&mut first).await;
    assert_eq!(first.call(to("/")).await.expect("answered").status(), 200);
}

#[tokio::test]
async fn two_services_of_one_explain_layer_write_into_one_ledger() {
    let explain = Explain::default();
    let wrap = wrapped(ExplainLayer::new(explain.clone()));
    for mut service in [wrap(Strict::new()), wrap(Strict::new())] {
        ready(&mut service).await;
        assert_eq!(
            service.call(to("/503")).await.expect("answered").status(),
            503
        );
    }
    assert_eq!(explain.ledger().count(steadfast::Cause::Application), 2);
}

//! The contract of `tower::Service`: readiness, calls and errors.

use super::*;

#[tokio::test]
async fn a_call_uses_the_instance_that_was_polled_and_a_clone_inherits_no_readiness() {
    for subject in subjects() {
        let mut service = (subject.wrap)(Strict::new());
        ready(&mut service).await;
        let mut clone = service.clone();
        let answer = service.call(to("/")).await.expect(subject.name);
        assert_eq!(answer.status(), 200, "{}", subject.name);
        drop(answer);
        let unpolled = std::panic::AssertUnwindSafe(async move { clone.call(to("/")).await });
        let outcome = unpolled.catch_unwind().await;
        assert_eq!(
            outcome.is_err(),
            subject.transparent,
            "{}: a clone is not ready",
            subject.name
        );
    }
}

#[tokio::test]
async fn an_inner_service_that_is_not_ready_is_waited_for() {
    for subject in subjects().into_iter().filter(|subject| subject.transparent) {
        let inner = Strict::new();
        inner.shared.busy.store(true, Ordering::SeqCst);
        let shared = Arc::clone(&inner.shared);
        let mut service = (subject.wrap)(inner);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut cx).is_pending(), "{}", subject.name);
        shared.busy.store(false, Ordering::SeqCst);
        assert!(service.poll_ready(&mut cx).is_ready(), "{}", subject.name);
    }
}

#[tokio::test]
async fn the_inner_error_arrives_as_it_is() {
    for subject in subjects().into_iter().filter(|subject| subject.transparent) {
        let mut service = (subject.wrap)(Strict::new());
        ready(&mut service).await;
        let error = service.call(to("/error")).await.expect_err("it fails");
        let inner = error.downcast_ref::<InnerError>();
        assert_eq!(inner, Some(&InnerError("told to fail")), "{}", subject.name);
        if let Some(shedder) = subject.shedder {
            assert_eq!(
                shedder.in_flight(),
                0,
                "{}: an error returns the permit",
                subject.name
            );
        }
    }
}

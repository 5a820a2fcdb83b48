//! A permit comes back: at the end of the body, on drop, error, panic and upgrade.

use http_body_util::BodyExt;

use super::*;

#[tokio::test]
async fn a_panic_returns_the_permit() {
    for path in ["/panic-in-call", "/panic-in-poll"] {
        for (subject, shedder) in holders() {
            let mut service = (subject.wrap)(Strict::new());
            ready(&mut service).await;
            let running = std::panic::AssertUnwindSafe(async move { service.call(to(path)).await });
            assert!(
                running.catch_unwind().await.is_err(),
                "{}: not swallowed",
                subject.name
            );
            assert_eq!(shedder.in_flight(), 0, "{} {path}", subject.name);
        }
    }
}

/// Starts a response whose body stays open, and returns it with the body's other end.
async fn open_body(subject: &Subject) -> (Response, tokio::sync::mpsc::UnboundedSender<Piece>) {
    let inner = Strict::new();
    let shared = Arc::clone(&inner.shared);
    let mut service = (subject.wrap)(inner);
    ready(&mut service).await;
    let response = service.call(to("/open-body")).await.expect("a response");
    let pieces = shared
        .bodies
        .lock()
        .expect("no panic")
        .pop()
        .expect("a body");
    (response, pieces)
}

#[tokio::test]
async fn a_permit_is_held_to_the_end_of_the_body() {
    for (subject, shedder) in holders() {
        let (mut response, pieces) = open_body(&subject).await;
        pieces.send(Ok(Frame::data("half".into()))).expect("open");
        response
            .body_mut()
            .frame()
            .await
            .expect("a frame")
            .expect("data");
        assert_eq!(shedder.in_flight(), 1, "{}: half-way", subject.name);
        drop(pieces);
        assert!(response.body_mut().frame().await.is_none());
        assert_eq!(shedder.in_flight(), 0, "{}: at its end", subject.name);
    }
}

#[tokio::test]
async fn a_dropped_body_returns_its_permit() {
    for (subject, shedder) in holders() {
        let (response, _pieces) = open_body(&subject).await;
        assert_eq!(shedder.in_flight(), 1, "{}", subject.name);
        drop(response);
        assert_eq!(shedder.in_flight(), 0, "{}", subject.name);
    }
}

#[tokio::test]
async fn a_body_that_fails_returns_its_permit() {
    for (subject, shedder) in holders() {
        let (mut response, pieces) = open_body(&subject).await;
        pieces
            .send(Err(std::io::Error::other("cut")))
            .expect("open");
        assert!(response.body_mut().frame().await.expect("a frame").is_err());
        assert_eq!(
            shedder.in_flight(),
            0,
            "{}: while it still exists",
            subject.name
        );
    }
}

#[tokio::test]
async fn a_101_gives_its_permit_back_at_the_head() {
    for (subject, shedder) in holders() {
        let mut service = (subject.wrap)(Strict::new());
        ready(&mut service).await;
        let response = service.call(to("/101")).await.expect("a response");
        assert_eq!(response.status(), 101, "{}", subject.name);
        assert_eq!(
            shedder.in_flight(),
            0,
            "{}: the response still exists",
            subject.name
        );
    }
}

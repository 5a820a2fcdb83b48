//! The page as it changes.

use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;

type Stream = http::Response<Body>;

async fn open(app: &Guarded, path: &str) -> Stream {
    let Ok(answer) = app.clone().oneshot(with_token(path, &[])).await;
    answer
}

async fn next(stream: &mut Stream) -> Option<String> {
    let frame = stream.body_mut().frame().await?.expect("no error");
    let data = frame.into_data().expect("data");
    Some(String::from_utf8(data.to_vec()).expect("text"))
}

#[tokio::test(start_paused = true)]
async fn a_tool_is_told_the_whole_state_and_then_what_is_new() {
    let guard = builder().build().expect("valid");
    let app = guard.protect(app());
    let _running = guard.start().expect("started");
    let mut stream = open(&app, "/why503/events").await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    assert_eq!(next(&mut stream).await.as_deref(), Some("retry: 1000\n\n"));
    let first = next(&mut stream).await.expect("a state");
    let data = first.strip_prefix("event: state\ndata: ").expect(&first);
    let state: serde_json::Value = serde_json::from_str(data.trim_end()).expect("JSON");
    assert_eq!(state["schema"], "steadfast/1");
    guard.control().begin_maintenance("moving house", None);
    let mut seen = String::new();
    while !seen.contains("moving house") {
        seen = next(&mut stream).await.expect("more");
    }
}

#[tokio::test(start_paused = true)]
async fn the_page_is_told_only_the_sections_that_changed() {
    let guard = builder().build().expect("valid");
    let app = guard.protect(app());
    let _running = guard.start().expect("started");
    let mut stream = open(&app, "/why503/events?sections").await;
    let mut ids = Vec::new();
    let _ = next(&mut stream).await;
    for _ in 0..9 {
        let event = next(&mut stream).await.expect("a section");
        let data = event.strip_prefix("event: section\ndata: ").expect(&event);
        let section: serde_json::Value = serde_json::from_str(data.trim_end()).expect("JSON");
        ids.push(section["id"].as_str().expect("an id").to_owned());
    }
    assert_eq!(ids[0], "state");
    guard.control().begin_maintenance("moving house", None);
    loop {
        let event = next(&mut stream).await.expect("more");
        assert!(
            !event.contains("\"id\":\"incidents\""),
            "nothing was refused: {event}"
        );
        if event.contains("\"id\":\"state\"") && event.contains("moving house") {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_between_two_events_when_the_process_drains() {
    let guard = builder().build().expect("valid");
    let app = guard.protect(app());
    let _running = guard.start().expect("started");
    let mut stream = open(&app, "/why503/events").await;
    let _ = next(&mut stream).await;
    guard.control().begin_drain("a test");
    let mut last = String::new();
    while let Some(event) = next(&mut stream).await {
        assert!(event.ends_with("\n\n"), "{event}");
        last = event;
    }
    assert_eq!(last, "event: bye\ndata: {}\n\n");
}

#[tokio::test(start_paused = true)]
async fn listeners_are_bounded_and_a_place_comes_free() {
    let guard = builder().build().expect("valid");
    let app = guard.protect(app());
    let _running = guard.start().expect("started");
    let mut streams = Vec::new();
    for _ in 0..32 {
        streams.push(open(&app, "/why503/events").await);
    }
    let full = open(&app, "/why503/events").await;
    assert_eq!(full.status(), 429);
    drop(streams.pop());
    assert_eq!(open(&app, "/why503/events").await.status(), 200);
    let stranger = ask(&app, to("/why503/events")).await;
    assert_eq!(stranger.status, 401);
}

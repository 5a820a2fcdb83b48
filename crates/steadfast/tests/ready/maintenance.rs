//! Maintenance by the application, a file and a request.

use super::*;

#[tokio::test(start_paused = true)]
async fn maintenance_by_the_api_refuses_requests_and_ends_by_itself() {
    let service = start(builder());
    let control = service.guard.control();
    control.begin_maintenance("moving house", Some(60 * SECOND));
    assert_eq!(
        service.ready().await,
        (503, "not ready: maintenance\n".to_owned())
    );
    let (_, line) = service.ready_in_full().await;
    assert_eq!(line, "not ready: maintenance: moving house\n");
    let refused = service.ask("/").await;
    assert_eq!(
        (refused.status.as_u16(), refused.cause()),
        (503, "maintenance")
    );
    assert!(!refused.body.contains("moving"), "{}", refused.body);
    let told: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!((60..=75).contains(&told), "not before its end: {told}");
    assert_eq!(service.ask("/health/").await.status, 200);
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(service.ask("/").await.status, 200);
    assert_eq!(service.ready().await.0, 200);
    tokio::time::sleep(2 * SECOND).await;
    let changes = control.explain().ledger().view().changes;
    let ends = changes
        .iter()
        .filter(|it| it.subject.as_str() == "maintenance" && &*it.to == "off");
    assert_eq!(ends.count(), 1, "its end is told once: {changes:?}");
    control.begin_maintenance("again", None);
    assert_eq!(service.ask("/").await.status, 503);
    control.end_maintenance();
    assert_eq!(
        (
            service.ask("/").await.status.as_u16(),
            service.ready().await.0
        ),
        (200, 200)
    );
}

#[tokio::test(start_paused = true)]
async fn maintenance_by_a_file_lasts_as_long_as_the_file() {
    let path = std::env::temp_dir().join(format!("steadfast-maintenance-{}", std::process::id()));
    let service = start(builder().maintenance_file(&path));
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(service.ask("/").await.status, 200);
    std::fs::write(&path, "schema change\nsecond line\n").expect("written");
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(service.ask("/").await.cause(), "maintenance");
    assert_eq!(
        service.ready_in_full().await.1,
        "not ready: maintenance: schema change\n"
    );
    service.guard.control().end_maintenance();
    assert_eq!(service.ask("/").await.status, 503, "only the file ends it");
    std::fs::write(&path, "").expect("written");
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(
        service.ready_in_full().await.1,
        "not ready: maintenance: declared by file\n"
    );
    std::fs::remove_file(&path).expect("removed");
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(
        (
            service.ask("/").await.status.as_u16(),
            service.ready().await.0
        ),
        (200, 200)
    );
}

/// Goal: the timeline says off when requests pass again, not when one of two who declared a
/// maintenance has ended theirs.
#[tokio::test(start_paused = true)]
async fn a_maintenance_that_two_declared_is_off_when_both_have_ended() {
    let file = format!("steadfast-maintenance-both-{}", std::process::id());
    let path = std::env::temp_dir().join(file);
    std::fs::write(&path, "schema change").expect("written");
    let service = start(builder().maintenance_file(&path));
    let control = service.guard.control();
    tokio::time::sleep(3 * SECOND).await;
    control.begin_maintenance("moving house", None);
    control.end_maintenance();
    assert_eq!(service.ask("/").await.status, 503);
    control.begin_maintenance("moving again", Some(SECOND));
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(service.ask("/").await.status, 503);
    std::fs::remove_file(&path).expect("removed");
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(service.ask("/").await.status, 200);
    let changes = control.explain().ledger().view().changes;
    // The newest comes first.
    let seen: Vec<_> = changes
        .iter()
        .rev()
        .filter(|it| it.subject.as_str() == "maintenance")
        .map(|it| (&*it.from, &*it.to, &*it.why))
        .collect();
    let expected = [
        ("off", "on", "schema change"),
        ("on", "on", "moving house"),
        ("on", "on", "the operator's has ended; still: schema change"),
        ("on", "on", "moving again"),
        (
            "on",
            "on",
            "the operator's time is over; still: schema change",
        ),
        ("on", "off", "the file's has ended"),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test(start_paused = true)]
async fn maintenance_by_a_request_needs_the_token() {
    let service = start(builder());
    let order = |method: &str, query: &str, authorised: bool| {
        let path = format!("/why503/maintenance{query}");
        let mut order = if authorised {
            with_token(&path, &[])
        } else {
            to(&path)
        };
        *order.method_mut() = method.parse().expect("a method");
        ask(&service.app, order)
    };
    assert_eq!(order("PUT", "?reason=x", false).await.status, 401);
    assert_eq!(service.ask("/").await.status, 200);
    let on = order("PUT", "?reason=schema%20change&for=10m", true).await;
    assert_eq!(
        (on.status.as_u16(), on.json()["reason"].as_str()),
        (200, Some("schema change"))
    );
    assert_eq!(service.ask("/").await.cause(), "maintenance");
    assert_eq!(order("DELETE", "", false).await.status, 401);
    assert_eq!(order("PUT", "?for=long", true).await.status, 400);
    assert_eq!(order("PUT", "?fro=10m", true).await.status, 400);
    assert_eq!(order("PATCH", "", true).await.status, 405);
    assert_eq!(order("DELETE", "", true).await.json()["maintenance"], false);
    assert_eq!(service.ask("/").await.status, 200);
}

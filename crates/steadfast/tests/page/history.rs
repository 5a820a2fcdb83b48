//! What the page of a restarted process says of the one before.

use super::*;

async fn page(app: &Guarded) -> serde_json::Value {
    ask(app, with_token("/why503/", &[])).await.json()
}

/// Real time: the history is read and written by a thread.
#[tokio::test]
async fn the_page_of_a_restarted_process_says_what_its_predecessor_did() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("history");
    let run = |version: &str| {
        let probes = Probes::default().service("shop", version);
        let guard = builder().probes(probes).history_file(&file).build();
        let guard = guard.expect("valid");
        let app = guard.protect(app());
        let running = guard.start().expect("started");
        (guard, app, running)
    };
    let (first, app, running) = run("1.0.0");
    assert!(page(&app).await["earlier"].is_null());
    first.control().begin_maintenance("moving house", None);
    for _ in 0..3 {
        let _ = ask(&app, to("/")).await;
    }
    drop(running);
    let text = std::fs::read_to_string(&file).expect("written");
    assert!(text.contains("\"what\":\"ended\""), "{text}");
    // The next one: its end was torn away, as by a full disk.
    let (_second, app, running) = run("1.1.0");
    common::until("the second's first line", || {
        let text = std::fs::read_to_string(&file).expect("written");
        text.matches("\"what\":\"started\"").count() == 2
    })
    .await;
    drop(running);
    let text = std::fs::read(&file).expect("written");
    std::fs::write(&file, &text[..text.len() - 20]).expect("torn");
    drop(app);

    let (_third, app, _running) = run("1.2.0");
    common::soon("the history", async {
        while page(&app).await["earlier"].is_null() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let page = page(&app).await;
    let earlier = page["earlier"].as_array().expect("a list");
    let versions: Vec<_> = earlier.iter().map(|run| run["version"].as_str()).collect();
    assert_eq!(versions, [Some("1.1.0"), Some("1.0.0")], "{page:#}");
    assert!(earlier[0]["ended"].is_null(), "its end was torn: {page:#}");
    assert_eq!(earlier[1]["ended"], "stopped without a drain");
    let incident = &earlier[1]["incidents"][0];
    assert_eq!(
        (&incident["cause"], &incident["count"]),
        (&"maintenance".into(), &3.into())
    );
    assert_eq!(incident["evidence"]["reason"], "moving house");
    let rolled_out = page["checklist"].as_array().expect("a list");
    let rolled_out = rolled_out
        .iter()
        .find(|it| it["question"] == "Was something just rolled out?");
    let says = rolled_out.expect("it is asked")["says"]
        .as_str()
        .expect("text");
    assert!(
        says.ends_with("with version 1.2.0; before it ran 1.1.0."),
        "{says}"
    );
}

#[tokio::test]
async fn a_history_that_cannot_be_is_an_error_of_start() {
    let file = "/nowhere/at/all/history";
    let guard = builder().history_file(file).build().expect("valid");
    let error = guard.start().expect_err("no directory").to_string();
    assert!(error.contains(file) && error.contains("allowed"), "{error}");
}

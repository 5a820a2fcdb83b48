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
    // Whoever drops it waits for a disk that is slow, but not for ever.
    let ends = || {
        let text = std::fs::read_to_string(&file).expect("written");
        text.matches("\"what\":\"ended\"").count()
    };
    common::until("the first's last line", || ends() == 1).await;
    // The next one: its end was torn away, as by a full disk.
    let (_second, app, running) = run("1.1.0");
    common::until("the second's first line", || {
        let text = std::fs::read_to_string(&file).expect("written");
        text.matches("\"what\":\"started\"").count() == 2
    })
    .await;
    drop(running);
    common::until("the second's last line", || ends() == 2).await;
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

/// Goal: a deploy is a change of version between two runs, in the timeline and for the
/// diagnosis; a restart with the same version is none, whatever ran long before.
#[tokio::test]
async fn a_deploy_is_a_change_of_version_and_a_restart_is_none() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("history");
    for (run, (version, before)) in [
        ("1.0.0", None),
        ("1.1.0", Some("1.0.0")),
        ("1.1.0", None),
        ("1.0.0", Some("1.1.0")),
    ]
    .into_iter()
    .enumerate()
    {
        let probes = Probes::default().service("shop", version);
        let guard = builder().probes(probes).history_file(&file).build();
        let guard = guard.expect("valid");
        let app = guard.protect(app());
        let running = guard.start().expect("started");
        common::soon("the history", async {
            let runs = async || page(&app).await["earlier"].as_array().map_or(0, Vec::len);
            while runs().await < run {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        let deploys = async || {
            let page = page(&app).await;
            let timeline = page["timeline"].as_array().expect("a list").iter();
            let ours = timeline.filter(|it| it["subject"] == "version");
            let told = ours.map(|it| format!("{} to {}", it["from"], it["to"]));
            told.collect::<Vec<_>>()
        };
        let expected = before.map(|before| format!("{before:?} to {version:?}"));
        let expected: Vec<_> = expected.into_iter().collect();
        match expected.is_empty() {
            // A round in the background, which would have told one.
            true => tokio::time::sleep(Duration::from_millis(1_500)).await,
            false => {
                common::soon("the deploy", async {
                    while deploys().await.is_empty() {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                })
                .await;
            }
        }
        assert_eq!(deploys().await, expected, "run {run}");
        let _ = ask(&app, to("/sorry")).await;
        let told = guard.control().diagnosis();
        let rolled_out = told
            .findings
            .iter()
            .any(|it| it.id == steadfast::diagnosis::Id::DeployRollout);
        assert_eq!(rolled_out, before.is_some(), "run {run}: {told:#?}");
        drop(running);
    }
}

/// Goal: two builds are told apart where nobody has named a version.
#[tokio::test]
async fn a_build_without_a_version_is_named_by_its_moment() {
    let guard = Guard::builder().without_signals().token(TOKEN).build();
    let guard = guard.expect("valid");
    let app = guard.protect(app());
    let _running = guard.start().expect("started");
    let version = page(&app).await["process"]["version"].clone();
    let version = version.as_str().expect("a version");
    assert!(version.starts_with("built 20"), "{version}");
}

#[tokio::test]
async fn a_history_that_cannot_be_is_an_error_of_start() {
    let file = "/nowhere/at/all/history";
    let guard = builder().history_file(file).build().expect("valid");
    let error = guard.start().expect_err("no directory").to_string();
    assert!(error.contains(file) && error.contains("allowed"), "{error}");
}

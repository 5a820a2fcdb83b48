//! A real Prometheus over a real fleet is asked what the dashboard asks, while one instance
//! has no database, all have too much to do, and one is drained. One test, because a fleet
//! takes a while to start, and because the dashboard has to answer all of it in turn.
#![allow(
    clippy::expect_used,
    reason = "tests have nobody to return an error to"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use fleet::{Answers, Fleet, INSTANCES, Query, Story, Trouble, queries};

/// Panels that may stay empty here, because what they show does not happen in this fleet.
const MAY_BE_EMPTY: [(&str, &str); 5] = [
    ("Memory and processor time", "the host may set no limit"),
    ("Stalled for", "the kernel may not tell"),
    (
        "Connections",
        "nothing is cut, nobody is slow, every connection is accepted",
    ),
    (
        "Requests that wait at the limit",
        "a fixed limit has no queue",
    ),
    ("Deploys", "the version stays"),
];

/// Clocks of the test and of the shops are one, and what is published is a second old.
const SLACK_SECS: f64 = 2.0;

/// The shop that was built beside this test, as `cargo test --workspace` does; alone,
/// `cargo build -p shop` builds it.
fn shop() -> String {
    let this = std::env::current_exe().expect("a path");
    // …/target/debug/deps/this
    let built = this.ancestors().nth(2).expect("a directory");
    let shop: PathBuf = built.join("shop");
    assert!(
        shop.is_file(),
        "build it first, with `cargo build -p shop`: {}",
        shop.display()
    );
    shop.to_str().expect("UTF-8").to_owned()
}

/// Which queries have had an answer.
#[derive(Default)]
struct Answered(BTreeSet<String>);

impl Answered {
    /// Asks them all: each must be understood.
    async fn ask_all(&mut self, story: &Story) {
        for Query { expr, .. } in queries() {
            if !story.fleet().ask(&expr).await.is_empty() {
                self.0.insert(expr);
            }
        }
    }
}

fn instances(answers: &Answers) -> BTreeSet<&str> {
    answers.iter().map(|it| it.label("instance")).collect()
}

fn shares(answers: &Answers) -> BTreeMap<&str, f64> {
    let pairs = answers.iter().map(|it| (it.label("cause"), it.value));
    pairs.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dashboard_says_which_instance_refuses_what_since_when_and_whether_it_is_all() {
    let mut story = Story::begin(Fleet::start(&shop()).await);
    let mut answered = Answered::default();
    let all: BTreeSet<_> = story
        .fleet()
        .instances()
        .iter()
        .map(|it| it.name().to_owned())
        .collect();

    story.make(Trouble::None).await;
    for empty in [
        "Refusing now",
        "Down now",
        "Out of rotation",
        "One or all, by cause",
    ] {
        assert_eq!(story.panel(empty).await, [], "{empty}");
    }
    answered.ask_all(&story).await;

    // One instance has no database: it alone refuses, since then.
    let began = story.make(Trouble::PausedDatabase).await;
    let victim = story.victim(Trouble::PausedDatabase).to_owned();
    let refusing = story.panel("Refusing now").await;
    assert_eq!(instances(&refusing), BTreeSet::from([victim.as_str()]));
    for sample in &refusing {
        let cause = sample.label("cause");
        assert!(
            matches!(cause, "dependency-down" | "pool-exhausted" | "overloaded"),
            "{sample:?}"
        );
        assert!(
            sample.value >= began - SLACK_SECS,
            "{} {began}",
            sample.value
        );
    }
    let down = story.panel("Down now").await;
    assert_eq!(instances(&down), BTreeSet::from([victim.as_str()]));
    assert!(
        down.iter().any(|it| it.label("dependency") == "orders-db"),
        "{down:?}"
    );
    for (cause, share) in shares(&story.panel("One or all, by cause").await) {
        assert!(
            (share - 1.0 / INSTANCES as f64).abs() < 1e-9,
            "{cause}: {share}"
        );
    }
    assert_eq!(
        story.panel("Out of rotation").await,
        [],
        "the others need the same database"
    );
    answered.ask_all(&story).await;
    story.end(Trouble::PausedDatabase).await;

    // All have too much to do.
    let began = story.make(Trouble::Overload).await;
    let refusing = story.panel("Refusing now").await;
    let overloaded = |it: &&fleet::Sample| it.label("cause") == "overloaded";
    let of_it: Answers = refusing.iter().filter(overloaded).cloned().collect();
    assert_eq!(instances(&of_it).len(), INSTANCES, "{refusing:?}");
    assert!(
        of_it.iter().all(|it| it.value >= began - SLACK_SECS),
        "{began} {of_it:?}"
    );
    let shares_now = story.panel("One or all, by cause").await;
    assert_eq!(shares(&shares_now).get("overloaded"), Some(&1.0));
    answered.ask_all(&story).await;
    story.end(Trouble::Overload).await;

    // One is drained: nobody refuses, because HAProxy has asked.
    let began = story.make(Trouble::Drain).await;
    let victim = story.victim(Trouble::Drain).to_owned();
    let out = story.panel("Out of rotation").await;
    assert_eq!(
        instances(&out),
        BTreeSet::from([victim.as_str()]),
        "{out:?}"
    );
    assert_eq!(out[0].label("phase"), "lame-duck");
    let since = format!("steadfast_phase_start_time_seconds{{instance=\"{victim}\"}}");
    let since = story.fleet().ask(&since).await;
    assert!(since[0].value >= began - SLACK_SECS, "{began} {since:?}");
    assert_eq!(story.panel("Refusing now").await, []);
    answered.ask_all(&story).await;

    // Another one is taken out, and both are told apart.
    story.make(Trouble::Maintenance).await;
    let out = story.panel("Out of rotation").await;
    let taken_out = story.victim(Trouble::Maintenance).to_owned();
    assert_eq!(
        instances(&out),
        BTreeSet::from([victim.as_str(), taken_out.as_str()])
    );
    answered.ask_all(&story).await;

    let never: Vec<_> = queries()
        .into_iter()
        .filter(|it| !answered.0.contains(&it.expr))
        .filter(|it| !MAY_BE_EMPTY.iter().any(|(panel, _)| *panel == it.panel))
        .collect();
    assert_eq!(never, [], "no answer in any of it");
    assert_eq!(all.len(), INSTANCES);
}

#[test]
fn the_dashboard_asks_for_what_is_published_only() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let queries = queries();
    assert!(queries.len() > 25, "{}", queries.len());
    for Query { panel, expr, .. } in queries {
        let words = expr.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for name in words.filter(|word| word.starts_with("steadfast_")) {
            assert!(page.contains(&format!("| `{name}` |")), "{panel}: {name}");
        }
    }
}

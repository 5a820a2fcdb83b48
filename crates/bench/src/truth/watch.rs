//! Watches an application while its dependency is harmed and healed.

use std::time::Duration;

use serde_json::Value;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::stack::{Answer, App, PATIENCE, blocking};

/// How often health is read.
const LOOK: Duration = Duration::from_millis(50);

/// Before the harm, so that something is known of the dependency.
const BEFORE: Duration = Duration::from_secs(2);

/// How long the harm lasts after it is known, and if it never is.
const KNOWN_FOR: Duration = Duration::from_secs(4);
const UNKNOWN_MAX: Duration = Duration::from_secs(35);

/// How long it may take to be served again, and for how long nothing may fail then.
const HEALING_MAX: Duration = Duration::from_secs(20);
const HEALTHY_FOR: Duration = Duration::from_secs(3);

/// What is asked, and of whom is to be told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// The name of the dependency.
    pub(super) dependency: &'static str,
    /// What is asked, before and after the harm.
    pub(super) path: &'static str,
    /// What is asked while it lasts.
    pub(super) harmed_path: &'static str,
    /// What is asked beside it and needs nothing of what is harmed.
    pub(super) beside: Option<&'static str>,
    pub(super) rate_per_sec: f64,
    /// How long the harm lasts, if nobody is to know of it.
    pub(super) harmless_for: Option<Duration>,
}

impl Plan {
    pub(super) const fn of(dependency: &'static str) -> Self {
        Self {
            dependency,
            path: "/",
            harmed_path: "/",
            beside: None,
            rate_per_sec: 10.0,
            harmless_for: None,
        }
    }

    pub(super) const fn at(mut self, rate_per_sec: f64) -> Self {
        self.rate_per_sec = rate_per_sec;
        self
    }

    pub(super) const fn asks(mut self, path: &'static str) -> Self {
        self.path = path;
        self.harmed_path = path;
        self
    }

    pub(super) const fn then_asks(mut self, path: &'static str) -> Self {
        self.harmed_path = path;
        self
    }

    pub(super) const fn beside(mut self, path: &'static str) -> Self {
        self.beside = Some(path);
        self
    }

    pub(super) const fn harmless(mut self) -> Self {
        self.harmless_for = Some(Duration::from_secs(8));
        self
    }
}

/// What `/health/` said of the dependency, and of the others.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) at: Instant,
    pub(super) health: String,
    /// Reason and output, as they are.
    pub(super) says: String,
    pub(super) class: String,
    pub(super) detection_max: Option<Duration>,
    /// The names of others of which ill is spoken.
    pub(super) others: Vec<String>,
}

impl Look {
    pub(super) fn is_well(&self) -> bool {
        self.health == "passing" || self.health == "unknown"
    }
}

/// Everything that was seen.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) harmed_at: Instant,
    pub(super) healed_at: Instant,
    pub(super) looks: Vec<Look>,
    pub(super) answers: Vec<Answer>,
    pub(super) beside: Vec<Answer>,
    /// Refusals in the ledger at the end.
    pub(super) recorded: u64,
}

impl Seen {
    /// When it was first said that something is wrong.
    pub(super) fn known_at(&self) -> Option<Instant> {
        let mut told = self.looks.iter().filter(|look| !look.is_well());
        let told = told.find(|look| look.at >= self.harmed_at && look.at <= self.healed_at);
        told.map(|look| look.at)
    }
}

/// Asks, harms, waits until that is known, heals, and waits until all is well.
pub(super) async fn observe<S>(
    app: &App,
    plan: &Plan,
    server: &mut S,
    harm: impl FnOnce(&mut S),
    heal: impl FnOnce(&mut S),
) -> Seen {
    app.ready().await;
    let (path, asked) = watch::channel(Some(plan.path));
    let asking = tokio::spawn(ask(app.clone(), plan.rate_per_sec, asked));
    let (beside, asked) = watch::channel(plan.beside);
    let asking_beside = tokio::spawn(ask(app.clone(), plan.rate_per_sec, asked));
    let mut looks = Vec::new();
    look_until(app, plan, &mut looks, BEFORE, |_| false).await;

    let harmed_at = Instant::now();
    blocking(|| harm(server));
    path.send_replace(Some(plan.harmed_path));
    let longest = plan.harmless_for.unwrap_or(UNKNOWN_MAX);
    look_until(app, plan, &mut looks, longest, |look| !look.is_well()).await;
    if looks.last().is_some_and(|look| !look.is_well()) {
        look_until(app, plan, &mut looks, KNOWN_FOR, |_| false).await;
    }
    blocking(|| heal(server));
    path.send_replace(Some(plan.path));
    let healed_at = Instant::now();
    let mut well_since = None;
    look_until(app, plan, &mut looks, HEALING_MAX, |look| {
        if look.is_well() {
            let since = *well_since.get_or_insert(look.at);
            return look.at.duration_since(since) >= HEALTHY_FOR;
        }
        well_since = None;
        false
    })
    .await;
    drop((path, beside));
    let page = app.page("/why503/").await;
    Seen {
        harmed_at,
        healed_at,
        looks,
        answers: asking.await.expect("it runs to its end"),
        beside: asking_beside.await.expect("it runs to its end"),
        recorded: recorded(&page),
    }
}

/// Asks at a rate until nobody says any more what to ask.
async fn ask(
    app: App,
    rate_per_sec: f64,
    mut asked: watch::Receiver<Option<&'static str>>,
) -> Vec<Answer> {
    let mut all = JoinSet::new();
    let mut next = Instant::now();
    while asked.has_changed().is_ok() {
        if let Some(path) = *asked.borrow_and_update() {
            let app = app.clone();
            all.spawn(async move { app.ask(path).await });
        }
        // What a stall of the machine left out is not asked all at once.
        next = (next + Duration::from_secs_f64(1.0 / rate_per_sec)).max(Instant::now());
        sleep_until(next).await;
    }
    let rest = tokio::time::timeout(PATIENCE * 2, all.join_all()).await;
    let mut answers = rest.expect("every client has its patience");
    answers.sort_by_key(|answer| answer.asked_at);
    answers
}

/// Reads health until it is as wanted, or for so long.
async fn look_until(
    app: &App,
    plan: &Plan,
    looks: &mut Vec<Look>,
    longest: Duration,
    mut is_so: impl FnMut(&Look) -> bool,
) {
    let started_at = Instant::now();
    let began = looks.first().map_or(started_at, |look| look.at);
    while started_at.elapsed() < longest {
        let look = look(app, plan).await;
        let is_over = is_so(&look);
        let is_news = looks.last().is_none_or(|last| last.health != look.health);
        if is_news && crate::stack::tells_why() {
            let ms = began.elapsed().as_millis();
            eprintln!(
                "{}, {ms} ms: {} {}",
                plan.dependency, look.health, look.says
            );
        }
        looks.push(look);
        if is_over {
            return;
        }
        sleep(LOOK).await;
    }
}

async fn look(app: &App, plan: &Plan) -> Look {
    let page = app.page("/health/").await;
    let at = Instant::now();
    let checks = page["checks"].as_object();
    let entries = checks.into_iter().flatten().flat_map(|(_, entries)| {
        let entries: Vec<&Value> = entries
            .as_array()
            .map_or(vec![entries], |it| it.iter().collect());
        entries
    });
    let mut look = Look {
        at,
        health: "unknown".to_owned(),
        says: String::new(),
        class: String::new(),
        detection_max: None,
        others: Vec::new(),
    };
    for entry in entries {
        let Some(health) = entry["health"].as_str() else {
            continue;
        };
        let name = entry["componentId"].as_str().unwrap_or_default();
        if name == plan.dependency {
            let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
            look.health = health.to_owned();
            look.says = [text("reason"), text("output")].join("; ");
            look.class = text("class");
            let millis = entry["detection_max_ms"].as_u64();
            look.detection_max = millis.map(Duration::from_millis);
        } else if health != "passing" && health != "unknown" {
            look.others.push(name.to_owned());
        }
    }
    look
}

/// How many refusals the ledger has.
fn recorded(page: &Value) -> u64 {
    let by_cause = page["refusals"]["by_cause"].as_object();
    let counts = by_cause.into_iter().flatten();
    counts.map(|(_, count)| count.as_u64().unwrap_or(0)).sum()
}

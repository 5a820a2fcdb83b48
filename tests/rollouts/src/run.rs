//! A rolling restart under load.
//!
//! Two backends; one is told to end, waited for, started anew on its port, and only when it
//! is ready, back in the front and has answered somebody, it is the other's turn. That is
//! what every deployment tool does with a service of two instances.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::{
    backend::{Backend, Ended, PATIENCE, Program},
    front::{Front, Standing},
    load::{End, Endpoints, Load, Record},
    subject::{Kind, Settings},
    tally::{self, Account, Row},
};

/// How long after the signal the registry of direct clients takes the instance out, as
/// Kubernetes' endpoints and their watchers do; they take longer, 1 to 3 s.
const REGISTRY_LAG: Duration = Duration::from_millis(300);

/// Longest stop of a backend before it is killed.
const STOP_MAX: Duration = Duration::from_secs(60);

/// How many losses are described.
const DESCRIBED_MAX: usize = 40;

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Who serves.
    pub subject: Kind,
    /// Behind what.
    pub front: Front,
    /// How many restarts, taking turns.
    pub restarts: u32,
    /// Requests that have ended before the next restart begins.
    pub requests_each: u32,
    /// How long the first check of ours takes; zero is none.
    pub first_check: Duration,
    /// How many requests a second.
    pub rate_per_sec: u32,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The counts, one row for each method.
    pub rows: Vec<Row>,
    /// How each process ended.
    pub ended: Vec<Ended>,
    /// What ours reported, process by process, beside what the clients have.
    pub accounts: Vec<Account>,
    /// Requests with a good answer that no journal has.
    pub unwritten: usize,
    /// The first losses, in words.
    pub described: Vec<String>,
}

/// Does it.
///
/// # Panics
/// A backend or the front does not come up, or the front does not take a backend back.
pub async fn rollout(plan: Plan, program: &Program) -> Outcome {
    let dir = tempfile::tempdir().expect("there is room for a temporary directory");
    let mut backends = [
        Backend::start(program, &settings(plan, "a"), dir.path()).await,
        Backend::start(program, &settings(plan, "b"), dir.path()).await,
    ];
    let addresses = backends.each_ref().map(Backend::address);
    for backend in &backends {
        backend.ready().await;
    }
    let front = tokio::task::spawn_blocking(move || Standing::start(plan.front, addresses));
    let mut front = front.await.expect("it comes up");
    let endpoints = match front.address {
        Some(address) => Endpoints::new(&[address]),
        None => Endpoints::new(&addresses),
    };
    let http2 = plan.front == Front::DirectH2;
    for index in 0..backends.len() {
        back_in("the front", &front, || front.has_in(index)).await;
    }
    let posts_streams = plan.front.carries_posted_streams();
    let load = Load::start(plan.rate_per_sec, endpoints.clone(), http2, posts_streams);
    let mut ended = Vec::new();
    for restart in 0..plan.restarts {
        let index = usize::try_from(restart % 2).expect("0 or 1");
        let due = u64::from(restart + 1) * u64::from(plan.requests_each);
        let registry = (plan.front.is_direct()).then(|| {
            let (endpoints, address) = (endpoints.clone(), addresses[index]);
            tokio::spawn(async move {
                sleep(REGISTRY_LAG).await;
                endpoints.remove(address);
            })
        });
        // Right before, so that the new one has asked nobody yet.
        tokio::task::block_in_place(|| front.reload(plan.front));
        let backend = &mut backends[index];
        ended.push(backend.stop(STOP_MAX).await);
        if let Some(registry) = registry {
            registry.await.expect("it does not panic");
        }
        backend.start_again().await;
        backend.ready().await;
        if plan.front.is_direct() {
            endpoints.add(addresses[index]);
        }
        let label = backend.label();
        back_in(&label, &front, || {
            front.has_in(index) && load.has_seen(&label)
        })
        .await;
        let enough = timeout(PATIENCE + pace(plan), async {
            while load.ended() < due {
                sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(enough.await.is_ok(), "the load does not keep up");
    }
    let records = load.stop().await;
    for backend in &mut backends {
        ended.push(backend.stop(STOP_MAX).await);
    }
    let described = describe(&records, &ended, &front);
    Outcome {
        rows: tally::rows(plan.subject, plan.front, plan.restarts, &records, &ended),
        accounts: tally::accounts(&records, &ended, plan.front.probers()),
        unwritten: tally::unwritten(&records, &ended),
        described,
        ended,
    }
}

fn settings(plan: Plan, name: &str) -> Settings {
    Settings {
        kind: plan.subject,
        address: ([127, 0, 0, 1], support::free_port()).into(),
        label: name.to_owned(),
        // Each process gets its own.
        journal: "journal".into(),
        lame_duck: lame_duck(plan.front),
        // Nothing that runs here takes a second; only a machine that stands still needs more.
        grace: Duration::from_secs(45),
        not_found: plan.front == Front::HaProxy404,
        first_check: plan.first_check,
    }
}

/// The longest lame duck of ours. With a front that probes it ends as soon as the front has
/// seen it; the others know nothing of readiness, and it is a plain pause, longer than the
/// registry's lag.
const fn lame_duck(front: Front) -> Duration {
    Duration::from_secs(if front.is_active() { 20 } else { 1 })
}

/// How long the requests of one restart take.
fn pace(plan: Plan) -> Duration {
    Duration::from_secs(1) * plan.requests_each / plan.rate_per_sec
}

async fn back_in(who: &str, front: &Standing, is_in: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_in() {
        assert!(
            began.elapsed() < PATIENCE,
            "{who} gets no traffic; the front says: {}",
            front.complaints()
        );
        sleep(Duration::from_millis(10)).await;
    }
}

fn describe(records: &[Record], ended: &[Ended], front: &Standing) -> Vec<String> {
    let bad = records
        .iter()
        .filter(|record| !matches!(record.end, End::Good(_)));
    let mut lines: Vec<String> = bad
        .take(DESCRIBED_MAX)
        .map(|record| {
            let id = record.id.to_string();
            let by = ended.iter().filter(|it| it.journal.contains(&id));
            let by: Vec<_> = by.map(|it| &*it.label).collect();
            let (method, target) = (record.method.name(), record.target);
            format!(
                "{method} {target:?} {id}: {:?}, processed by {by:?}",
                record.end
            )
        })
        .collect();
    if !lines.is_empty() {
        let complaints = front.complaints();
        lines.extend(complaints.lines().take(DESCRIBED_MAX).map(str::to_owned));
    }
    lines
}

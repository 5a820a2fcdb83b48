//! Probes: what balancers, kubelets and people read, and what the checks behind it do when
//! dependencies misbehave.
//!
//! Here are the fixtures that the claims share: a guard that runs, and checks that follow a
//! script.

#![cfg(feature = "axum")]

#[path = "../common/mod.rs"]
mod common;

mod checks;
mod disclosure;
mod forms;
mod listener;
mod maintenance;
mod profiles;
mod starting;

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing::get};
use common::{Answer, TOKEN, ask, get as to, request, until, with_token};
use steadfast::{
    CheckOutcome, Dependency, DependencyBuilder, FailureClass, Guard, GuardBuilder, Guarded, Phase,
    Probes, Running, check,
};

const SECOND: Duration = Duration::from_secs(1);

fn builder() -> GuardBuilder {
    Guard::builder().without_signals().token(TOKEN)
}

/// A guard that runs around a small application.
struct Service {
    guard: Guard,
    app: Guarded,
    _running: Running,
}

fn start(builder: GuardBuilder) -> Service {
    let guard = builder.build().expect("valid");
    let running = guard.start().expect("started");
    let app = guard.protect(Router::new().route("/", get(|| async { "hello" })));
    Service {
        guard,
        app,
        _running: running,
    }
}

impl Service {
    async fn ask(&self, path: &str) -> Answer {
        ask(&self.app, to(path)).await
    }

    async fn ready(&self) -> (u16, String) {
        let answer = self.ask("/ready/").await;
        (answer.status.as_u16(), answer.body)
    }

    /// What an authorised probe reads.
    async fn ready_in_full(&self) -> (u16, String) {
        let answer = ask(&self.app, with_token("/ready/", &[])).await;
        (answer.status.as_u16(), answer.body)
    }
}

/// What a scripted check does in one run.
#[derive(Clone, Copy, Debug)]
enum Does {
    Pass,
    Fail,
    Panic,
    Hang,
}

/// A check that does what a script says, then repeats its last step, and counts.
#[derive(Clone)]
struct Script {
    steps: Arc<Mutex<VecDeque<Does>>>,
    runs: Arc<AtomicUsize>,
    at_once: Arc<AtomicUsize>,
    most_at_once: Arc<AtomicUsize>,
}

impl Script {
    fn new(steps: &[Does]) -> Self {
        Self {
            steps: Arc::new(Mutex::new(steps.iter().copied().collect())),
            runs: Arc::default(),
            at_once: Arc::default(),
            most_at_once: Arc::default(),
        }
    }

    /// Replaces what comes from now on.
    fn then(&self, does: Does) {
        *self.steps.lock().expect("no panic") = [does].into();
    }

    fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    fn run(&self) -> Pin<Box<dyn Future<Output = CheckOutcome> + Send>> {
        struct Leave(Arc<AtomicUsize>);
        impl Drop for Leave {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.runs.fetch_add(1, Ordering::SeqCst);
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(now, Ordering::SeqCst);
        let leave = Leave(Arc::clone(&self.at_once));
        let does = {
            let mut steps = self.steps.lock().expect("no panic");
            let next = *steps.front().expect("a step");
            if steps.len() > 1 {
                steps.pop_front();
            }
            next
        };
        Box::pin(async move {
            let _leave = leave;
            match does {
                Does::Pass => CheckOutcome::pass(),
                Does::Fail => CheckOutcome::fail(FailureClass::Unreachable, "connection refused"),
                Does::Panic => panic!("told to panic"),
                Does::Hang => std::future::pending().await,
            }
        })
    }

    fn named(&self, name: &str) -> DependencyBuilder {
        let script = self.clone();
        Dependency::builder(name).check(check::closure(move || script.run()))
    }
}

fn passing(name: &str) -> Dependency {
    Script::new(&[Does::Pass])
        .named(name)
        .build()
        .expect("valid")
}

//! What a refusal looks like to the client, in the ledger, in the log and in the metrics,
//! and that no way of writing handlers turns one into a 500.
//!
//! Here is what the claims share: a guard that refuses, and all that this thread logs.

#![cfg(feature = "axum")]

#[path = "../common/mod.rs"]
mod common;

mod forms;
mod log;
mod nested;
mod numbers;
mod operator;
mod styles;

use std::{
    fmt, io,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, routing::get};
use common::{TOKEN, ask, get as to, request, with_token};
use http::StatusCode;
use steadfast::{
    Answered, Cause, Dependency, Disclosure, Error, ExplainSettings, Guard, GuardBuilder, Guarded,
    Shed, check, explain,
    test_util::{self, HealthSwitch},
};
use tower::ServiceExt;

const SECOND: Duration = Duration::from_secs(1);

fn builder() -> GuardBuilder {
    Guard::builder().without_signals().token(TOKEN)
}

fn payments_down(builder: GuardBuilder) -> (Guard, Dependency, HealthSwitch) {
    let (payments, health) = test_util::dependency("payments");
    health.fail("connection refused");
    let guard = builder.dependency(&payments).build().expect("valid");
    (guard, payments, health)
}

/// The sources of the refusals behind one id.
trait CloneOf {
    fn clone_of(&self, id: &str) -> Vec<String>;
}

impl CloneOf for steadfast::Ledger {
    fn clone_of(&self, id: &str) -> Vec<String> {
        self.find(id)
            .iter()
            .map(|it| it.refusal.refused_by().to_string())
            .collect()
    }
}

/// Everything that is logged by this thread, one event a line.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn capture() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .with_max_level(tracing::Level::DEBUG)
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn lines(&self, with: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().expect("no panic").clone()).expect("text");
        text.lines()
            .filter(|line| line.contains(with))
            .map(str::to_owned)
            .collect()
    }
}

fn refusing(settings: ExplainSettings) -> (Guard, Guarded) {
    let guard = builder().explain(settings).build().expect("valid");
    guard.control().begin_maintenance("moving house", None);
    let app = guard.protect(Router::new().route("/", get(|| async { "hello" })));
    (guard, app)
}

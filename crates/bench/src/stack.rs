//! One application twice: on the bare pool, as its driver's documentation shows it, and on
//! the guarded one, as ours does. Everything is at its defaults, on either side.
//!
//! [`crate::harm`] compares the two; [`crate::truth`] looks at what the guarded one says.

#![allow(
    clippy::disallowed_methods,
    reason = "it measures real servers, on the real clock"
)]

pub(crate) mod load;
pub(crate) mod options;
pub(crate) mod redis;
pub(crate) mod sql;
pub(crate) mod upstream;

use std::{
    future::Future,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{Response, StatusCode},
    response::IntoResponse,
};
use serde_json::Value;
use steadfast::{Dependency, Guard, Guarded, Running};
use tokio::time::Instant;
use tower::ServiceExt;

/// How long a client waits.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// What opens the operator's page.
const TOKEN: &str = "0123456789abcdef-bench";

/// How long an application may take until it is ready; only a machine in trouble needs it.
const READY_MAX: Duration = Duration::from_secs(60);

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Bare,
    Guarded,
}

impl Side {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Guarded => "guarded",
        }
    }
}

/// An application that can be asked.
#[derive(Clone)]
pub(crate) enum App {
    Bare(Router),
    Guarded {
        service: Guarded,
        /// What runs in the background, until the last clone is dropped.
        _running: Arc<Running>,
    },
}

impl App {
    /// Guards an application, and starts what runs in the background.
    pub(crate) fn guarded(routes: Router, dependencies: &[&Dependency]) -> Self {
        let mut guard = Guard::builder().without_signals().token(TOKEN);
        for dependency in dependencies {
            guard = guard.dependency(dependency);
        }
        let guard = guard.build().expect("the settings are right");
        let service = guard.protect(routes);
        let running = guard.start().expect("it is started once");
        Self::Guarded {
            service,
            _running: Arc::new(running),
        }
    }

    /// Waits until it says that it is ready; a bare one says nothing.
    pub(crate) async fn ready(&self) {
        let started_at = Instant::now();
        while !matches!(self, Self::Bare(_)) && self.ask("/ready/").await.status != Some(200) {
            assert!(started_at.elapsed() < READY_MAX, "it is never ready");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Asks as a client who waits for [`PATIENCE`].
    pub(crate) async fn ask(&self, path: &str) -> Answer {
        let asked_at = Instant::now();
        let request = Request::get(path).body(Body::empty());
        let request = request.expect("the path is one");
        let answered = async {
            let response = match self {
                Self::Bare(router) => router.clone().oneshot(request).await,
                Self::Guarded { service, .. } => service.clone().oneshot(request).await,
            };
            let (head, body) = response.expect("infallible").into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await;
            drop(body.expect("it is in memory"));
            head
        };
        let head = tokio::time::timeout(PATIENCE, answered).await.ok();
        let header = |name: &str| {
            let value = head.as_ref()?.headers.get(name)?;
            Some(value.to_str().ok()?.to_owned())
        };
        Answer {
            asked_at,
            took: asked_at.elapsed(),
            status: head.as_ref().map(|head| head.status.as_u16()),
            why: header("why-503"),
        }
    }

    /// Reads one of the guard's own pages, as its operator.
    pub(crate) async fn page(&self, path: &str) -> Value {
        let Self::Guarded { service, .. } = self else {
            return Value::Null;
        };
        let request = Request::get(path)
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("accept", "application/json")
            .body(Body::empty())
            .expect("the path is one");
        let answer: Response<Body> = service.clone().oneshot(request).await.expect("infallible");
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await;
        serde_json::from_slice(&body.expect("it is in memory")).unwrap_or(Value::Null)
    }
}

/// What a client got.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) asked_at: Instant,
    pub(crate) took: Duration,
    /// `None`: nothing, within the patience.
    pub(crate) status: Option<u16>,
    /// The header `why-503`.
    pub(crate) why: Option<String>,
}

impl Answer {
    /// Whether it was answered well while the client waited. A timer of the client's may be a
    /// little late, and an answer that comes in that moment is no answer in time.
    pub(crate) fn is_served(&self) -> bool {
        self.status.is_some_and(|status| status < 300) && self.took <= PATIENCE
    }

    /// Whether its client had left before anything was said.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.status.is_none() || self.took > PATIENCE
    }

    /// Whether it failed and says why: a refusal with a cause, and not merely that the
    /// application failed.
    pub(crate) fn is_explained(&self) -> bool {
        let why = self.why.as_deref();
        why.is_some_and(|why| !why.contains("cause=application"))
    }

    /// Returns the cause in it, or what else became of it.
    pub(crate) fn cause(&self) -> String {
        let Some(status) = self.status else {
            return "no answer".to_owned();
        };
        let cause = self.why.as_deref().and_then(|why| {
            let (_, rest) = why.split_once("cause=")?;
            rest.split([',', ';']).next()
        });
        cause.map_or_else(|| status.to_string(), str::to_owned)
    }
}

/// Runs something on a runtime like that of a service.
pub(crate) fn block_on<F: Future>(work: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a process may have threads");
    let result = runtime.block_on(work);
    // What still waits for a server that is gone must not keep the process.
    runtime.shutdown_background();
    result
}

/// Set once somebody wants to know why.
static TELLS_WHY: OnceLock<()> = OnceLock::new();

/// Whether somebody wants to know why.
pub(crate) fn tells_why() -> bool {
    TELLS_WHY.get().is_some()
}

/// Shows what handlers failed with, on standard error.
pub(crate) fn log_failures() {
    let _ = TELLS_WHY.set(());
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
}

/// Does what blocks, a server's start or end, without stopping this thread's tasks.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

/// What a handler answers whose work failed in a bare application.
fn bare_answer<E>(result: &Result<(), E>) -> axum::response::Response {
    match result {
        Ok(()) => "served".into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

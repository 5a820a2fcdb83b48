//! A guarded application with one route that needs the dependency and one that does not,
//! and what is seen of the dependency meanwhile.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{Response, StatusCode},
    response::IntoResponse,
    routing::get,
};
use steadfast::{Deadlines, Dependency, Guard};
use steadfast_core::{
    CallKind, Cause, DependencyDown, DependencyState, Evidence, FailureClass, PoolExhausted,
    Refusal, Trip,
    plumbing::{BreakerState, BreakerTransition, DependencyListener},
};
use tokio::task::JoinSet;
use tower::ServiceExt;

use super::Duration;

/// What opens the operator's page.
const TOKEN: &str = "0123456789abcdef-test";

/// Rules that open after three failures, and wait and ramp for moments, so that a test sees
/// a whole outage. The order of what happens does not depend on the lengths.
pub fn quick_trip() -> Trip {
    Trip::default()
        .consecutive_failures(FAILURES as u32)
        .consecutive_spread(Duration::ZERO)
        .open_base(Duration::from_millis(200))
        .open_max(Duration::from_millis(400))
        .ramp(Duration::from_millis(300))
}

/// Makes a dependency without a check, of which only traffic tells.
///
/// # Panics
/// Never: the settings are right.
#[must_use]
pub fn dependency(trip: Trip) -> Dependency {
    let dependency = Dependency::builder("orders-db").degrades().trip(trip);
    dependency.build().expect("the settings are right")
}

/// Returns the state of a dependency.
#[must_use]
pub fn state(dependency: &Dependency) -> &Arc<DependencyState> {
    dependency.as_ref()
}

/// Returns where the breaker is; closed while nobody has called.
#[must_use]
pub fn breaker(dependency: &Dependency) -> BreakerState {
    let seen = dependency.view().breaker;
    seen.map_or(BreakerState::Closed, |seen| seen.state)
}

/// Returns how many calls have failed, in any way.
#[must_use]
pub fn failures(dependency: &Dependency) -> u64 {
    let calls = state(dependency).calls();
    calls.of(CallKind::Failure) + calls.of(CallKind::Timeout)
}

/// How many failures in a row open a breaker by [`quick_trip`].
pub const FAILURES: u64 = 3;

/// Every step of a breaker, in order, and why.
#[derive(Debug, Default)]
pub struct Steps(Mutex<Vec<(BreakerState, String)>>);

impl Steps {
    /// Begins to watch.
    #[must_use]
    pub fn watch(dependency: &Dependency) -> Arc<Self> {
        let steps = Arc::new(Self::default());
        let heard: Arc<dyn DependencyListener> = steps.clone();
        assert!(state(dependency).listen(heard), "there is room for one");
        steps
    }

    /// Returns how often it got there.
    #[must_use]
    pub fn count(&self, wanted: BreakerState) -> u64 {
        let steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        steps.iter().filter(|(state, _)| *state == wanted).count() as u64
    }

    /// Claims that it opened by its rule: no later than the failures in a row that the rule
    /// asks for, with as many more as were under way, and one for each probe since.
    ///
    /// # Panics
    /// If it did not.
    #[track_caller]
    pub fn opened_by_rule(&self, dependency: &Dependency, at_once: u64) {
        let (failed, rounds) = (failures(dependency), self.count(BreakerState::Probing));
        let most = FAILURES + at_once + rounds;
        assert!(failed <= most, "{failed} failures, {most} are allowed");
        let steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, why) = steps.first().expect("it has moved");
        let rule = format!("{FAILURES} calls in a row failed within");
        assert!(why.starts_with(&rule), "{why}");
    }
}

impl DependencyListener for Steps {
    fn moved(&self, _: &DependencyState, transition: &BreakerTransition) {
        let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        steps.push((transition.to, transition.reason.to_string()));
    }
}

/// Returns the evidence of a pool that has nothing to give.
///
/// # Panics
/// If it is another cause.
#[track_caller]
#[must_use]
pub fn exhausted(refusal: &Refusal, class: FailureClass) -> &PoolExhausted {
    match refusal.evidence() {
        Evidence::PoolExhausted(pool) if pool.class == class => pool,
        other => panic!("not exhausted by {class}: {other:?}"),
    }
}

/// Returns the evidence of a dependency that is down.
///
/// # Panics
/// If it is another cause.
#[track_caller]
#[must_use]
pub fn down(refusal: &Refusal) -> &DependencyDown {
    match refusal.evidence() {
        Evidence::DependencyDown(down) => down,
        other => panic!("not down: {other:?}"),
    }
}

/// A guarded application.
#[derive(Clone, Debug)]
pub struct App {
    guarded: steadfast::Guarded,
    control: steadfast::Control,
}

impl App {
    /// Makes one whose `/orders` does `work`, and whose `/hello` needs nothing.
    ///
    /// # Panics
    /// If it is not built within a runtime.
    pub fn new<F>(
        dependency: &Dependency,
        work: impl Fn() -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), steadfast::Error>> + Send + 'static,
    {
        let guard = Guard::builder()
            .without_signals()
            .token(TOKEN)
            .deadlines(Deadlines::default().header("x-timeout"))
            .dependency(dependency);
        let guard = guard.build().expect("the settings are right");
        let orders = get(move || {
            let work = work.clone();
            async move { work().await.map(|()| "served").into_response() }
        });
        let routes = Router::new()
            .route("/orders", orders)
            .route("/hello", get(|| async { "hello" }));
        Self {
            control: guard.control(),
            guarded: guard.protect(routes),
        }
    }

    /// Asks for a path.
    ///
    /// # Panics
    /// Never: a guarded application answers.
    pub async fn get(&self, path: &str) -> Answer {
        self.ask(path, &[]).await
    }

    /// Asks for a path, so many at once.
    ///
    /// # Panics
    /// Never: a guarded application answers.
    pub async fn get_at_once(&self, path: &'static str, count: usize) -> Vec<Answer> {
        let mut calls = JoinSet::new();
        for _ in 0..count {
            let app = self.clone();
            calls.spawn(async move { app.get(path).await });
        }
        calls.join_all().await
    }

    /// Asks for a path on behalf of one who waits no longer than this.
    ///
    /// # Panics
    /// Never: a guarded application answers.
    pub async fn get_within(&self, path: &str, time: Duration) -> Answer {
        let time = format!("{}ms", time.as_millis());
        self.ask(path, &[("x-timeout", &time)]).await
    }

    /// Asks for the operator's page.
    ///
    /// # Panics
    /// Never: it is there, for one who has the token.
    pub async fn page(&self) -> serde_json::Value {
        let bearer = format!("Bearer {TOKEN}");
        let page = self.ask("/why503/", &[("authorization", &bearer)]).await;
        page.is_served();
        serde_json::from_str(&page.body).expect("it is JSON")
    }

    /// Returns what the process finds wrong with itself.
    #[must_use]
    pub fn diagnosis(&self) -> steadfast::diagnosis::Diagnosis {
        self.control.diagnosis()
    }

    async fn ask(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("the path is one");
        let response: Response<_> = self
            .guarded
            .clone()
            .oneshot(request)
            .await
            .expect("infallible");
        let (head, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await;
        let body = body.expect("it is in memory").to_vec();
        let why = head.headers.get("why-503");
        Answer {
            status: head.status,
            why: why.map(|why| why.to_str().expect("it is ASCII").to_owned()),
            has_retry_after: head.headers.contains_key("retry-after"),
            body: String::from_utf8(body).expect("it is text"),
        }
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The header `why-503`.
    pub why: Option<String>,
    /// Whether it says when to come again.
    pub has_retry_after: bool,
    /// The body.
    pub body: String,
}

impl Answer {
    /// Claims that it was served.
    ///
    /// # Panics
    /// If it was not.
    #[track_caller]
    pub fn is_served(&self) {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
    }

    /// Whether it is for this cause that it was refused.
    #[must_use]
    pub fn is_for(&self, cause: Cause) -> bool {
        let why = self.why.as_deref().unwrap_or_default();
        why.contains(&format!("cause={cause}"))
    }

    /// Claims that it was refused for this cause, with a hint when to come again.
    ///
    /// # Panics
    /// If it was not.
    #[track_caller]
    pub fn is_refused(&self, cause: Cause) {
        assert_eq!(self.status, StatusCode::SERVICE_UNAVAILABLE, "{self:?}");
        assert!(self.is_for(cause), "{self:?}");
        assert!(self.has_retry_after, "{self:?}");
    }
}

//! Routes that wait for different backends have limits of their own, through the guard and
//! through the layer alone.
//!
//! Method: time is paused; each limit has so many places, and while there is a limit every
//! request is asked what it spends its time with, so nothing here is chance.

#![cfg(all(feature = "axum", feature = "metrics"))]

mod common;

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

use axum::{Router, routing::get};
use common::{Answer, TOKEN, get as request, with_token};
use http::StatusCode;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use steadfast::{
    Dependency, Explain, Guard, Shed, ShedLayer, Shedder,
    limit::{Fixed, Limit},
};
use tokio::{sync::Semaphore, task::JoinHandle};
use tower::ServiceExt;

const MS: Duration = Duration::from_millis(1);

/// Each limit has two places.
fn shed() -> Shed {
    let places = NonZeroU32::new(2).expect("some");
    let make = move |_| -> Box<dyn Limit> { Box::new(Fixed::new(places)) };
    Shed::algorithm("two places", make).by_backend(true)
}

/// A backend with workers that take so long.
#[derive(Clone)]
struct Backend {
    dependency: Dependency,
    workers: Arc<Semaphore>,
    takes: Duration,
}

impl Backend {
    fn new(name: &str, takes: Duration) -> Self {
        let dependency = Dependency::builder(name).build().expect("valid");
        Self {
            dependency,
            workers: Arc::new(Semaphore::new(16)),
            takes,
        }
    }

    async fn work(&self) {
        let work = async {
            let _worker = self.workers.acquire().await.expect("open");
            tokio::time::sleep(self.takes).await;
            Ok::<_, std::io::Error>(())
        };
        self.dependency.call(work).await.expect("it works");
    }
}

fn routes(pages: &Backend, reports: &Backend) -> Router {
    let [of_pages, of_reports] = [pages, reports].map(Clone::clone);
    let both = (pages.clone(), reports.clone());
    let page = move || async move { of_pages.work().await };
    let report = move || async move { of_reports.work().await };
    let both = move || async move {
        let (pages, reports) = both;
        tokio::join!(pages.work(), reports.work());
    };
    Router::new()
        .route("/page", get(page))
        .route("/report/{id}", get(report))
        .route("/both", get(both))
        .route("/own", get(|| async { tokio::time::sleep(20 * MS).await }))
        .route("/at-once", get(|| async { "done" }))
        // Within one poll, as far as the clock can tell.
        .route("/compute", get(|| tokio::time::advance(5 * MS)))
}

/// A page that waits for 2 ms and a report that waits for 200 ms, behind a guard or a layer.
struct Subject {
    name: &'static str,
    app: Router,
    shedder: Shedder,
    guard: Option<Guard>,
}

impl Subject {
    fn all(shed: impl Fn() -> Shed) -> [Self; 2] {
        [Self::guarded(shed()), Self::layered(shed())]
    }

    fn backends() -> [Backend; 2] {
        [
            Backend::new("pages-db", 2 * MS),
            Backend::new("reports-db", 200 * MS),
        ]
    }

    fn guarded(shed: Shed) -> Self {
        let [pages, reports] = Self::backends();
        let builder = Guard::builder().without_signals().token(TOKEN).shed(shed);
        let builder = builder.dependency(&pages.dependency);
        let guard = builder.dependency(&reports.dependency).build();
        let guard = guard.expect("valid");
        let app = guard.protect(routes(&pages, &reports)).into_router();
        let shedder = guard.control().shedder().clone();
        Self {
            name: "Guard",
            app,
            shedder,
            guard: Some(guard),
        }
    }

    fn layered(shed: Shed) -> Self {
        let [pages, reports] = Self::backends();
        let layer = ShedLayer::new(shed, Explain::default()).expect("valid");
        let shedder = layer.shedder();
        let app = routes(&pages, &reports).layer(layer);
        Self {
            name: "ShedLayer",
            app,
            shedder,
            guard: None,
        }
    }

    async fn ask(&self, path: &str) -> Answer {
        let asked = self.app.clone().oneshot(request(path));
        Answer::read(asked.await.expect("infallible")).await
    }

    /// Asks in the background, and lets the request begin.
    async fn begin(&self, path: &str) -> JoinHandle<StatusCode> {
        let asked = self.app.clone().oneshot(request(path));
        let asked = tokio::spawn(async move { asked.await.expect("infallible").status() });
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        asked
    }

    async fn ask_often(&self, path: &str, times: u32) {
        for _ in 0..times {
            assert_eq!(self.ask(path).await.status, StatusCode::OK, "{}", self.name);
        }
    }

    /// The backends that have a limit of their own, and the routes of each.
    fn apart(&self) -> Vec<(String, String)> {
        let backends = self.shedder.snapshot().backends;
        let of = |it: &steadfast::BackendSnapshot| (it.backend.to_string(), it.routes.join(" "));
        backends.iter().map(of).collect()
    }

    fn expected() -> [(String, String); 2] {
        [("pages-db", "/page"), ("reports-db", "/report/*")]
            .map(|(name, route)| (name.to_owned(), route.to_owned()))
    }
}

#[tokio::test(start_paused = true)]
async fn reports_that_hang_take_no_place_from_a_page_that_waits_for_something_else() {
    for subject in Subject::all(shed) {
        let name = subject.name;
        subject.ask_often("/page", 8).await;
        assert_eq!(subject.apart(), [], "{name}: one backend is no two");
        subject.ask_often("/report/7", 8).await;
        assert_eq!(subject.apart(), Subject::expected(), "{name}");
        let reports = [
            subject.begin("/report/1").await,
            subject.begin("/report/2").await,
        ];
        let refused = subject.ask("/report/3").await;
        assert_eq!(refused.cause(), "overloaded", "{name}");
        subject.ask_often("/page", 20).await;
        subject.ask_often("/own", 2).await;
        for report in reports {
            assert_eq!(report.await.expect("answered"), StatusCode::OK, "{name}");
        }
        subject.ask_often("/report/4", 1).await;
        let seen = subject.shedder.snapshot();
        assert_eq!((seen.in_flight, seen.refused), (0, 1), "{name}");
        assert_eq!(seen.backends[1].refused, 1, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_nothing_known_or_in_two_places_shares_the_common_limit() {
    for subject in Subject::all(shed) {
        subject.ask_often("/page", 8).await;
        subject.ask_often("/report/7", 8).await;
        for path in ["/own", "/at-once", "/nowhere"] {
            for _ in 0..20 {
                let _ = subject.ask(path).await;
            }
        }
        assert_eq!(subject.apart(), Subject::expected(), "{}", subject.name);
    }
}

#[tokio::test(start_paused = true)]
async fn what_computes_has_a_limit_of_its_own_beside_whatever_waits() {
    for subject in Subject::all(shed) {
        let name = subject.name;
        subject.ask_often("/compute", 8).await;
        let runtime = ("runtime".to_owned(), "/compute".to_owned());
        assert_eq!(subject.apart(), [runtime], "{name}");
        let pages = [subject.begin("/own").await, subject.begin("/own").await];
        assert_eq!(subject.ask("/own").await.cause(), "overloaded", "{name}");
        subject.ask_often("/compute", 2).await;
        for page in pages {
            assert_eq!(page.await.expect("answered"), StatusCode::OK, "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_says_what_it_waited_for() {
    for subject in Subject::all(shed) {
        subject.ask_often("/page", 8).await;
        for _ in 0..8 {
            let report = subject.begin("/report/7").await;
            tokio::time::sleep(50 * MS).await;
            report.abort();
            let _ = report.await;
        }
        assert_eq!(subject.apart(), Subject::expected(), "{}", subject.name);
        assert_eq!(subject.shedder.in_flight(), 0, "{}", subject.name);
    }
}

#[tokio::test(start_paused = true)]
async fn without_it_and_with_a_fixed_limit_there_is_one_for_all() {
    for shed in [
        || Shed::adaptive().by_backend(false),
        || Shed::fixed(8),
        || shed().by_backend(false),
    ] {
        for subject in Subject::all(shed) {
            subject.ask_often("/page", 300).await;
            subject.ask_often("/report/7", 300).await;
            assert_eq!(subject.apart(), [], "{}", subject.name);
        }
    }
}

/// Goal: with the settings that a user has, one request in sixteen is enough.
#[tokio::test(start_paused = true)]
async fn without_tuning_two_backends_are_told_apart_by_a_sample() {
    for subject in Subject::all(Shed::adaptive) {
        // Eight of a thousand are drawn but once in 10^18 runs.
        subject.ask_often("/page", 1000).await;
        subject.ask_often("/report/7", 1000).await;
        assert_eq!(subject.apart(), Subject::expected(), "{}", subject.name);
    }
}

#[tokio::test(start_paused = true)]
async fn the_operator_is_told_of_the_limits_and_whose_was_met() {
    let subject = Subject::guarded(shed());
    let guard = subject.guard.as_ref().expect("it is guarded");
    let _running = guard.start().expect("started");
    subject.ask_often("/page", 8).await;
    subject.ask_often("/report/7", 8).await;
    let reports = [
        subject.begin("/report/1").await,
        subject.begin("/report/2").await,
    ];
    let refused = subject.ask("/report/3").await;
    // The timeline is written once a second.
    tokio::time::sleep(2000 * MS).await;
    for report in reports {
        assert_eq!(report.await.expect("answered"), StatusCode::OK);
    }
    let ask = |path: String, accept: &'static str| {
        let asked = with_token(&path, &[("accept", accept)]);
        let asked = subject.app.clone().oneshot(asked);
        async { Answer::read(asked.await.expect("infallible")).await }
    };
    let page = ask("/why503/".to_owned(), "application/json").await.json();
    let backends = &page["shed"]["backends"];
    assert_eq!(backends[1]["dependency"], "reports-db", "{page}");
    assert_eq!(backends[1]["routes"][0], "/report/*");
    assert_eq!(backends[1]["limit"], 2);
    assert_eq!(backends[1]["refused"], 1);
    let told = page["shed"]["history"].to_string();
    let why = "/report/* spends most of its time with reports-db";
    assert!(told.contains(why), "{told}");
    let one = ask(format!("/why503/{}", refused.id()), "application/json").await;
    assert!(one.body.contains("reports-db"), "{}", one.body);
    let html = ask("/why503/".to_owned(), "text/html").await.body;
    assert!(html.contains("Limits by backend"), "{html}");
}

/// Goal: a scaler sees the limit that is asked most of, not only the common one.
#[tokio::test(start_paused = true)]
async fn metrics_tell_of_each_limit_and_demand_is_that_of_the_one_most_is_asked_of() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _local = metrics::set_default_local_recorder(&recorder);
    let subject = Subject::guarded(shed());
    let guard = subject.guard.as_ref().expect("it is guarded");
    let _running = guard.start().expect("started");
    subject.ask_often("/page", 8).await;
    subject.ask_often("/report/7", 8).await;
    let reports = async {
        for _ in 0..20 {
            tokio::join!(subject.ask("/report/1"), subject.ask("/report/2"));
        }
    };
    let look = async {
        tokio::time::sleep(3050 * MS).await;
        let seen = snapshotter.snapshot().into_vec().into_iter();
        let gauges = seen.filter_map(|(key, _, _, value)| match value {
            DebugValue::Gauge(value) => {
                let labels = key.key().labels().map(|it| it.value().to_owned());
                let of: Vec<_> = labels.collect();
                Some((
                    (key.key().name().to_owned(), of.join(" ")),
                    value.into_inner(),
                ))
            }
            _ => None,
        });
        gauges.collect::<BTreeMap<_, _>>()
    };
    let ((), seen) = tokio::join!(reports, look);
    let of = |name: &str, of: &str| seen.get(&(name.to_owned(), of.to_owned())).copied();
    for backend in ["pages-db", "reports-db"] {
        assert_eq!(
            of("steadfast_backend_limit", backend),
            Some(2.0),
            "{seen:?}"
        );
    }
    assert_eq!(of("steadfast_backend_in_flight", "pages-db"), Some(0.0));
    assert_eq!(of("steadfast_backend_in_flight", "reports-db"), Some(2.0));
    let demand = of("steadfast_demand", "").expect("it is known");
    assert!((0.9..2.0).contains(&demand), "{demand}");
}

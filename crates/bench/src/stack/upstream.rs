//! The application on an HTTP upstream, and the upstream.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderValue, Request, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
    routing::get,
};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use steadfast::{Dependency, classifier};
use tokio::net::TcpListener;

use super::{App, Side};

/// The name of the dependency.
pub(crate) const NAME: &str = "payments";

/// How the upstream answers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mood {
    Well,
    /// 429 with this many seconds of `Retry-After`.
    TooMany(u32),
    /// A bare 503.
    Unavailable,
    /// A bare 500 for so many of ten.
    Failing(u32),
    /// It never answers.
    Silent,
}

/// An upstream whose mood can be changed.
pub(crate) struct Upstream {
    mood: Arc<Mutex<(Mood, u32)>>,
    url: String,
    serving: tokio::task::JoinHandle<()>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let mood = Arc::new(Mutex::new((Mood::Well, 0)));
        let heard = Arc::clone(&mood);
        let answer = get(move || {
            let (mood, asked) = {
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                heard.1 += 1;
                *heard
            };
            respond(mood, asked)
        });
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("the loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let serving = tokio::spawn(async move {
            let _ = axum::serve(listener, Router::new().route("/", answer)).await;
        });
        Self {
            mood,
            url: format!("http://{address}/"),
            serving,
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn be(&self, mood: Mood) {
        self.mood.lock().unwrap_or_else(PoisonError::into_inner).0 = mood;
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn respond(mood: Mood, asked: u32) -> Response {
    match mood {
        Mood::Well => "paid".into_response(),
        Mood::TooMany(secs) => {
            let mut response = StatusCode::TOO_MANY_REQUESTS.into_response();
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, HeaderValue::from(secs));
            response
        }
        Mood::Unavailable => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Mood::Failing(of_ten) if asked % 10 < of_ten => {
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Mood::Failing(_) => "paid".into_response(),
        Mood::Silent => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            "paid".into_response()
        }
    }
}

type HttpClient = Client<HttpConnector, Full<Bytes>>;

/// The dependency, of which only traffic tells.
pub(crate) fn dependency() -> Dependency {
    let dependency = Dependency::builder(NAME).build();
    dependency.expect("the settings are right")
}

/// One of the two.
pub(crate) fn app(side: Side, url: &str) -> App {
    match side {
        Side::Bare => App::Bare(bare(url)),
        Side::Guarded => {
            let dependency = dependency();
            App::guarded(guarded(url, &dependency), &[&dependency])
        }
    }
}

fn bare(url: &str) -> Router {
    let (client, url) = (client(), url.to_owned());
    let handler = move || {
        let (client, url) = (client.clone(), url.clone());
        async move {
            match client.request(request(&url)).await {
                Ok(response) => passed_on(response).await,
                Err(_) => StatusCode::BAD_GATEWAY.into_response(),
            }
        }
    };
    Router::new().route("/", get(handler))
}

/// The application that calls through the breaker.
pub(crate) fn guarded(url: &str, dependency: &Dependency) -> Router {
    let (client, url, dependency) = (client(), url.to_owned(), dependency.clone());
    let handler = move || {
        let (client, url, dependency) = (client.clone(), url.clone(), dependency.clone());
        async move {
            let called = dependency.call_by(classifier::Http, client.request(request(&url)));
            let answer = passed_on(called.await?).await;
            // The status is the application's own; whether more is known, it asks.
            let failed = std::io::Error::other("the upstream failed");
            let why = (!answer.status().is_success()).then(|| dependency.explain(&failed));
            Ok::<_, steadfast::Error>(match why.flatten() {
                Some(refusal) => steadfast::explain::carry(refusal),
                None => answer,
            })
        }
    };
    Router::new().route("/", get(handler))
}

fn client() -> HttpClient {
    Client::builder(TokioExecutor::new()).build_http()
}

fn request(url: &str) -> Request<Full<Bytes>> {
    let request = Request::get(url).body(Full::default());
    request.expect("the URL is one")
}

/// What most applications do: an answer that is no success is a 502 of their own.
async fn passed_on<B: BodyExt>(response: http::Response<B>) -> Response {
    let status = response.status();
    let _ = response.into_body().collect().await;
    if status.is_success() {
        return "paid".into_response();
    }
    StatusCode::BAD_GATEWAY.into_response()
}

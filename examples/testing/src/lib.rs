//! Starts an example as its users do, as a process of its own, and talks to it over HTTP.
//!
//! Nothing here waits for a fixed time: it waits until something is so, and fails after
//! [`WAIT_MAX`] with what the process said.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "tests have nobody to return an error to"
)]

mod process;

use std::{future::Future, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

pub use process::{Example, fails};

/// Longest wait for anything. Far above what a slow machine needs, because it decides
/// only how long a failure takes to show.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// Returns a header's value, empty if there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("a header in ASCII"))
    }

    /// Returns the body as text.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body in UTF-8")
    }

    /// Returns the body as JSON.
    ///
    /// # Panics
    /// It is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A client of one process; its clones share connections.
#[derive(Clone, Debug)]
pub struct Caller {
    http: Client<HttpConnector, Full<Bytes>>,
    url: String,
}

impl Caller {
    /// Makes a client of what listens there.
    #[must_use]
    pub fn new(url: &str) -> Self {
        let http = Client::builder(TokioExecutor::new()).build_http();
        Self {
            http,
            url: url.to_owned(),
        }
    }

    /// Asks with GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[], "").await
    }

    /// Sends JSON with POST.
    pub async fn post(&self, path: &str, json: &str) -> Answer {
        self.ask(
            Method::POST,
            path,
            &[("content-type", "application/json")],
            json,
        )
        .await
    }

    /// Asks, and reads the answer to its end.
    ///
    /// # Panics
    /// There is no answer.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let answer = self.try_ask(method, path, headers, body).await;
        answer.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Asks, and reads the answer to its end, if there is one.
    ///
    /// # Errors
    /// What kept the answer from coming, in words.
    pub async fn try_ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer, String> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::from(body.to_owned()))
            .expect("a request");
        let answered = async {
            let response = self
                .http
                .request(request)
                .await
                .map_err(|error| error.to_string())?;
            let (head, body) = response.into_parts();
            let body = body
                .collect()
                .await
                .map_err(|error| error.to_string())?
                .to_bytes();
            Ok(Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                body,
            })
        };
        timeout(WAIT_MAX, answered)
            .await
            .unwrap_or_else(|_| Err("no answer".to_owned()))
    }
}

/// Asks again and again until the answer is there.
///
/// # Panics
/// It does not come in [`WAIT_MAX`].
pub async fn eventually<T, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let until = Instant::now() + WAIT_MAX;
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain until {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

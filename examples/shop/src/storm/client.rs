//! The clients: what they ask, and how they read the answer.

use std::time::Duration;

use axum::http::{Method, Request, Response, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

use crate::Fatal;

/// Longest wait for an answer, after which the request counts as lost. Long, so that what
/// is lost is the service's doing and not that of a slow machine.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Longest answer that is read, in bytes.
const ANSWER_LEN_MAX: usize = 4 * 1024 * 1024;

const ORDER: &str =
    r#"{"customer":"Ada","lines":[{"product":1,"quantity":2},{"product":4,"quantity":1}]}"#;

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    method: Method,
    path: String,
    body: &'static str,
}

impl Ask {
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            body: "",
        }
    }

    pub(super) fn post(path: impl Into<String>) -> Self {
        Self {
            method: Method::POST,
            path: path.into(),
            body: "",
        }
    }

    pub(super) fn order() -> Self {
        Self {
            method: Method::POST,
            path: "/orders".to_owned(),
            body: ORDER,
        }
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Served,
    Refused(Refused),
    /// Another status than was hoped for.
    Failed(u16),
    /// No answer at all.
    Lost,
}

/// A refusal as its client saw it.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    pub(super) cause: String,
    pub(super) id: String,
    pub(super) retry_after: Option<u64>,
    pub(super) detail: String,
}

/// A client of the service; its clones share connections.
#[derive(Clone, Debug)]
pub(super) struct Client {
    http: Http<HttpConnector, Full<Bytes>>,
    url: String,
    token: String,
}

impl Client {
    pub(super) fn new(url: &str, token: &str) -> Self {
        Self {
            http: Http::builder(TokioExecutor::new()).build_http(),
            url: url.to_owned(),
            token: token.to_owned(),
        }
    }

    /// Asks as a stranger does, and reads the answer to its end.
    pub(super) async fn ask(&self, ask: Ask) -> Answer {
        let answered = tokio::time::timeout(ANSWER_MAX, self.send(ask, false)).await;
        let Ok(Ok(response)) = answered else {
            return Answer::Lost;
        };
        let status = response.status();
        match status.as_u16() {
            503 => Answer::Refused(Refused::read(&response)),
            _ if status.is_success() => Answer::Served,
            other => Answer::Failed(other),
        }
    }

    /// Asks as the operator does; the answer is JSON.
    pub(super) async fn operator(&self, path: &str) -> Result<Value, Fatal> {
        let response = self.send(Ask::get(path), true).await?;
        serde_json::from_slice(response.body()).map_err(Fatal::new)
    }

    /// Returns what `/ready/` says to the operator, in one line.
    pub(super) async fn ready(&self) -> Option<String> {
        let asked = tokio::time::timeout(ANSWER_MAX, self.send(Ask::get("/ready/"), true)).await;
        let response = asked.ok()?.ok()?;
        Some(String::from_utf8_lossy(response.body()).trim().to_owned())
    }

    /// Returns a text, as what gathers metrics reads it.
    pub(super) async fn text(&self, ask: Ask) -> Option<String> {
        let asked = tokio::time::timeout(ANSWER_MAX, self.send(ask, false)).await;
        let response = asked.ok()?.ok()?;
        Some(String::from_utf8_lossy(response.body()).into_owned())
    }

    /// Makes an order and returns its id.
    pub(super) async fn order(&self) -> Result<String, Fatal> {
        let response = self.send(Ask::order(), false).await?;
        let order: Value = serde_json::from_slice(response.body()).map_err(Fatal::new)?;
        let id = order["id"].as_str().map(str::to_owned);
        id.ok_or_else(|| Fatal::new(format!("an order was answered with {}", response.status())))
    }

    /// Breaks payments, or mends it.
    pub(super) async fn payments(&self, mode: &str) -> Result<(), Fatal> {
        let path = format!("/stand-in/payments?mode={mode}");
        let response = self
            .send(
                Ask {
                    method: Method::PUT,
                    path,
                    body: "",
                },
                true,
            )
            .await?;
        if response.status().is_success() {
            return Ok(());
        }
        Err(Fatal::new(format!(
            "payments cannot be set to {mode}: {}",
            response.status()
        )))
    }

    async fn send(&self, ask: Ask, operator: bool) -> Result<Response<Bytes>, Fatal> {
        let mut request = Request::builder()
            .method(ask.method)
            .uri(format!("{}{}", self.url, ask.path))
            .header(header::CONTENT_TYPE, "application/json");
        if operator {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        }
        let request = request.body(Full::from(ask.body)).map_err(Fatal::new)?;
        let (head, body) = self
            .http
            .request(request)
            .await
            .map_err(Fatal::new)?
            .into_parts();
        let body = Limited::new(body, ANSWER_LEN_MAX)
            .collect()
            .await
            .map_err(Fatal::new)?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

impl Refused {
    fn read(response: &Response<Bytes>) -> Self {
        let header = |name| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let why = header("why-503").unwrap_or_default();
        let problem: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        Self {
            cause: member(why, "cause").unwrap_or("unexplained").to_owned(),
            id: member(why, "id").unwrap_or_default().to_owned(),
            retry_after: header("retry-after").and_then(|seconds| seconds.parse().ok()),
            detail: problem["detail"].as_str().unwrap_or_default().to_owned(),
        }
    }
}

/// Finds a member of the `why-503` dictionary: `cause=overloaded;rule=limit, id="…"`.
fn member<'a>(why: &'a str, name: &str) -> Option<&'a str> {
    why.split([',', ';'])
        .filter_map(|part| part.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_of_why_503_are_found() {
        let why = r#"cause=overloaded;rule=limit, id="0190f5c2", safe-to-retry"#;
        assert_eq!(member(why, "cause"), Some("overloaded"));
        assert_eq!(member(why, "rule"), Some("limit"));
        assert_eq!(member(why, "id"), Some("0190f5c2"));
        assert_eq!(member(why, "safe-to-retry"), None);
    }
}

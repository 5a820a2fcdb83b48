//! A check that asks an HTTP endpoint.

use http::{Request, Uri, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use steadfast_core::{Check, CheckOutcome, CheckRun, ConfigError, FailureClass};

use super::tcp::{connect, millis_since};
use crate::clock;

/// Passes when a GET of `url` answers 200 to 299 before the deadline. Redirects are not
/// followed: a health endpoint that redirects is not one.
///
/// Only `http://` is spoken. For TLS, ask with the client your service already has, in a
/// [`super::closure`]: then the check also covers its certificates and pool.
///
/// Each run opens a connection of its own and closes it, so that a check can tell "nobody
/// listens" from "accepted and never answered".
///
/// # Errors
/// The URL does not parse, has no host, or is not `http://`.
pub fn http_get(url: impl AsRef<str>) -> Result<HttpCheck, ConfigError> {
    let text = url.as_ref();
    let fault = |what: &str| {
        let shown = steadfast_core::plumbing::redact(text);
        ConfigError::from(format!(
            "http_get {shown:?} {what}; allowed is http://host[:port]/path"
        ))
    };
    let uri: Uri = text.parse().map_err(|_| fault("is not a URL"))?;
    if uri.scheme_str() != Some("http") {
        return Err(fault("is not http"));
    }
    let host = uri.host().ok_or_else(|| fault("has no host"))?;
    let address = format!("{host}:{}", uri.port_u16().unwrap_or(80));
    let authority = match uri.port_u16() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let path = uri
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .to_owned();
    Ok(HttpCheck {
        address,
        authority,
        path,
    })
}

/// See [`http_get`].
#[derive(Clone, Debug)]
pub struct HttpCheck {
    address: String,
    authority: String,
    path: String,
}

impl Check for HttpCheck {
    async fn run(&self, run: CheckRun) -> CheckOutcome {
        let began = clock::now();
        let stream = match connect(&self.address, run).await {
            Ok(stream) => stream,
            Err(outcome) => return outcome,
        };
        let deadline = run.deadline.with_margin(clock::now()).instant();
        match tokio::time::timeout_at(deadline.into(), self.get(stream)).await {
            Ok(outcome) => outcome.number("response_ms", millis_since(began)),
            Err(_) => CheckOutcome::fail(
                FailureClass::Stuck,
                format!(
                    "{}: connected, and no answer before the deadline",
                    self.address
                ),
            ),
        }
    }

    fn kind(&self) -> &'static str {
        "http"
    }
}

impl HttpCheck {
    async fn get(&self, stream: tokio::net::TcpStream) -> CheckOutcome {
        let request = Request::get(&*self.path)
            .header(header::HOST, &self.authority)
            .header(header::USER_AGENT, "steadfast-check")
            .header(header::CONNECTION, "close")
            .body(Empty::<bytes::Bytes>::new());
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                return CheckOutcome::fail(FailureClass::Misconfigured, error.to_string());
            }
        };
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = match handshake {
            Ok(pair) => pair,
            Err(error) => return self.broken(&error),
        };
        let response = tokio::select! {
            response = sender.send_request(request) => response,
            // The connection ends only after the response or with an error that
            // `send_request` reports too.
            _ = async { let _ = connection.await; std::future::pending::<()>().await } => unreachable!(),
        };
        match response {
            Ok(response) => self.judge(response.status()),
            Err(error) => self.broken(&error),
        }
    }

    fn judge(&self, status: http::StatusCode) -> CheckOutcome {
        let class = match status.as_u16() {
            200..=299 => return CheckOutcome::pass(),
            401 | 403 => FailureClass::Auth,
            429 => FailureClass::Overloaded,
            404 | 405 | 300..=399 => FailureClass::Misconfigured,
            _ => FailureClass::Unhealthy,
        };
        CheckOutcome::fail(class, format!("{} answered {status}", self.address))
            .number("status", status.as_u16())
    }

    fn broken(&self, error: &hyper::Error) -> CheckOutcome {
        CheckOutcome::fail(
            FailureClass::Unreachable,
            format!("{}: {error}", self.address),
        )
    }
}

//! A check that asks an HTTP endpoint.

use http::{Request, Uri, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use steadfast_core::{Check, CheckOutcome, CheckRun, ConfigError, FailureClass};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

#[cfg(feature = "https")]
use super::https::Tls;
use super::tcp::{connect, millis_since};
use crate::clock;

/// Passes when a GET of `url` answers 200 to 299 before the deadline. Redirects are not
/// followed: a health endpoint that redirects is not one.
///
/// `https://` needs the feature `https`. The server's certificate must be signed by an
/// authority that the host trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others), or by one
/// given to `HttpCheck::trusting`. A check that must show a certificate of its own asks
/// with the client that your service has, in a [`super::closure`].
///
/// Each run opens a connection of its own and closes it, so that a check can tell "nobody
/// listens" from "accepted and never answered".
///
/// # Errors
/// The URL does not parse, has no host, or is neither `http://` nor `https://`; or it is
/// `https://` without the feature.
pub fn http_get(url: impl AsRef<str>) -> Result<HttpCheck, ConfigError> {
    let text = url.as_ref();
    let fault = |what: &str| {
        let shown = steadfast_core::plumbing::redact(text);
        ConfigError::from(format!(
            "http_get {shown:?} {what}; allowed is {ALLOWED}://host[:port]/path"
        ))
    };
    let uri: Uri = text.parse().map_err(|_| fault("is not a URL"))?;
    let default_port = match uri.scheme_str() {
        Some("http") => 80,
        Some("https") if cfg!(feature = "https") => 443,
        Some("https") => return Err(fault("needs steadfast's feature `https`")),
        _ => return Err(fault("has another scheme")),
    };
    let host = uri.host().ok_or_else(|| fault("has no host"))?;
    let address = format!("{host}:{}", uri.port_u16().unwrap_or(default_port));
    #[cfg(feature = "https")]
    let tls = if default_port == 443 {
        Some(Tls::to(host).ok_or_else(|| fault("has a host that no certificate can be for"))?)
    } else {
        None
    };
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
        #[cfg(feature = "https")]
        tls,
    })
}

/// What may stand before `://`.
const ALLOWED: &str = if cfg!(feature = "https") {
    "http or https"
} else {
    "http"
};

/// See [`http_get`].
#[derive(Clone, Debug)]
pub struct HttpCheck {
    address: String,
    authority: String,
    path: String,
    /// None for `http://`.
    #[cfg(feature = "https")]
    tls: Option<Tls>,
}

#[cfg(feature = "https")]
impl HttpCheck {
    /// Trusts these authorities beside those of the host: one or more root certificates in
    /// PEM, for a house that signs its own.
    ///
    /// ```no_run
    /// # fn check() -> Result<(), Box<dyn std::error::Error>> {
    /// let house = std::fs::read("/etc/ssl/house-ca.pem")?;
    /// let check = steadfast::check::http_get("https://payments.internal/healthz")?
    ///     .trusting(&house)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// There is none in it, one cannot be used, or the check does not speak TLS.
    pub fn trusting(mut self, pem: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let tls = self
            .tls
            .take()
            .ok_or("it is http:// and needs none".to_owned());
        let tls = tls.and_then(|tls| tls.trusting(pem.as_ref()));
        self.tls = Some(tls.map_err(|found| {
            ConfigError::from(format!(
                "root certificates for {}: {found}; allowed are certificates in PEM",
                self.address
            ))
        })?);
        Ok(self)
    }
}

impl Check for HttpCheck {
    async fn run(&self, run: CheckRun) -> CheckOutcome {
        let began = clock::now();
        let stream = match connect(&self.address, run).await {
            Ok(stream) => stream,
            Err(outcome) => return outcome,
        };
        let deadline = run.deadline.with_margin(clock::now()).instant();
        match tokio::time::timeout_at(deadline.into(), self.ask(stream)).await {
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
    async fn ask(&self, stream: TcpStream) -> CheckOutcome {
        #[cfg(feature = "https")]
        if let Some(tls) = &self.tls {
            return match tls.shake(stream, &self.address).await {
                Ok(stream) => self.get(stream).await,
                Err(outcome) => outcome,
            };
        }
        self.get(stream).await
    }

    async fn get<I>(&self, stream: I) -> CheckOutcome
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
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
        #[cfg(feature = "https")]
        if super::https::of_tls(error).is_some() {
            return super::https::failed(&self.address, error);
        }
        if error.is_parse() {
            return CheckOutcome::fail(
                FailureClass::Misconfigured,
                format!("{}: answers, and not in HTTP ({error})", self.address),
            );
        }
        CheckOutcome::fail(
            FailureClass::Unreachable,
            format!("{}: {error}", self.address),
        )
    }
}

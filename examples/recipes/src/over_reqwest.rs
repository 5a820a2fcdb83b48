//! reqwest: its answers are judged by their status, as those of any HTTP client.

use reqwest::{Body, Client, Request, Url};
use steadfast::{CallError, Dependency, Error, classifier};
use tower::{Service, ServiceBuilder};

/// Asks for a quote, unless payments is down.
///
/// `send` has no error for a 503, so the answer is handed to the classifier as an
/// [`http::Response`]: 5xx count against payments, 4xx do not, and `Retry-After` is heard.
///
/// # Errors
/// The refusal, a time-out, or what reqwest says; `steadfast::Error` answers each of them.
pub async fn quote(payments: &Dependency, client: &Client, url: Url) -> Result<String, Error> {
    let asked = async { client.get(url).send().await.map(http::Response::from) };
    let answer = payments.call_by(classifier::Http, asked).await?;
    let answer = reqwest::Response::from(answer).error_for_status()?;
    Ok(answer.text().await?)
}

/// Puts the breaker around the client itself, for whoever composes tower layers: reqwest's own
/// answer is no [`http::Response`], so it is made one before it is judged.
pub fn guarded(
    payments: &Dependency,
    client: Client,
) -> impl Service<
    Request,
    Response = http::Response<Body>,
    Error = CallError<reqwest::Error>,
    Future: Send,
> + Clone {
    ServiceBuilder::new()
        .layer(payments.layer())
        .map_response(http::Response::<Body>::from)
        .service(client)
}

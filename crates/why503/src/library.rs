//! What a service that uses Steadfast says of itself: the `why-503` header of its answers,
//! `/ready/`, `/health/`, and to whoever holds the token `/why503/`.
//!
//! Every service is asked for `/ready/`, since a balancer is too; the others follow only if that
//! answer, or the first one, was the library's. Each request is taken from the ration.

use std::time::Duration;

use http::{HeaderName, HeaderValue, header};
use steadfast_diagnosis::{Id, Maker, Path, Text, Tied, Via, Wire};

use crate::{
    collect::{Collected, Job},
    maker,
    probe::{Answer, Probe, Question, ask},
    target::Target,
};

mod operator;

pub(crate) use operator::Refusal;

/// The library answers its own paths at once; anything else is not the library.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Looks at what the service says of itself.
pub(crate) async fn collect(job: &Job<'_>) -> Collected {
    let mut all = Collected::new();
    if job.options.probe_listener.is_none() && !is_asked_for(job) {
        beside(job, &mut all).await;
        return all;
    }
    let ready = get(job, "/ready/", Path::Ready, &mut all).await;
    let is_ours = ready.as_ref().is_some_and(|it| readiness(it).is_some());
    if let Some(answer) = &ready
        && let Some(line) = readiness(answer)
    {
        let seen = Wire::Readiness {
            status: answer.status,
            line: Text::new(&line),
        };
        all.saw("GET /ready/", Tied::Service, seen);
    }
    let explains = first(job).is_some_and(|it| maker::why(&it.headers).is_some());
    if !(is_ours || explains || job.options.explain.is_some()) {
        return all;
    }
    // With few probes the numbers go first: they say more than that the process lives.
    operator::collect(job, &mut all).await;
    if let Some(answer) = get(job, "/health/", Path::Health, &mut all).await {
        let seen = Wire::Liveness {
            status: answer.status,
            stalled: stalled(&answer),
        };
        all.saw("GET /health/", Tied::Service, seen);
    }
    all
}

/// Whether `/ready/` is worth a request: the service answers, or says that it is ours.
fn is_asked_for(job: &Job<'_>) -> bool {
    job.options.explain.is_some()
        || job.options.token.is_some()
        || first(job).is_some_and(|it| {
            let is_there = is_well(it.status) || it.status == 404 && !job.target.names_path;
            maker::why(&it.headers).is_some() || is_there && !is_health(&job.target.path)
        })
}

/// Whether the path is one of the service's, and answered.
fn is_well(status: u16) -> bool {
    status < 500 && status != 404
}

/// The answer to the first probe.
fn first<'a>(job: &Job<'a>) -> Option<&'a Answer> {
    job.found.first.as_ref()?.answer.as_ref()
}

/// Asks for `/` beside a health path that fails, or a path that is not there.
async fn beside(job: &Job<'_>, all: &mut Collected) {
    let Some(answer) = first(job) else {
        return;
    };
    let path = job.target.path.split('?').next().unwrap_or("/");
    let health = is_health(path);
    if health {
        let seen = Wire::HealthCheck {
            path: Text::new(path),
            status: answer.status,
        };
        all.saw(&format!("GET {path}"), Tied::Service, seen);
    }
    if path != "/" && (health || answer.status == 404) {
        get(job, "/", Path::Root, all).await;
    }
}

/// Whether a path looks like one that a balancer asks for.
fn is_health(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    let words = [
        "health", "ready", "readyz", "livez", "live", "alive", "ping", "status", "up", "startupz",
    ];
    path.split(['/', '.', '-', '_', '?'])
        .any(|it| words.contains(&it) || it.starts_with("health"))
}

/// One request of the service, or of its probe listener, if the ration allows.
async fn get(job: &Job<'_>, path: &str, kind: Path, all: &mut Collected) -> Option<Answer> {
    let listener = job.options.probe_listener.as_ref();
    // The probe listener is not the service; asking it costs the service nothing.
    if listener.is_none() && !job.ration.take() {
        return None;
    }
    let target = listener.unwrap_or(job.target).at(path);
    let probe = send(job, &target, kind, &[]).await;
    let foreign = kind == Path::Ready && is_of_a_proxy(job, &probe);
    if listener.is_none() && !foreign {
        let outcome = probe.outcome;
        let seen = Wire::Probe {
            via: Via::Given,
            path: kind,
            outcome,
            after: probe.timing.total,
        };
        all.saw(&format!("GET {path}"), Tied::Service, seen);
    }
    probe.answer
}

async fn send(
    job: &Job<'_>,
    target: &Target,
    path: Path,
    headers: &[(HeaderName, HeaderValue)],
) -> Probe {
    let mut sent: Vec<_> = job.options.headers.clone();
    sent.extend(headers.iter().cloned());
    let question = Question {
        target,
        via: Via::Given,
        path,
        headers: &sent,
        http: job.options.http,
        address: None,
        wait: job.within(ANSWER_MAX),
    };
    ask(&question, job.since).await
}

/// Whether a failure of the readiness path may be a proxy's own, which routes each path on its own
/// and knows nothing of the service's: only the library's line is the service's word then.
fn is_of_a_proxy(job: &Job<'_>, probe: &Probe) -> bool {
    let Some(answer) = probe.answer.as_ref().filter(|it| it.status >= 500) else {
        return false;
    };
    let by_a_proxy = |it: &Wire| match it {
        Wire::Made { by, .. } => !matches!(by, Maker::Steadfast | Maker::Application),
        Wire::Passed { .. } => true,
        _ => false,
    };
    let seen = maker::observe(answer, probe.timing.total);
    readiness(answer).is_none()
        && maker::why(&answer.headers).is_none()
        && (seen.iter().any(by_a_proxy) || crate::proxy::stands_at(job, job.found.port))
}

/// The line of `/ready/`, if the library wrote it.
fn readiness(answer: &Answer) -> Option<String> {
    let text = answer.text();
    let line = text.lines().next()?.trim();
    let ours = line == "ready" || line.starts_with("degraded") || line.starts_with("not ready");
    (ours && matches!(answer.status, 200 | 503)).then(|| line.to_owned())
}

/// For how long the runtime is stalled, if `/health/` says so.
fn stalled(answer: &Answer) -> Option<Duration> {
    if answer.status != 503 {
        return None;
    }
    let body: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    let millis = ["stalled_ms", "runtime_stalled_ms"]
        .iter()
        .find_map(|it| body[it].as_u64());
    let words = body["output"]
        .as_str()
        .is_some_and(|it| it.contains("stall"));
    millis
        .map(Duration::from_millis)
        .or(words.then_some(Duration::ZERO))
}

/// The bearer token as a header.
fn bearer(token: &str) -> Option<(HeaderName, HeaderValue)> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some((header::AUTHORIZATION, value))
}

/// Says why there is nothing from the operator's page.
fn without_token(all: &mut Collected) {
    let remedy = "give --token, or WHY503_TOKEN, and --probe-listener if the page is there";
    for id in [Id::AppShed, Id::AppBreakerOpen, Id::PoolApp] {
        all.could_not(
            id,
            "`/why503/` shows its numbers to the operator's token alone",
            remedy,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status,
            reason: None,
            version: http::Version::HTTP_11,
            headers: http::HeaderMap::new(),
            trailers: http::HeaderMap::new(),
            body: body.into(),
            asked: jiff::Timestamp::UNIX_EPOCH,
            received: jiff::Timestamp::UNIX_EPOCH,
            whole: true,
        }
    }

    #[test]
    fn only_the_librarys_own_line_is_readiness() {
        for (status, body, line) in [
            (200, "ready\n", Some("ready")),
            (200, "degraded: payments\n", Some("degraded: payments")),
            (503, "not ready: draining\n", Some("not ready: draining")),
            (200, "<html>ready</html>", None),
            (404, "not ready\n", None),
            (200, "", None),
        ] {
            assert_eq!(
                readiness(&answer(status, body)).as_deref(),
                line,
                "{status} {body}"
            );
        }
    }

    #[test]
    fn a_health_path_is_known_by_its_words() {
        for path in [
            "/health/",
            "/healthz",
            "/readyz",
            "/ready/",
            "/api/health-check",
            "/livez",
            "/up",
        ] {
            assert!(is_health(path), "{path}");
        }
        for path in ["/", "/orders", "/already", "/update", "/statuses"] {
            assert!(!is_health(path), "{path}");
        }
    }
}

//! The pages that proxies make themselves.

use steadfast_diagnosis::{Maker, Mark};

use crate::probe::Answer;

/// The maker of an answer with an error status, and the mark that says so.
pub(super) fn made(answer: &Answer) -> Option<(Maker, Mark)> {
    let page = Page {
        status: answer.status,
        text: &answer.text(),
        flat: answer
            .text()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" "),
        server: answer.header("server").unwrap_or("").to_ascii_lowercase(),
        answer,
    };
    // Who marks an answer beyond doubt comes before whom only a name betrays.
    [
        haproxy, nginx, envoy, traefik, apache, varnish, linkerd, balancers, gunicorn, caddy,
    ]
    .into_iter()
    .find_map(|recognise| recognise(&page))
}

/// Whether nginx, or what is made of it, calls itself so.
pub(super) fn is_nginx(server: &str) -> bool {
    ["nginx", "openresty", "tengine"]
        .iter()
        .any(|it| server.starts_with(it))
}

struct Page<'a> {
    status: u16,
    text: &'a str,
    /// The same with its lines joined, since pages break them where they like.
    flat: String,
    server: String,
    answer: &'a Answer,
}

impl Page<'_> {
    fn has(&self, words: &str) -> bool {
        self.flat.contains(words)
    }

    /// The text is these words and nothing else.
    fn is(&self, words: &str) -> bool {
        self.text.trim_end_matches(['\r', '\n']) == words
    }

    fn empty(&self) -> bool {
        self.answer.whole && self.text.is_empty()
    }
}

fn haproxy(page: &Page<'_>) -> Option<(Maker, Mark)> {
    // HAProxy signs nothing; a signed answer with its words was written by somebody else.
    if !page.server.is_empty() {
        return None;
    }
    let mark = match page.status {
        503 if page.has("No server is available to handle this request.") => Mark::HaproxyNoServer,
        502 if page.has("The server returned an invalid or incomplete response.") => {
            Mark::HaproxyBadGateway
        }
        504 if page.has("The server didn't respond in time.") => Mark::HaproxyTimeout,
        _ => return None,
    };
    Some((Maker::Haproxy, mark))
}

fn nginx(page: &Page<'_>) -> Option<(Maker, Mark)> {
    let signed = ["nginx", "openresty", "tengine"];
    let signed = signed
        .iter()
        .any(|it| page.has(&format!("<hr><center>{it}")));
    if !signed {
        return None;
    }
    let mark = match page.status {
        503 => Mark::NginxUnavailable,
        502 => Mark::NginxBadGateway,
        504 => Mark::NginxTimeout,
        429 => Mark::RateLimited,
        _ => Mark::Other,
    };
    Some((Maker::Nginx, mark))
}

fn envoy(page: &Page<'_>) -> Option<(Maker, Mark)> {
    const RESET: &str = "upstream connect error or disconnect/reset before headers.";
    let own = page.server == "envoy" || page.server == "istio-envoy";
    let answer = page.answer;
    if answer.headers.contains_key("x-envoy-local-overloaded") {
        return Some((Maker::Envoy, Mark::EnvoyLocalOverload));
    }
    if page.text.starts_with(RESET) {
        // The words after it changed over versions; the old ones are heard too.
        let reason = page
            .text
            .rsplit("reset reason:")
            .next()
            .unwrap_or("")
            .trim();
        let mark = match reason {
            "overflow" => Mark::EnvoyOverflow,
            "connection timeout" => Mark::EnvoyConnectionTimeout,
            "connection termination" => Mark::EnvoyConnectionTermination,
            "remote reset" => Mark::EnvoyRemoteReset,
            it if it.contains("connection failure") => Mark::EnvoyConnectionFailure,
            _ => Mark::EnvoyOtherReset,
        };
        return Some((Maker::Envoy, mark));
    }
    if page.is("no healthy upstream") {
        return Some((Maker::Envoy, Mark::EnvoyNoHealthy));
    }
    if page.status == 504 && page.is("upstream request timeout") {
        return Some((Maker::Envoy, Mark::EnvoyTimeout));
    }
    if page.status == 429 && page.is("local_rate_limited") {
        return Some((Maker::Envoy, Mark::EnvoyRateLimited));
    }
    if !own || answer.headers.contains_key("x-envoy-upstream-service-time") {
        return None;
    }
    let mark = if page.empty() {
        Mark::EnvoyEmpty
    } else {
        Mark::Other
    };
    Some((Maker::Envoy, mark))
}

fn traefik(page: &Page<'_>) -> Option<(Maker, Mark)> {
    if !page.server.is_empty() {
        return None;
    }
    let mark = match page.status {
        503 if page.is("no available server") => Mark::TraefikNoServer,
        502 if page.is("Bad Gateway") => Mark::TraefikBadGateway,
        504 if page.is("Gateway Timeout") => Mark::TraefikTimeout,
        404 if page.is("404 page not found") => Mark::TraefikNotFound,
        429 if page.answer.headers.contains_key("x-retry-in") => Mark::RateLimited,
        _ => return None,
    };
    Some((Maker::Traefik, mark))
}

fn apache(page: &Page<'_>) -> Option<(Maker, Mark)> {
    let mark = match page.status {
        503 if page.has("maintenance downtime or capacity problems") => Mark::ApacheUnavailable,
        502 if page.has("received an invalid response from an upstream server") => {
            Mark::ApacheBadGateway
        }
        504 if page.has("did not receive a timely response") => Mark::ApacheTimeout,
        _ => return None,
    };
    Some((Maker::Apache, mark))
}

fn varnish(page: &Page<'_>) -> Option<(Maker, Mark)> {
    let own = page.has("Guru Meditation") && page.answer.headers.contains_key("x-varnish");
    if !own {
        return None;
    }
    let fetch = page.has("Backend fetch failed")
        || page.answer.reason.as_deref() == Some("Backend fetch failed");
    let mark = if fetch {
        Mark::VarnishFetchFailed
    } else {
        Mark::Other
    };
    Some((Maker::Varnish, mark))
}

fn linkerd(page: &Page<'_>) -> Option<(Maker, Mark)> {
    let error = page.answer.header("l5d-proxy-error")?.to_ascii_lowercase();
    let mark = match page.status {
        _ if error.contains("fail-fast") || error.contains("failfast") => Mark::LinkerdFailfast,
        503 => Mark::LinkerdShed,
        _ => Mark::Other,
    };
    Some((Maker::Linkerd, mark))
}

/// Balancers and servers that nobody here can look into.
fn balancers(page: &Page<'_>) -> Option<(Maker, Mark)> {
    let server = page.server.as_str();
    if server.starts_with("awselb/") {
        let mark = match page.status {
            503 => Mark::AlbUnavailable,
            502 => Mark::AlbBadGateway,
            504 => Mark::AlbTimeout,
            _ => Mark::Other,
        };
        return Some((Maker::Alb, mark));
    }
    if server.starts_with("microsoft-httpapi") {
        return Some((Maker::Iis, Mark::Other));
    }
    if server == "cloudflare" && page.text.to_ascii_lowercase().contains("cloudflare") {
        return Some((Maker::Cloudflare, Mark::Other));
    }
    let heroku = page.has("herokucdn.com/error-pages") || page.has("herokuapp.com/error-pages");
    heroku.then_some((Maker::Heroku, Mark::Other))
}

fn gunicorn(page: &Page<'_>) -> Option<(Maker, Mark)> {
    let own = page.status == 500
        && (page.server.is_empty() || page.server.starts_with("gunicorn"))
        && page.has("<h1><p>Internal Server Error</p></h1>");
    own.then_some((Maker::Gunicorn, Mark::GunicornError))
}

fn caddy(page: &Page<'_>) -> Option<(Maker, Mark)> {
    // What Caddy passes on keeps the upstream's `Server` and bears a `Via`.
    if page.server != "caddy" || page.answer.headers.contains_key("via") {
        return None;
    }
    let mark = match page.status {
        503 if page.empty() => Mark::CaddyEmpty,
        502 if page.empty() => Mark::CaddyBadGateway,
        _ => Mark::Other,
    };
    Some((Maker::Caddy, mark))
}

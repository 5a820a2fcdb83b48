//! One row for each situation that a real server was seen in.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;

const NGINX: &str = "<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n<body>\r\n<center><h1>503 Service Temporarily Unavailable</h1></center>\r\n<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n";
const HAPROXY: &str = "<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n</body></html>\n";

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name: HeaderName = name.parse().expect("a name");
        map.append(name, HeaderValue::from_str(value).expect("a value"));
    }
    Answer {
        status,
        reason: None,
        version: http::Version::HTTP_11,
        headers: map,
        trailers: HeaderMap::new(),
        body: body.into(),
        asked: jiff::Timestamp::UNIX_EPOCH,
        received: jiff::Timestamp::UNIX_EPOCH,
        whole: true,
    }
}

/// In words, so that a row reads like the table that it comes from.
fn said(status: u16, headers: &[(&str, &str)], body: &str) -> String {
    let seen = observe(&answer(status, headers, body), Duration::ZERO);
    let words = seen.into_iter().map(|it| match it {
        Wire::Made { by, mark, .. } => format!("{by:?} {mark:?}"),
        Wire::Passed { by, .. } => format!("passed {by:?}"),
        Wire::Unmarked { .. } => "unmarked".into(),
        Wire::Why { cause, rule, id } => {
            format!("why {}/{} {id}", cause.code(), rule.map_or("-", Rule::code))
        }
        other => format!("{other:?}"),
    });
    words.collect::<Vec<_>>().join(", ")
}

use steadfast_core::Rule;

/// Status, headers, body, and what is said.
type Row<'a> = (u16, &'a [(&'a str, &'a str)], &'a str, &'a str);

#[test]
fn every_maker_is_known_by_its_page() {
    let envoy = ("server", "envoy");
    let reset = |reason: &str| {
        format!("upstream connect error or disconnect/reset before headers. {reason}")
    };
    let rows: &[Row<'_>] = &[
        (
            503,
            &[("cache-control", "no-cache"), ("content-type", "text/html")],
            HAPROXY,
            "Haproxy HaproxyNoServer",
        ),
        (
            503,
            &[("server", "nginx/1.22.1")],
            NGINX,
            "Nginx NginxUnavailable",
        ),
        (
            502,
            &[("server", "nginx")],
            "<hr><center>nginx</center>",
            "Nginx NginxBadGateway",
        ),
        (
            504,
            &[("server", "nginx")],
            "<hr><center>nginx</center>",
            "Nginx NginxTimeout",
        ),
        (
            503,
            &[envoy],
            &reset("reset reason: remote connection failure"),
            "Envoy EnvoyConnectionFailure",
        ),
        (
            503,
            &[envoy],
            &reset("retried and the latest reset reason: remote connection failure"),
            "Envoy EnvoyConnectionFailure",
        ),
        (
            503,
            &[envoy],
            &reset("reset reason: connection failure"),
            "Envoy EnvoyConnectionFailure",
        ),
        (
            503,
            &[envoy],
            &reset("reset reason: connection timeout"),
            "Envoy EnvoyConnectionTimeout",
        ),
        (
            503,
            &[envoy],
            &reset("reset reason: connection termination"),
            "Envoy EnvoyConnectionTermination",
        ),
        (
            503,
            &[envoy, ("x-envoy-overloaded", "true")],
            &reset("reset reason: overflow"),
            "Envoy EnvoyOverflow",
        ),
        (503, &[envoy], "no healthy upstream", "Envoy EnvoyNoHealthy"),
        (503, &[envoy], "", "Envoy EnvoyEmpty"),
        (503, &[envoy], "closed for the weekend", "Envoy Other"),
        (
            504,
            &[envoy],
            "upstream request timeout",
            "Envoy EnvoyTimeout",
        ),
        (
            429,
            &[envoy],
            "local_rate_limited",
            "Envoy EnvoyRateLimited",
        ),
        (
            503,
            &[("x-envoy-local-overloaded", "true")],
            "envoy overloaded",
            "Envoy EnvoyLocalOverload",
        ),
        (
            503,
            &[("x-content-type-options", "nosniff")],
            "no available server\n",
            "Traefik TraefikNoServer",
        ),
        (502, &[], "Bad Gateway", "Traefik TraefikBadGateway"),
        (504, &[], "Gateway Timeout", "Traefik TraefikTimeout"),
        (404, &[], "404 page not found\n", "Traefik TraefikNotFound"),
        (
            429,
            &[("retry-after", "1"), ("x-retry-in", "1s")],
            "Too Many Requests",
            "Traefik RateLimited",
        ),
        (502, &[("server", "Caddy")], "", "Caddy CaddyBadGateway"),
        (503, &[("server", "Caddy")], "", "Caddy CaddyEmpty"),
        (503, &[("server", "Caddy")], "back soon", "Caddy Other"),
        (
            503,
            &[("server", "Apache/2.4.71")],
            "temporarily unable to service your\nrequest due to maintenance downtime or capacity\nproblems.",
            "Apache ApacheUnavailable",
        ),
        (
            503,
            &[("server", "Apache/2.4.71")],
            "due to maintenance downtime or capacity problems. Please try again later.",
            "Apache ApacheUnavailable",
        ),
        (
            503,
            &[
                ("server", "Varnish"),
                ("x-varnish", "3"),
                ("via", "1.1 varnish (Varnish/7.1)"),
            ],
            "Error 503 Backend fetch failed<p>Guru Meditation:</p>",
            "Varnish VarnishFetchFailed",
        ),
        (
            503,
            &[("l5d-proxy-error", "service in fail-fast")],
            "",
            "Linkerd LinkerdFailfast",
        ),
        (
            503,
            &[("l5d-proxy-error", "load shed")],
            "",
            "Linkerd LinkerdShed",
        ),
        (
            503,
            &[("server", "awselb/2.0")],
            "<hr><center></center>",
            "Alb AlbUnavailable",
        ),
        (
            503,
            &[("server", "Microsoft-HTTPAPI/2.0")],
            "Service Unavailable",
            "Iis Other",
        ),
        (
            500,
            &[],
            "<h1><p>Internal Server Error</p></h1>",
            "Gunicorn GunicornError",
        ),
    ];
    for (status, headers, body, expected) in rows {
        assert_eq!(
            said(*status, headers, body),
            *expected,
            "{status} {headers:?} {body}"
        );
    }
}

#[test]
fn what_was_passed_on_is_not_laid_at_the_proxy() {
    let rows: &[(&[(&str, &str)], &str)] = &[
        (
            &[("server", "envoy"), ("x-envoy-upstream-service-time", "3")],
            "passed Envoy, unmarked",
        ),
        (
            &[("server", "gunicorn"), ("via", "1.1 Caddy")],
            "passed Caddy, unmarked",
        ),
        (
            &[
                ("server", "gunicorn"),
                ("x-varnish", "3"),
                ("age", "0"),
                ("via", "1.1 varnish"),
            ],
            "passed Varnish, unmarked",
        ),
        (
            &[
                ("server", "nginx/1.22.1"),
                ("content-type", "application/json"),
            ],
            "passed Nginx, unmarked",
        ),
        (&[("server", "gunicorn")], "unmarked"),
        (&[], "unmarked"),
    ];
    for (headers, expected) in rows {
        assert_eq!(
            said(503, headers, "{\"error\":\"down\"}"),
            *expected,
            "{headers:?}"
        );
    }
    let behind = [("server", "envoy"), ("x-envoy-upstream-service-time", "1")];
    assert_eq!(
        said(503, &behind, HAPROXY),
        "passed Envoy, unmarked",
        "HAProxy signs nothing"
    );
    assert_eq!(
        said(503, &[("server", "nginx")], "no healthy upstream"),
        "passed Nginx, Envoy EnvoyNoHealthy"
    );
}

#[test]
fn the_library_says_why() {
    let header = |value| said(503, &[("why-503", value)], "{}");
    assert_eq!(
        header("cause=overloaded;rule=limit, id=\"0190f5c2\", safe-to-retry"),
        "why overloaded/limit 0190f5c2"
    );
    assert_eq!(header("cause=draining, id=\"a\""), "why draining/- a");
    for foreign in ["cause=tired", "cause=\"draining\"", "draining", "", "cause"] {
        assert_eq!(header(foreign), "unmarked", "{foreign}");
    }
    assert_eq!(
        header(&format!("cause=draining, x=\"{}\"", "y".repeat(600))),
        "unmarked"
    );
    let behind = [
        ("why-503", "cause=draining"),
        ("x-envoy-upstream-service-time", "1"),
    ];
    assert_eq!(said(503, &behind, ""), "why draining/- , passed Envoy");
}

#[test]
fn success_has_no_maker() {
    assert_eq!(said(200, &[("server", "nginx")], "hello"), "");
}

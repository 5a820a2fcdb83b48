//! What Caddy's administration says: the handlers a request meets, and how its upstreams are.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::proxy::{
    asked::{Asked, Holds},
    envoy::admin::list,
};

/// How deep subroutes may lie in each other.
const DEPTH_MAX: u8 = 16;

/// What answers a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// `respond` with this status.
    pub(crate) respond: Option<u64>,
    /// `reverse_proxy` to these (`dial`).
    pub(crate) upstreams: Option<Vec<String>>,
    /// The path that the active check asks for, and the answers that it takes.
    pub(crate) check: Option<(String, String)>,
    /// Where in the configuration: server and routes by their numbers.
    pub(crate) place: String,
    /// Whether a matcher that cannot be judged here came first.
    pub(crate) is_unsure: bool,
}

/// Follows a request through `/config/`; `None` if no server listens at that port.
pub(crate) fn answer(text: &str, asked: &Asked) -> Option<Answer> {
    let json: Value = serde_json::from_str(text).unwrap_or_default();
    let servers = json["apps"]["http"]["servers"].as_object()?;
    let end = format!(":{}", asked.port);
    let listens = |it: &Value| {
        list(&it["listen"])
            .iter()
            .any(|at| at.as_str().is_some_and(|at| at.ends_with(&end)))
    };
    let (name, server) = servers.iter().find(|it| listens(it.1))?;
    let mut found = Answer {
        place: name.clone(),
        ..Answer::default()
    };
    let place = name.clone();
    routes(&server["routes"], asked, &place, &mut found, 0);
    Some(found)
}

fn routes(all: &Value, asked: &Asked, place: &str, found: &mut Answer, depth: u8) -> bool {
    if depth > DEPTH_MAX {
        found.is_unsure = true;
        return true;
    }
    for (number, route) in list(all).iter().enumerate() {
        match matches(&route["match"], asked) {
            Holds::No => continue,
            Holds::Unsure => {
                found.is_unsure = true;
                continue;
            }
            Holds::Yes => {}
        }
        let place = format!("{place}, route {number}");
        for handler in list(&route["handle"]) {
            match handler["handler"].as_str() {
                Some("subroute") if routes(&handler["routes"], asked, &place, found, depth + 1) => {
                    return true;
                }
                Some("static_response") => {
                    // A number or a text, which may be a placeholder.
                    let status = &handler["status_code"];
                    let text = status.as_str().and_then(|it| it.parse().ok());
                    found.respond = status.as_u64().or(text).or(Some(200));
                    found.place = place;
                    return true;
                }
                Some("reverse_proxy") => {
                    let dials = list(&handler["upstreams"]).iter();
                    let dials = dials.filter_map(|it| Some(it["dial"].as_str()?.to_owned()));
                    found.upstreams = Some(dials.collect());
                    found.check = check(&handler["health_checks"]["active"]);
                    found.place = place;
                    return true;
                }
                _ => {}
            }
        }
        if route["terminal"] == true {
            return true;
        }
    }
    false
}

/// The active check, if it asks for a path.
fn check(active: &Value) -> Option<(String, String)> {
    let path = active["uri"].as_str().or(active["path"].as_str())?;
    let path = path.split('?').next().unwrap_or(path);
    let expects = match active["expect_status"].as_u64() {
        // One digit stands for its hundred.
        Some(class @ 1..=9) => format!("{class}00-{class}99"),
        Some(status) => status.to_string(),
        None => "200-399".to_owned(),
    };
    Some((path.to_owned(), expects))
}

/// One of the sets has to hold, and of a set each matcher.
fn matches(sets: &Value, asked: &Asked) -> Holds {
    let sets = list(sets);
    if sets.is_empty() {
        return Holds::Yes;
    }
    let mut any = Holds::No;
    for set in sets {
        let mut all = Holds::Yes;
        for (name, value) in set.as_object().into_iter().flatten() {
            let values = || list(value).iter().filter_map(Value::as_str);
            all = all.and(match name.as_str() {
                "path" => Holds::of(values().any(|pattern| path_matches(pattern, &asked.path))),
                "host" => Holds::of(values().any(|host| asked.has_host(host))),
                _ => Holds::Unsure,
            });
        }
        any = any.or(all);
    }
    any
}

fn path_matches(pattern: &str, path: &str) -> bool {
    let (pattern, path) = (pattern.to_ascii_lowercase(), path.to_ascii_lowercase());
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(rest), Some(_)) => path.contains(rest.trim_end_matches('*')),
        (Some(end), None) => path.ends_with(end),
        (None, Some(begin)) => path.starts_with(begin),
        (None, None) => path == pattern,
    }
}

/// Whether the active checks call an upstream healthy, from `/metrics`.
pub(crate) fn healthy(metrics: &str) -> BTreeMap<String, bool> {
    let lines = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix("caddy_reverse_proxy_upstreams_healthy{upstream=\"")?;
        let (name, value) = rest.split_once("\"} ")?;
        Some((name.to_owned(), value.trim() != "0"))
    });
    lines.collect()
}

/// How often requests to an upstream failed lately, from `/reverse_proxy/upstreams`.
pub(crate) fn fails(text: &str) -> BTreeMap<String, u64> {
    let json: Value = serde_json::from_str(text).unwrap_or_default();
    let all = list(&json).iter();
    let pairs =
        all.filter_map(|it| Some((it["address"].as_str()?.to_owned(), it["fails"].as_u64()?)));
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{"apps":{"http":{"servers":{"srv0":{"listen":["127.0.0.1:8086"],"routes":[
        {"handle":[{"handler":"subroute","routes":[{"handle":[{"handler":"static_response","status_code":503}]}]}],"match":[{"path":["/stop*"]}]},
        {"handle":[{"handler":"static_response","status_code":"503"}],"match":[{"header":{}}]},
        {"handle":[{"handler":"headers"},{"handler":"reverse_proxy","upstreams":[{"dial":"127.0.0.1:1"},{"dial":"127.0.0.1:2"}]}]}]}}}}}"#;

    #[test]
    fn the_handler_of_a_request_is_followed() {
        let stop = answer(CONFIG, &Asked::new(8086, "x", "/stop/now")).expect("a server");
        assert_eq!(
            (stop.respond, stop.place.as_str()),
            (Some(503), "srv0, route 0, route 0")
        );
        let app = answer(CONFIG, &Asked::new(8086, "x", "/")).expect("a server");
        assert_eq!(app.upstreams.expect("it passes on").len(), 2);
        assert!(app.is_unsure && app.respond.is_none());
        assert_eq!(answer(CONFIG, &Asked::new(1, "x", "/")), None);
        assert_eq!(answer("[]", &Asked::new(1, "x", "/")), None);
    }

    #[test]
    fn upstreams_are_read() {
        let metrics = "# TYPE x gauge\ncaddy_reverse_proxy_upstreams_healthy{upstream=\"127.0.0.1:1\"} 0\n\
            caddy_reverse_proxy_upstreams_healthy{upstream=\"127.0.0.1:2\"} 1\n";
        let found = healthy(metrics);
        assert_eq!((found["127.0.0.1:1"], found["127.0.0.1:2"]), (false, true));
        let text = r#"[{"address":"127.0.0.1:1","num_requests":0,"fails":3}]"#;
        assert_eq!(fails(text)["127.0.0.1:1"], 3);
    }

    #[test]
    fn stars_are_where_caddy_has_them() {
        for (pattern, path, expected) in [
            ("/a*", "/abc", true),
            ("*.php", "/x.PHP", true),
            ("*b*", "/abc", true),
            ("/a", "/abc", false),
        ] {
            assert_eq!(path_matches(pattern, path), expected, "{pattern} {path}");
        }
    }
}

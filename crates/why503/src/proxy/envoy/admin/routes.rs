//! Follows a request through the routes that `/config_dump` shows.

use regex::RegexBuilder;
use serde_json::Value;

use super::{Action, Route, list, string};
use crate::proxy::asked::{Asked, Holds};

/// How deep the dump is searched; its filters lie about ten deep.
const DEPTH_MAX: usize = 24;

/// Most memory that the pattern of a route may take.
const PATTERN_MAX: usize = 1024 * 1024;

/// Finds the route of a request in the dump of listeners and of route configurations; `None`
/// if no listener has that port.
pub(crate) fn route(dump: &Value, asked: &Asked) -> Option<Route> {
    let mut listeners = Vec::new();
    collect(
        dump,
        &|it| it.get("filter_chains").is_some() && listens(it, asked.port),
        0,
        &mut listeners,
    );
    let listener = listeners.last()?;
    let mut inline = Vec::new();
    collect(
        listener,
        &|it| it.get("virtual_hosts").is_some(),
        0,
        &mut inline,
    );
    let mut names = Vec::new();
    collect(
        listener,
        &|it| it.get("route_config_name").is_some(),
        0,
        &mut names,
    );
    let names: Vec<_> = names
        .iter()
        .map(|it| string(&it["route_config_name"]))
        .collect();
    if inline.is_empty() {
        collect(
            dump,
            &|it| it.get("virtual_hosts").is_some() && names.contains(&string(&it["name"])),
            0,
            &mut inline,
        );
    }
    let config = inline.first()?;
    Some(in_config(config, asked))
}

fn listens(listener: &Value, port: u16) -> bool {
    listener["address"]["socket_address"]["port_value"] == port
}

/// Gathers the objects that are wanted, not looking into them any further.
fn collect<'a>(
    value: &'a Value,
    wanted: &dyn Fn(&Value) -> bool,
    depth: usize,
    found: &mut Vec<&'a Value>,
) {
    if depth > DEPTH_MAX {
        return;
    }
    match value {
        Value::Object(members) => {
            if wanted(value) {
                found.push(value);
                return;
            }
            for member in members.values() {
                collect(member, wanted, depth + 1, found);
            }
        }
        Value::Array(elements) => {
            for element in elements {
                collect(element, wanted, depth + 1, found);
            }
        }
        _ => {}
    }
}

fn in_config(config: &Value, asked: &Asked) -> Route {
    let name = string(&config["name"]);
    let hosts = list(&config["virtual_hosts"]);
    // The most specific domain wins: the whole name, the longest star, then `*`.
    let rank = |host: &&Value| {
        let domains = list(&host["domains"]).iter().filter_map(Value::as_str);
        let matching = domains.filter(|domain| {
            let bare = domain.rsplit_once(':').map_or(*domain, |(bare, port)| {
                if port.parse::<u16>().is_ok() {
                    bare
                } else {
                    *domain
                }
            });
            asked.has_host(bare)
        });
        matching
            .map(|domain| {
                if domain.starts_with('*') {
                    domain.len()
                } else {
                    1000
                }
            })
            .max()
    };
    let Some(host) = hosts
        .iter()
        .filter(|it| rank(it).is_some())
        .max_by_key(|it| rank(it))
    else {
        return Route {
            action: Action::None,
            place: name,
            is_unsure: false,
        };
    };
    let place = format!("{name} / {}", string(&host["name"]));
    let mut is_unsure = false;
    for route in list(&host["routes"]) {
        match matches(&route["match"], asked) {
            Holds::No => {}
            Holds::Unsure => is_unsure = true,
            Holds::Yes => {
                return Route {
                    action: action(route),
                    place: format!("{place} / {}", written(&route["match"])),
                    is_unsure,
                };
            }
        }
    }
    Route {
        action: Action::None,
        place,
        is_unsure,
    }
}

fn matches(condition: &Value, asked: &Asked) -> Holds {
    let text = |name: &str| condition[name].as_str();
    let path = if let Some(prefix) = text("prefix") {
        Holds::of(asked.path.starts_with(prefix))
    } else if let Some(path) = text("path") {
        Holds::of(asked.path == path)
    } else if let Some(prefix) = text("path_separated_prefix") {
        let rest = asked.path.strip_prefix(prefix);
        Holds::of(rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    } else if let Some(pattern) = condition["safe_regex"]["regex"].as_str() {
        // Envoy's patterns have to match the whole path.
        let whole = format!("^(?:{pattern})$");
        let built = RegexBuilder::new(&whole).size_limit(PATTERN_MAX).build();
        built.map_or(Holds::Unsure, |it| Holds::of(it.is_match(&asked.path)))
    } else {
        Holds::Unsure
    };
    let more = [
        "headers",
        "query_parameters",
        "grpc",
        "runtime_fraction",
        "tls_context",
        "dynamic_metadata",
    ];
    let more = more.iter().any(|name| condition.get(*name).is_some());
    path.and(if more { Holds::Unsure } else { Holds::Yes })
}

fn action(route: &Value) -> Action {
    if let Some(status) = route["direct_response"]["status"].as_u64() {
        return Action::Direct(status);
    }
    match route["route"]["cluster"].as_str() {
        Some(cluster) => Action::Cluster(cluster.to_owned()),
        None => Action::Other,
    }
}

fn written(condition: &Value) -> String {
    for name in ["prefix", "path", "path_separated_prefix"] {
        if let Some(text) = condition[name].as_str() {
            return format!("{name} {text}");
        }
    }
    let pattern = condition["safe_regex"]["regex"].as_str();
    format!("pattern {}", pattern.unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = r#"{"name":"local","virtual_hosts":[
        {"name":"shop","domains":["shop.example","shop.example:8080"],"routes":[{"match":{"path":"/"},"route":{"cluster":"shop"}}]},
        {"name":"all","domains":["*"],"routes":[
            {"match":{"prefix":"/direct"},"direct_response":{"status":503}},
            {"match":{"prefix":"/canary","headers":[{}]},"route":{"cluster":"canary"}},
            {"match":{"safe_regex":{"regex":"/v[0-9]+/.*"}},"route":{"weighted_clusters":{}}},
            {"match":{"prefix":"/"},"route":{"cluster":"app"}}]}]}"#;

    fn check(listener: &str, host: &str, path: &str, expected: &(Action, bool)) {
        let text = format!(
            r#"{{"configs":[{{"static_listeners":[{{"listener":{{
            "address":{{"socket_address":{{"address":"0.0.0.0","port_value":80}}}},
            "filter_chains":[{{"filters":[{{"typed_config":{{{listener}}}}}]}}]}}}}]}},
            {{"static_route_configs":[{{"route_config":{ROUTES}}}]}}]}}"#
        );
        let dump = serde_json::from_str(&text).expect("a dump");
        let found = route(&dump, &Asked::new(80, host, path)).expect("somebody listens");
        assert_eq!((found.action, found.is_unsure), *expected, "{path}");
        assert!(route(&dump, &Asked::new(81, host, path)).is_none());
    }

    #[test]
    fn the_route_is_followed_inline_and_by_name() {
        let cluster = |name: &str| Action::Cluster(name.to_owned());
        for listener in [
            format!(r#""route_config":{ROUTES}"#),
            r#""rds":{"route_config_name":"local"}"#.to_owned(),
        ] {
            check(&listener, "x", "/direct", &(Action::Direct(503), false));
            check(&listener, "x", "/canary", &(cluster("app"), true));
            check(&listener, "x", "/v1/x", &(Action::Other, false));
            check(&listener, "x", "/", &(cluster("app"), false));
            check(&listener, "shop.example", "/", &(cluster("shop"), false));
            check(&listener, "shop.example", "/x", &(Action::None, false));
        }
    }

    #[test]
    fn nonsense_leads_nowhere() {
        for text in ["{}", "[]", "3", r#"{"filter_chains":1}"#] {
            let dump = serde_json::from_str(text).expect("JSON");
            assert!(route(&dump, &Asked::new(80, "x", "/")).is_none());
        }
    }
}

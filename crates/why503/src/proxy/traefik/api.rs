//! What Traefik's API says: which router takes a request, and how its service's servers are.

use serde_json::Value;

use crate::proxy::{
    asked::{Asked, Holds},
    envoy::admin::{list, string},
};

/// Most letters of a rule that are read, and how deep its brackets may lie.
const RULE_MAX: usize = 4096;
const DEPTH_MAX: u8 = 16;

/// A service: its servers, and whether each is up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) name: String,
    /// URL, and whether the last check passed; without checks nobody is down.
    pub(crate) servers: Vec<(String, bool)>,
    /// Whether it balances over servers of its own; others name further services.
    pub(crate) is_balancer: bool,
    pub(crate) errors: Vec<String>,
    /// The path that its check asks for, and the answers that it takes.
    pub(crate) check: Option<(String, String)>,
}

/// A router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Router {
    pub(crate) name: String,
    /// The service's name, with its provider.
    pub(crate) service: String,
    pub(crate) rule: String,
    pub(crate) enabled: bool,
    pub(crate) errors: Vec<String>,
}

/// Reads `/api/http/services`.
pub(crate) fn services(text: &str) -> Vec<Service> {
    let json: Value = serde_json::from_str(text).unwrap_or_default();
    let service = |it: &Value| {
        let status = &it["serverStatus"];
        let servers = list(&it["loadBalancer"]["servers"]).iter();
        Service {
            name: string(&it["name"]),
            servers: servers
                .map(|server| {
                    let url = server["url"].as_str().or(server["address"].as_str());
                    let url = url.unwrap_or_default().to_owned();
                    let is_up = status[url.as_str()] != "DOWN";
                    (url, is_up)
                })
                .collect(),
            is_balancer: it.get("loadBalancer").is_some(),
            errors: list(&it["error"]).iter().map(string).collect(),
            check: check(&it["loadBalancer"]["healthCheck"]),
        }
    };
    list(&json).iter().map(service).collect()
}

fn check(check: &Value) -> Option<(String, String)> {
    let path = check["path"].as_str()?;
    let status = check["status"].as_u64().filter(|it| *it != 0);
    let expects = status.map_or_else(|| "200-399".to_owned(), |it| it.to_string());
    Some((path.to_owned(), expects))
}

/// The router of a request among `/api/http/routers`, by `/api/entrypoints`; and whether one that
/// cannot be judged here may take it first.
pub(crate) fn router(routers: &str, entrypoints: &str, asked: &Asked) -> (Option<Router>, bool) {
    let entrypoints: Value = serde_json::from_str(entrypoints).unwrap_or_default();
    let end = format!(":{}", asked.port);
    let at_port = |it: &&Value| {
        let address = it["address"].as_str().unwrap_or_default();
        address
            .split('/')
            .next()
            .is_some_and(|it| it.ends_with(&end))
    };
    let entrypoint = list(&entrypoints).iter().find(at_port);
    let Some(entrypoint) = entrypoint.and_then(|it| it["name"].as_str()) else {
        return (None, false);
    };
    let json: Value = serde_json::from_str(routers).unwrap_or_default();
    let takes = |it: &&Value| list(&it["using"]).iter().any(|name| name == entrypoint);
    let mut all: Vec<&Value> = list(&json).iter().filter(takes).collect();
    all.sort_by_key(|it| std::cmp::Reverse(it["priority"].as_u64().unwrap_or(0)));
    let mut is_unsure = false;
    for router in all {
        let rule = string(&router["rule"]);
        match rule_holds(&rule, asked) {
            Holds::No => {}
            Holds::Unsure => is_unsure = true,
            Holds::Yes => {
                let found = Router {
                    name: string(&router["name"]),
                    service: with_provider(
                        &string(&router["service"]),
                        &string(&router["provider"]),
                    ),
                    rule,
                    enabled: router["status"] != "disabled",
                    errors: list(&router["error"]).iter().map(string).collect(),
                };
                // One that is disabled takes nothing, and the next is asked.
                if found.enabled {
                    return (Some(found), is_unsure);
                }
            }
        }
    }
    (None, is_unsure)
}

fn with_provider(service: &str, provider: &str) -> String {
    if service.contains('@') {
        service.to_owned()
    } else {
        format!("{service}@{provider}")
    }
}

/// Evaluates `PathPrefix(`/a`) && (Host(`b`) || !Path(`/c`))`.
pub(crate) fn rule_holds(rule: &str, asked: &Asked) -> Holds {
    if rule.len() > RULE_MAX {
        return Holds::Unsure;
    }
    let mut rest = rule;
    let holds = any(&mut rest, asked, 0);
    if rest.trim().is_empty() {
        holds
    } else {
        Holds::Unsure
    }
}

fn any(rest: &mut &str, asked: &Asked, depth: u8) -> Holds {
    let mut holds = all(rest, asked, depth);
    while eat(rest, "||") {
        holds = holds.or(all(rest, asked, depth));
    }
    holds
}

fn all(rest: &mut &str, asked: &Asked, depth: u8) -> Holds {
    let mut holds = one(rest, asked, depth);
    while eat(rest, "&&") {
        holds = holds.and(one(rest, asked, depth));
    }
    holds
}

fn one(rest: &mut &str, asked: &Asked, depth: u8) -> Holds {
    if depth > DEPTH_MAX {
        *rest = "";
        return Holds::Unsure;
    }
    if eat(rest, "!") {
        return one(rest, asked, depth + 1).not();
    }
    if eat(rest, "(") {
        let holds = any(rest, asked, depth + 1);
        return if eat(rest, ")") { holds } else { Holds::Unsure };
    }
    let text = rest.trim_start();
    let end = text.find('(').unwrap_or(text.len());
    let name = text[..end].trim();
    *rest = text.get(end + 1..).unwrap_or_default();
    let mut values = Vec::new();
    loop {
        let text = rest.trim_start();
        let quote = text.chars().next().filter(|it| matches!(it, '`' | '"'));
        let Some(quote) = quote else { break };
        let Some((value, after)) = text[1..].split_once(quote) else {
            *rest = "";
            return Holds::Unsure;
        };
        values.push(value);
        *rest = after;
        eat(rest, ",");
    }
    if !eat(rest, ")") {
        return Holds::Unsure;
    }
    let any = |is: &dyn Fn(&str) -> bool| Holds::of(values.iter().any(|value| is(value)));
    match name {
        "PathPrefix" => any(&|value| asked.path.starts_with(value)),
        "Path" => any(&|value| asked.path == value),
        "Host" => any(&|value| asked.has_host(value)),
        _ => Holds::Unsure,
    }
}

fn eat(rest: &mut &str, token: &str) -> bool {
    match rest.trim_start().strip_prefix(token) {
        Some(after) => {
            *rest = after;
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: &str, expected: Holds) {
        assert_eq!(
            rule_holds(rule, &Asked::new(80, "a.example", "/api/x")),
            expected,
            "{rule}"
        );
    }

    #[test]
    fn rules_are_evaluated_as_far_as_path_and_host_go() {
        check("PathPrefix(`/api`)", Holds::Yes);
        check("Path(`/api`)", Holds::No);
        check(
            "Host(`b.example`, `a.example`) && PathPrefix(`/`)",
            Holds::Yes,
        );
        check(
            "Host(`b.example`) || (PathPrefix(`/`) && !Path(`/x`))",
            Holds::Yes,
        );
        check("Header(`a`, `b`)", Holds::Unsure);
        check("Header(`a`, `b`) && Path(`/x`)", Holds::No);
        for broken in [
            "",
            "(",
            "Path(",
            "Path(`",
            "!",
            "&&",
            "Path(`/`) x",
            &"(".repeat(100),
        ] {
            check(broken, Holds::Unsure);
        }
    }

    const ENTRYPOINTS: &str =
        r#"[{"address":"127.0.0.1:8084","name":"traefik"},{"address":":8083/tcp","name":"web"}]"#;
    const ROUTERS: &str = r#"[
        {"entryPoints":["web"],"using":["web"],"service":"app","rule":"PathPrefix(`/`)","priority":15,"status":"enabled","name":"r@file","provider":"file"},
        {"using":["web"],"service":"api@docker","rule":"PathPrefix(`/api`)","priority":18,"status":"enabled","name":"a@file","provider":"file"},
        {"using":["web"],"service":"nosuch","rule":"PathPrefix(`/bad`)","priority":18,"status":"disabled","error":["the service does not exist"],"name":"b@file","provider":"file"},
        {"using":["traefik"],"service":"api@internal","rule":"PathPrefix(`/`)","priority":99,"status":"enabled","name":"api@internal","provider":"internal"}]"#;

    #[test]
    fn the_router_of_a_request_is_the_first_by_priority() {
        let at = |port, path: &str| {
            router(ROUTERS, ENTRYPOINTS, &Asked::new(port, "x", path))
                .0
                .map(|it| it.service)
        };
        assert_eq!(at(8083, "/api/x").as_deref(), Some("api@docker"));
        assert_eq!(at(8083, "/bad").as_deref(), Some("app@file"));
        assert_eq!(at(8083, "/").as_deref(), Some("app@file"));
        assert_eq!(at(1, "/"), None);
    }

    #[test]
    fn servers_are_down_only_if_a_check_says_so() {
        let text = r#"[{"loadBalancer":{"servers":[{"url":"http://a:1"},{"url":"http://b:1"}]},"name":"app@file","serverStatus":{"http://a:1":"DOWN"}},
            {"name":"api@internal"}]"#;
        let found = services(text);
        assert_eq!(
            found[0].servers,
            [
                ("http://a:1".to_owned(), false),
                ("http://b:1".to_owned(), true)
            ]
        );
        assert!(!found[1].is_balancer);
        assert!(services("<html>").is_empty());
    }
}

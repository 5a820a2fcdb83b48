//! Goal: no text of a stranger makes a parser panic or run away. Method: texts made of the words
//! that each grammar has, in any order, with letters that end or open things between them.
//!
//! More than the default number of texts: `PROPTEST_CASES=10000000 cargo test --release -p why503 hostile`.

use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    apache, asked::Asked, caddy, envoy::admin, files::Disk, haproxy, nginx, traefik, varnish,
};

/// Words of all grammars, and what separates them.
const WORDS: &[&str] = &[
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "\"",
    "'",
    "`",
    "\\",
    ";",
    ":",
    ",",
    "#",
    "\n",
    " ",
    "<",
    ">",
    "</",
    "!",
    "&&",
    "||",
    "*",
    "~",
    "~*",
    "^~",
    "=",
    "@",
    "%[",
    "$",
    "${",
    "0",
    "503",
    "-1",
    "99999999999999999999",
    "é",
    "\u{202e}",
    "\0",
    "frontend x",
    "backend x",
    "listen",
    "bind :80",
    "use_backend x if",
    "acl a path_beg /",
    "http-request deny deny_status 503 if",
    "monitor fail",
    "timeout queue 1s",
    "server",
    "location",
    "http",
    "upstream",
    "proxy_pass http://",
    "return 503",
    "limit_req zone=",
    "include x",
    "listen 80",
    "server_name",
    "if",
    "PathPrefix(`/",
    "Host(",
    "Path",
    "VirtualHost",
    "Location /",
    "ProxyPass / balancer://a",
    "BalancerMember",
    "RewriteRule . - [R=503]",
    "synth(503",
    ".host =",
    ".port",
    "{\"a\":[",
    "\"virtual_hosts\":[",
    "null",
    "# pxname,svname,type",
    "x,BACKEND,1",
    "ProxyBalancer[0]Name: a",
    "<tr><td>",
    "LoadBalancer Status for",
    "cluster.x.y: 1",
    "admin",
    "port_value",
];

fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        8 => select(WORDS).prop_map(str::to_owned),
        1 => ".{0,8}",
    ];
    vec(word, 0..40).prop_map(|words| words.join(" "))
}

struct One(String);

impl nginx::directive::Files for One {
    fn read(&mut self, _: &str) -> Result<String, String> {
        Ok(self.0.clone())
    }

    fn list(&mut self, pattern: &str) -> Vec<String> {
        // Each file includes another, without an end.
        vec![format!("{pattern}x")]
    }
}

proptest! {
    #[test]
    fn hostile_texts_are_read_to_their_end(text in text(), path in "/[a-z/]{0,8}") {
        let asked = Asked::new(80, "a.example", &path);
        let sections = haproxy::config::read(&text);
        let _ = haproxy::config::way(&sections, &asked);
        let _ = haproxy::config::local_rules(&sections, &asked, Some("x"));
        let _ = haproxy::config::timeout_ms(&sections, "x", "queue");
        let rows = haproxy::stat::rows(&text);
        let _ = haproxy::stat::backends(&rows);
        let _ = haproxy::stat::info(&text);
        let config = nginx::directive::load("/n", "/", &mut One(text.clone()));
        let _ = nginx::route::route(&config, &asked);
        let _ = admin::clusters(&text);
        let _ = admin::stats(&text);
        let _ = traefik::api::services(&text);
        let _ = traefik::api::router(&text, &text, &asked);
        let _ = traefik::api::rule_holds(&text, &asked);
        let _ = caddy::config::answer(&text, &asked);
        let _ = caddy::config::healthy(&text);
        let _ = apache::status::status(&text);
        let _ = apache::status::balancers(&text);
        let config = apache::config::parse(&text, &Disk { root: "/nowhere".to_owned() });
        let _ = (config.way(&asked), config.rules(&asked), config.handler("server-status"));
        let _ = varnish::backends::backends(&text);
        let _ = varnish::addresses(&text);
    }

    #[test]
    fn hostile_documents_lead_nowhere(text in "[\\[\\]{}\",:a-z0-9]{0,60}") {
        if let Ok(json) = serde_json::from_str(&text) {
            let _ = admin::routes::route(&json, &Asked::new(80, "a", "/"));
        }
    }
}

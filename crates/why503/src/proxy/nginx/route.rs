//! Which server and location of nginx a request meets, and what they do with it.

use regex::RegexBuilder;

use super::directive::{Config, Directive};
use crate::proxy::asked::Asked;

/// Most memory that one pattern of a location may take.
const PATTERN_MAX: usize = 1024 * 1024;

/// What nginx does with a request, as its configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Route {
    /// The server's names, or where it listens.
    pub(crate) server: String,
    /// The location, as it was written.
    pub(crate) location: String,
    pub(crate) place: String,
    /// `return 503` or its like: its text, its place, and whether an `if` decides.
    pub(crate) returns: Option<Returns>,
    /// Limits that can refuse the request: `limit_req` and `limit_conn`.
    pub(crate) limits: Vec<Limit>,
    /// Where it is passed on to.
    pub(crate) upstream: Option<Upstream>,
    /// Patterns that could not be read here and may match first.
    pub(crate) is_unsure: bool,
}

/// A directive that answers by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Returns {
    pub(crate) text: String,
    pub(crate) place: String,
    pub(crate) conditional: bool,
}

/// A limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// Whether it is `limit_conn`.
    pub(crate) is_conn: bool,
    pub(crate) zone: String,
    pub(crate) text: String,
    pub(crate) place: String,
    /// The zone's rate, for `limit_req`.
    pub(crate) rate: String,
    /// The status of a refusal.
    pub(crate) status: u16,
    pub(crate) dry_run: bool,
}

/// Where requests are passed on to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upstream {
    pub(crate) name: String,
    pub(crate) place: String,
    /// `host:port` or `unix:/path` of each server that is not marked `down`.
    pub(crate) servers: Vec<String>,
    /// Servers that the configuration marks `down`.
    pub(crate) down: Vec<String>,
    /// For how many seconds idle connections are kept, if any are.
    pub(crate) keep_alive: Option<u64>,
}

/// Follows a request; `None` if nobody listens at that port.
pub(crate) fn route(config: &Config, asked: &Asked) -> Option<Route> {
    let http = config.root.all("http").collect::<Vec<_>>();
    let servers = || http.iter().flat_map(|http| http.all("server"));
    let server = server(servers().filter(|it| listens(it, asked.port)), asked)?;
    let names: Vec<_> = server
        .all("server_name")
        .flat_map(|it| it.args.clone())
        .collect();
    let mut route = Route {
        server: if names.is_empty() {
            server.place()
        } else {
            names.join(" ")
        },
        location: "server".to_owned(),
        place: server.place(),
        ..Route::default()
    };
    let mut path = vec![*http.first()?, server];
    descend(server, asked, &mut path, &mut route);
    route.returns = path[1..].iter().find_map(|block| returns(block));
    for name in ["limit_req", "limit_conn"] {
        let inner = path
            .iter()
            .rev()
            .find(|block| block.all(name).next().is_some());
        let found = inner.into_iter().flat_map(|block| block.all(name));
        route.limits.extend(found.map(|it| limit(it, &http, &path)));
    }
    let last = path.last()?;
    let passes = [
        "proxy_pass",
        "grpc_pass",
        "uwsgi_pass",
        "fastcgi_pass",
        "scgi_pass",
    ];
    let pass = passes.iter().find_map(|name| last.all(name).next());
    route.upstream = pass.map(|pass| upstream(pass, &http));
    Some(route)
}

fn listens(server: &Directive, port: u16) -> bool {
    let mut listens = server.all("listen").peekable();
    if listens.peek().is_none() {
        return matches!(port, 80 | 8000);
    }
    listens.any(|listen| {
        let at = listen.arg();
        let given = at.rsplit_once(':').filter(|it| !it.1.contains(']'));
        let given = given.map_or(at, |(_, port)| port);
        match given.parse::<u16>() {
            Ok(given) => given == port,
            // An address without a port, or a Unix socket, which has none.
            Err(_) => port == 80 && !at.starts_with("unix:"),
        }
    })
}

/// The server by its name: exactly, by the longest star, by a pattern, or the default.
fn server<'a>(
    servers: impl Iterator<Item = &'a Directive>,
    asked: &Asked,
) -> Option<&'a Directive> {
    let mut best: Option<(usize, &Directive)> = None;
    for server in servers {
        let names: Vec<&String> = server.all("server_name").flat_map(|it| &it.args).collect();
        let exact = names
            .iter()
            .any(|name| name.eq_ignore_ascii_case(&asked.host));
        let stars = names
            .iter()
            .filter(|name| name.contains('*') || name.starts_with('.'));
        let star = stars
            .filter(|name| matches_star(name, &asked.host))
            .map(|it| it.len())
            .max();
        let mut patterns = names.iter().filter_map(|name| name.strip_prefix('~'));
        let pattern = patterns.any(|it| regex(it, true).is_some_and(|it| it.is_match(&asked.host)));
        let is_default = server.all("listen").any(|listen| {
            listen
                .args
                .iter()
                .any(|arg| arg == "default_server" || arg == "default")
        });
        let rank = match (exact, star, pattern, is_default) {
            (true, ..) => 10_000,
            (_, Some(length), ..) => 100 + length,
            (_, _, true, _) => 50,
            (.., true) => 2,
            // The first of all is the default if none says so.
            _ => usize::from(best.is_none()),
        };
        if best.is_none_or(|(before, _)| rank > before) {
            best = Some((rank, server));
        }
    }
    best.map(|it| it.1)
}

fn matches_star(name: &str, host: &str) -> bool {
    let name = name.to_ascii_lowercase();
    match (
        name.strip_prefix("*."),
        name.strip_prefix('.'),
        name.strip_suffix(".*"),
    ) {
        (Some(end), ..) => host.ends_with(&format!(".{end}")),
        (_, Some(end), _) => host == end || host.ends_with(&format!(".{end}")),
        (.., Some(begin)) => host.starts_with(&format!("{begin}.")),
        _ => false,
    }
}

/// Finds the location, and the one in it, as nginx does: exact, then the longest prefix, unless a
/// pattern matches and the prefix does not forbid it.
fn descend<'a>(
    block: &'a Directive,
    asked: &Asked,
    path: &mut Vec<&'a Directive>,
    route: &mut Route,
) {
    let mut prefix: Option<(&Directive, usize, bool)> = None;
    let mut pattern = None;
    for location in block.all("location") {
        let (kind, text) = match &location.args[..] {
            [text] => ("", text.as_str()),
            [kind, text, ..] => (kind.as_str(), text.as_str()),
            [] => continue,
        };
        match kind {
            "=" if text == asked.path => return take(location, asked, path, route),
            "=" => {}
            "~" | "~*" => match regex(text, kind == "~*") {
                Some(found) if found.is_match(&asked.path) => {
                    pattern = pattern.or(Some(location));
                }
                Some(_) => {}
                None => route.is_unsure = true,
            },
            _ if text.starts_with('@') => {}
            _ if asked.path.starts_with(text) && prefix.is_none_or(|it| text.len() > it.1) => {
                prefix = Some((location, text.len(), kind == "^~"));
            }
            _ => {}
        }
    }
    let chosen = match (prefix, pattern) {
        (Some((location, _, true)), _) | (Some((location, ..)), None) => Some(location),
        (_, found) => found,
    };
    if let Some(location) = chosen {
        take(location, asked, path, route);
    }
}

fn take<'a>(
    location: &'a Directive,
    asked: &Asked,
    path: &mut Vec<&'a Directive>,
    route: &mut Route,
) {
    route.location = location.text();
    route.place = location.place();
    path.push(location);
    descend(location, asked, path, route);
}

fn returns(block: &Directive) -> Option<Returns> {
    let of = |it: &Directive, conditional| Returns {
        text: it.text(),
        place: it.place(),
        conditional,
    };
    let is_503 = |it: &&Directive| it.arg() == "503";
    if let Some(plain) = block.all("return").find(is_503) {
        return Some(of(plain, false));
    }
    let ifs = block.all("if");
    let inner = ifs.flat_map(|it| it.block.iter());
    inner
        .filter(|it| it.name == "return")
        .find(is_503)
        .map(|it| of(it, true))
}

fn limit(limit: &Directive, http: &[&Directive], path: &[&Directive]) -> Limit {
    let is_conn = limit.name == "limit_conn";
    let named = limit.args.iter().find_map(|arg| arg.strip_prefix("zone="));
    let zone = named.unwrap_or_else(|| limit.arg()).to_owned();
    let zones = http.iter().flat_map(|it| it.all("limit_req_zone"));
    let of_zone = |it: &&Directive| {
        let mut args = it.args.iter().filter_map(|arg| arg.strip_prefix("zone="));
        args.any(|arg| arg.split(':').next() == Some(&zone))
    };
    let rate = zones.filter(of_zone).find_map(|it| {
        let mut args = it.args.iter();
        args.find_map(|arg| arg.strip_prefix("rate=").map(str::to_owned))
    });
    let nearest = |name: &'static str| path.iter().rev().find_map(|block| block.all(name).next());
    let status = nearest(if is_conn {
        "limit_conn_status"
    } else {
        "limit_req_status"
    });
    let dry = nearest(if is_conn {
        "limit_conn_dry_run"
    } else {
        "limit_req_dry_run"
    });
    Limit {
        is_conn,
        zone,
        text: limit.text(),
        place: limit.place(),
        rate: rate.unwrap_or_default(),
        status: status.and_then(|it| it.arg().parse().ok()).unwrap_or(503),
        dry_run: dry.is_some_and(|it| it.arg() == "on"),
    }
}

fn upstream(pass: &Directive, http: &[&Directive]) -> Upstream {
    let target = pass.arg();
    let (scheme, rest) = target.split_once("://").unwrap_or(("http", target));
    let authority = match rest.strip_prefix("unix:") {
        Some(path) => format!("unix:{}", path.split(':').next().unwrap_or(path)),
        None => rest.split('/').next().unwrap_or(rest).to_owned(),
    };
    let default = if scheme.ends_with('s') { 443 } else { 80 };
    let mut groups = http.iter().flat_map(|it| it.all("upstream"));
    let Some(group) = groups.find(|it| it.arg() == authority) else {
        // A variable is resolved for each request; nothing is known of it here.
        let known = !authority.contains('$');
        return Upstream {
            servers: known
                .then(|| with_port(&authority, default))
                .into_iter()
                .collect(),
            down: Vec::new(),
            keep_alive: None,
            place: pass.place(),
            name: authority,
        };
    };
    let is_down = |it: &&Directive| it.args.iter().any(|arg| arg == "down");
    let (down, up): (Vec<_>, Vec<_>) = group.all("server").partition(is_down);
    let addresses =
        |all: Vec<&Directive>| all.iter().map(|it| with_port(it.arg(), default)).collect();
    Upstream {
        name: authority,
        place: group.place(),
        servers: addresses(up),
        down: addresses(down),
        keep_alive: group.all("keepalive").next().and_then(|_| {
            let timeout = group.all("keepalive_timeout").next();
            timeout.map_or(Some(60), |it| seconds(it.arg()))
        }),
    }
}

/// A time of nginx in whole seconds.
fn seconds(text: &str) -> Option<u64> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: u64 = number.parse().ok()?;
    match unit {
        "" | "s" => Some(number),
        "ms" => Some(number / 1000),
        "m" => number.checked_mul(60),
        "h" => number.checked_mul(3600),
        _ => None,
    }
}

fn with_port(authority: &str, default: u16) -> String {
    let after = authority.rsplit(']').next().unwrap_or(authority);
    if authority.starts_with("unix:") || after.contains(':') {
        authority.to_owned()
    } else {
        format!("{authority}:{default}")
    }
}

fn regex(text: &str, ignores_case: bool) -> Option<regex::Regex> {
    let mut builder = RegexBuilder::new(text);
    let builder = builder
        .case_insensitive(ignores_case)
        .size_limit(PATTERN_MAX);
    builder.build().ok()
}

#[cfg(test)]
mod tests {
    use super::{super::directive::Files, *};

    struct One(&'static str);

    impl Files for One {
        fn read(&mut self, _: &str) -> Result<String, String> {
            Ok(self.0.to_owned())
        }

        fn list(&mut self, _: &str) -> Vec<String> {
            Vec::new()
        }
    }

    const CONFIG: &str = r"
events {}
http {
  limit_req_zone $binary_remote_addr zone=api:1m rate=5r/s;
  upstream app { server 127.0.0.1:1; server 127.0.0.2 down; server unix:/run/a.sock backup; }
  server { listen 8080 default_server; return 503; }
  server {
    listen 127.0.0.1:8080;
    server_name shop.example *.shop.example;
    limit_conn perip 10;
    location / { proxy_pass http://app; }
    location /api/ { limit_req zone=api burst=2; limit_req_status 429; proxy_pass http://127.0.0.1; 
      location /api/closed { if ($closed) { return 503; } } }
    location = /stop { return 503 closed; }
    location ^~ /img/ { proxy_pass https://$host; }
    location ~* \.PHP$ { fastcgi_pass unix:/run/php.sock; }
  }
}";

    fn at(host: &str, path: &str) -> Route {
        let config = super::super::directive::load("/n", "/", &mut One(CONFIG));
        route(&config, &Asked::new(8080, host, path)).expect("somebody listens")
    }

    fn check(path: &str, location: &str) {
        assert_eq!(at("shop.example", path).location, location, "{path}");
    }

    #[test]
    fn the_location_is_found_as_nginx_finds_it() {
        check("/", "location /");
        check("/api/x", "location /api/");
        check("/api/closed/x", "location /api/closed");
        check("/stop", "location = /stop");
        check("/stop/", "location /");
        check("/img/x.php", "location ^~ /img/");
        check("/api/x.php", "location ~* \\.PHP$");
        assert_eq!(at("a.shop.example", "/stop").location, "location = /stop");
        assert_eq!(
            at("other.example", "/")
                .returns
                .expect("the default closes")
                .place,
            "/n:6"
        );
        let config = super::super::directive::load("/n", "/", &mut One(CONFIG));
        assert_eq!(route(&config, &Asked::new(81, "x", "/")), None);
    }

    #[test]
    fn the_rule_that_refuses_is_named_with_its_place() {
        let stop = at("shop.example", "/stop").returns.expect("it returns");
        assert_eq!(
            (stop.text.as_str(), stop.place.as_str()),
            ("return 503 closed", "/n:14")
        );
        assert!(!stop.conditional);
        assert!(
            at("shop.example", "/api/closed")
                .returns
                .expect("it may")
                .conditional
        );
        let limits = at("shop.example", "/api/x").limits;
        assert_eq!(
            (limits[0].zone.as_str(), limits[0].rate.as_str()),
            ("api", "5r/s")
        );
        assert_eq!((limits[0].status, limits[1].status), (429, 503));
        assert!(limits[1].is_conn && limits[1].zone == "perip");
    }

    #[test]
    fn the_upstream_is_named_with_its_servers() {
        let upstream = at("shop.example", "/").upstream.expect("it passes on");
        assert_eq!(upstream.servers, ["127.0.0.1:1", "unix:/run/a.sock"]);
        assert_eq!(upstream.down, ["127.0.0.2:80"]);
        assert_eq!(
            at("shop.example", "/api/x").upstream.expect("so").servers,
            ["127.0.0.1:80"]
        );
        assert_eq!(
            at("shop.example", "/x.php").upstream.expect("so").servers,
            ["unix:/run/php.sock"]
        );
        assert!(
            at("shop.example", "/img/")
                .upstream
                .expect("so")
                .servers
                .is_empty()
        );
    }
}

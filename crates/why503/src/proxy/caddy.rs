//! Caddy: its administration.

pub(super) mod config;

use regex::Regex;
use steadfast_diagnosis::{Id, Maker, Proxy, ServerIs, Tied};

use super::{Next, asked::Asked, files::Disk, found::Found, servers::Servers, text};
use crate::{
    collect::{Collected, Job},
    target::Target,
};

/// Where the administration is if nobody chose another place.
const PORT: u16 = 2019;

/// Follows the request.
pub(crate) async fn look(
    job: &Job<'_>,
    proxy: &Found,
    asked: &Asked,
    seen: &mut Collected,
) -> Next {
    let admin = admin_of(job, proxy);
    let text_of = |path: &'static str| text(job, &admin, path);
    let answer = match text_of("/config/").await {
        Ok(text) => config::answer(&text, asked),
        Err(why) => {
            let remedy = "let the administration listen at the loopback, or give --caddy-admin http://127.0.0.1:2019";
            for id in [Id::CaddyNoUpstream, Id::CaddyRespond] {
                seen.could_not(
                    id,
                    &format!("Caddy's administration at {admin}: {why}"),
                    remedy,
                );
            }
            return Next::new();
        }
    };
    let Some(answer) = answer else {
        return Next::new();
    };
    let by = Maker::Caddy;
    if let Some(status) = answer.respond.filter(|status| *status >= 500) {
        let (at, rule) = (
            answer.place.as_str().into(),
            format!("respond {status}").into(),
        );
        seen.saw(
            &format!("{admin}, config"),
            Tied::Port(asked.port),
            Proxy::Rule { by, at, rule },
        );
    }
    let Some(upstreams) = answer.upstreams else {
        return Next::new();
    };
    let healthy = config::healthy(&text_of("/metrics").await.unwrap_or_default());
    let fails = config::fails(
        &text_of("/reverse_proxy/upstreams")
            .await
            .unwrap_or_default(),
    );
    let tied = Tied::backend(&answer.place);
    if let Some((path, expects)) = &answer.check {
        let (path, expects) = (path.as_str().into(), expects.as_str().into());
        let checks = Proxy::CheckPath { by, path, expects };
        seen.saw(&format!("{admin}, config"), tied.clone(), checks);
    }
    let source = format!("{admin}, metrics and reverse_proxy/upstreams");
    let of = Servers {
        by,
        source: &source,
        tied,
    };
    let mut serving = 0;
    for upstream in &upstreams {
        let up = healthy.get(upstream).copied().unwrap_or(true);
        serving += usize::from(up);
        let failed = fails.get(upstream).copied().unwrap_or(0);
        let is = if up { ServerIs::Up } else { ServerIs::Down };
        let last_check = if failed > 0 {
            format!("{failed} requests failed lately")
        } else {
            String::new()
        };
        of.server(upstream.as_str(), is, last_check, seen);
    }
    of.serves(serving, upstreams.len(), seen);
    upstreams
        .iter()
        .map(|it| {
            it.strip_prefix("unix/")
                .map_or_else(|| it.clone(), |path| format!("unix:{path}"))
        })
        .collect()
}

/// Where the administration is: a flag, the configuration file, or the usual port.
fn admin_of(job: &Job<'_>, proxy: &Found) -> Target {
    if let Some(given) = &job.options.caddy_admin {
        return given.clone();
    }
    let disk = Disk {
        root: String::new(),
    };
    let file = proxy.arg("--config").or_else(|| proxy.arg("-c"));
    let file = proxy.path(file.unwrap_or("/etc/caddy/Caddyfile"));
    let named = disk.text(&file).ok().and_then(|text| admin_port(&text));
    let port = named.unwrap_or(PORT);
    Target::parse(&format!("http://localhost:{port}")).expect("a port of the loopback is a URL")
}

/// The port after `admin` in a Caddyfile or in JSON.
fn admin_port(text: &str) -> Option<u16> {
    let patterns = [
        r"(?m)^\s*admin\s+\S*:(\d{1,5})\b",
        r#""admin"\s*:\s*\{[^}]*"listen"\s*:\s*"[^"]*:(\d{1,5})""#,
    ];
    patterns.iter().find_map(|pattern| {
        let found = Regex::new(pattern).ok()?.captures(text)?;
        found.get(1)?.as_str().parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_the_administration_is_found() {
        assert_eq!(admin_port("{\n admin localhost:18085\n}"), Some(18085));
        assert_eq!(
            admin_port(r#"{"admin":{"config":{},"listen":"localhost:1"}}"#),
            None
        );
        assert_eq!(admin_port(r#"{"admin":{"listen":"localhost:7"}}"#), Some(7));
        assert_eq!(admin_port("admin off"), None);
    }
}

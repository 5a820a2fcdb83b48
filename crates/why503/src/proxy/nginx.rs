//! nginx: its configuration, followed to the location of the request.
//!
//! It has no page that tells more than counts, so the rule and the upstream are named from the
//! files; the error log, where it can be read, is the business of the logs' room.

pub(super) mod directive;
pub(super) mod route;

use std::time::Duration;

use steadfast_diagnosis::{Id, Maker, Proxy, Tied};

use super::{Next, asked::Asked, files::Disk, found::Found};
use crate::collect::{Collected, Job};
use directive::Files;

/// Where the packages put it.
const CONFIG: &str = "/etc/nginx/nginx.conf";

impl Files for Disk {
    fn read(&mut self, path: &str) -> Result<String, String> {
        self.text(path)
    }

    fn list(&mut self, pattern: &str) -> Vec<String> {
        self.matches(pattern)
    }
}

/// Follows the request.
pub(crate) fn look(job: &Job<'_>, proxy: &Found, asked: &Asked, seen: &mut Collected) -> Next {
    let given = job.options.nginx_config.as_ref();
    let (root, main) = match given {
        Some(path) => (String::new(), path.display().to_string()),
        None => (proxy.root.clone(), main(proxy)),
    };
    // Includes are relative to the directory of the main file.
    let prefix = main.rsplit_once('/').map_or("/", |(dir, _)| dir).to_owned();
    let config = directive::load(&main, &prefix, &mut Disk { root });
    let remedy = "run as root, or give --nginx-config PATH";
    for (file, why) in &config.unread {
        seen.could_not(Id::NgxReturn503, &format!("{file}: {why}"), remedy);
    }
    let Some(route) = route::route(&config, asked) else {
        return Next::new();
    };
    let by = proxy.maker;
    let source = format!("{} of {}, {}", route.location, route.server, route.place);
    let mut rule = |at: &str, text: String| {
        let (at, rule) = (at.into(), text.into());
        seen.saw(
            &source,
            Tied::Port(asked.port),
            Proxy::Rule { by, at, rule },
        );
    };
    if let Some(returns) = &route.returns {
        let text = if returns.conditional {
            format!("if … {}", returns.text)
        } else {
            returns.text.clone()
        };
        rule(&returns.place, text);
    }
    for limit in route
        .limits
        .iter()
        .filter(|it| it.status == 503 && !it.dry_run)
    {
        let rate = if limit.rate.is_empty() {
            String::new()
        } else {
            format!(" ({})", limit.rate)
        };
        rule(&limit.place, format!("{}{rate}", limit.text));
    }
    let Some(upstream) = route.upstream else {
        return Next::new();
    };
    if let Some(seconds) = upstream.keep_alive.filter(|it| *it > 0) {
        let idle = Duration::from_secs(seconds);
        let by = Maker::Nginx;
        let tied = Tied::backend(&upstream.name);
        seen.saw(&upstream.place, tied, Proxy::KeepAlive { by, idle });
    }
    if upstream.servers.is_empty() && !upstream.down.is_empty() {
        let listed = u64::try_from(upstream.down.len()).unwrap_or(u64::MAX);
        let backend = Proxy::Backend {
            by: Maker::Nginx,
            serving: 0,
            listed,
            up: false,
        };
        seen.saw(&upstream.place, Tied::backend(&upstream.name), backend);
    }
    upstream.servers
}

/// The main file, as the arguments name it.
fn main(proxy: &Found) -> String {
    let prefix = proxy.arg("-p").map(|path| path.trim_end_matches('/'));
    match (proxy.arg("-c"), prefix) {
        (Some(path), _) if path.starts_with('/') => path.to_owned(),
        (Some(path), Some(prefix)) if prefix.starts_with('/') => format!("{prefix}/{path}"),
        (Some(path), Some(prefix)) => format!("{}/{prefix}/{path}", proxy.cwd),
        (Some(path), None) => format!("/etc/nginx/{path}"),
        (None, _) => CONFIG.to_owned(),
    }
}

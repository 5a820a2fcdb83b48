//! Apache httpd: its configuration, its status page and its balancers' page.

pub(super) mod config;
pub(super) mod status;

use std::collections::BTreeMap;

use steadfast_diagnosis::{Id, Maker, Proxy, ServerIs, Tied};

use super::{Next, asked::Asked, files::Disk, found::Found, servers::Servers, text};
use crate::{
    collect::{Collected, Job},
    target::Target,
};
use status::Worker;

/// Where the packages put it: Debian and Fedora.
const CONFIGS: [(&str, &str); 2] = [
    ("/etc/apache2", "apache2.conf"),
    ("/etc/httpd", "conf/httpd.conf"),
];

/// Follows the request, and looks at the workers.
pub(crate) async fn look(
    job: &Job<'_>,
    proxy: &Found,
    asked: &Asked,
    seen: &mut Collected,
) -> Next {
    let config = configuration(proxy, seen);
    let by = Maker::Apache;
    for rule in config.rules(asked) {
        let (at, rule) = (rule.place.into(), rule.text.into());
        seen.saw(
            "Apache's configuration",
            Tied::Port(asked.port),
            Proxy::Rule { by, at, rule },
        );
    }
    let mut workers = Vec::new();
    let mut source = String::new();
    for (handler, default) in [
        ("server-status", Some("/server-status")),
        ("balancer-manager", None),
    ] {
        let Some(path) = config.handler(handler).or(default.map(str::to_owned)) else {
            continue;
        };
        let Some(page) = page(job, proxy, &path, handler) else {
            continue;
        };
        match text(job, &page, &page.path).await {
            Ok(text) if handler == "server-status" => {
                if let Some(found) = status::status(&text) {
                    let (now, max) = (found.busy, found.busy + found.idle + found.open);
                    seen.saw(&page.to_string(), Tied::Port(asked.port), Proxy::Connections { by, now, max });
                    workers = found.workers;
                    source = page.to_string();
                }
            }
            Ok(text) if workers.is_empty() => {
                workers = status::balancers(&text);
                source = page.to_string();
            }
            Ok(_) => {}
            Err(why) => seen.could_not(
                Id::ApacheWorkerError,
                &format!("{page}: {why}"),
                "load mod_status with `ProxyStatus On`, `Require local`, or give --apache-status URL",
            ),
        }
    }
    let (balancer, servers) = config.way(asked);
    write(&source, &workers, balancer.as_deref(), seen);
    servers
}

fn write(source: &str, workers: &[Worker], met: Option<&str>, seen: &mut Collected) {
    let mut balancers: BTreeMap<&str, Vec<&Worker>> = BTreeMap::new();
    for worker in workers {
        if met.is_none_or(|met| worker.balancer == met) {
            balancers.entry(&worker.balancer).or_default().push(worker);
        }
    }
    for (balancer, workers) in balancers {
        let of = Servers {
            by: Maker::Apache,
            source,
            tied: Tied::backend(balancer),
        };
        for worker in &workers {
            let is = match (worker.serves(), worker.is_taken_out()) {
                (true, _) => ServerIs::Up,
                (_, true) => ServerIs::Maintenance,
                _ => ServerIs::Disabled,
            };
            of.server(worker.url.as_str(), is, worker.flags.as_str(), seen);
        }
        let serving = workers.iter().filter(|it| it.serves()).count();
        of.serves(serving, workers.len(), seen);
    }
}

/// Where a page is: as the flag says, or at a port of the loopback that Apache listens at.
fn page(job: &Job<'_>, proxy: &Found, path: &str, handler: &str) -> Option<Target> {
    let query = if handler == "server-status" {
        "?auto"
    } else {
        ""
    };
    let given = job
        .options
        .apache_status
        .as_ref()
        .filter(|_| handler == "server-status");
    if let Some(given) = given {
        let path = given.path.split('?').next().unwrap_or(path);
        return Some(given.at(&format!("{path}{query}")));
    }
    let port = proxy.ports.first()?;
    Target::parse(&format!("http://127.0.0.1:{port}{path}{query}")).ok()
}

fn configuration(proxy: &Found, seen: &mut Collected) -> config::Config {
    let disk = Disk {
        root: proxy.root.clone(),
    };
    let under = |root: &str, path: &str| {
        if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("{root}/{path}")
        }
    };
    let cwd = &proxy.cwd;
    let named = proxy.arg("-d").map(|root| under(cwd, root));
    let named_root = named.clone();
    let file = proxy.arg("-f");
    let places = CONFIGS
        .iter()
        .map(|(root, file)| ((*root).to_owned(), under(root, file)));
    let mut places: Vec<(String, String)> = places.collect();
    if let Some(file) = file {
        let root = named_root.unwrap_or_else(|| places[0].0.clone());
        let file = under(&root, file);
        places = vec![(root, file)];
    } else if let Some(root) = named {
        places.insert(0, (root.clone(), under(&root, "apache2.conf")));
    }
    let exists =
        |place: &&(String, String)| std::fs::metadata(format!("{}{}", proxy.root, place.1)).is_ok();
    let Some((root, main)) = places.iter().find(exists) else {
        return config::Config::default();
    };
    let config = config::load(main, root, &disk);
    for (file, why) in &config.unread {
        seen.could_not(
            Id::ApacheWorkerError,
            &format!("{file}: {why}"),
            "run as root",
        );
    }
    config
}

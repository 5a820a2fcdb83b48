//! HAProxy: its runtime socket and its configuration.

mod check;
pub(super) mod config;
pub(super) mod stat;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use steadfast_diagnosis::{Id, Maker, Proxy, ServerIs, Tied};
use tokio::time::sleep;

use super::{
    Next,
    asked::{Asked, Holds},
    files::Disk,
    found::Found,
    servers::Servers,
    until,
};
use crate::{
    collect::{Collected, Job, SAMPLE_GAP},
    wire::{Fault, Wire},
};
use config::{Section, Way};
use stat::{Backend, Row, RowKind};

/// Where the packages put it.
const CONFIG: &str = "/etc/haproxy/haproxy.cfg";
const SOCKETS: [&str; 3] = [
    "/run/haproxy/admin.sock",
    "/var/run/haproxy.sock",
    "/var/lib/haproxy/stats",
];

/// Looks at the backend that the request meets; where it cannot be told, at all of them.
pub(crate) async fn look(
    job: &Job<'_>,
    proxy: &Found,
    asked: &Asked,
    seen: &mut Collected,
) -> Next {
    let sections = configuration(job, proxy, seen);
    let way = config::way(&sections, asked);
    let socket = socket(job, proxy, &sections).await;
    let rows = match &socket {
        Some((path, text)) => Some((path, stat::rows(text))),
        None => {
            let reason = "HAProxy's runtime socket cannot be read";
            let remedy =
                "run as root, or as a member of the socket's group, or give --haproxy-socket PATH";
            for id in [
                Id::HapAllDown,
                Id::HapEmptyBackend,
                Id::HapMaint,
                Id::HapQueueTimeout,
            ] {
                seen.could_not(id, reason, remedy);
            }
            None
        }
    };
    let backend = match (&way, &rows) {
        (Way::Backend(name), _) => Some(name.clone()),
        // The only one there is.
        (_, Some((_, rows))) => match &on_the_way(&way, rows)[..] {
            [one] => Some(one.row.proxy.clone()),
            _ => None,
        },
        _ => None,
    };
    let is_answered = rules(&sections, asked, backend.as_deref(), seen);
    if let Some(name) = &backend
        && let Some((path, expects)) = check::check(&sections, name)
    {
        let (by, path, expects) = (
            Maker::Haproxy,
            path.as_str().into(),
            expects.as_str().into(),
        );
        let checks = Proxy::CheckPath { by, path, expects };
        seen.saw(
            &format!("option httpchk of {name}"),
            Tied::backend(name),
            checks,
        );
    }
    let Some((path, before)) = rows else {
        return Next::new();
    };
    info(job, path, seen).await;
    sleep(job.within(SAMPLE_GAP)).await;
    let after = ask(job, path, "show stat")
        .await
        .map(|text| stat::rows(&text));
    let after = after.unwrap_or_else(|_| before.clone());
    let source = format!("{}, show stat", path.display());
    let mut next = Next::new();
    let mut met = on_the_way(&way, &after);
    if is_answered {
        // It never gets to a backend.
        met.clear();
    }
    let is_met = |row: &Row| met.iter().any(|it| it.row.proxy == row.proxy);
    let rows = after
        .iter()
        .filter(|row| is_met(row) || config::takes(&sections, &row.proxy, asked.port));
    grown(&source, &before, rows, seen);
    for backend in &met {
        write(&source, backend, &before, seen);
        next.extend(backend.servers.iter().map(|it| it.text("addr").to_owned()));
    }
    next.retain(|address| !address.is_empty());
    next
}

/// The backends that the request may meet.
fn on_the_way<'a>(way: &Way, rows: &'a [Row]) -> Vec<Backend<'a>> {
    let mut all = stat::backends(rows);
    match way {
        Way::Backend(name) => all.retain(|it| it.row.proxy == *name),
        Way::OneOf(names) if names.iter().all(|name| !name.contains('%')) => {
            all.retain(|it| names.contains(&it.row.proxy));
        }
        Way::OneOf(_) | Way::Nowhere => {}
    }
    all
}

fn write(source: &str, backend: &Backend<'_>, before: &[Row], seen: &mut Collected) {
    let tied = Tied::backend(&backend.row.proxy);
    let by = Maker::Haproxy;
    let number = |row: &Row, name: &str| row.number(name).unwrap_or(0);
    let of = Servers {
        by,
        source,
        tied: tied.clone(),
    };
    for server in &backend.servers {
        let status = server.text("status");
        let is = match status.split([' ', '(']).next().unwrap_or_default() {
            "MAINT" => ServerIs::Maintenance,
            "DRAIN" | "NOLB" => ServerIs::Draining,
            "DOWN" => ServerIs::Down,
            "no" => ServerIs::Unchecked,
            _ => ServerIs::Up,
        };
        of.server(server.service.as_str(), is, server.check(), seen);
        if let Some(max) = server.number("slim") {
            let running = number(server, "scur");
            seen.saw(source, tied.clone(), Proxy::ServerLoad { by, running, max });
        }
    }
    let serving = number(backend.row, "act") + number(backend.row, "bck");
    let listed = u64::try_from(backend.servers.len()).unwrap_or(u64::MAX);
    let up = backend.row.text("status") == "UP";
    seen.saw(
        source,
        tied.clone(),
        Proxy::Backend {
            by,
            serving,
            listed,
            up,
        },
    );
    // Those that wait for any server, and those that wait for one of them, in either sample.
    let own = |of: &dyn Fn(&Row) -> u64| backend.servers.iter().map(|it| of(it)).sum::<u64>();
    let now = |row: &Row| number(row, "qcur");
    let then = |row: &Row| was(before, row).map_or(0, now);
    let waiting = now(backend.row).max(own(&now));
    let waiting = waiting.max(then(backend.row)).max(own(&then));
    seen.saw(source, tied, Proxy::Queue { by, waiting });
}

/// Counters that grew between the samples.
fn grown<'a>(
    source: &str,
    before: &[Row],
    after: impl Iterator<Item = &'a Row>,
    seen: &mut Collected,
) {
    let by = Maker::Haproxy;
    for row in after {
        let was = was(before, row);
        let growth = |name: &str| {
            let was = was.and_then(|it| it.number(name)).unwrap_or(0);
            row.number(name).unwrap_or(0).saturating_sub(was)
        };
        let tied = Tied::backend(&row.proxy);
        // Of a server, because a backend also counts who found none; and not of one that has as
        // many as it may, which counts those whose time in its queue was over.
        let max = row.number("slim");
        let is_full = max.is_some_and(|max| row.number("scur") >= Some(max));
        if row.kind == RowKind::Server && !is_full {
            let (errors, retries) = (growth("econ"), growth("wretr"));
            if errors + retries > 0 {
                let errors = Proxy::ConnectErrors {
                    by,
                    errors,
                    retries,
                };
                seen.saw(source, tied.clone(), errors);
            }
        }
        let count = growth("dreq");
        if count > 0 && matches!(row.kind, RowKind::Frontend | RowKind::Backend) {
            seen.saw(source, tied, Proxy::Denied { by, count });
        }
    }
}

/// The row as it was in an earlier sample.
fn was<'a>(before: &'a [Row], row: &Row) -> Option<&'a Row> {
    let same = |it: &&Row| it.proxy == row.proxy && it.service == row.service;
    before.iter().find(same)
}

async fn info(job: &Job<'_>, path: &Path, seen: &mut Collected) {
    let Ok(text) = ask(job, path, "show info").await else {
        return;
    };
    let info = stat::info(&text);
    let number = |name: &str| info.get(name)?.parse::<u64>().ok();
    if let Some((now, max)) = number("CurrConns").zip(number("Maxconn")) {
        let source = format!("{}, show info", path.display());
        // Ours is one of them.
        let now = now.saturating_sub(1);
        seen.saw(
            &source,
            Tied::Host,
            Proxy::Connections {
                by: Maker::Haproxy,
                now,
                max,
            },
        );
    }
}

/// Rules that answer by themselves, and the times that tell refusals apart; whether one of the
/// rules answers this request for certain.
fn rules(sections: &[Section], asked: &Asked, backend: Option<&str>, seen: &mut Collected) -> bool {
    let by = Maker::Haproxy;
    let rules = config::local_rules(sections, asked, backend);
    let is_answered = rules.iter().any(|rule| rule.holds == Holds::Yes);
    for rule in rules {
        let at = format!("{}, line {}", rule.section, rule.number);
        let (at, rule) = (at.into(), rule.text.into());
        seen.saw(
            "HAProxy's configuration",
            Tied::Port(asked.port),
            Proxy::Rule { by, at, rule },
        );
    }
    let Some(backend) = backend.filter(|_| !is_answered) else {
        return is_answered;
    };
    for name in ["connect", "queue", "server"] {
        // Without one of its own, `timeout queue` is that of connecting.
        let ms = config::timeout_ms(sections, backend, name);
        let ms = ms.or_else(|| {
            (name == "queue").then(|| config::timeout_ms(sections, backend, "connect"))?
        });
        if let Some(ms) = ms {
            let value = Duration::from_millis(ms);
            let name = format!("timeout {name}").into();
            seen.saw(
                "HAProxy's configuration",
                Tied::backend(backend),
                Proxy::Timeout { by, name, value },
            );
        }
    }
    is_answered
}

fn configuration(job: &Job<'_>, proxy: &Found, seen: &mut Collected) -> Vec<Section> {
    let given = job.options.haproxy_config.as_ref();
    let given = given.map(|path| (String::new(), path.display().to_string()));
    let paths: Vec<(String, String)> = match given {
        Some(path) => vec![path],
        None => {
            let named = proxy
                .all("-f")
                .map(|path| proxy.path(path))
                .collect::<Vec<_>>();
            let named = if named.is_empty() {
                vec![proxy.path(CONFIG)]
            } else {
                named
            };
            named
                .into_iter()
                .map(|path| (String::new(), path))
                .collect()
        }
    };
    let mut sections = Vec::new();
    for (root, path) in paths {
        let disk = Disk { root };
        // A directory stands for the files in it.
        let files = if std::fs::metadata(&path).is_ok_and(|it| it.is_dir()) {
            disk.matches(&format!("{path}/*.cfg"))
        } else {
            vec![path]
        };
        for file in files {
            match disk.text(&file) {
                Ok(text) => sections.extend(config::read(&text)),
                Err(why) => seen.could_not(
                    Id::HapLocalDeny,
                    &format!("{file}: {why}"),
                    "run as root, or give --haproxy-config PATH",
                ),
            }
        }
    }
    sections
}

/// The socket that answers, with its first answer.
async fn socket(job: &Job<'_>, proxy: &Found, sections: &[Section]) -> Option<(PathBuf, String)> {
    let mut paths: Vec<PathBuf> = job.options.haproxy_socket.iter().cloned().collect();
    paths.extend(
        config::sockets(sections)
            .iter()
            .map(|path| proxy.path(path).into()),
    );
    if proxy.pid.is_some() {
        paths.extend(SOCKETS.map(|path| proxy.path(path).into()));
    }
    for path in paths {
        if let Ok(text) = ask(job, &path, "show stat").await
            && !stat::rows(&text).is_empty()
        {
            return Some((path, text));
        }
    }
    None
}

async fn ask(job: &Job<'_>, path: &Path, command: &str) -> Result<String, Fault> {
    let mut wire = Wire::open_unix(path, until(job)).await?;
    wire.send(format!("{command}\n").as_bytes()).await?;
    let bytes = wire.rest().await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

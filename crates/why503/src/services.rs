//! Without arguments: every HTTP service that listens on this host, with one line each.
//!
//! One request each, and none to what speaks something else: to a database a request for a page
//! looks like an attack, and it writes that into its log.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use serde_json::json;
use steadfast_diagnosis::{
    Evidence, Lasting, Outcome, Path, Process, State, Text, Tied, Via, diagnose,
};

use crate::{
    cli::Options,
    clock,
    collect::Listener,
    doctor::{code, observe},
    exit, host,
    output::{Page, print_json, print_page, style, width},
    probe::{Probe, Question, ask},
    target::Target,
};

/// Services that are asked.
const SERVICES_MAX: usize = 128;

/// How many at the same time.
const TOGETHER: usize = 16;

/// A service that is well answers sooner; one that hangs is told so after this.
const WAIT: Duration = Duration::from_secs(3);

/// Programs that speak something else.
const OTHERS: &[&str] = &[
    "postgres",
    "postmaster",
    "pgbouncer",
    "mysqld",
    "mariadbd",
    "redis-server",
    "valkey-server",
    "memcached",
    "mongod",
    "sshd",
    "master",
    "exim4",
    "dovecot",
    "named",
    "dnsmasq",
    "unbound",
    "systemd-resolve",
    "epmd",
    "beam.smp",
    "chronyd",
    "ntpd",
    "rpcbind",
    "smbd",
    "slapd",
    "cupsd",
];

/// Ports that speak something else, whoever listens there.
const OTHER_PORTS: &[u16] = &[
    21, 22, 23, 25, 53, 110, 111, 139, 143, 389, 445, 465, 587, 636, 993, 995, 3306, 4369, 5432,
    5671, 5672, 6379, 6432, 9092, 11211, 25672, 27017,
];

/// Whether the listener may speak HTTP.
pub(crate) fn may_be_http(listener: &Listener) -> bool {
    let other = |program: &str| OTHERS.contains(&program) || program.starts_with("redis-");
    let by_name = listener.program.as_deref().is_some_and(other);
    !by_name && !OTHER_PORTS.contains(&listener.addr.port())
}

/// What one service said.
struct Service {
    address: SocketAddr,
    program: String,
    pids: Vec<u32>,
    probe: Probe,
    state: State,
    id: Option<&'static str>,
    summary: String,
}

/// Asks each service once, and prints a line for it.
pub(crate) async fn run(options: &Options) -> u8 {
    let since = clock::now();
    let sockets = tokio::task::spawn_blocking(host::Sockets::read);
    let Ok(sockets) = sockets.await else {
        return exit::UNREACHABLE;
    };
    let listeners = distinct(&sockets.listeners());
    let skipped = listeners.iter().filter(|it| !may_be_http(it)).count();
    let asked = listeners.into_iter().filter(may_be_http).take(SERVICES_MAX);
    let asked: Vec<_> = asked.map(|it| look(it, options, since)).collect();
    let mut services: Vec<Service> = stream::iter(asked)
        .buffer_unordered(TOGETHER)
        .filter_map(async |it| it)
        .collect()
        .await;
    services.sort_by_key(|it| it.address);
    tell(&services, skipped, sockets.blind, options);
    // What fails comes before what may fail, and what is known before what is not.
    let order = [exit::PROVEN, exit::SUSPECTS, exit::UNKNOWN, exit::RISK];
    let codes: Vec<u8> = services.iter().map(|it| code(it.state)).collect();
    order
        .into_iter()
        .find(|it| codes.contains(it))
        .unwrap_or(exit::WELL)
}

/// One listener for each port and namespace: a server that listens at both families is one.
fn distinct(all: &[Listener]) -> Vec<Listener> {
    let mut by_port: BTreeMap<(Option<u32>, u16, Vec<u32>), Listener> = BTreeMap::new();
    // Another namespace's loopback cannot be reached from here.
    for it in all.iter().filter(|it| it.namespace.is_none()) {
        let key = (it.namespace, it.addr.port(), it.pids.clone());
        by_port.entry(key).or_insert_with(|| it.clone());
    }
    by_port.into_values().collect()
}

async fn look(
    listener: Listener,
    options: &Options,
    since: tokio::time::Instant,
) -> Option<Service> {
    let ip = match listener.addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let address = SocketAddr::new(ip, listener.addr.port());
    let tls = matches!(address.port(), 443 | 8443);
    let scheme = if tls { "https" } else { "http" };
    let target = Target::parse(&format!("{scheme}://{address}")).ok()?;
    let question = Question {
        target: &target,
        via: Via::Given,
        path: Path::Given,
        headers: &options.headers,
        http: options.http,
        address: Some(address),
        wait: WAIT.min(options.budget),
    };
    let probe = ask(&question, since).await;
    // Something that answers in another language is no web service.
    let speaks = !matches!(
        probe.outcome,
        Outcome::NotHttp | Outcome::TlsFailed | Outcome::Refused | Outcome::Closed
    );
    let program = listener.program.unwrap_or_else(|| "somebody else's".into());
    if !speaks {
        return None;
    }
    let mut evidence = Evidence::new();
    let text = Text::new(&listener.addr.to_string());
    let seen = Process::Listener {
        address: text,
        loopback: listener.addr.ip().is_loopback(),
    };
    evidence.saw("/proc/net/tcp", Tied::Port(address.port()), seen);
    observe::tell(&probe, &target, &mut evidence);
    let verdict = diagnose(&evidence).verdict;
    Some(Service {
        address,
        program,
        pids: listener.pids,
        probe,
        state: verdict.state,
        id: verdict.id.map(|it| it.as_str()),
        summary: verdict.summary,
    })
}

fn tell(services: &[Service], skipped: usize, blind: bool, options: &Options) {
    if options.json {
        let each = services.iter().map(|it| {
            json!({
                "url": it.probe.url,
                "program": Text::new(&it.program).as_str(),
                "pids": it.pids,
                "outcome": it.probe.outcome.to_string(),
                "status": it.probe.status(),
                "state": it.state,
                "id": it.id,
                "summary": it.summary,
            })
        });
        let each: Vec<_> = each.collect();
        print_json(
            &json!({ "schema": "why503-services/1", "services": each }),
            false,
        );
        return;
    }
    let mut page = Page::new(width());
    if services.is_empty() {
        page.paragraph(
            "",
            style::PLAIN,
            "No HTTP service listens on this host, as far as can be seen.",
        );
    }
    for it in services {
        let (mark, colour) = match it.state {
            State::Well => ("✓ ", style::GOOD),
            State::AtRisk => ("! ", style::WARN),
            _ => ("✗ ", style::BAD),
        };
        let pid = it
            .pids
            .first()
            .map_or(String::new(), |pid| format!(", process {pid}"));
        let why = if it.state == State::Well {
            String::new()
        } else {
            format!(": {}", it.summary)
        };
        let took = Lasting(it.probe.timing.total);
        let name = Text::new(&it.program);
        page.paragraph(
            mark,
            colour,
            &format!(
                "{} ({name}{pid}) {} after {took}{why}",
                it.probe.url, it.probe.outcome
            ),
        );
    }
    if skipped > 0 {
        page.paragraph(
            "  ",
            style::FAINT,
            &format!("{skipped} listeners speak something else and were not asked."),
        );
    }
    if blind {
        page.paragraph(
            "  ",
            style::FAINT,
            "Some processes could not be looked into; as root every service gets its name.",
        );
    }
    page.paragraph(
        "  ",
        style::FAINT,
        "`why503 URL` says more about one of them.",
    );
    print_page(&page, options.color);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_speaks_something_else_is_not_asked() {
        let at = |port: u16, program: Option<&str>| Listener {
            addr: SocketAddr::from(([127, 0, 0, 1], port)),
            pids: Vec::new(),
            program: program.map(str::to_owned),
            namespace: None,
        };
        for (port, program, asked) in [
            (8000, Some("gunicorn"), true),
            (8000, None, true),
            (5433, Some("postgres"), false),
            (5432, None, false),
            (6380, Some("redis-server"), false),
            (22, None, false),
            (9000, Some("java"), true),
        ] {
            assert_eq!(may_be_http(&at(port, program)), asked, "{port} {program:?}");
        }
    }
}

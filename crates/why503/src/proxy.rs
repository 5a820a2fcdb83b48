//! What stands in front of the service: HAProxy, nginx, Envoy, Traefik, Caddy, Apache and Varnish,
//! by their own sockets, files and administration pages.
//!
//! The proxy that listens at the target's port is found by its process. Its configuration says
//! which rule or which backend the request meets ([`asked`]), its own state says how that backend
//! is, and the servers behind it are followed: to the next proxy, or to a connect. Backends that
//! the request does not meet are not spoken of, so that a backend that is down on purpose accuses
//! nobody.
//!
//! Laws: reads only. Nothing is run but `varnishadm`, which has no other door; nginx's files are
//! read as `nginx -T` would, which itself creates logs. What cannot be read is said, with how to
//! let it.

mod apache;
mod asked;
mod behind;
mod caddy;
mod envoy;
mod files;
mod found;
mod haproxy;
#[cfg(test)]
mod hostile;
mod nginx;
mod servers;
mod traefik;
mod varnish;

use std::{
    collections::{BTreeSet, VecDeque},
    net::IpAddr,
    time::Duration,
};

use futures_util::future::join_all;
use steadfast_diagnosis::{Maker, Server, ServerKind, Tied};
use tokio::time::Instant;

use crate::{
    clock,
    collect::{Collected, Job},
    dependency::reach,
    host,
    target::Target,
    wire,
};
use asked::Asked;
use found::Found;

/// Most proxies behind each other that are followed.
const HOPS_MAX: usize = 6;

/// Most servers of a backend that a connect is tried to.
const SERVERS_MAX: usize = 16;

/// Most processes of this host behind a proxy that are looked at as the service itself is.
const BEHIND_MAX: usize = 4;

/// How long an administration page may take.
pub(crate) const ANSWER_WAIT: Duration = Duration::from_secs(3);

/// How long a connect to a server behind a proxy may take.
const CONNECT_WAIT: Duration = Duration::from_secs(2);

/// Where a request goes on to: `host:port` or `unix:/path`.
pub(crate) type Next = Vec<String>;

/// Looks, and says what it found and what it could not look at.
pub(crate) async fn collect(job: &Job<'_>) -> Collected {
    let mut seen = Collected::new();
    let target = job.target;
    let first = Asked::new(target.port, &host_header(job), &target.path);
    let mut open = VecDeque::from([first.clone()]);
    let mut ports = BTreeSet::from([first.port]);
    let mut servers = BTreeSet::new();
    let mut hops = 0;
    while let Some(asked) = open.pop_front() {
        let mut next = Next::new();
        for proxy in found::at_port(job, asked.port) {
            hops += 1;
            if hops > HOPS_MAX {
                break;
            }
            next.extend(look(job, &proxy, &asked, &mut seen).await);
        }
        // What was named by hand is asked although nobody could be found there.
        if asked.port == first.port && next.is_empty() && hops == 0 {
            for proxy in found::given(job) {
                next.extend(look(job, &proxy, &asked, &mut seen).await);
            }
        }
        for server in next.into_iter().take(SERVERS_MAX) {
            let local = local_port(&server);
            match local.filter(|port| !found::at_port(job, *port).is_empty()) {
                Some(port) if ports.insert(port) => open.push_back(Asked {
                    port,
                    ..first.clone()
                }),
                Some(_) => {}
                None => {
                    servers.insert(server);
                }
            }
        }
    }
    let knocks = servers
        .iter()
        .take(SERVERS_MAX)
        .map(|server| knock(job, server));
    let here: BTreeSet<u16> = servers.iter().filter_map(|it| local_port(it)).collect();
    let behind = here.into_iter().take(BEHIND_MAX);
    let behind = behind.map(|port| host::behind(job, port));
    let places: Vec<_> = servers.iter().filter_map(|it| it.parse().ok()).collect();
    let (knocked, behind, checked, held) = tokio::join!(
        join_all(knocks),
        join_all(behind),
        behind::check(job, &seen, &places),
        behind::hold(job, &seen, &places),
    );
    for facts in knocked.into_iter().chain(behind).chain([checked, held]) {
        seen.extend(facts);
    }
    seen
}

/// Whether a proxy that is known here listens at this port.
pub(crate) fn stands_at(job: &Job<'_>, port: u16) -> bool {
    !found::at_port(job, port).is_empty()
}

async fn look(job: &Job<'_>, proxy: &Found, asked: &Asked, seen: &mut Collected) -> Next {
    match proxy.maker {
        Maker::Haproxy => haproxy::look(job, proxy, asked, seen).await,
        Maker::Nginx | Maker::IngressNginx => nginx::look(job, proxy, asked, seen),
        Maker::Envoy => envoy::look(job, proxy, asked, seen).await,
        Maker::Traefik => traefik::look(job, proxy, asked, seen).await,
        Maker::Caddy => caddy::look(job, proxy, asked, seen).await,
        Maker::Apache => apache::look(job, proxy, asked, seen).await,
        Maker::Varnish => varnish::look(job, proxy, asked.port, seen).await,
        _ => Next::new(),
    }
}

/// Connects to a server behind a proxy, and says if that does not come about.
async fn knock(job: &Job<'_>, server: &str) -> Collected {
    let mut seen = Collected::new();
    let begun_at = clock::now();
    let until = job.deadline.min(begun_at + CONNECT_WAIT);
    let result = match server.strip_prefix("unix:") {
        Some(path) => wire::Wire::open_unix(path.as_ref(), until)
            .await
            .map(|_| ()),
        None => {
            let Some((host, port)) = place(server) else {
                return seen;
            };
            wire::connect(host, port, until).await.map(|_| ())
        }
    };
    if let Err(fault) = result {
        let after = clock::now().saturating_duration_since(begun_at);
        let (kind, how) = (ServerKind::Backend, reach(&fault));
        let reached = Server::Reached { kind, how, after };
        seen.saw(
            &format!("connect to {server}"),
            Tied::backend(server),
            reached,
        );
    }
    seen
}

/// Host and port of a server.
fn place(server: &str) -> Option<(&str, u16)> {
    let (host, port) = server.rsplit_once(':')?;
    Some((host.trim_matches(['[', ']']), port.parse().ok()?))
}

/// The port of a server on this host.
fn local_port(server: &str) -> Option<u16> {
    let (host, port) = place(server)?;
    let is_loopback =
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|it| it.is_loopback());
    is_loopback.then_some(port)
}

/// What the request names as its host: a header given by hand, else the URL's.
fn host_header(job: &Job<'_>) -> String {
    let mut headers = job.options.headers.iter();
    let given = headers.find(|(name, _)| *name == http::header::HOST);
    let given = given.and_then(|(_, value)| value.to_str().ok().map(str::to_owned));
    given.unwrap_or_else(|| job.target.host.clone())
}

/// By when an administration page has to have answered.
pub(crate) fn until(job: &Job<'_>) -> Instant {
    job.deadline.min(clock::now() + ANSWER_WAIT)
}

/// Asks an administration page that is at this port of the loopback, or where the flag says.
pub(crate) async fn page(
    job: &Job<'_>,
    admin: &Target,
    path: &str,
) -> Result<wire::http::Page, wire::Fault> {
    let until = until(job);
    if let Some(socket) = &admin.socket {
        let connected =
            tokio::time::timeout_at(until, tokio::net::UnixStream::connect(socket)).await;
        let stream = connected
            .map_err(|_| wire::Fault::NotTaken)?
            .map_err(|error| wire::Fault::Unreachable(error.to_string()))?;
        return wire::http::get(stream, "localhost", path, until).await;
    }
    let stream = wire::connect(&admin.host, admin.port, until).await?;
    wire::http::get(stream, &admin.authority(), path, until).await
}

/// A page whose status is 200.
pub(crate) async fn text(job: &Job<'_>, admin: &Target, path: &str) -> Result<String, String> {
    match page(job, admin, path).await {
        Ok(page) if page.status == 200 && !page.is_cut => Ok(page.text),
        Ok(page) if page.is_cut => Err("more came than is read".to_owned()),
        Ok(page) => Err(format!("it answered {}", page.status)),
        Err(fault) => Err(fault.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_read_with_its_port() {
        assert_eq!(place("[::1]:80"), Some(("::1", 80)));
        assert_eq!(place("a.example:8080"), Some(("a.example", 8080)));
        assert_eq!(place("unix:/run/a"), None);
        assert_eq!(local_port("127.0.0.2:80"), Some(80));
        assert_eq!(local_port("10.0.0.1:80"), None);
    }
}

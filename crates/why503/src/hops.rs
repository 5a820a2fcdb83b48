//! The same question at two places: as it was given, and straight to the local listener. Where
//! the answers differ, the fault is between the two.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use steadfast_diagnosis::{Outcome, Path, Via};

use crate::{
    collect::{Collected, Job, Listener},
    maker,
    probe::{Question, ask},
};

/// Applications behind one proxy that are asked directly.
const DIRECT_MAX: usize = 2;

/// A direct answer comes at once, or it hangs.
const DIRECT_WAIT: Duration = Duration::from_secs(4);

/// Asks the local listener directly, if the target leads there by way of something else.
pub(crate) async fn collect(job: &Job<'_>) -> Collected {
    let mut all = Collected::new();
    for address in ways(job).into_iter().take(DIRECT_MAX) {
        if !job.ration.take() {
            return all;
        }
        let mut target = job.target.clone();
        // A proxy ends TLS; what is behind it speaks plainly, or says that it does not.
        target.tls &= address.port() == target.port;
        let question = Question {
            target: &target,
            via: Via::Direct,
            path: Path::Given,
            headers: &job.options.headers,
            http: job.options.http,
            address: Some(address),
            wait: job.within(DIRECT_WAIT),
        };
        let probe = ask(&question, job.since).await;
        let source = format!(
            "GET http://{address}{}",
            job.target.path.split('?').next().unwrap_or("/")
        );
        let tied = steadfast_diagnosis::Tied::Port(address.port());
        let after = probe.timing.total;
        let seen = steadfast_diagnosis::Wire::Probe {
            via: Via::Direct,
            path: Path::Given,
            outcome: probe.outcome,
            after,
        };
        all.saw(&source, tied.clone(), seen);
        if let Some(answer) = &probe.answer {
            for seen in maker::observe(answer, after) {
                all.saw(&source, tied.clone(), seen);
            }
        }
    }
    all
}

/// Addresses at which the application itself may be asked.
fn ways(job: &Job<'_>) -> Vec<SocketAddr> {
    let found = job.found;
    let mut ways = BTreeSet::new();
    if let Some(port) = job.options.port
        && port != job.target.port
    {
        ways.extend(local(&found.listeners, port));
    }
    // What a proxy on this host has connections to, and what listens there, is behind it.
    let proxied = crate::proxy::stands_at(job, found.port);
    let behind = found.outbound.iter().filter(|it| proxied && it.established);
    for connection in behind {
        let behind = connection.remote;
        let here = found
            .listeners
            .iter()
            .any(|it| it.addr.port() == behind.port() && is_http(it));
        if here && behind.ip().is_loopback() && behind.port() != job.target.port {
            ways.insert(behind);
        }
    }
    // Not to be reached at an address of this host: is it at the other one?
    let lost = found
        .first
        .as_ref()
        .is_none_or(|it| matches!(it.outcome, Outcome::ConnectTimedOut | Outcome::Unroutable));
    let outside = found.addresses.iter().any(|it| !it.ip().is_loopback());
    if lost && outside && found.local && found.namespace.is_none() {
        ways.extend(local(&found.listeners, job.target.port));
    }
    ways.into_iter().collect()
}

/// The address at which this host reaches a port of its own.
fn local(listeners: &[Listener], port: u16) -> Option<SocketAddr> {
    let at = listeners
        .iter()
        .filter(|it| it.namespace.is_none() && it.addr.port() == port);
    let ips = at.map(|it| match it.addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    });
    ips.min_by_key(|it| !it.is_loopback())
        .map(|ip| SocketAddr::new(ip, port))
}

/// Whether the listener may speak HTTP; a database would take a request for an attack.
fn is_http(listener: &Listener) -> bool {
    crate::services::may_be_http(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_of_this_host_is_asked_where_it_listens() {
        let at = |text: &str| Listener {
            addr: text.parse().expect("an address"),
            pids: Vec::new(),
            program: None,
            namespace: None,
        };
        for (listening, expected) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("10.0.0.1:80", "10.0.0.1:80"),
        ] {
            let way = local(&[at(listening)], 80);
            assert_eq!(
                way,
                Some(expected.parse().expect("an address")),
                "{listening}"
            );
        }
        assert_eq!(local(&[at("0.0.0.0:81")], 80), None);
    }
}

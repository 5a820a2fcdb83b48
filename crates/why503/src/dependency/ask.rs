//! What all servers have in common: how far one gets, and whether the process stands still.

use std::net::IpAddr;

use steadfast_diagnosis::{Reach, Server, ServerKind, Tied};
use tokio::time::Instant;

use super::{
    ANSWER_WAIT,
    address::{Address, Kind},
    greeting,
    known::Known,
    mysql, postgres, redis,
};
use crate::{
    clock,
    collect::{Collected, Job},
    wire::{Fault, Wire},
};

/// By when a conversation that begins now has to be over.
pub(crate) fn until(job: &Job<'_>) -> Instant {
    job.deadline.min(clock::now() + ANSWER_WAIT)
}

/// Asks a server in its own protocol.
pub(crate) async fn server(job: &Job<'_>, known: &Known) -> Collected {
    match known.address.kind {
        Kind::Postgres => postgres::look(job, known).await,
        Kind::Mysql => mysql::look(job, known).await,
        Kind::Redis => redis::look(job, known).await,
        Kind::Memcached | Kind::Amqp | Kind::Kafka => greet(job, known).await,
    }
}

async fn greet(job: &Job<'_>, known: &Known) -> Collected {
    let mut seen = Collected::new();
    let address = &known.address;
    let begun_at = clock::now();
    let greeted = async {
        let mut wire = Wire::open(&address.host, address.port, until(job)).await?;
        match address.kind {
            Kind::Memcached => {
                let stats = greeting::memcached(&mut wire).await?;
                Ok(stats.get("error").cloned())
            }
            Kind::Amqp => greeting::amqp(&mut wire).await.map(|_| None),
            // 35 is an unknown version of the question, which is an answer as well.
            _ => greeting::kafka(&mut wire)
                .await
                .map(|code| (code != 0 && code != 35).then(|| format!("error code {code}"))),
        }
    };
    let greeted: Result<Option<String>, Fault> = greeted.await;
    let kind = kind(address.kind);
    reached(
        &mut seen,
        job,
        known,
        kind,
        greeted.as_ref().err(),
        begun_at,
    );
    if let Ok(Some(says)) = greeted {
        let text = says.into();
        seen.saw(
            &address.to_string(),
            tied(address),
            Server::Says { kind, text },
        );
    }
    seen
}

/// Writes down how far one got, and, if the server took the connection and said nothing, whether
/// its process stands still.
pub(crate) fn reached(
    seen: &mut Collected,
    job: &Job<'_>,
    known: &Known,
    kind: ServerKind,
    fault: Option<&Fault>,
    begun_at: Instant,
) {
    let after = clock::now().saturating_duration_since(begun_at);
    let how = fault.map_or(Reach::Answers, reach);
    // What only its port made us think it is may well be something else.
    if how == Reach::NotThisKind && known.is_guess {
        return;
    }
    let address = &known.address;
    let source = address.to_string();
    seen.saw(&source, tied(address), Server::Reached { kind, how, after });
    if matches!(how, Reach::Silent | Reach::ConnectTimedOut) {
        for pid in stopped(job, address) {
            let source = format!("/proc/{pid}/stat");
            seen.saw(&source, tied(address), Server::Stopped { kind, pid });
        }
    }
}

/// What a fact about this server is about.
pub(crate) fn tied(address: &Address) -> Tied {
    let (host, port) = (&address.host, address.port);
    if host.contains(':') {
        Tied::dependency(&format!("[{host}]:{port}"))
    } else {
        Tied::dependency(&format!("{host}:{port}"))
    }
}

const fn kind(kind: Kind) -> ServerKind {
    match kind {
        Kind::Postgres => ServerKind::Postgres,
        Kind::Mysql => ServerKind::Mysql,
        Kind::Redis => ServerKind::Redis,
        Kind::Memcached => ServerKind::Memcached,
        Kind::Amqp => ServerKind::Rabbitmq,
        Kind::Kafka => ServerKind::Kafka,
    }
}

pub(crate) const fn reach(fault: &Fault) -> Reach {
    match fault {
        Fault::Resolve(_) => Reach::NameUnknown,
        Fault::Refused => Reach::Refused,
        Fault::NotTaken => Reach::ConnectTimedOut,
        Fault::Unreachable(_) => Reach::Unroutable,
        Fault::Silent => Reach::Silent,
        Fault::Closed => Reach::Closed,
        Fault::TooLong | Fault::Foreign(_) => Reach::NotThisKind,
        Fault::Tls(_) => Reach::TlsFailed,
    }
}

/// The processes of this host that listen there and do not run.
fn stopped(job: &Job<'_>, address: &Address) -> Vec<u32> {
    let is_here = address.host == "localhost"
        || address
            .host
            .parse::<IpAddr>()
            .is_ok_and(|it| it.is_loopback());
    let listeners = job.found.listeners.iter().filter(|listener| {
        let at = listener.addr;
        let same_host = at.ip().is_unspecified() || is_here || at.ip().to_string() == address.host;
        at.port() == address.port && same_host && listener.namespace.is_none()
    });
    let mut pids: Vec<u32> = listeners.flat_map(|it| it.pids.clone()).collect();
    pids.sort_unstable();
    pids.dedup();
    pids.retain(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name in brackets may itself hold anything, so the last bracket ends it.
        let state = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.chars().next());
        matches!(state, Some('T' | 't'))
    });
    pids
}

//! What stands behind the service, by its own protocol: databases, caches, queues, upstreams and
//! names.
//!
//! Where they are is known from the command line, from the environment of the process and from
//! its sockets ([`known`]). Each is asked in its own protocol, because the usual commands ask less
//! than a client needs: `pg_isready` says *accepting connections* with every slot taken, and
//! `redis-cli ping` exits 0 on *max number of clients reached*. Without credentials the first
//! answer of the server is all that is wanted; who gives a URL with them gets the server's own
//! account of itself. A password found in an environment is never used.
//!
//! Laws: reads only; each conversation has a moment by which it ends and an allowance of bytes
//! ([`crate::wire`]); what is shown of an address has no secret ([`address`]).

mod address;
mod ask;
mod dns;
mod encrypt;
mod greeting;
#[cfg(test)]
mod hostile;
mod known;
mod mysql;
mod postgres;
mod redis;
mod upstream;

pub(crate) use ask::reach;

use std::time::Duration;

use futures_util::future::join_all;

use crate::collect::{Collected, Job};

/// How long a server may take to its first answer. Twice the second that a slow but living one
/// takes, and one more for a host that is busy.
pub(crate) const ANSWER_WAIT: Duration = Duration::from_secs(3);

/// Looks, and says what it found and what it could not look at.
pub(crate) async fn collect(job: &Job<'_>) -> Collected {
    let mut all = Collected::new();
    let known = known::gather(job, &mut all).await;
    let names = known.names.iter();
    let names = names.map(|name| dns::look_up(name, &known.resolver, ask::until(job)));
    let servers = known.servers.iter().map(|server| ask::server(job, server));
    let upstreams = job.options.upstream.iter();
    let upstreams = upstreams.map(|upstream| upstream::look(job, upstream));
    let (names, servers, upstreams) =
        tokio::join!(join_all(names), join_all(servers), join_all(upstreams));
    for seen in names.into_iter().chain(servers).chain(upstreams) {
        all.extend(seen);
    }
    all
}

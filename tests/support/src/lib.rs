//! Real servers for tests.
//!
//! Each server is a child process with everything in a temporary directory, on a free
//! port of the loopback. It is ended when its value is dropped; nothing else is ever
//! ended. A missing program, and a server that does not come up, panic with what to
//! install and with the server's own log.
//!
//! ```no_run
//! let mut postgres = support::Postgres::builder().max_connections(5).start();
//! println!("{}", postgres.admin_url());
//! postgres.pause();
//! ```

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "tests wait for real processes, on the real clock, and have nobody to return an error to"
)]

mod apache;
mod cluster;
mod envoy;
mod front;
mod haproxy;
mod installed;
mod mariadb;
mod memcached;
mod net;
mod nginx;
mod pgbouncer;
mod postgres;
mod process;
mod prometheus;
mod redis;
mod relay;
mod user;

use std::path::PathBuf;

pub use apache::{Apache, Varnish};
pub use cluster::RedisCluster;
pub use envoy::{Caddy, Envoy, Traefik};
pub use haproxy::HaProxy;
pub use installed::missing;
pub use mariadb::{MariaDb, MariaDbBuilder};
pub use memcached::Memcached;
pub use net::{BlackHole, free_port};
pub use nginx::Nginx;
pub use pgbouncer::{PgBouncer, PgBouncerBuilder};
pub use postgres::{Postgres, PostgresBuilder};
pub use prometheus::Prometheus;
pub use redis::{Redis, RedisBuilder};
pub use relay::Relay;

/// Finds a program that a test calls itself.
///
/// # Panics
/// If it is not installed; the panic names the package of Debian that brings it.
#[must_use]
pub fn program_of(name: &str, package: &str) -> PathBuf {
    installed::program(name, package, &[])
}

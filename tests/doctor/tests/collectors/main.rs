//! Goal: each fault that `why503` can see from the host is named, and its healthy twin is not.
//! Method: real servers on the loopback, and the command as a user runs it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests wait for real servers, on the real clock"
)]

mod app;
mod brokers;
mod caches;
mod kubernetes;
mod mysql;
mod pgbouncer;
mod postgres;
mod proxies;
mod scripted;
mod told;
mod upstreams;

use app::App;
use told::{Told, doctor};

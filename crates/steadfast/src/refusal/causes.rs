//! Every cause that a client can read in `why-503`, with what to do.
//!
//! This page is where a problem's `type` points. A cause is a contract: its code is never
//! renamed and never reused.
//!
//! # overloaded
//! As much is running as may. The `rule` says which bound was met: `limit`, `queue-full`,
//! `queue-timeout`, `deadline`, `runtime-lag`, `memory`, `priority`, `tenant-share`.
//! *Client:* wait for `retry-after`. *Operator:* look at the oldest request in the evidence;
//! if handlers hang, more capacity will not help. With `tenant-share` it is one tenant that asks
//! for more than a fair share of the limit, and the evidence names it; others are served.
//!
//! # starting
//! The first round of checks has not passed. *Client:* retry. *Operator:* `/ready/` says
//! which dependency it waits for.
//!
//! # draining
//! The process is leaving. *Client:* retry at once, another instance takes it. *Operator:* if
//! this reaches clients, the balancer does not follow readiness.
//!
//! # maintenance
//! Somebody declared maintenance, by the API, a file or an authorised request.
//!
//! # dependency-down
//! Something that this request needs is known to be down. *Operator:* the ledger names it,
//! since when, and its last error.
//!
//! # pool-exhausted
//! The connection pool has nothing to give. *Operator:* the ledger tells all-busy from stuck
//! from refused-by-the-server.
//!
//! # application
//! The application answered 503 itself; Steadfast only marked and recorded it.

//! `why503`: the doctor that finds the cause of a 503, on any web server.
//!
//! This library is the inside of the command; the command line and its JSON (`why503/1`) are what
//! is promised, not these modules.
//!
//! # How evidence flows
//!
//! ```text
//! cli -> target -> doctor: stages under one deadline
//!          probe, hops            what the wire says
//!          maker                  who made the answer
//!          host                   who listens, and how it fares
//!          library                what a service that uses Steadfast says of itself
//!          proxy, kubernetes      what stands in front says
//!          dependency             what stands behind says
//!          logs                   what was written down
//!        -> diagnosis: ranked findings -> output
//! ```
//!
//! # The seam for collectors
//!
//! Whatever looks at something is a *collector*: an `async fn collect(job: &Job<'_>) -> Collected`
//! (see `collect`). It is handed the target, the options, the deadline and what the stages
//! before it found; it gives back evidence: facts (`steadfast_diagnosis::Fact`, each with its
//! source, a typed observation and what it is tied to), and what it could not look at with how to
//! let it. It judges nothing; `steadfast_diagnosis::diagnose` does.
//! Collectors of one stage run at the same time, so each takes its own two samples and never
//! waits past the deadline. A collector that is cut by the deadline loses what it had, so it
//! bounds each step by `collect::Job::within`.
//!
//! Laws: read-only; at most N probes of the target; every read has a bound with a name; what
//! came from outside is shown only through `output`, which makes control characters inert.

mod bundle;
mod cli;
mod clock;
mod collect;
mod dependency;
mod doctor;
mod exit;
mod hops;
#[cfg(target_os = "linux")]
mod host;
#[cfg(not(target_os = "linux"))]
#[path = "host_elsewhere.rs"]
mod host;
mod knowledge;
mod kubernetes;
mod library;
mod logs;
mod maker;
mod output;
mod probe;
mod proxy;
mod services;
mod target;
mod watch;
mod wire;

pub use cli::main;

//! The knowledge base: what each finding means, how it is seen, from where on it counts, what
//! helps, and the rule that looks for it. One table for each area of the runbook.
//!
//! `why503 explain ID` prints a row and `why503 runbook` all of them, so a row is written
//! for a person at three in the morning: first what it means, then how to be sure, then what
//! to do.

mod app;
mod brokers;
mod change;
mod effects;
mod envoy;
mod haproxy;
mod host;
mod library;
mod lifecycle;
mod memory;
mod mysql;
mod network;
mod nginx;
mod platforms;
mod pools;
mod postgres;
mod proxies;
mod redis;
mod risk;
mod runtime;
mod upstreams;
mod web_servers;

use std::time::Duration;

use crate::{
    BreakerIs, CheckIs, Confidence, Fact, Id, Lasting, Observation, Own, PoolIs, Reach, Role,
    Server, ServerKind, Text,
    engine::{Found, Strength, View},
};

/// One row.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Row {
    /// Its id.
    pub id: Id,
    /// What part such a finding plays.
    pub role: Role,
    /// A few words for it.
    pub title: &'static str,
    /// What it means, in sentences.
    pub means: &'static str,
    /// How it looks to a client of the service.
    pub outside: &'static str,
    /// What proves it on the host, and where to read that.
    pub inside: &'static str,
    /// From where on it counts, and why from there.
    pub threshold: &'static str,
    /// What to do, in sentences.
    pub fix: &'static str,
    /// Commands for it. `PID`, `PORT`, `UNIT`, `NAME` and the like stand for what is known
    /// of the case.
    pub commands: &'static [&'static str],
    /// The findings that it may be behind.
    pub effects: &'static [Id],
    /// Looks for it.
    pub(crate) judge: fn(&View<'_>, &mut Found<'_>),
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row")
            .field("id", &self.id)
            .field("title", &self.title)
            .finish_non_exhaustive()
    }
}

/// The tables, in the order of the runbook.
const TABLES: &[&[Row]] = &[
    app::ROWS,
    lifecycle::ROWS,
    runtime::ROWS,
    library::ROWS,
    pools::ROWS,
    network::ROWS,
    host::ROWS,
    memory::ROWS,
    haproxy::ROWS,
    nginx::ROWS,
    envoy::ROWS,
    proxies::ROWS,
    web_servers::ROWS,
    platforms::ROWS,
    upstreams::ROWS,
    brokers::ROWS,
    postgres::ROWS,
    mysql::ROWS,
    redis::ROWS,
    change::ROWS,
    risk::ROWS,
];

/// Every row, in the order of the runbook.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    TABLES.iter().copied().flatten()
}

/// Returns the row of an id.
#[must_use]
pub fn row(id: Id) -> Option<&'static Row> {
    rows().find(|row| row.id == id)
}

/// A refusal that is longer ago says nothing about now: longer than two scrapes of a metrics
/// server, and than any client waits.
const fn lately() -> Duration {
    Duration::from_secs(60)
}

/// What dependencies that fail now were last heard to say, by the process or by a collector.
fn errors<'a>(view: &View<'a>) -> Vec<(&'a Fact, &'a Text)> {
    view.pick(|seen| match seen {
        Observation::Own(Own::Check {
            is: CheckIs::Failing | CheckIs::Unknown,
            error,
            ..
        }) => Some(error),
        Observation::Own(Own::Breaker {
            is: BreakerIs::Open | BreakerIs::Probing,
            last_error,
            ..
        }) => Some(last_error),
        Observation::Own(Own::Pool {
            is: PoolIs::Unreachable | PoolIs::ServerFull,
            trouble,
            ..
        }) => Some(trouble),
        Observation::Own(Own::LastError { error, .. }) => Some(error),
        Observation::Own(Own::ReadOnly { error, .. } | Own::SessionsRefused { error, .. }) => {
            Some(error)
        }
        Observation::Server(Server::Says { text, .. }) => Some(text),
        _ => None,
    })
}

/// Those of them that contain one of these, which only that server says.
fn errors_with<'a>(view: &View<'a>, needles: &[&str]) -> Vec<(&'a Fact, &'a Text)> {
    let mut errors = errors(view);
    errors.retain(|(_, text)| needles.iter().any(|needle| text.as_str().contains(needle)));
    errors
}

/// How far one gets with servers of these kinds.
fn reached<'a>(
    view: &View<'a>,
    kinds: &'static [ServerKind],
    how: &'static [Reach],
) -> Vec<(&'a Fact, Duration)> {
    view.pick(move |seen| match seen {
        Observation::Server(Server::Reached {
            kind,
            how: it,
            after,
        }) if kinds.contains(kind) && how.contains(it) => Some(*after),
        _ => None,
    })
}

/// What the fact is about, as a part of a sentence.
fn named(fact: &Fact) -> String {
    fact.tied
        .name()
        .map_or_else(String::new, |name| format!(" ({name})"))
}

/// Looks for a server that does not answer: gone, or silent.
fn gone(view: &View<'_>, found: &mut Found<'_>, kinds: &'static [ServerKind], name: &str) {
    for (fact, _) in reached(view, kinds, &[Reach::Refused, Reach::Unroutable]) {
        found.find(
            fact,
            Confidence::Proven,
            Strength::Direct,
            format!(
                "{name}{} refuses connections: it is not running there.",
                named(fact)
            ),
        );
    }
    for (fact, after) in reached(view, kinds, &[Reach::ConnectTimedOut]) {
        let says = format!(
            "{name}{} does not answer the handshake within {}: its host is gone, or packets are dropped.",
            named(fact),
            Lasting(after)
        );
        found.find(fact, Confidence::Proven, Strength::Direct, says);
    }
    for (fact, _) in reached(view, kinds, &[Reach::Answers]) {
        found.well(fact);
    }
}

/// Looks for a server that takes connections and says nothing.
fn hangs(view: &View<'_>, found: &mut Found<'_>, kinds: &'static [ServerKind], name: &str) {
    for (fact, after) in reached(view, kinds, &[Reach::Silent]) {
        let says = format!(
            "{name}{} takes the connection and says nothing for {}.",
            named(fact),
            Lasting(after)
        );
        found.find(fact, Confidence::Proven, Strength::Direct, says);
    }
    for (fact, pid) in view.pick(|seen| match seen {
        Observation::Server(Server::Stopped { kind, pid }) if kinds.contains(kind) => Some(*pid),
        _ => None,
    }) {
        let says = format!(
            "{name}{} is stopped: its process {pid} is in state T.",
            named(fact)
        );
        found
            .find(fact, Confidence::Proven, Strength::Direct, says)
            .with("PID", &pid);
    }
    for (fact, _) in reached(view, kinds, &[Reach::Answers]) {
        found.well(fact);
    }
}

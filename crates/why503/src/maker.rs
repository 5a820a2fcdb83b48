//! Who made the answer: from its body first, its headers second, and its timing where both are
//! the same for several causes.
//!
//! Proxies rewrite headers of what they pass on (nginx its `Server`, Envoy too), so a header
//! alone proves only the way, never the maker. The facts are those of `reference/wire-facts.md`;
//! `tests` holds one row for each.

use std::time::Duration;

use steadfast_diagnosis::{Maker, Text, Wire};

use crate::probe::Answer;

mod pages;
mod why;

pub(crate) use why::why;

/// What an answer says of who made it and who passed it on.
///
/// `after` is the time to its first byte. An answer that is no failure says nothing here.
pub(crate) fn observe(answer: &Answer, after: Duration) -> Vec<Wire> {
    let mut seen = Vec::new();
    let status = answer.status;
    let why = why(&answer.headers);
    if let Some(why) = &why {
        seen.push(Wire::Why {
            cause: why.cause,
            rule: why.rule,
            id: Text::new(&why.id),
        });
    }
    if status < 400 {
        return seen;
    }
    for by in passed_on_by(answer) {
        seen.push(Wire::Passed { by, status });
    }
    if why.is_some() {
        return seen;
    }
    match pages::made(answer) {
        // A proxy whose own page this is did not pass it on.
        Some((by, mark)) => {
            seen.retain(|it| !matches!(it, Wire::Passed { by: other, .. } if *other == by));
            seen.push(Wire::Made {
                by,
                mark,
                status,
                after,
            });
        }
        None => seen.push(Wire::Unmarked {
            status,
            server: Text::new(answer.header("server").unwrap_or("")),
        }),
    }
    seen
}

/// The proxies whose headers say that they passed the answer on.
fn passed_on_by(answer: &Answer) -> Vec<Maker> {
    let mut by = Vec::new();
    let has = |name: &str| answer.headers.contains_key(name);
    let via = answer.header("via").unwrap_or("").to_ascii_lowercase();
    let server = answer.header("server").unwrap_or("").to_ascii_lowercase();
    if has("x-envoy-upstream-service-time") {
        by.push(Maker::Envoy);
    }
    if via.contains("caddy") {
        by.push(Maker::Caddy);
    }
    if has("x-varnish") || via.contains("varnish") {
        by.push(Maker::Varnish);
    }
    if has("cf-ray") {
        by.push(Maker::Cloudflare);
    }
    if via.contains("vegur") || via.contains("heroku") {
        by.push(Maker::Heroku);
    }
    // nginx writes its own name over that of whoever answered.
    if pages::is_nginx(&server) {
        by.push(Maker::Nginx);
    }
    by
}

#[cfg(test)]
mod tests;

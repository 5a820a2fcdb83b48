//! The sentence that whoever is woken up reads first: what is refused, since when and why;
//! and beside it what would fix it.

use std::fmt::Write;

use serde::{Serialize, Serializer};
use steadfast_core::{
    Cause, DependencyDown, Evidence, FailureClass, Overloaded, Phase, PoolExhausted, Rule,
    plumbing::{Incident, Pressure, Standing, inert, spent_by},
};

use super::{super::findings::FindingEntry, Seen};
use crate::{clock, duration::spoken};

/// The sentence, and how bad it is.
#[derive(Debug)]
pub(crate) struct Sentence {
    pub(crate) text: String,
    pub(crate) level: Level,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Everything is served.
    Well,
    /// Everything is served, and something is wrong.
    Degraded,
    /// Requests are refused, or would be.
    Refusing,
}

impl Level {
    /// One word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Well => "Serving",
            Self::Degraded => "Degraded",
            Self::Refusing => "Refusing",
        }
    }
}

impl Serialize for Sentence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// Returns the sentence, and what would fix it.
pub(super) fn of(seen: &Seen<'_>, findings: &[FindingEntry]) -> (Sentence, Option<String>) {
    let open = open(seen);
    // A risk or a change is shown below, and is not why anything is refused now.
    let root = findings.first().filter(|root| !root.is_risk);
    let fix = root.map(|root| root.fix.clone());
    if let Some(main) = open.first() {
        let text = refusing(seen, main, &open[1..], root);
        let fix = fix.or_else(|| Some(fix_of(main)));
        return (
            Sentence {
                text,
                level: Level::Refusing,
            },
            fix,
        );
    }
    let reasons: Vec<_> = seen
        .verdict
        .reasons
        .iter()
        .map(ToString::to_string)
        .collect();
    let reasons = inert(&reasons.join("; ")).into_owned();
    let (level, text) = match seen.verdict.standing {
        Standing::NotReady => (Level::Refusing, not_ready(seen, &reasons)),
        Standing::Degraded => (
            Level::Degraded,
            format!("Serving, but degraded: {reasons}. {}", last(seen)),
        ),
        Standing::Ready => (Level::Well, format!("Serving everything. {}", last(seen))),
    };
    (Sentence { text, level }, fix)
}

/// The incidents that go on, those that refused most in the last two minutes first.
fn open<'s>(seen: &'s Seen<'_>) -> Vec<&'s Incident> {
    let incidents = seen.ledger.incidents.iter();
    let mut open: Vec<_> = incidents.filter(|it| it.is_open(seen.now)).collect();
    let lately = |cause: Cause| -> u64 {
        let minutes = seen.minutes.iter().rev().take(2);
        minutes.map(|minute| minute.refused[cause.index()]).sum()
    };
    // What the instance does to everybody goes before what single requests meet.
    let whole = |it: &Incident| {
        matches!(
            it.cause,
            Cause::Draining | Cause::Maintenance | Cause::Starting
        )
    };
    open.sort_by_key(|it| std::cmp::Reverse((whole(it), lately(it.cause), it.count)));
    open
}

fn refusing(
    seen: &Seen<'_>,
    main: &Incident,
    others: &[&Incident],
    root: Option<&FindingEntry>,
) -> String {
    let mut text = "Refusing ".to_owned();
    text.push_str(&share(seen));
    let _ = write!(
        text,
        " since {} because {}",
        clock::people(main.first, seen.now),
        because(main)
    );
    let mut also: Vec<&str> = others.iter().map(|it| it.cause.code()).collect();
    also.sort_unstable();
    also.dedup();
    also.retain(|code| *code != main.cause.code());
    if !also.is_empty() {
        let _ = write!(text, "; also {}", also.join(", "));
    }
    text.push('.');
    // Where the refusals are an effect of something else, that is what has to be known.
    if let Some(root) = root.filter(|root| !root.effects.is_empty()) {
        let _ = write!(text, " The root: {}", root.summary);
        if !text.ends_with('.') {
            text.push('.');
        }
    }
    text
}

/// How many of the requests of the last two minutes, to a tenth, so that the sentence does
/// not change all the time.
fn share(seen: &Seen<'_>) -> String {
    let lately = seen.minutes.iter().rev().take(2);
    let (refused, all) = lately.fold((0, 0), |(refused, all), minute| {
        let now = minute.refused_in_all();
        (refused + now, all + now + minute.admitted)
    });
    if refused == 0 {
        return "requests".to_owned();
    }
    match (refused as f64 / all as f64 * 10.0).round() as u32 {
        0 => "a few of the requests".to_owned(),
        10.. if refused == all => "every request".to_owned(),
        10.. => "nearly every request".to_owned(),
        tenths => format!("about {tenths}0 % of the requests"),
    }
}

/// Why, from the numbers at the start of the incident.
pub(crate) fn because(incident: &Incident) -> String {
    let text = match &incident.evidence {
        Evidence::Overloaded(overloaded) => overload(overloaded),
        Evidence::DependencyDown(down) => is_down(down),
        Evidence::PoolExhausted(pool) => exhausted(pool),
        Evidence::Draining { .. } => "this process is leaving".to_owned(),
        Evidence::Maintenance { reason, .. } if reason.is_empty() => {
            "maintenance was declared".to_owned()
        }
        Evidence::Maintenance { reason, .. } => format!("of maintenance: {reason}"),
        Evidence::Starting { .. } => "its first checks have not passed yet".to_owned(),
        _ => "the application itself answers 503".to_owned(),
    };
    inert(&text).into_owned()
}

fn overload(seen: &Overloaded) -> String {
    match seen.rule {
        Rule::Limit => {
            let mut text = format!("{} of {} places", seen.in_flight, seen.limit);
            if let Some(backend) = &seen.backend {
                let _ = write!(text, " for {}", spent_by(backend));
            }
            text.push_str(" are taken");
            if let Some(held) = &seen.stuck {
                let age = spoken(held.age);
                let _ = write!(text, ", one of them for {age} by {}", held.route);
            }
            text
        }
        Rule::QueueFull => "everybody who may wait for a place waits already".to_owned(),
        Rule::QueueTimeout => "no place came free in the time that a request may wait".to_owned(),
        Rule::Deadline => "requests could not be served before their deadline".to_owned(),
        Rule::Memory => "memory is nearly used up".to_owned(),
        Rule::RuntimeLag => "the runtime is late: handlers keep its threads busy".to_owned(),
        Rule::Priority => "places are kept for requests that go first".to_owned(),
        Rule::TenantShare => match &seen.pressure {
            Some(Pressure::Share(share)) => format!(
                "tenant {} asks for {:.0} of {} places, and its fair share is {:.0}",
                share.tenant, share.asks, seen.limit, share.fair
            ),
            _ => "a tenant asks for more than its fair share".to_owned(),
        },
        rule => format!("of the rule {}", rule.code()),
    }
}

fn is_down(down: &DependencyDown) -> String {
    let name = &down.dependency;
    let mut text = match down.class {
        FailureClass::ReadOnly => format!("{name} takes no writes"),
        class => format!("{name} is down ({class})"),
    };
    if let Some(key) = &down.key {
        let _ = write!(text, " for {key}");
    }
    if !down.last_error.is_empty() {
        let _ = write!(text, ": {}", down.last_error);
    }
    text
}

fn exhausted(pool: &PoolExhausted) -> String {
    let mut text = format!(
        "{} of {} connections of {} are in use and {} requests wait",
        pool.in_use, pool.max, pool.dependency, pool.waiting
    );
    if let Some(error) = &pool.last_error {
        let _ = write!(text, ": {error}");
    } else if let Some(longest) = &pool.longest {
        let held = spoken(longest.held);
        let _ = write!(text, ", one held for {held} by {}", longest.place);
    }
    text
}

/// What ends refusals of this kind, where no finding knows better.
fn fix_of(incident: &Incident) -> String {
    match &incident.evidence {
        Evidence::Overloaded(seen) if seen.rule == Rule::RuntimeLag => {
            "Move work that computes or blocks off the runtime (`spawn_blocking`), or add \
             instances."
        }
        Evidence::Overloaded(seen) if seen.rule == Rule::Memory => {
            "Give the process more memory, or find what holds it."
        }
        Evidence::Overloaded(seen) if seen.rule == Rule::TenantShare => {
            "Speak with that tenant; the others are served. If its requests are wanted, add \
             instances."
        }
        Evidence::Overloaded(seen) if seen.stuck.is_some() => {
            "Find out what the request that has run longest waits for; give it a time-out."
        }
        Evidence::Overloaded(_) => {
            "Add instances, or make the slowest route cheaper. Nothing needs a restart."
        }
        Evidence::DependencyDown(_) => {
            "Mend the dependency; calls are let through again by themselves once it answers."
        }
        Evidence::PoolExhausted(_) => {
            "Shorten what holds connections for long; enlarge the pool only if the server has \
             room for it."
        }
        Evidence::Draining { .. } => {
            "Send requests to another instance; this one does not come back."
        }
        Evidence::Maintenance { .. } => "End the maintenance when the work is done.",
        Evidence::Starting { .. } => {
            "Wait for the checks; if they do not pass, mend what they look at."
        }
        _ => "Look into the application's log: the answer is its own.",
    }
    .to_owned()
}

fn not_ready(seen: &Seen<'_>, reasons: &str) -> String {
    let since = clock::people(seen.snapshot.life.since, seen.now);
    match seen.snapshot.life.phase {
        Some(phase) if phase.is_leaving() => {
            let how = match phase {
                Phase::LameDuck => "still serving until the balancer has noticed",
                Phase::Draining => "finishing what runs",
                _ => "finished",
            };
            format!("Leaving since {since}: {how}.")
        }
        _ => format!("Not ready: {reasons}. {}", last(seen)),
    }
}

/// When something was last refused.
fn last(seen: &Seen<'_>) -> String {
    let Some(incident) = seen.ledger.incidents.iter().max_by_key(|it| it.last) else {
        return "Nothing has been refused since it started.".to_owned();
    };
    let ago = seen.now.saturating_duration_since(incident.last);
    let times = match incident.count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    };
    // Whole minutes, so that the sentence does not change every second.
    let ago = match ago.as_secs() / 60 {
        0 => "less than a minute ago".to_owned(),
        minutes @ 1..=119 => format!("{minutes} min ago"),
        _ => format!("{} ago", spoken(ago)),
    };
    format!("The last refusal was {ago} ({}, {times}).", incident.cause)
}

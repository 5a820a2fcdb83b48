//! The runbook's questions, answered from what the process knows of itself.

use std::time::Duration;

use serde::Serialize;
use steadfast_core::{
    Health, Phase,
    plumbing::{Memory, PoolPressure, Standing},
};

use super::Seen;
use crate::{clock, duration::spoken, instance::probers::ProbeKind};

/// A share of its processor periods in which the group was throttled that slows requests
/// (`reference` knowledge base: a finding from a quarter on).
const THROTTLED_MAX: f64 = 0.25;

/// A share of its memory from which the kernel may kill soon.
const MEMORY_MAX: f64 = 0.9;

/// How late the runtime may be before people notice.
const LAG_MAX: Duration = Duration::from_millis(100);

/// From when on a prober that has not come back is missed.
const PROBER_MISSED: Duration = Duration::from_secs(120);

/// For how long a start is recent enough to be the cause of what happens now.
const ROLLED_OUT: Duration = Duration::from_secs(15 * 60);

/// One question of the runbook.
#[derive(Debug, Serialize)]
pub(crate) struct Item {
    pub(crate) question: &'static str,
    pub(crate) answer: Answer,
    pub(crate) says: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fix: Option<&'static str>,
}

/// How it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Answer {
    Well,
    /// Look here.
    Look,
    Unknown,
}

/// Returns the questions in the runbook's order.
pub(super) fn of(seen: &Seen<'_>) -> Vec<Item> {
    vec![
        running(seen),
        resources(seen),
        runtime(seen),
        probes(seen),
        connections(seen),
        dependencies(seen),
        rolled_out(seen),
        scaling(seen),
    ]
}

fn item(question: &'static str, answer: Answer, says: String, fix: &'static str) -> Item {
    Item {
        question,
        answer,
        says,
        fix: (answer == Answer::Look).then_some(fix),
    }
}

fn running(seen: &Seen<'_>) -> Item {
    let started = seen.state.control.made_at();
    let life = &seen.snapshot.life;
    let phase = life.phase.map_or("not started", Phase::as_str);
    let standing = seen.verdict.standing;
    let says = format!(
        "Running since {}; {phase} since {}; {}.",
        clock::people(started, seen.now),
        clock::people(life.since, seen.now),
        standing.as_str()
    );
    let answer = match standing {
        Standing::NotReady => Answer::Look,
        Standing::Ready | Standing::Degraded => Answer::Well,
    };
    let fix = "See why it is not ready in the first sentence of this page.";
    item("Is it running, and since when?", answer, says, fix)
}

fn resources(seen: &Seen<'_>) -> Item {
    let read = &seen.shed.memory.seen;
    let percent = |ratio: f64| format!("{:.0} %", ratio * 100.0);
    let mut says = Vec::new();
    let mut answer = Answer::Unknown;
    let memory = read.memory.map(Memory::ratio);
    for (ratio, max, what) in [
        (memory, MEMORY_MAX, "of the memory limit used"),
        (read.cpu_ratio, f64::INFINITY, "of the processor quota used"),
        (
            read.throttled_ratio,
            THROTTLED_MAX,
            "of the periods throttled",
        ),
        (
            read.stalled_ratio[1],
            0.1,
            "of the time stalled for want of memory",
        ),
    ] {
        let Some(ratio) = ratio else { continue };
        says.push(format!("{} {what}", percent(ratio)));
        answer = match (answer, ratio >= max) {
            (Answer::Look, _) | (_, true) => Answer::Look,
            _ => Answer::Well,
        };
    }
    let says = match says.is_empty() {
        true => "No limit of processor or memory could be read.".to_owned(),
        false => format!("{}.", says.join(", ")),
    };
    let fix = "Raise the limit, or find what uses it; as many worker threads as the quota has \
               processors.";
    item(
        "Are processor and memory within their limits?",
        answer,
        says,
        fix,
    )
}

fn runtime(seen: &Seen<'_>) -> Item {
    let control = &seen.state.control;
    let lag = control.readiness().pulse.lag(seen.now);
    let workers = control.workers().view(seen.now);
    let (answer, says) = match workers.blocked.first() {
        Some((worker, time)) => {
            let route = seen.shed.oldest.as_ref();
            let route = route.map_or(String::new(), |held| {
                format!("; the request that runs longest is {}", held.route)
            });
            (
                Answer::Look,
                format!(
                    "Worker {worker} of {} has been in one task for {}{route}.",
                    workers.count,
                    spoken(*time)
                ),
            )
        }
        None if lag > LAG_MAX => (Answer::Look, format!("It is {} late.", spoken(lag))),
        None => (Answer::Well, format!("It is {} late.", spoken(lag))),
    };
    let fix = "Move what blocks or computes into `spawn_blocking`, and await what can wait.";
    item("Does the runtime get to its work?", answer, says, fix)
}

fn probes(seen: &Seen<'_>) -> Item {
    let probers = seen.state.control.probers().view();
    let says: Vec<_> = probers
        .iter()
        .take(4)
        .map(|it| {
            let at = match it.asks {
                ProbeKind::Ready => "readiness",
                ProbeKind::Health => "health",
            };
            let period = it.period().map_or(String::new(), |period| {
                format!(
                    " every {}",
                    spoken(Duration::from_secs(period.as_secs_f64().round() as u64))
                )
            });
            let told = if it.was_ok { "yes" } else { "no" };
            format!("{} asks for {at}{period}, told {told}", it.agent)
        })
        .collect();
    let recent = |last| seen.now.saturating_duration_since(last) <= PROBER_MISSED;
    let (answer, says) = match probers.first() {
        None => (Answer::Look, "Nobody has asked yet.".to_owned()),
        Some(last) if !recent(last.last) => (
            Answer::Look,
            format!(
                "Nobody has asked since {}.",
                clock::people(last.last, seen.now)
            ),
        ),
        Some(last) if !last.was_ok => (Answer::Look, format!("{}.", says.join("; "))),
        Some(_) => (Answer::Well, format!("{}.", says.join("; "))),
    };
    let fix = "Let the balancer ask for readiness, outside every limiter, more often than the \
               lame duck is long.";
    item("Do probes answer, and who probes?", answer, says, fix)
}

fn connections(seen: &Seen<'_>) -> Item {
    let with_pool = seen.snapshot.dependencies.iter();
    let pools: Vec<_> = with_pool
        .filter_map(|view| view.pool.map(|pool| (&view.name, pool)))
        .collect();
    let lines = pools.iter().map(|(name, pool)| {
        let mut line = format!("{name} {} of {} in use", pool.in_use, pool.max);
        if pool.waiting > 0 {
            line.push_str(&format!(", {} wait", pool.waiting));
        }
        if pool.leaked > 0 {
            line.push_str(&format!(", {} held for too long", pool.leaked));
        }
        line
    });
    let says: Vec<_> = lines.collect();
    let bad = pools
        .iter()
        .any(|(_, pool)| pool.pressure != PoolPressure::None || pool.leaked > 0);
    let (answer, says) = match (pools.is_empty(), bad) {
        (true, _) => (Answer::Unknown, "No pool is guarded.".to_owned()),
        (false, true) => (Answer::Look, format!("{}.", says.join("; "))),
        (false, false) => (Answer::Well, format!("{}.", says.join("; "))),
    };
    let fix = "Shorten what holds them longest; enlarge the pool only if the server has room.";
    item("Are connections available?", answer, says, fix)
}

fn dependencies(seen: &Seen<'_>) -> Item {
    let all = &seen.snapshot.dependencies;
    let ill: Vec<_> = all
        .iter()
        .filter(|view| view.health(seen.now) != Health::Passing)
        .map(|view| format!("{} {}", view.name, view.health(seen.now).as_str()))
        .collect();
    let (answer, says) = match (all.len(), ill.is_empty()) {
        (0, _) => (Answer::Unknown, "No dependency is declared.".to_owned()),
        (1, true) => (Answer::Well, "The one there is passes.".to_owned()),
        (count, true) => (Answer::Well, format!("All {count} pass.")),
        (_, false) => (Answer::Look, format!("{}.", ill.join("; "))),
    };
    let fix = "Mend the first that fails; its last error is below.";
    item("Do the dependencies answer?", answer, says, fix)
}

fn rolled_out(seen: &Seen<'_>) -> Item {
    let started = seen.state.control.made_at();
    let version = seen.version();
    let before = seen.earlier.first().and_then(|run| run.version.as_deref());
    let mut says = format!("This process began {}", clock::people(started, seen.now));
    match (version, before) {
        (Some(version), Some(before)) if version != before => {
            says.push_str(&format!(" with version {version}; before it ran {before}"));
        }
        (Some(version), _) => says.push_str(&format!(" with version {version}")),
        (None, _) => {}
    }
    says.push('.');
    let recent = seen.now.saturating_duration_since(started) < ROLLED_OUT;
    let changed = matches!((version, before), (Some(version), Some(before)) if version != before);
    // A first start is no rollout: there is nothing to go back to.
    let answer = match recent && changed {
        true => Answer::Look,
        false => Answer::Well,
    };
    let fix = "If the trouble began with it, go back to the version before.";
    item("Was something just rolled out?", answer, says, fix)
}

fn scaling(seen: &Seen<'_>) -> Item {
    let question = "Is scaling behind demand?";
    let fix = "Add instances, and scale on demand instead of processor time.";
    let Some(demand) = seen.demand.filter(|demand| demand.is_finite()) else {
        let says = "Nobody knows how much this instance can do, because nothing limits it yet.";
        return item(question, Answer::Unknown, says.to_owned(), fix);
    };
    let says = format!("Demand is {:.0} % of what may run.", demand * 100.0);
    let answer = match demand > 1.0 {
        true => Answer::Look,
        false => Answer::Well,
    };
    item(question, answer, says, fix)
}

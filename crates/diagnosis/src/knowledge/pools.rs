//! The pools of connections inside the process.

use super::lately;
use crate::{
    CheckIs,
    Confidence::{Likely, Proven},
    Fact, Id, Lasting, Observation as O, Own, PoolIs, Process, Role, Text, Wire,
    engine::{Found, Strength::Direct, View},
    knowledge::Row,
};
use std::time::Duration;
use steadfast_core::Cause;

/// What an empty pool does to requests.
const AFTER_A_POOL: &[Id] = &[
    Id::AppSlowHandler,
    Id::AppShed,
    Id::AppBreakerOpen,
    Id::AppOwn503,
    Id::AppForeign503,
    Id::AppNotReady,
];

/// One of the ways in which a pool has nothing to give.
const AFTER_ITS_CAUSE: &[Id] = &[
    Id::PoolApp,
    Id::AppSlowHandler,
    Id::AppShed,
    Id::AppBreakerOpen,
    Id::AppOwn503,
    Id::AppForeign503,
    Id::AppNotReady,
];

pub(super) const ROWS: &[Row] = &[
    Row {
        id: Id::PoolLeak,
        role: Role::Fault,
        title: "Connections are lent and not given back",
        means: "Code has taken connections from the pool and keeps them: across a call that waits for something else, in a task that never ends, or in a value that nobody drops. The pool is empty although the database has nothing to do.",
        outside: "503 with `cause=pool-exhausted`, or the time-out of the pool; after a restart it is well for a while, and then comes back.",
        inside: "The line of code that holds the connection, and for how long: the pool's guard knows both. In PostgreSQL such sessions are *idle* or *idle in transaction*.",
        threshold: "Connections held for longer than the guard's bound (`held_long`), half of the pool or for a minute, while others find none. A query that does not end looks the same from inside.",
        fix: "Go to that line. Drop the connection before what follows it waits, and bound the work with a time-out. If its queries do not end, see in the server what they wait for. A larger pool only takes longer to empty.",
        commands: &[
            "curl -s -H \"Authorization: Bearer $WHY503_TOKEN\" http://127.0.0.1:PORT/why503/",
        ],
        effects: &[
            Id::PoolStuck,
            Id::PoolApp,
            Id::PgIdleInTx,
            Id::AppSlowHandler,
            Id::AppShed,
            Id::AppBreakerOpen,
            Id::AppOwn503,
            Id::AppForeign503,
            Id::AppNotReady,
        ],
        judge: |view, found| {
            for (fact, (place, age, count)) in view.pick(|seen| match seen {
                O::Own(Own::Held { place, age, count }) => Some((place, *age, *count)),
                _ => None,
            }) {
                let short = pools(view).into_iter().any(|(pool, it)| {
                    pool.tied == fact.tied && (it.waiting > 0 || it.in_use >= it.max)
                });
                let most = pools(view)
                    .into_iter()
                    .any(|(pool, it)| pool.tied == fact.tied && count.saturating_mul(2) >= it.max);
                if short && (most || age >= Duration::from_secs(60)) {
                    let says = format!(
                        "{count} connections of {} have been held for up to {} by {place}: it keeps them, or its queries do not end.",
                        name_of(fact),
                        Lasting(age)
                    );
                    found
                        .find(fact, Likely, Direct, says)
                        .from("half of the pool, or 1 min");
                }
            }
        },
    },
    Row {
        id: Id::PoolStuck,
        role: Role::Fault,
        title: "All connections are in use, and none comes back",
        means: "Every connection of the pool is lent, and nothing has been given back for long: the queries hang, or somebody keeps the connections. Waiting longer would not help, so requests are told at once.",
        outside: "503 with `cause=pool-exhausted`.",
        inside: "In use equals the maximum, and no turn for many times the usual hold.",
        threshold: "The pool's guard says *stuck*.",
        fix: "See what the queries wait for: in PostgreSQL locks and the state of each session. If the server is idle, somebody keeps the connections: look for the line that holds them.",
        commands: &[
            "psql -c \"SELECT pid, state, wait_event_type, now() - state_change AS since, left(query, 60) FROM pg_stat_activity WHERE backend_type = 'client backend' ORDER BY since DESC\"",
        ],
        effects: AFTER_ITS_CAUSE,
        judge: |view, found| {
            stands(
                view,
                found,
                PoolIs::Stuck,
                "All {max} connections of {name} are in use and none comes back; {waiting} requests wait.",
            )
        },
    },
    Row {
        id: Id::PoolUnreachable,
        role: Role::Fault,
        title: "The pool can open no connection",
        means: "The pool has places and cannot fill them: the server refuses, is silent, or its name is not found. To the application that looks like an empty pool, with the same time-out.",
        outside: "503 with `cause=pool-exhausted` or `dependency-down`.",
        inside: "The last connect error, which the pool's guard keeps and the driver's own time-out hides.",
        threshold: "The last connects failed and none has worked since.",
        fix: "Treat the server: the error says whether it is down, silent, full, or not found.",
        commands: &[],
        effects: AFTER_ITS_CAUSE,
        judge: |view, found| {
            stands(
                view,
                found,
                PoolIs::Unreachable,
                "The pool of {name} can open no connection: {trouble}.",
            )
        },
    },
    Row {
        id: Id::PoolServerFull,
        role: Role::Fault,
        title: "The server gives the pool no session",
        means: "The server has as many sessions as it may and refuses this pool's connects. Other pools, other services or forgotten sessions hold them.",
        outside: "503 with `cause=pool-exhausted` while this process has free places in its pool.",
        inside: "The connect error says so: SQLSTATE 53300, MySQL 1040, Redis `max number of clients reached`.",
        threshold: "The server's own code.",
        fix: "Count who holds sessions at the server. The sum of all pools, over all instances and services, has to be smaller than the server's bound; a pooler in front makes that easier.",
        commands: &[
            "psql -c \"SELECT application_name, client_addr, state, count(*) FROM pg_stat_activity GROUP BY 1, 2, 3 ORDER BY 4 DESC\"",
        ],
        effects: AFTER_ITS_CAUSE,
        judge: |view, found| {
            for (fact, error) in view.pick(|seen| match seen {
                O::Own(Own::LastError { class, error, .. })
                    if class.as_str() == "refused-by-server" =>
                {
                    Some(error)
                }
                _ => None,
            }) {
                found.find(
                    fact,
                    Proven,
                    Direct,
                    format!("The server of {} gives no session: {error}.", name_of(fact)),
                );
            }
            stands(
                view,
                found,
                PoolIs::ServerFull,
                "The server of {name} gives no session: {trouble}.",
            )
        },
    },
    Row {
        id: Id::PoolSessionsRefused,
        role: Role::Fault,
        title: "Old sessions work and new ones are refused",
        means: "Connections that are open go on, and each new one is refused: the server is full, shuts down, or the account's rights changed. It goes well until connections reach the end of their life, and then less and less well.",
        outside: "Nothing yet, or some requests fail; latency rises as the pool shrinks.",
        inside: "The error of new sessions, beside the number of old ones that still serve.",
        threshold: "A new session was refused and no later one opened.",
        fix: "Treat it before the old sessions end: see what the server says to a new login with the same account.",
        commands: &[
            "psql -c \"SELECT count(*), current_setting('max_connections') FROM pg_stat_activity\"",
        ],
        effects: AFTER_ITS_CAUSE,
        judge: |view, found| {
            for (fact, error) in view.pick(|seen| match seen {
                O::Own(Own::Check {
                    is: CheckIs::Warning,
                    error,
                    ..
                }) if is_of_sessions(error) => Some(error),
                _ => None,
            }) {
                let says = format!("The check of {} warns: {error}.", name_of(fact));
                found.find(fact, Proven, Direct, says);
            }
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Own(Own::SessionsRefused { error, still_serving }) => {
                    Some(format!("The server refuses new sessions ({error}); {still_serving} old ones still serve."))
                }
                _ => None,
            });
        },
    },
    Row {
        id: Id::PoolApp,
        role: Role::Fault,
        title: "The pool gives no connection",
        means: "Every connection of the application's own pool is in use, they come back, and more requests want one than come back in time. The server may have plenty of room.",
        outside: "503 with `cause=pool-exhausted`, or 500/503 after the pool's time-out.",
        inside: "In use equals the maximum and requests wait; as many established connections from the process to the server as the pool has places.",
        threshold: "All in use, with requests waiting or refused.",
        fix: "See how long each connection is held and why: a slow query, a call made while holding one, or simply too much work. Shorten the hold first. Enlarge the pool only if the server has room for that times the number of instances.",
        commands: &["ss -tnp state established | grep -c ':5432'"],
        effects: AFTER_A_POOL,
        judge: |view, found| {
            for (fact, pool) in pools(view) {
                if pool.is == PoolIs::Busy {
                    found.find(fact, Proven, Direct, format!("All {} connections of {} are in use and come back; {} requests wait for one.", pool.max, name_of(fact), pool.waiting)).from(format!("{} in use", pool.max));
                } else if pool.is == PoolIs::Well {
                    found.well(fact);
                }
            }
            for (fact, (count, since, numbers)) in view.pick(|seen| match seen {
                O::Own(Own::Refusing {
                    cause: Cause::PoolExhausted,
                    count,
                    since,
                    last,
                    numbers,
                    ..
                }) if *last <= lately() => Some((*count, Lasting(*since), numbers)),
                _ => None,
            }) {
                let with_room = with_room(numbers.as_str());
                let says = match with_room {
                    None => format!("{count} requests found no connection in {since} ({numbers})."),
                    Some((used, max)) => format!(
                        "{count} requests got no connection in {since} though only {used} of {max} were in use: to open one, or to begin a transaction on it, took too long ({numbers})."
                    ),
                };
                let case = found.find(fact, Proven, Direct, says);
                if with_room.is_some() {
                    case.fix("The pool has room, so a larger one does not help. Find what a connection waits for before it can be used: a lock that another process holds (SQLite has one writer at a time), a slow connect, a login.");
                }
                for (pool, it) in pools(view) {
                    if it.is == PoolIs::Well && pool.tied == fact.tied {
                        case.but(pool);
                    }
                }
            }
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Wire(Wire::Why {
                    cause: Cause::PoolExhausted,
                    ..
                }) => Some(
                    "The service refuses because no connection that the request needs is free."
                        .to_owned(),
                ),
                _ => None,
            });
            found.tell(view, Likely, Direct, |seen| match seen {
                O::Process(Process::LogLine {
                    about: crate::LogKind::Other,
                    line,
                    ..
                }) if line.as_str().contains("PoolTimedOut")
                    || line.as_str().contains("QueuePool limit") =>
                {
                    Some(format!(
                        "The application's log says that its pool is used up: {line}"
                    ))
                }
                _ => None,
            });
        },
    },
];

/// Whether a check warns that new sessions are refused while old ones serve.
pub(super) fn is_of_sessions(error: &Text) -> bool {
    error.as_str().starts_with("new sessions are refused")
}

/// How many connections were in use, and of how many, where a refusal of a pool that is merely
/// busy says that there was room.
fn with_room(numbers: &str) -> Option<(u64, u64)> {
    let number = |name: &str| -> Option<u64> {
        let (_, behind) = numbers.split_once(name)?;
        behind
            .split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    };
    let used = number("in_use ").or_else(|| number("in use "))?;
    let max = number(" max ")?;
    (used < max && numbers.contains("class saturated")).then_some((used, max))
}

/// A pool's numbers.
struct Pool<'a> {
    is: PoolIs,
    in_use: u64,
    max: u64,
    waiting: u64,
    trouble: &'a Text,
}

fn pools<'a>(view: &View<'a>) -> Vec<(&'a Fact, Pool<'a>)> {
    view.pick(|seen| match seen {
        O::Own(Own::Pool {
            is,
            in_use,
            max,
            waiting,
            trouble,
        }) => Some(Pool {
            is: *is,
            in_use: *in_use,
            max: *max,
            waiting: *waiting,
            trouble,
        }),
        _ => None,
    })
}

fn stands(view: &View<'_>, found: &mut Found<'_>, is: PoolIs, says: &str) {
    for (fact, pool) in pools(view).into_iter().filter(|(_, pool)| pool.is == is) {
        let trouble = if pool.trouble.as_str().is_empty() {
            "no error was told"
        } else {
            pool.trouble.as_str()
        };
        let says = says
            .replace("{max}", &pool.max.to_string())
            .replace("{waiting}", &pool.waiting.to_string())
            .replace("{name}", name_of(fact))
            .replace("{trouble}", trouble);
        found.find(fact, Proven, Direct, says);
    }
}

fn name_of(fact: &Fact) -> &str {
    fact.tied.name().unwrap_or("the pool")
}

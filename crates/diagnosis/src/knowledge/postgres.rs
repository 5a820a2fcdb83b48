//! PostgreSQL, and PgBouncer in front of it.

use crate::{
    Confidence::{Likely, Possible, Proven},
    Id, Observation as O, Postgres, Ratio, Role, ServerKind,
    engine::Strength::{Direct, Pressure},
    knowledge::Row,
};

pub(super) const ROWS: &[Row] = &[Row {
    id: Id::PgExhausted,
    role: Role::Fault,
    title: "PostgreSQL has no session left",
    means: "The server has as many sessions as it may, or all but the few that are kept for superusers, so each new connect of the application is refused with SQLSTATE 53300. Pools wait for a session that nobody gives them, and then time out. `pg_isready` does not see this: it says *accepting connections* with every slot taken, because it goes away before it would need one.",
    outside: "The application answers 503 or 500 after the time-out of its pool; at once if it counts.",
    inside: "SQLSTATE 53300 in the answer to a real start-up message, or in the log of the application. Which sentence comes with it depends on the version and on who asks, so only the code counts. `pg_stat_activity` shows who holds the sessions.",
    threshold: "The code 53300 is proof. From 90 % of max_connections less the reserved ones it is a suspect while something fails, and nothing otherwise.",
    fix: "Make the sum of all pools (places of a pool, times instances, times services) smaller than the server's bound, or put a pooler in front of it. Look who holds idle sessions before you raise max_connections: each session costs memory, and a larger number moves the collapse, it does not prevent it.",
    commands: &[
        "psql -c \"SELECT application_name, state, count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' GROUP BY 1, 2 ORDER BY 3 DESC\"",
        "psql -c \"SHOW max_connections\" -c \"SHOW superuser_reserved_connections\"",
    ],
    effects: &[
        Id::PoolServerFull,
        Id::PoolSessionsRefused,
        Id::PoolUnreachable,
        Id::PoolApp,
        Id::AppBreakerOpen,
        Id::AppNotReady,
        Id::AppShed,
    ],
    judge: |view, found| {
        for (fact, _) in view.pick(|seen| match seen {
            O::Postgres(Postgres::Error { code, .. }) if code.as_str() == "53300" => Some(()),
            _ => None,
        }) {
            found.find(
                fact,
                Proven,
                Direct,
                "PostgreSQL refuses new sessions: all that this role may use are taken (53300).",
            );
        }
        for (fact, (used, max, reserved)) in view.pick(|seen| match seen {
            O::Postgres(Postgres::Slots {
                used,
                max,
                reserved,
            }) => Some((*used, *max, *reserved)),
            _ => None,
        }) {
            let room = max.saturating_sub(reserved);
            if used >= room && max > 0 {
                let says = format!(
                    "PostgreSQL has {used} client sessions and room for {room} of the application's."
                );
                found
                    .find(fact, Likely, Direct, says)
                    .from(format!("{room}"));
            } else if Ratio::of(used, room).get() >= 0.9 {
                let says = format!(
                    "PostgreSQL has {used} client sessions and room for {room} of the application's."
                );
                found.find(fact, Possible, Pressure, says).from("90 %");
            } else {
                found.well(fact);
            }
        }
        for (fact, _) in view.pick(|seen| match seen {
            O::Server(crate::Server::Says {
                kind: ServerKind::Postgres,
                text,
            }) if text.as_str().contains("53300") => Some(()),
            _ => None,
        }) {
            found.find(
                fact,
                Proven,
                Direct,
                "PostgreSQL refuses new sessions: all that this role may use are taken (53300).",
            );
        }
    },
}];

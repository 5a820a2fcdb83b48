//! What the server says of itself, written down as facts.

use std::time::Duration;

use steadfast_diagnosis::Postgres;

use super::state::State;
use crate::{
    collect::Collected,
    dependency::{address::Address, ask::tied},
};

/// Writes down what counts for a client.
pub(crate) fn write(seen: &mut Collected, address: &Address, state: &State) {
    let mut saw =
        |what: &str, fact: Postgres| seen.saw(&format!("{address}, {what}"), tied(address), fact);
    if state.max > 0 {
        saw(
            "pg_stat_activity and max_connections",
            Postgres::Slots {
                used: state.used,
                max: state.max,
                reserved: state.reserved,
            },
        );
    }
    // A role's own limit is met long before the server's.
    if let Some(max) = state.role_limit {
        let what = format!("rolconnlimit of {}", state.role);
        let used = state.role_used;
        saw(
            &what,
            Postgres::Slots {
                used,
                max,
                reserved: 0,
            },
        );
    }
    if let Some(max) = state.database_limit {
        let used = state.database_used;
        saw(
            "datconnlimit",
            Postgres::Slots {
                used,
                max,
                reserved: 0,
            },
        );
    }
    let (count, seconds, whose) = state.idle_in_transaction();
    saw(
        "pg_stat_activity, state",
        Postgres::IdleInTransaction {
            count,
            longest: Duration::from_secs(seconds),
            whose: whose.into(),
        },
    );
    let root = state.roots.first();
    saw(
        "pg_blocking_pids",
        Postgres::Locks {
            waiting: root.map_or(0, |root| u64::try_from(root.waiters).unwrap_or(u64::MAX)),
            longest: Duration::from_secs(root.map_or(0, |root| root.seconds)),
            root: root.map_or(0, |root| u32::try_from(root.pid).unwrap_or(0)),
            query: root
                .map_or(String::new(), |root| holder(state, root.pid))
                .into(),
        },
    );
    let why = match (state.recovery, state.read_only) {
        (true, _) => "it is a standby (pg_is_in_recovery)",
        (_, true) => "default_transaction_read_only is on",
        _ => "",
    };
    let on = state.recovery || state.read_only;
    saw(
        "pg_is_in_recovery",
        Postgres::ReadOnly {
            on,
            why: why.into(),
        },
    );
}

/// Who holds the lock: state and owner. Not the statement, which may hold what it was given.
fn holder(state: &State, pid: i32) -> String {
    let Some(open) = state.transaction(pid) else {
        return "a session without a transaction".to_owned();
    };
    let (is, seconds, role) = (&open.state, open.seconds, &open.role);
    let application = &open.application;
    let application = if application.is_empty() {
        String::new()
    } else {
        format!(" ({application})")
    };
    format!("{is}, in its transaction for {seconds} s, {role}{application}")
}

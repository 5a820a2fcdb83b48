//! PostgreSQL, and PgBouncer in front of it.

use std::time::Duration;

use super::{effects::at_the_application, errors_with, gone, hangs, named};
use crate::{
    Confidence::{Likely, Possible, Proven},
    Id, Lasting, Observation as O, Pgbouncer, Postgres, Ratio, Role, ServerKind as Kind,
    engine::{
        Found,
        Strength::{Direct, Pressure},
        View,
    },
    knowledge::Row,
};

pub(super) const ROWS: &[Row] = &[
    Row {
        id: Id::PgDown,
        role: Role::Fault,
        title: "PostgreSQL is not there",
        means: "Nobody listens at the server's address, or the address is not reached.",
        outside: "503 once breakers and pools have noticed; after the connect time-out before.",
        inside: "A refused connect; `pg_isready` exits with 2.",
        threshold: "Refused, or no answer to the handshake.",
        fix: "Start it, and read the end of its log for the reason. If it runs, look at listen_addresses, the port and the firewall.",
        commands: &[
            "pg_isready -d NAME",
            "systemctl status postgresql",
            "journalctl -u postgresql -n 50 --no-pager",
        ],
        effects: at_the_application![
            Id::PoolUnreachable,
            Id::PoolApp,
            Id::PgbWait,
            Id::DepUnreachable
        ],
        judge: |view, found| gone(view, found, &[Kind::Postgres], "PostgreSQL"),
    },
    Row {
        id: Id::PgStarting,
        role: Role::Fault,
        title: "PostgreSQL is starting, or stopping",
        means: "The server is there and takes no sessions: it recovers after a crash, replays its log, or shuts down.",
        outside: "503 for as long as it lasts.",
        inside: "SQLSTATE 57P03 (starting, recovering) or 57P01 (shutting down).",
        threshold: "The code.",
        fix: "Wait for the recovery; its log says how far it is. Find out why it went down: out of memory, a full disk, or somebody's hand.",
        commands: &[
            "pg_isready -d NAME",
            "journalctl -u postgresql -n 50 --no-pager",
        ],
        effects: at_the_application![Id::PoolUnreachable, Id::PoolApp, Id::PgbWait],
        judge: |view, found| {
            sqlstate(
                view,
                found,
                &["57P03", "57P01", "57P02"],
                "PostgreSQL is starting, recovering or shutting down",
            );
        },
    },
    Row {
        id: Id::PgHung,
        role: Role::Fault,
        title: "PostgreSQL takes connections and says nothing",
        means: "The kernel completes the handshake and the server does not answer: its postmaster is stopped, the machine is frozen or swaps, or the disk does not answer. Each query that runs hangs, each pool empties, and nobody gets an error.",
        outside: "Slow, then 503 from pools and breakers.",
        inside: "Connected within a millisecond and no answer to the start-up message. The postmaster in state T; a growing Recv-Q of its listening socket.",
        threshold: "No answer within two seconds.",
        fix: "Stopped: let it go on (SIGCONT), and find who stopped it. Otherwise look at its disk and memory.",
        commands: &[
            "head -1 /var/lib/postgresql/*/main/postmaster.pid",
            "grep State /proc/PID/status",
            "kill -CONT PID",
        ],
        effects: at_the_application![
            Id::PoolStuck,
            Id::PoolUnreachable,
            Id::PoolApp,
            Id::PgbWait,
            Id::DepHung
        ],
        judge: |view, found| hangs(view, found, &[Kind::Postgres], "PostgreSQL"),
    },
    Row {
        id: Id::PgLocks,
        role: Role::Fault,
        title: "Queries wait for a lock",
        means: "One session holds a lock, others wait for it, and others for those. A migration that waits for a long query makes every later query of that table wait behind itself.",
        outside: "Slow, then an empty pool.",
        inside: "wait_event_type *Lock* in pg_stat_activity, and pg_blocking_pids() up to the session at the root.",
        threshold: "A wait of more than five seconds.",
        fix: "End the session at the root, not those that wait. Then give migrations a lock_timeout, and long transactions an idle time-out.",
        commands: &[
            "psql -c \"SELECT pid, pg_blocking_pids(pid) AS blocked_by, now() - query_start AS since, left(query, 60) FROM pg_stat_activity WHERE wait_event_type = 'Lock'\"",
            "psql -c \"SELECT pg_cancel_backend(PID)\"",
        ],
        effects: at_the_application![
            Id::PoolStuck,
            Id::PoolApp,
            Id::PgExhausted,
            Id::PgbWait,
            Id::DepHung
        ],
        judge: |view, found| {
            for (fact, (waiting, longest, root, query)) in view.pick(|seen| match seen {
                O::Postgres(Postgres::Locks {
                    waiting,
                    longest,
                    root,
                    query,
                }) => Some((*waiting, *longest, *root, query)),
                _ => None,
            }) {
                if waiting > 0 && longest > Duration::from_secs(5) {
                    let says = format!(
                        "{waiting} sessions wait for a lock, the longest for {}; at the root is session {root}: {query}",
                        Lasting(longest)
                    );
                    found
                        .find(fact, Proven, Direct, says)
                        .from("5 s")
                        .with("PID", &root);
                } else {
                    found.well(fact);
                }
            }
        },
    },
    Row {
        id: Id::PgIdleInTx,
        role: Role::Fault,
        title: "Sessions are idle in a transaction",
        means: "The application began transactions and went away: it waits for something else while it holds one, or leaks connections. Such sessions hold slots and locks, and keep the table from being cleaned.",
        outside: "An empty pool while the database has nothing to do.",
        inside: "state *idle in transaction* in pg_stat_activity, since state_change, by application_name.",
        threshold: "A quarter of the used sessions, the longest for more than 30 s.",
        fix: "Find the code that waits inside a transaction (an HTTP call, a lock, a queue) and take that out. Set idle_in_transaction_session_timeout, so that the server ends what is forgotten.",
        commands: &[
            "psql -c \"SELECT pid, application_name, now() - state_change AS idle, left(query, 60) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' ORDER BY idle DESC\"",
            "psql -c \"ALTER SYSTEM SET idle_in_transaction_session_timeout = '60s'\"",
        ],
        effects: at_the_application![
            Id::PgExhausted,
            Id::PgLocks,
            Id::PoolStuck,
            Id::PoolApp,
            Id::PgbWait,
            Id::PoolServerFull
        ],
        judge: |view, found| {
            let slots = view.pick(|seen| match seen {
                O::Postgres(Postgres::Slots { used, .. }) => Some(*used),
                _ => None,
            });
            for (fact, (count, longest, whose)) in view.pick(|seen| match seen {
                O::Postgres(Postgres::IdleInTransaction {
                    count,
                    longest,
                    whose,
                }) => Some((*count, *longest, whose)),
                _ => None,
            }) {
                let used = slots
                    .iter()
                    .find(|(slot, _)| slot.tied == fact.tied)
                    .map_or(count, |(_, used)| *used);
                let share = Ratio::of(count, used);
                let says = format!(
                    "{count} of {used} sessions are idle in a transaction, the longest for {}, most of {whose}.",
                    Lasting(longest)
                );
                if longest > Duration::from_secs(30) && share.get() >= 0.25 {
                    found.find(fact, Proven, Direct, says).from("25 % and 30 s");
                } else if longest > Duration::from_secs(5) && share.get() >= 0.5 {
                    found
                        .find(fact, Possible, Pressure, says)
                        .from("50 % and 5 s");
                } else {
                    found.well(fact);
                }
            }
        },
    },
    Row {
        id: Id::PgExhausted,
        role: Role::Fault,
        title: "PostgreSQL has no session left",
        means: "The server has as many sessions as it may, or all but the few that are kept for superusers, so each new connect of the application is refused with SQLSTATE 53300. Pools wait for a session that nobody gives them, and then time out. `pg_isready` does not see this: it says *accepting connections* with every slot taken, because it goes away before it would need one.",
        outside: "The application answers 503 or 500 after the time-out of its pool; at once if it counts.",
        inside: "SQLSTATE 53300 in the answer to a real start-up message, or in the log of the application. Which sentence comes with it depends on the version and on who asks, so only the code counts. `pg_stat_activity` shows who holds the sessions.",
        threshold: "The code 53300 is proof, and so are as many sessions as ordinary roles may have. From 90 % of that it is a suspect while something fails, and nothing otherwise.",
        fix: "Make the sum of all pools (places of a pool, times instances, times services) smaller than the server's bound, or put a pooler in front of it. Look who holds idle sessions before you raise max_connections: each session costs memory, and a larger number moves the collapse, it does not prevent it.",
        commands: &[
            "psql -c \"SELECT application_name, state, count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' GROUP BY 1, 2 ORDER BY 3 DESC\"",
            "psql -c \"SHOW max_connections\" -c \"SHOW superuser_reserved_connections\"",
        ],
        effects: at_the_application![
            Id::PoolServerFull,
            Id::PoolSessionsRefused,
            Id::PoolUnreachable,
            Id::PoolApp,
            Id::PgbWait
        ],
        judge: |view, found| {
            sqlstate(
                view,
                found,
                &["53300"],
                "PostgreSQL refuses new sessions: all that this role may use are taken",
            );
            for (fact, (used, max, reserved)) in view.pick(|seen| match seen {
                O::Postgres(Postgres::Slots {
                    used,
                    max,
                    reserved,
                }) => Some((*used, *max, *reserved)),
                _ => None,
            }) {
                let room = max.saturating_sub(reserved);
                let says = format!(
                    "PostgreSQL has {used} client sessions, and room for {room} of ordinary roles."
                );
                if used >= room && max > 0 {
                    found
                        .find(fact, Proven, Direct, says)
                        .from(format!("{room}"));
                } else if Ratio::of(used, room).get() >= 0.9 {
                    found.find(fact, Possible, Pressure, says).from("90 %");
                } else {
                    found.well(fact);
                }
            }
        },
    },
    Row {
        id: Id::PgReplication,
        role: Role::Fault,
        title: "Replication stands still",
        means: "Commits wait for a standby that is not there, or a standby is far behind. With synchronous replication a commit is over only once a standby has it: when none is connected, each session that writes waits for ever, without an error and without a lock that one could see. A standby that is behind answers with the past.",
        outside: "Writes hang and pools empty while reads are well; or reads miss what was just written.",
        inside: "wait_event *SyncRep* in pg_stat_activity; synchronous_standby_names beside pg_stat_replication. On the standby, the time since the last replayed transaction, where more has been received or nothing is.",
        threshold: "A commit that has waited for more than five seconds; 30 s behind while something fails.",
        fix: "Bring the standby back, or take it out of synchronous_standby_names and reload: sessions that wait go on at once. For one that is behind, see whether it receives (its log, max_wal_senders, a slot that is gone) and what long query on it holds the replay up.",
        commands: &[
            "psql -c \"SELECT application_name, state, sync_state, replay_lag FROM pg_stat_replication\"",
            "psql -c \"SELECT pid, now() - query_start AS waits, left(query, 60) FROM pg_stat_activity WHERE wait_event = 'SyncRep'\"",
            "psql -c \"ALTER SYSTEM SET synchronous_standby_names = ''\" -c \"SELECT pg_reload_conf()\"",
        ],
        effects: at_the_application![
            Id::PgLocks,
            Id::PgExhausted,
            Id::PoolStuck,
            Id::PoolApp,
            Id::PgbWait,
            Id::DepHung
        ],
        judge: replication,
    },
    Row {
        id: Id::PgReadOnly,
        role: Role::Fault,
        title: "PostgreSQL takes no writes",
        means: "The session leads to a server that only reads: a replica, a master that was demoted, or one that somebody set to read-only. A failover leaves old sessions on the old server.",
        outside: "Writes fail, reads work.",
        inside: "SQLSTATE 25006; `pg_is_in_recovery()` or `transaction_read_only`.",
        threshold: "The code, or the state while something fails. A replica that is meant to be one is no fault.",
        fix: "Let the address lead to the master, or ask for one (target_session_attrs=read-write). Close sessions that were opened before the failover. If a setting did it, look why: some platforms set it when the disk is nearly full.",
        commands: &[
            "psql -c \"SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')\"",
        ],
        effects: at_the_application![Id::DepReadOnly],
        judge: |view, found| {
            sqlstate(view, found, &["25006"], "PostgreSQL takes no writes");
            for (fact, (on, why)) in view.pick(|seen| match seen {
                O::Postgres(Postgres::ReadOnly { on, why }) => Some((*on, why)),
                _ => None,
            }) {
                if on && view.has_trouble() {
                    found.find(
                        fact,
                        Likely,
                        Pressure,
                        format!("PostgreSQL{} takes no writes: {why}.", named(fact)),
                    );
                } else if !on {
                    found.well(fact);
                }
            }
        },
    },
    Row {
        id: Id::PgbClientLimit,
        role: Role::Fault,
        title: "PgBouncer takes no more clients",
        means: "PgBouncer has as many clients as max_client_conn, so it refuses what comes, before it looks at the server.",
        outside: "The pool of the application cannot connect.",
        inside: "08P01 with *no more connections allowed (max_client_conn)*. The code alone stands for many things.",
        threshold: "That text, or as many clients as may be.",
        fix: "Raise max_client_conn, and PgBouncer's own descriptors with it: clients are cheap there. Look who keeps so many.",
        commands: &[
            "psql -p 6432 pgbouncer -c 'SHOW LISTS'",
            "psql -p 6432 pgbouncer -c 'SHOW CLIENTS' | awk '{print $5, $7}' | sort | uniq -c",
        ],
        effects: at_the_application![
            Id::PoolUnreachable,
            Id::PoolServerFull,
            Id::PoolSessionsRefused,
            Id::PoolApp
        ],
        judge: |view, found| {
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Pgbouncer(Pgbouncer::Error { message, .. })
                    if message.as_str().contains("no more connections allowed") =>
                {
                    Some("PgBouncer takes no more clients (max_client_conn).".to_owned())
                }
                O::Pgbouncer(Pgbouncer::Clients { now, max }) if *max > 0 && now >= max => {
                    Some(format!("PgBouncer has {now} of {max} clients."))
                }
                _ => None,
            });
            for (fact, text) in errors_with(view, &["no more connections allowed"]) {
                found.find(
                    fact,
                    Proven,
                    Direct,
                    format!("PgBouncer{} takes no more clients: {text}.", named(fact)),
                );
            }
        },
    },
    Row {
        id: Id::PgbWait,
        role: Role::Symptom,
        title: "Clients wait in PgBouncer",
        means: "PgBouncer has no server session to give and lets clients wait, until query_wait_timeout ends them. Either its pool is too small for the work, or the server behind it is dead: then too it looks like this, and not like a refused connection.",
        outside: "Slow, then an error after query_wait_timeout.",
        inside: "08P01 with *query_wait_timeout*; cl_waiting and maxwait in SHOW POOLS.",
        threshold: "That text, or clients that have waited for more than a second.",
        fix: "Ask the server behind it directly. If it is well, see how long server sessions are held: session pooling and long transactions hold them. Then raise default_pool_size, within what the server has room for.",
        commands: &[
            "psql -p 6432 pgbouncer -c 'SHOW POOLS'",
            "psql -p 6432 pgbouncer -c 'SHOW SERVERS'",
        ],
        effects: at_the_application![Id::PoolStuck, Id::PoolApp, Id::PoolUnreachable],
        judge: |view, found| {
            for (fact, (waiting, longest, active, max)) in view.pick(|seen| match seen {
                O::Pgbouncer(Pgbouncer::Pool {
                    waiting,
                    longest,
                    active,
                    max,
                }) => Some((*waiting, *longest, *active, *max)),
                _ => None,
            }) {
                if waiting > 0 && longest >= Duration::from_secs(1) {
                    found.find(fact, Proven, Direct, format!("{waiting} clients wait in PgBouncer, the longest for {}; {active} of {max} server sessions work.", Lasting(longest))).from("1 s");
                } else {
                    found.well(fact);
                }
            }
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Pgbouncer(Pgbouncer::Error { message, .. }) if message.as_str().contains("query_wait_timeout") => {
                    Some("PgBouncer had no server session within query_wait_timeout: its pool is too small, or the server behind it is gone.".to_owned())
                }
                _ => None,
            });
            for (fact, text) in errors_with(view, &["query_wait_timeout"]) {
                found.find(
                    fact,
                    Proven,
                    Direct,
                    format!(
                        "PgBouncer{} had no server session in time: {text}.",
                        named(fact)
                    ),
                );
            }
            for (fact, _) in super::reached(
                view,
                &[Kind::Pgbouncer],
                &[crate::Reach::Silent, crate::Reach::Refused],
            ) {
                found.find(
                    fact,
                    Likely,
                    Direct,
                    format!("PgBouncer{} does not answer.", named(fact)),
                );
            }
        },
    },
];

/// Looks for these codes in answers of the server, and in what the process was told.
fn sqlstate(view: &View<'_>, found: &mut Found<'_>, codes: &'static [&'static str], says: &str) {
    for (fact, code) in view.pick(move |seen| match seen {
        O::Postgres(Postgres::Error { code, .. }) if codes.contains(&code.as_str()) => Some(code),
        _ => None,
    }) {
        found.find(
            fact,
            Proven,
            Direct,
            format!("{says}{} ({code}).", named(fact)),
        );
    }
    for (fact, text) in errors_with(view, codes) {
        found.find(
            fact,
            Proven,
            Direct,
            format!("{says}{}: {text}.", named(fact)),
        );
    }
}

/// Looks for commits that wait for a standby, and for standbys that are behind.
fn replication(view: &View<'_>, found: &mut Found<'_>) {
    const FAR: Duration = Duration::from_secs(30);
    for (fact, (synchronous, wanted, behind, waiting, longest)) in view.pick(|seen| match seen {
        O::Postgres(Postgres::Standbys {
            synchronous,
            wanted,
            behind,
            waiting,
            longest,
            ..
        }) => Some((*synchronous, wanted, *behind, *waiting, *longest)),
        _ => None,
    }) {
        if waiting > 0 && longest > Duration::from_secs(5) {
            let (sure, whom) = if synchronous == 0 {
                (Proven, format!("none of {wanted} is connected"))
            } else {
                (Likely, format!("{synchronous} are connected"))
            };
            let says = format!(
                "{waiting} commits wait for a synchronous standby, the longest for {}; {whom}.",
                Lasting(longest)
            );
            found.find(fact, sure, Direct, says).from("5 s");
        } else if behind > FAR {
            let says = format!("A standby is {} behind.", Lasting(behind));
            found.find(fact, Possible, Pressure, says).from("30 s");
        } else {
            found.well(fact);
        }
    }
    for (fact, (behind, receives)) in view.pick(|seen| match seen {
        O::Postgres(Postgres::Standby { behind, receives }) => Some((*behind, *receives)),
        _ => None,
    }) {
        if behind <= FAR {
            found.well(fact);
        } else if view.has_trouble() {
            let but = if receives {
                ""
            } else {
                ", and receives nothing"
            };
            let says = format!(
                "PostgreSQL{} is a standby, {} behind{but}.",
                named(fact),
                Lasting(behind)
            );
            found.find(fact, Likely, Pressure, says).from("30 s");
        }
    }
}

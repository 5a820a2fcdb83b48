//! MySQL and MariaDB.

use std::time::Duration;

use super::{effects::at_the_application, errors_with, gone, hangs, named};
use crate::{
    Confidence::{Likely, Possible, Proven},
    Id, Lasting, Mysql, Observation as O, Ratio, Role, ServerKind as Kind,
    engine::{
        Found,
        Strength::{Direct, Pressure},
        View,
    },
    knowledge::Row,
};

pub(super) const ROWS: &[Row] = &[
    Row {
        id: Id::MysqlDown,
        role: Role::Fault,
        title: "MySQL is not there",
        means: "Nobody listens at the server's address, or the address is not reached.",
        outside: "503 once breakers and pools have noticed.",
        inside: "A refused connect.",
        threshold: "Refused, or no answer to the handshake.",
        fix: "Start it, and read the end of its error log. If it runs, look at bind-address and the firewall.",
        commands: &[
            "systemctl status mysql mariadb",
            "tail -50 /var/log/mysql/error.log",
        ],
        effects: at_the_application![Id::PoolUnreachable, Id::PoolApp, Id::DepUnreachable],
        judge: |view, found| gone(view, found, &[Kind::Mysql], "MySQL"),
    },
    Row {
        id: Id::MysqlHung,
        role: Role::Fault,
        title: "MySQL takes connections and says nothing",
        means: "The server greets first, and the greeting does not come: it is stopped, out of threads, or its disk does not answer.",
        outside: "Slow, then 503 from pools.",
        inside: "Connected and no greeting; its process in state T.",
        threshold: "No greeting in time.",
        fix: "Stopped: SIGCONT. Otherwise look at its disk, its memory and its error log.",
        commands: &["grep State /proc/PID/status", "kill -CONT PID"],
        effects: at_the_application![Id::PoolStuck, Id::PoolUnreachable, Id::PoolApp, Id::DepHung],
        judge: |view, found| hangs(view, found, &[Kind::Mysql], "MySQL"),
    },
    Row {
        id: Id::MysqlLocks,
        role: Role::Fault,
        title: "Queries wait for a lock",
        means: "One transaction holds rows, or the definition of a table, and others wait for it: a statement for its row lock (innodb_lock_wait_timeout, 50 s by default), an ALTER TABLE for the end of every transaction that has touched the table, and every later statement behind that.",
        outside: "Slow, then an empty pool; error 1205 once the wait is over.",
        inside: "trx_state *LOCK WAIT* in information_schema.innodb_trx and who blocks it; *Waiting for table metadata lock* in the process list.",
        threshold: "A wait of more than five seconds.",
        fix: "End the transaction at the root, not those that wait. Then keep transactions short, and give migrations a lock_wait_timeout.",
        commands: &[
            "mysql -e \"SELECT trx_mysql_thread_id, trx_state, trx_started, trx_wait_started FROM information_schema.innodb_trx ORDER BY trx_started\"",
            "mysql -e \"SELECT id, user, time, state FROM information_schema.processlist WHERE state LIKE 'Waiting for%lock'\"",
            "mysql -e \"KILL PID\"",
        ],
        effects: at_the_application![Id::PoolStuck, Id::PoolApp, Id::MysqlExhausted, Id::DepHung],
        judge: |view, found| {
            for (fact, (waiting, longest, root, holder)) in view.pick(|seen| match seen {
                O::Mysql(Mysql::Locks {
                    waiting,
                    longest,
                    root,
                    holder,
                }) => Some((*waiting, *longest, *root, holder)),
                _ => None,
            }) {
                if waiting == 0 || longest <= Duration::from_secs(5) {
                    found.well(fact);
                    continue;
                }
                let at_the_root = if root == 0 {
                    String::new()
                } else {
                    format!("; at the root is session {root}: {holder}")
                };
                let says = format!(
                    "{waiting} sessions wait for a lock, the longest for {}{at_the_root}.",
                    Lasting(longest)
                );
                let case = found.find(fact, Proven, Direct, says).from("5 s");
                if root != 0 {
                    case.with("PID", &root);
                }
            }
        },
    },
    Row {
        id: Id::MysqlExhausted,
        role: Role::Fault,
        title: "MySQL has no session left",
        means: "As many sessions as max_connections are open, and one more is kept for an administrator. Each new connect gets error 1040 before it has logged in.",
        outside: "The pool of the application cannot connect.",
        inside: "Error 1040 (or 1203 for one user's own limit) in the greeting; Threads_connected beside max_connections.",
        threshold: "The code is proof. From 90 % it is a suspect while something fails.",
        fix: "Make the sum of all pools smaller than max_connections. See who sleeps: wait_timeout ends forgotten sessions.",
        commands: &[
            "mysql -e \"SELECT user, command, count(*) FROM information_schema.processlist GROUP BY 1, 2\"",
            "mysql -e \"SHOW VARIABLES LIKE 'max_connections'\"",
        ],
        effects: at_the_application![
            Id::PoolServerFull,
            Id::PoolSessionsRefused,
            Id::PoolUnreachable,
            Id::PoolApp
        ],
        judge: |view, found| {
            codes(
                view,
                found,
                &[1040, 1203, 1226],
                &["Too many connections", "error 1040", "ERROR 1040"],
                "MySQL refuses new sessions: as many are open as may be",
            );
            for (fact, (used, max)) in view.pick(|seen| match seen {
                O::Mysql(Mysql::Sessions { used, max }) => Some((*used, *max)),
                _ => None,
            }) {
                let says = format!("MySQL has {used} of {max} sessions.");
                if max > 0 && used >= max {
                    found
                        .find(fact, Proven, Direct, says)
                        .from(format!("{max}"));
                } else if Ratio::of(used, max).get() >= 0.9 {
                    found.find(fact, Possible, Pressure, says).from("90 %");
                } else {
                    found.well(fact);
                }
            }
        },
    },
    Row {
        id: Id::MysqlHostBlocked,
        role: Role::Fault,
        title: "MySQL blocks this host",
        means: "Too many connects from this host broke off before they were complete (a port scan, a health check that only connects), so the server refuses it until it is told to forget.",
        outside: "The pool of the application cannot connect, while other hosts can.",
        inside: "Error 1129.",
        threshold: "The code.",
        fix: "Flush the host cache. Let TCP health checks speak the protocol, or raise max_connect_errors.",
        commands: &["mysqladmin flush-hosts"],
        effects: at_the_application![Id::PoolUnreachable],
        judge: |view, found| {
            codes(
                view,
                found,
                &[1129],
                &["is blocked because of many connection errors"],
                "MySQL blocks this host for broken connects",
            )
        },
    },
    Row {
        id: Id::MysqlReadOnly,
        role: Role::Fault,
        title: "MySQL takes no writes",
        means: "The server is a replica, was demoted, or somebody set read_only.",
        outside: "Writes fail, reads work.",
        inside: "Error 1290 or 1836; @@read_only and @@super_read_only.",
        threshold: "The code, or the state while something fails.",
        fix: "Let the address lead to the master, and close the sessions that were opened before the failover.",
        commands: &["mysql -e 'SELECT @@hostname, @@read_only, @@super_read_only'"],
        effects: at_the_application![Id::DepReadOnly],
        judge: |view, found| {
            codes(
                view,
                found,
                &[1290, 1836, 1792],
                &["--read-only option", "read_only"],
                "MySQL takes no writes",
            );
            for (fact, on) in view.pick(|seen| match seen {
                O::Mysql(Mysql::ReadOnly { on }) => Some(*on),
                _ => None,
            }) {
                if on && view.has_trouble() {
                    found.find(
                        fact,
                        Likely,
                        Pressure,
                        format!("MySQL{} takes no writes (read_only).", named(fact)),
                    );
                } else if !on {
                    found.well(fact);
                }
            }
        },
    },
];

/// Looks for these codes in answers of the server, and their texts in what the process was
/// told.
fn codes(
    view: &View<'_>,
    found: &mut Found<'_>,
    codes: &'static [u16],
    texts: &[&str],
    says: &str,
) {
    for (fact, (code, message)) in view.pick(move |seen| match seen {
        O::Mysql(Mysql::Error { code, message }) if codes.contains(code) => Some((*code, message)),
        _ => None,
    }) {
        found.find(
            fact,
            Proven,
            Direct,
            format!("{says}{}: {code} ({message}).", named(fact)),
        );
    }
    for (fact, text) in errors_with(view, texts) {
        found.find(
            fact,
            Proven,
            Direct,
            format!("{says}{}: {text}.", named(fact)),
        );
    }
}

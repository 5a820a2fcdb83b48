//! Who waits for a lock, and who holds it.

use std::time::Duration;

use mysql_async::{Conn, Error, prelude::Queryable};

/// Waits for rows, and for what the server locks above them (a table's definition).
const WAITS: [&str; 2] = [
    "SELECT COUNT(*), CAST(COALESCE(MAX(TIMESTAMPDIFF(SECOND, trx_wait_started, NOW())), 0) AS SIGNED) \
     FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
    "SELECT COUNT(*), CAST(COALESCE(MAX(time), 0) AS SIGNED) FROM information_schema.processlist \
     WHERE state LIKE 'Waiting for%lock'",
];

/// The transaction that blocks others and waits for nobody: MariaDB's table, then MySQL's.
const ROOTS: [&str; 2] = [
    "SELECT t.trx_mysql_thread_id, COALESCE(p.user, ''), COALESCE(p.command, ''), \
     CAST(TIMESTAMPDIFF(SECOND, t.trx_started, NOW()) AS SIGNED) \
     FROM information_schema.innodb_lock_waits w \
     JOIN information_schema.innodb_trx t ON t.trx_id = w.blocking_trx_id \
     LEFT JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id \
     WHERE t.trx_state <> 'LOCK WAIT' ORDER BY t.trx_started LIMIT 1",
    "SELECT t.trx_mysql_thread_id, COALESCE(p.user, ''), COALESCE(p.command, ''), \
     CAST(TIMESTAMPDIFF(SECOND, t.trx_started, NOW()) AS SIGNED) \
     FROM performance_schema.data_lock_waits w \
     JOIN information_schema.innodb_trx t ON t.trx_id = w.blocking_engine_transaction_id \
     LEFT JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id \
     WHERE t.trx_state <> 'LOCK WAIT' ORDER BY t.trx_started LIMIT 1",
];

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Locks {
    pub(crate) waiting: u64,
    pub(crate) longest: Duration,
    /// The connection's number; 0 if nobody knows.
    pub(crate) root: u32,
    /// What it does. Not the statement, which may hold what it was given.
    pub(crate) holder: String,
}

/// Asks; an error is mostly that the user may not see others.
pub(super) async fn ask(session: &mut Conn) -> Result<Locks, Error> {
    let mut found = Locks::default();
    for question in WAITS {
        let row: Option<(u64, i64)> = session.query_first(question).await?;
        let (count, seconds) = row.unwrap_or_default();
        found.waiting += count;
        let seconds = u64::try_from(seconds).unwrap_or(0);
        found.longest = found.longest.max(Duration::from_secs(seconds));
    }
    if found.waiting == 0 {
        return Ok(found);
    }
    for question in ROOTS {
        let row = session
            .query_first::<(u32, String, String, i64), _>(question)
            .await;
        // A table that this server does not have.
        if let Ok(Some((root, user, command, seconds))) = row {
            found.root = root;
            let does = if command == "Sleep" {
                "idle"
            } else {
                "running"
            };
            found.holder = format!("{user}, {does} in its transaction for {seconds} s");
            break;
        }
    }
    Ok(found)
}

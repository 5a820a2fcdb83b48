//! What a PostgreSQL server says of itself to who may log in: the questions, and how the answers
//! are read.

use super::locks::{Root, Waiter, pids, roots};

/// Rows of one answer; `None` is NULL.
pub(crate) type Rows = Vec<Vec<Option<String>>>;

/// Most rows that a question brings back.
pub(crate) const ROWS_MAX: usize = 200;

/// The questions in their order, in a transaction that may only read and ends itself.
///
/// `SET LOCAL`, because behind a pooler in transaction mode a plain `SET` would stay in a session
/// that belongs to somebody else afterwards.
pub(crate) const QUESTIONS: &str = "BEGIN READ ONLY; \
SET LOCAL statement_timeout = '1500ms'; \
SELECT name, setting FROM pg_catalog.pg_settings WHERE name IN ('max_connections', \
'superuser_reserved_connections', 'reserved_connections', 'default_transaction_read_only', \
'port') \
UNION ALL SELECT 'recovery', pg_catalog.pg_is_in_recovery()::text \
UNION ALL SELECT 'superuser', pg_catalog.current_setting('is_superuser') \
UNION ALL SELECT 'role_limit', rolconnlimit::text FROM pg_catalog.pg_roles WHERE rolname = current_user \
UNION ALL SELECT 'database_limit', datconnlimit::text FROM pg_catalog.pg_database WHERE datname = current_database() \
UNION ALL SELECT 'backends', sum(numbackends)::text FROM pg_catalog.pg_stat_database \
UNION ALL SELECT 'database_backends', numbackends::text FROM pg_catalog.pg_stat_database WHERE datname = current_database() \
UNION ALL SELECT 'role', current_user::text; \
SELECT coalesce(usename, ''), coalesce(application_name, ''), coalesce(state, ''), \
coalesce(backend_type, ''), count(*), \
coalesce(max(extract(epoch FROM clock_timestamp() - state_change)), 0)::bigint, \
count(*) FILTER (WHERE state LIKE 'idle in transaction%' AND clock_timestamp() - state_change > interval '5 seconds') \
FROM pg_catalog.pg_stat_activity WHERE pid <> pg_catalog.pg_backend_pid() \
GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC LIMIT 200; \
SELECT pid, pg_catalog.pg_blocking_pids(pid)::text, \
coalesce(extract(epoch FROM clock_timestamp() - coalesce(query_start, state_change)), 0)::bigint \
FROM (SELECT * FROM pg_catalog.pg_stat_activity WHERE wait_event_type = 'Lock' LIMIT 50) AS waiting; \
SELECT pid, coalesce(state, ''), coalesce(usename, ''), coalesce(application_name, ''), \
coalesce(extract(epoch FROM clock_timestamp() - xact_start), 0)::bigint \
FROM pg_catalog.pg_stat_activity WHERE xact_start IS NOT NULL AND pid <> pg_catalog.pg_backend_pid() \
ORDER BY xact_start LIMIT 200; \
COMMIT";

/// Sessions that are alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) role: String,
    pub(crate) application: String,
    pub(crate) state: String,
    pub(crate) backend_type: String,
    pub(crate) count: u64,
    /// The longest in this state, in whole seconds.
    pub(crate) seconds: u64,
    /// How many have been idle in a transaction for more than 5 seconds.
    pub(crate) idle_long: u64,
}

/// A session in a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Transaction {
    pub(crate) pid: i32,
    pub(crate) state: String,
    pub(crate) role: String,
    pub(crate) application: String,
    pub(crate) seconds: u64,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) port: Option<u16>,
    pub(crate) role: String,
    pub(crate) is_superuser: bool,
    pub(crate) max: u64,
    pub(crate) reserved: u64,
    /// Sessions of clients, ours left out; from coarser counts if the role may not see them.
    pub(crate) used: u64,
    /// Whether the role may see what others do.
    pub(crate) sees_all: bool,
    pub(crate) role_limit: Option<u64>,
    pub(crate) role_used: u64,
    pub(crate) database_limit: Option<u64>,
    pub(crate) database_used: u64,
    pub(crate) recovery: bool,
    pub(crate) read_only: bool,
    pub(crate) groups: Vec<Group>,
    pub(crate) roots: Vec<Root>,
    pub(crate) transactions: Vec<Transaction>,
}

impl State {
    /// Sessions that are idle in a transaction for more than 5 seconds: how many, the longest in
    /// seconds, and whose most are.
    pub(crate) fn idle_in_transaction(&self) -> (u64, u64, String) {
        let idle = || {
            let groups = self.groups.iter();
            groups.filter(|it| it.state.starts_with("idle in transaction") && it.idle_long > 0)
        };
        let count = idle().map(|it| it.idle_long).sum();
        let longest = idle().map(|it| it.seconds).max().unwrap_or(0);
        let most = idle().max_by_key(|it| it.idle_long);
        (count, longest, most.map_or(String::new(), Group::owner))
    }

    /// The session of a pid, as far as it is in a transaction.
    pub(crate) fn transaction(&self, pid: i32) -> Option<&Transaction> {
        self.transactions.iter().find(|it| it.pid == pid)
    }

    fn clients(&self) -> impl Iterator<Item = &Group> {
        let groups = self.groups.iter();
        groups.filter(|it| it.backend_type == "client backend")
    }

    /// Reads the answers to [`QUESTIONS`], those without rows included.
    pub(crate) fn read(answers: &[Rows]) -> Self {
        let none = Rows::new();
        let at = |index: usize| answers.get(index).unwrap_or(&none);
        let mut state = Self::default();
        let mut backends = 0;
        for row in at(0) {
            let (name, value) = (text(row, 0), text(row, 1));
            let number = value.parse::<u64>().ok();
            match name {
                "max_connections" => state.max = number.unwrap_or(0),
                "superuser_reserved_connections" | "reserved_connections" => {
                    state.reserved += number.unwrap_or(0);
                }
                "default_transaction_read_only" => state.read_only = value == "on",
                "port" => state.port = value.parse().ok(),
                "recovery" => state.recovery = value == "true",
                "superuser" => state.is_superuser = value == "on",
                // -1 is without a limit, and no number here.
                "role_limit" => state.role_limit = number,
                "database_limit" => state.database_limit = number,
                // Ours is one of them.
                "backends" => backends = number.unwrap_or(0).saturating_sub(1),
                "database_backends" => state.database_used = number.unwrap_or(0).saturating_sub(1),
                "role" => state.role = value.to_owned(),
                _ => {}
            }
        }
        state.groups = at(1).iter().map(|row| group(row)).collect();
        // What a role may not see of others is NULL, their kind included.
        state.sees_all = !state.groups.iter().any(|it| it.backend_type.is_empty());
        let clients = state.clients().map(|it| it.count).sum();
        state.used = if state.sees_all { clients } else { backends };
        let own = state.clients().filter(|it| it.role == state.role);
        state.role_used = own.map(|it| it.count).sum();
        let waiters: Vec<_> = at(2).iter().map(|row| waiter(row)).collect();
        state.roots = roots(&waiters);
        state.transactions = at(3).iter().map(|row| transaction(row)).collect();
        state
    }
}

impl Group {
    /// Role and application, as far as they have names.
    pub(crate) fn owner(&self) -> String {
        match (self.role.as_str(), self.application.as_str()) {
            ("", "") => String::new(),
            (role, "") => role.to_owned(),
            (role, application) => format!("{role} ({application})"),
        }
    }
}

fn group(row: &[Option<String>]) -> Group {
    Group {
        role: text(row, 0).to_owned(),
        application: text(row, 1).to_owned(),
        state: text(row, 2).to_owned(),
        backend_type: text(row, 3).to_owned(),
        count: number(row, 4),
        seconds: number(row, 5),
        idle_long: number(row, 6),
    }
}

fn waiter(row: &[Option<String>]) -> Waiter {
    Waiter {
        pid: text(row, 0).parse().unwrap_or(0),
        behind: pids(text(row, 1)),
        seconds: number(row, 2),
    }
}

fn transaction(row: &[Option<String>]) -> Transaction {
    Transaction {
        pid: text(row, 0).parse().unwrap_or(0),
        state: text(row, 1).to_owned(),
        role: text(row, 2).to_owned(),
        application: text(row, 3).to_owned(),
        seconds: number(row, 4),
    }
}

fn text(row: &[Option<String>], at: usize) -> &str {
    row.get(at).and_then(Option::as_deref).unwrap_or_default()
}

fn number(row: &[Option<String>], at: usize) -> u64 {
    text(row, at).parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Rows {
        let lines = text.lines().filter(|line| !line.is_empty());
        let row = |line: &str| {
            let fields = line.split('|');
            fields
                .map(|field| (field != "NULL").then(|| field.to_owned()))
                .collect()
        };
        lines.map(row).collect()
    }

    const SETTINGS: &str = "max_connections|10\nsuperuser_reserved_connections|2\n\
        reserved_connections|1\ndefault_transaction_read_only|off\nrecovery|false\n\
        superuser|on\nrole_limit|-1\ndatabase_limit|5\nbackends|8\ndatabase_backends|4\nrole|app";

    #[test]
    fn slots_are_what_is_left_for_roles_without_privileges() {
        let sessions = "app|shop|idle|client backend|5|3|0\napp|shop|idle in transaction|client backend|1|90|1\n\
            |||walwriter|1|0|0";
        let state = State::read(&[rows(SETTINGS), rows(sessions)]);
        assert_eq!(
            (state.max, state.reserved, state.used, state.sees_all),
            (10, 3, 6, true)
        );
        assert_eq!((state.role_limit, state.database_limit), (None, Some(5)));
        assert_eq!(
            state.idle_in_transaction(),
            (1, 90, "app (shop)".to_owned())
        );
    }

    #[test]
    fn a_role_that_may_not_see_counts_by_database() {
        let state = State::read(&[rows(SETTINGS), rows("bob||||7|0|0")]);
        assert_eq!((state.used, state.sees_all), (7, false));
    }

    #[test]
    fn waits_are_read_with_who_holds_them_up() {
        let waits = rows("21|{20}|9\n22|{21}|8");
        let open = rows("20|idle in transaction|app|psql|40");
        let state = State::read(&[rows(SETTINGS), rows(""), waits, open]);
        assert_eq!(state.roots[0].pid, 20);
        assert_eq!(state.transaction(20).map(|it| it.seconds), Some(40));
    }

    #[test]
    fn nothing_at_all_is_read_as_nothing() {
        assert_eq!(
            State::read(&[]),
            State {
                sees_all: true,
                ..State::default()
            }
        );
    }
}

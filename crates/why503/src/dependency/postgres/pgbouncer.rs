//! PgBouncer's console: who waits for a server connection, and which server that would be.

use super::state::Rows;

/// A table of the console: the names of its columns and its rows. The columns differ from version
/// to version, so they are found by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) names: Vec<String>,
    pub(crate) rows: Rows,
}

impl Table {
    fn text<'a>(&self, row: &'a [Option<String>], name: &str) -> &'a str {
        let at = self.names.iter().position(|it| it == name);
        at.and_then(|at| row.get(at)?.as_deref())
            .unwrap_or_default()
    }

    fn number(&self, row: &[Option<String>], name: &str) -> u64 {
        self.text(row, name).parse().unwrap_or(0)
    }
}

/// One pool: a database and a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pool {
    pub(crate) database: String,
    pub(crate) user: String,
    pub(crate) clients_active: u64,
    pub(crate) clients_waiting: u64,
    pub(crate) servers_active: u64,
    pub(crate) servers_idle: u64,
    /// Server connections that are being opened.
    pub(crate) servers_login: u64,
    /// How long the first has waited, in whole seconds.
    pub(crate) wait_seconds: u64,
}

/// A server behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Database {
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) pool_size: u64,
    pub(crate) is_paused: bool,
    pub(crate) is_disabled: bool,
}

/// Reads `SHOW POOLS`, the console's own left out.
pub(crate) fn pools(table: &Table) -> Vec<Pool> {
    let rows = table.rows.iter();
    let pool = |row: &Vec<Option<String>>| Pool {
        database: table.text(row, "database").to_owned(),
        user: table.text(row, "user").to_owned(),
        clients_active: table.number(row, "cl_active"),
        clients_waiting: table.number(row, "cl_waiting"),
        servers_active: table.number(row, "sv_active"),
        servers_idle: table.number(row, "sv_idle"),
        servers_login: table.number(row, "sv_login"),
        wait_seconds: table.number(row, "maxwait"),
    };
    rows.map(pool)
        .filter(|pool| pool.database != "pgbouncer")
        .collect()
}

/// Reads `SHOW DATABASES`, its own left out.
pub(crate) fn databases(table: &Table) -> Vec<Database> {
    let rows = table.rows.iter();
    let database = |row: &Vec<Option<String>>| Database {
        name: table.text(row, "name").to_owned(),
        host: table.text(row, "host").to_owned(),
        port: table.text(row, "port").parse().unwrap_or(0),
        pool_size: table.number(row, "pool_size"),
        is_paused: table.number(row, "paused") != 0,
        is_disabled: table.number(row, "disabled") != 0,
    };
    rows.map(database)
        .filter(|it| it.name != "pgbouncer")
        .collect()
}

/// Host and port of each server that a configuration names, for where `SHOW DATABASES` does not: a
/// database that only `*` stands for is not in it. Passwords may be in the text, and stay there.
pub(crate) fn servers(ini: &str) -> Vec<(String, u16)> {
    let mut all = Vec::new();
    let mut is_section = false;
    for line in ini.lines().map(str::trim) {
        if line.starts_with('[') {
            is_section = line.eq_ignore_ascii_case("[databases]");
        } else if is_section && !line.starts_with([';', '#']) {
            let Some((_, value)) = line.split_once('=') else {
                continue;
            };
            let word = |name: &str| {
                let mut words = value.split_whitespace();
                words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
            };
            let port = word("port").and_then(|it| it.parse().ok());
            let place = (
                word("host").unwrap_or_default().to_owned(),
                port.unwrap_or(5432),
            );
            if !all.contains(&place) {
                all.push(place);
            }
        }
    }
    all
}

/// Reads one setting of `SHOW CONFIG`.
pub(crate) fn setting(table: &Table, key: &str) -> Option<u64> {
    let row = table.rows.iter().find(|row| table.text(row, "key") == key);
    table.text(row?, "value").parse().ok()
}

/// Reads one count of `SHOW LISTS`.
pub(crate) fn list(table: &Table, name: &str) -> Option<u64> {
    let row = table
        .rows
        .iter()
        .find(|row| table.text(row, "list") == name);
    table.text(row?, "items").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(names: &str, row: &str) -> Table {
        let words = |text: &str| text.split('|').map(str::to_owned).collect::<Vec<_>>();
        Table {
            names: words(names),
            rows: row
                .lines()
                .map(|it| words(it).into_iter().map(Some).collect())
                .collect(),
        }
    }

    #[test]
    fn a_pool_with_waiting_clients_is_read_by_the_names_of_its_columns() {
        let names = "database|user|cl_active|cl_waiting|cl_cancel_req|sv_active|sv_idle|sv_used|sv_tested|sv_login|maxwait|maxwait_us|pool_mode";
        let rows = "shop|app|2|7|0|2|0|0|0|1|4|1200|transaction\npgbouncer|pgbouncer|1|0|0|0|0|0|0|0|0|0|statement";
        let found = pools(&table(names, rows));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].clients_waiting, found[0].wait_seconds), (7, 4));
        assert_eq!((found[0].servers_active, found[0].servers_login), (2, 1));
    }

    #[test]
    fn the_server_behind_is_read() {
        let names = "name|host|port|database|force_user|pool_size|min_pool_size|reserve_pool|pool_mode|max_connections|current_connections|paused|disabled";
        let found = databases(&table(names, "shop|127.0.0.1|5433|shop||20|0|0||0|2|0|0"));
        assert_eq!((found[0].host.as_str(), found[0].port), ("127.0.0.1", 5433));
        assert!(!found[0].is_paused);
    }

    #[test]
    fn servers_of_a_configuration_are_found() {
        let ini = "[databases]\n; no\n* = host=10.0.0.1 port=5433 password=geheim\nshop = dbname=shop\n\
            again = host=10.0.0.1 port=5433\n[pgbouncer]\nlisten_port = 6432\n";
        let found = servers(ini);
        assert_eq!(
            found,
            [("10.0.0.1".to_owned(), 5433), (String::new(), 5432)]
        );
        assert!(servers("host=x\n[databases\nx").is_empty());
    }

    #[test]
    fn limits_are_found_by_key() {
        let config = table(
            "key|value|default|changeable",
            "max_client_conn|100|100|yes",
        );
        assert_eq!(setting(&config, "max_client_conn"), Some(100));
        assert_eq!(setting(&config, "absent"), None);
        assert_eq!(
            list(&table("list|items", "used_clients|99"), "used_clients"),
            Some(99)
        );
    }
}

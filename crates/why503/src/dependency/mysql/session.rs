//! A session at MySQL or MariaDB, for who was given the credentials.

use std::collections::BTreeMap;

use mysql_async::{Conn, Opts, OptsBuilder, prelude::Queryable};
use tokio::time::{Instant, timeout_at};

use super::{
    handshake::Refused,
    locks::{self, Locks},
};
use crate::{dependency::address::Address, wire::Fault};

/// Most rows that a question brings back.
const ROWS_MAX: usize = 200;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The server's own error.
    Server(Refused),
    /// The conversation did not get that far.
    Wire(Fault),
    /// What the client says.
    Client(String),
}

/// What the server says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// `SHOW GLOBAL STATUS` and `SHOW GLOBAL VARIABLES`, by lower-case name.
    pub(crate) values: BTreeMap<String, String>,
    /// Who waits for a lock, or why that is not known.
    pub(crate) locks: Option<Result<Locks, String>>,
}

impl State {
    /// A value as a number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.values.get(name)?.parse().ok()
    }

    /// Whether a switch is on.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        let value = self.values.get(name).map(String::as_str);
        matches!(value, Some("ON" | "1"))
    }
}

/// Logs in and asks.
pub(crate) async fn ask(address: &Address, until: Instant) -> Result<State, NoAnswer> {
    let url = address.url.as_deref().unwrap_or_default();
    let url = url.replacen("mariadb://", "mysql://", 1);
    let options = Opts::from_url(&url).map_err(|why| NoAnswer::Client(why.to_string()))?;
    // Nothing of the server's is prepared or kept, and its socket is not looked for.
    let options = OptsBuilder::from_opts(options)
        .prefer_socket(Some(false))
        .stmt_cache_size(Some(0));
    let asked = async {
        let mut session = Conn::new(options).await?;
        let mut state = State::default();
        for question in [
            "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('max_connections', 'read_only', \
             'super_read_only', 'innodb_read_only', 'version')",
            "SHOW GLOBAL STATUS WHERE Variable_name IN ('Threads_connected', 'Threads_running', \
             'Max_used_connections', 'Connection_errors_max_connections')",
        ] {
            let rows: Vec<(String, String)> = session.query(question).await?;
            for (name, value) in rows.into_iter().take(ROWS_MAX) {
                state.values.insert(name.to_ascii_lowercase(), value);
            }
        }
        let found = locks::ask(&mut session).await;
        state.locks = Some(found.map_err(|why| why.to_string()));
        session.disconnect().await?;
        Ok(state)
    };
    match timeout_at(until, asked).await {
        Err(_) => Err(NoAnswer::Wire(Fault::Silent)),
        Ok(Ok(state)) => Ok(state),
        Ok(Err(mysql_async::Error::Server(error))) => Err(NoAnswer::Server(Refused {
            code: error.code,
            message: error.message,
        })),
        Ok(Err(error)) => Err(NoAnswer::Client(error.to_string())),
    }
}

//! A session at PostgreSQL or at PgBouncer's console, for who was given the credentials.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use super::{
    pgbouncer::Table,
    startup::Refused,
    state::{ROWS_MAX, Rows},
};
use crate::{
    dependency::{address::Address, encrypt},
    wire::{self, Fault},
};

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The server's own error.
    Server(Refused),
    /// The conversation did not get that far.
    Wire(Fault),
    /// What the client says, without the server's words.
    Client(String),
}

/// A session that asks, and ends with this value.
#[derive(Debug)]
pub(crate) struct Session {
    client: Client,
    until: Instant,
    // Ends the task that carries the connection.
    _carrier: Carrier,
}

#[derive(Debug)]
struct Carrier(tokio::task::JoinHandle<()>);

impl Drop for Carrier {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Session {
    /// Logs in.
    pub(crate) async fn open(address: &Address, until: Instant) -> Result<Self, NoAnswer> {
        let stream = wire::connect(&address.host, address.port, until);
        let stream = stream.await.map_err(NoAnswer::Wire)?;
        let mut config = Config::new();
        config.user(address.user.as_deref().unwrap_or("postgres"));
        config.application_name("why503");
        config.connect_timeout(Duration::from_secs(3));
        if let Some(password) = &address.password {
            config.password(password);
        }
        config.dbname(
            address
                .database
                .as_deref()
                .or(address.user.as_deref())
                .unwrap_or("postgres"),
        );
        let opened = if address.tls {
            config.ssl_mode(tokio_postgres::config::SslMode::Require);
            let tls = encrypt::Postgres::new(&address.host);
            let connected = timeout_at(until, config.connect_raw(stream, tls)).await;
            connected.map(|it| {
                it.map(|(client, carried)| {
                    (
                        client,
                        tokio::spawn(async move {
                            // How it ends shows in the answers.
                            let _ = carried.await;
                        }),
                    )
                })
            })
        } else {
            let connected = timeout_at(until, config.connect_raw(stream, NoTls)).await;
            connected.map(|it| {
                it.map(|(client, carried)| {
                    (
                        client,
                        tokio::spawn(async move {
                            let _ = carried.await;
                        }),
                    )
                })
            })
        };
        let (client, carrier) = opened
            .map_err(|_| NoAnswer::Wire(Fault::Silent))?
            .map_err(|error| of_client(&error))?;
        Ok(Self {
            client,
            until,
            _carrier: Carrier(carrier),
        })
    }

    /// Asks several questions at once; the rows of each, with the names of its columns.
    pub(crate) async fn ask(&self, sql: &str) -> Result<Vec<Table>, NoAnswer> {
        let answered = timeout_at(self.until, self.client.simple_query(sql)).await;
        let messages = answered
            .map_err(|_| NoAnswer::Wire(Fault::Silent))?
            .map_err(|error| of_client(&error))?;
        let mut all: Vec<Table> = Vec::new();
        for message in messages {
            match message {
                SimpleQueryMessage::RowDescription(columns) => all.push(Table {
                    names: columns.iter().map(|it| it.name().to_owned()).collect(),
                    rows: Rows::new(),
                }),
                SimpleQueryMessage::Row(row) => {
                    if let Some(table) = all.last_mut().filter(|it| it.rows.len() < ROWS_MAX) {
                        let cells = (0..row.len()).map(|at| row.get(at).map(str::to_owned));
                        table.rows.push(cells.collect());
                    }
                }
                _ => {}
            }
        }
        Ok(all)
    }
}

fn of_client(error: &tokio_postgres::Error) -> NoAnswer {
    if let Some(error) = error.as_db_error() {
        return NoAnswer::Server(Refused {
            sqlstate: error.code().code().to_owned(),
            message: error.message().to_owned(),
        });
    }
    if error.is_closed() {
        return NoAnswer::Wire(Fault::Closed);
    }
    // The chain, since its first link only says what was tried.
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    NoAnswer::Client(text)
}

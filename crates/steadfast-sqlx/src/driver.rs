//! What a check must know about each database.

use std::time::Duration;

use sqlx::{Connection, Database};

use crate::{gauges::Sessions, reach::Endpoint};

/// A database that the checks of this crate know: `Postgres`, `MySql` and `Sqlite`, each
/// with the feature of its name.
///
/// Sealed, because what a check may do to a server differs from database to database.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no database that is guarded and checked here",
    note = "turn on the feature of steadfast-sqlx with its name: `mysql`, `postgres` or `sqlite`"
)]
pub trait Driver: sealed::Sealed {}

/// The options with which a database is connected to.
pub(crate) type Options<DB> = <<DB as Database>::Connection as Connection>::Options;

pub(crate) mod sealed {
    use super::{Database, Duration, Endpoint, Options, SessionName, Sessions, Slots};

    #[expect(
        unnameable_types,
        private_interfaces,
        private_bounds,
        reason = "sealed: only this crate names it"
    )]
    pub trait Sealed: Database {
        /// What it is called in a report.
        const KIND: &'static str;

        /// Whether a `BEGIN` that nobody waits for any more is rolled back by the driver.
        const UNDOES_A_CUT_BEGIN: bool = false;

        /// Whether the server may end what it does for a client that has gone.
        const MAY_LOOK_FOR_CLIENTS: bool = false;

        /// Where the server listens; `None` if there is no server, so that only the
        /// pool's own connections see the data (SQLite in memory).
        fn endpoint(options: &Options<Self>) -> Option<Endpoint>;

        /// Returns the options of the probe's own connection.
        fn probe_options(options: &Options<Self>) -> Options<Self> {
            options.clone()
        }

        /// Asks for something that only the database itself can answer, and a proxy in front
        /// of it cannot: sqlx's ping is answered by the next hop.
        fn round_trip(
            connection: &mut Self::Connection,
        ) -> impl Future<Output = sqlx::Result<()>> + Send;

        /// Returns with what options a session is opened that sees the same data as those of
        /// the pool; `None` where only the pool's own see it (SQLite in memory).
        fn fresh_options(options: &Options<Self>) -> Option<Options<Self>> {
            Some(Self::probe_options(options))
        }

        /// Asks the server what the pool's sessions do; `None` if it cannot say.
        fn sessions(
            connection: &mut Self::Connection,
            options: &Options<Self>,
        ) -> impl Future<Output = Option<Sessions>> + Send {
            let _ = (connection, options);
            std::future::ready(None)
        }

        /// Whether a statement says that it has changed or returned rows.
        fn touched_rows(result: &Self::QueryResult) -> bool;

        /// Asks the server whether it takes writes, as far as its role and options go;
        /// `None` if it cannot say.
        fn takes_writes(
            connection: &mut Self::Connection,
        ) -> impl Future<Output = Option<bool>> + Send {
            let _ = connection;
            std::future::ready(None)
        }

        /// Asks the server for a name by which another session can speak of this one; `None`
        /// if there is no server.
        fn session_name(
            connection: &mut Self::Connection,
        ) -> impl Future<Output = sqlx::Result<Option<SessionName>>> + Send {
            let _ = connection;
            std::future::ready(Ok(None))
        }

        /// Tells the server to end what the session of this name is asked, if that is still
        /// the same one.
        fn end_query(
            connection: &mut Self::Connection,
            name: &SessionName,
        ) -> impl Future<Output = sqlx::Result<()>> + Send {
            let _ = (connection, name);
            std::future::ready(Ok(()))
        }

        /// Asks the server how often it looks whether the client of a query is still there; `None`
        /// if it does not.
        fn looks_every(
            connection: &mut Self::Connection,
        ) -> impl Future<Output = Option<Duration>> + Send {
            let _ = connection;
            std::future::ready(None)
        }

        /// Asks the server how many sessions it gives; `None` if it has no such limit.
        fn slots(connection: &mut Self::Connection) -> impl Future<Output = Option<Slots>> + Send {
            let _ = connection;
            std::future::ready(None)
        }
    }
}

/// A session, as the server calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionName {
    pub(crate) number: i64,
    /// What tells it from one of the same number, on another server or at another time.
    pub(crate) of: String,
}

/// How many sessions a server gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slots {
    pub(crate) max: u32,
    /// How many of them it keeps for its administrators.
    pub(crate) reserved: u32,
}

#[cfg(feature = "postgres")]
mod postgres {
    use sqlx::{Executor, Postgres, Row, postgres::PgConnectOptions};

    use super::{Driver, Duration, Endpoint, Options, SessionName, Sessions, Slots, sealed};
    use crate::version::raw_sql;

    /// How the probe's connection calls itself in `pg_stat_activity`.
    const PROBE_NAME: &str = "steadfast-probe";

    impl Driver for Postgres {}

    #[expect(private_interfaces, reason = "sealed: only this crate names them")]
    impl sealed::Sealed for Postgres {
        const KIND: &'static str = "postgres";
        const MAY_LOOK_FOR_CLIENTS: bool = true;

        fn endpoint(options: &PgConnectOptions) -> Option<Endpoint> {
            let port = options.get_port();
            let host = options.get_host();
            let directory = options
                .get_socket()
                .map(|path| path.display().to_string())
                .or_else(|| host.starts_with('/').then(|| host.to_owned()));
            Some(match directory {
                // libpq's name for it, which sqlx follows.
                Some(directory) => Endpoint::Unix(format!("{directory}/.s.PGSQL.{port}").into()),
                None => Endpoint::Tcp(host.trim_matches(['[', ']']).to_owned(), port),
            })
        }

        fn probe_options(options: &PgConnectOptions) -> PgConnectOptions {
            options.clone().application_name(PROBE_NAME)
        }

        async fn round_trip(connection: &mut Self::Connection) -> sqlx::Result<()> {
            // The simple protocol, because a prepared statement does not survive PgBouncer.
            connection.execute("SELECT 1").await.map(drop)
        }

        /// A role always sees its own sessions. Other instances on this host count too,
        /// so an instance that works hides one that hangs, never the other way round.
        async fn sessions(
            connection: &mut Self::Connection,
            options: &Options<Self>,
        ) -> Option<Sessions> {
            let name = options.get_application_name().unwrap_or_default();
            // The simple protocol, because a prepared statement does not survive PgBouncer.
            let sql = format!(
                "SELECT count(*)::int8, min(age)::float8, max(age)::float8, \
                        (array_agg(state ORDER BY age DESC))[1] \
                 FROM (SELECT state, extract(epoch FROM clock_timestamp() - state_change) AS age \
                       FROM pg_stat_activity \
                       WHERE usename = current_user AND datname = current_database() \
                         AND client_addr IS NOT DISTINCT FROM inet_client_addr() \
                         AND application_name = '{}' AND pid <> pg_backend_pid() \
                         AND state IS NOT NULL) AS own",
                name.replace('\'', "''"),
            );
            let row = connection.fetch_one(raw_sql(&sql)).await.ok()?;
            Some(Sessions {
                count: u64::try_from(row.try_get::<i64, _>(0).ok()?).ok()?,
                quiet_secs: row.try_get::<Option<f64>, _>(1).ok()??,
                longest_secs: row.try_get::<Option<f64>, _>(2).ok()??,
                longest_state: row.try_get::<Option<String>, _>(3).ok()??,
            })
        }

        fn touched_rows(result: &Self::QueryResult) -> bool {
            result.rows_affected() > 0
        }

        async fn takes_writes(connection: &mut Self::Connection) -> Option<bool> {
            let sql = "SELECT NOT (pg_is_in_recovery() \
                              OR current_setting('transaction_read_only')::bool)";
            let row = connection.fetch_one(sql).await.ok()?;
            row.try_get(0).ok()
        }

        /// PostgreSQL 14 has it, on systems that tell of a socket whose other side is closed.
        async fn looks_every(connection: &mut Self::Connection) -> Option<Duration> {
            let sql = "SELECT setting::int8 FROM pg_settings \
                       WHERE name = 'client_connection_check_interval' AND setting <> '0'";
            let row = connection.fetch_optional(sql).await.ok()??;
            let millis: i64 = row.try_get(0).ok()?;
            Some(Duration::from_millis(millis.try_into().ok()?))
        }

        async fn session_name(
            connection: &mut Self::Connection,
        ) -> sqlx::Result<Option<SessionName>> {
            let sql = "SELECT pid::int8, backend_start::text FROM pg_stat_activity \
                       WHERE pid = pg_backend_pid()";
            let row = connection.fetch_one(sql).await?;
            Ok(Some(SessionName {
                number: row.try_get(0)?,
                of: row.try_get(1)?,
            }))
        }

        async fn end_query(
            connection: &mut Self::Connection,
            name: &SessionName,
        ) -> sqlx::Result<()> {
            let SessionName { number, of } = name;
            let sql = format!(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity \
                 WHERE pid = {number} AND backend_start::text = '{}' AND state = 'active'",
                of.replace('\'', "''"),
            );
            connection.execute(raw_sql(&sql)).await.map(drop)
        }

        async fn slots(connection: &mut Self::Connection) -> Option<Slots> {
            // Servers before 16 have only the one kind of reserved slots.
            let sql = "SELECT current_setting('max_connections')::int8, \
                              coalesce(current_setting('superuser_reserved_connections', true), '0')::int8 \
                              + coalesce(current_setting('reserved_connections', true), '0')::int8";
            let row = connection.fetch_one(sql).await.ok()?;
            Some(Slots {
                max: u32::try_from(row.try_get::<i64, _>(0).ok()?).ok()?,
                reserved: u32::try_from(row.try_get::<i64, _>(1).ok()?).ok()?,
            })
        }
    }
}

#[cfg(feature = "mysql")]
mod mysql {
    use sqlx::{Executor, MySql, Row, mysql::MySqlConnectOptions};

    use super::{Driver, Endpoint, Options, SessionName, Sessions, Slots, sealed};
    use crate::version::raw_sql;

    /// Which server it is; a number of a session comes once in the life of one.
    const SERVER: &str = "CONCAT(@@hostname, ' ', @@port, ' ', @@server_id)";

    /// What the sessions of this user, database and host do; `TIME` is for how many
    /// seconds each has done it.
    const SESSIONS: &str = "SELECT COUNT(*), CAST(MIN(TIME) AS SIGNED), CAST(MAX(TIME) AS SIGNED), \
                                   SUBSTRING_INDEX(GROUP_CONCAT(COMMAND ORDER BY TIME DESC), ',', 1) \
                            FROM information_schema.PROCESSLIST \
                            WHERE USER = SUBSTRING_INDEX(USER(), '@', 1) AND DB <=> DATABASE() \
                              AND SUBSTRING_INDEX(HOST, ':', 1) = SUBSTRING_INDEX(USER(), '@', -1) \
                              AND ID <> CONNECTION_ID()";

    impl Driver for MySql {}

    #[expect(private_interfaces, reason = "sealed: only this crate names them")]
    impl sealed::Sealed for MySql {
        const KIND: &'static str = "mysql";

        fn endpoint(options: &MySqlConnectOptions) -> Option<Endpoint> {
            Some(match options.get_socket() {
                Some(path) => Endpoint::Unix(path.clone()),
                None => Endpoint::Tcp(
                    options.get_host().trim_matches(['[', ']']).to_owned(),
                    options.get_port(),
                ),
            })
        }

        async fn round_trip(connection: &mut Self::Connection) -> sqlx::Result<()> {
            connection.execute("SELECT 1").await.map(drop)
        }

        /// A user always sees its own sessions. Other instances on this host count too,
        /// so an instance that works hides one that hangs, never the other way round.
        async fn sessions(
            connection: &mut Self::Connection,
            _: &Options<Self>,
        ) -> Option<Sessions> {
            let row = connection.fetch_one(SESSIONS).await.ok()?;
            let secs = |value: Option<i64>| value.and_then(|secs| u32::try_from(secs).ok());
            Some(Sessions {
                count: u64::try_from(row.try_get::<i64, _>(0).ok()?).ok()?,
                quiet_secs: secs(row.try_get(1).ok()?)?.into(),
                longest_secs: secs(row.try_get(2).ok()?)?.into(),
                longest_state: row.try_get::<Option<String>, _>(3).ok()??,
            })
        }

        fn touched_rows(result: &Self::QueryResult) -> bool {
            result.rows_affected() > 0
        }

        async fn takes_writes(connection: &mut Self::Connection) -> Option<bool> {
            let sql = "SELECT CAST(@@global.read_only OR @@global.innodb_read_only AS SIGNED)";
            let row = connection.fetch_one(sql).await.ok()?;
            Some(row.try_get::<i64, _>(0).ok()? == 0)
        }

        async fn session_name(
            connection: &mut Self::Connection,
        ) -> sqlx::Result<Option<SessionName>> {
            let sql = format!("SELECT CAST(CONNECTION_ID() AS SIGNED), {SERVER}");
            let row = connection.fetch_one(raw_sql(&sql)).await?;
            Ok(Some(SessionName {
                number: row.try_get(0)?,
                of: row.try_get(1)?,
            }))
        }

        async fn end_query(
            connection: &mut Self::Connection,
            name: &SessionName,
        ) -> sqlx::Result<()> {
            let row = connection
                .fetch_one(raw_sql(&format!("SELECT {SERVER}")))
                .await?;
            if row.try_get::<String, _>(0)? != name.of {
                return Ok(());
            }
            let sql = format!("KILL QUERY {}", name.number);
            connection.execute(raw_sql(&sql)).await.map(drop)
        }

        /// One more than the limit is kept for administrators, beside it.
        async fn slots(connection: &mut Self::Connection) -> Option<Slots> {
            let sql = "SELECT CAST(@@max_connections AS SIGNED)";
            let row = connection.fetch_one(sql).await.ok()?;
            Some(Slots {
                max: u32::try_from(row.try_get::<i64, _>(0).ok()?).ok()?,
                reserved: 0,
            })
        }
    }
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use sqlx::{Executor, Sqlite, sqlite::SqliteConnectOptions};

    use super::{Driver, Endpoint, sealed};

    impl Driver for Sqlite {}

    impl sealed::Sealed for Sqlite {
        const KIND: &'static str = "sqlite";
        const UNDOES_A_CUT_BEGIN: bool = true;

        fn endpoint(_: &SqliteConnectOptions) -> Option<Endpoint> {
            None
        }

        fn touched_rows(result: &Self::QueryResult) -> bool {
            result.rows_affected() > 0
        }

        async fn round_trip(connection: &mut Self::Connection) -> sqlx::Result<()> {
            // It stands in the head of the file, which is read for it.
            let sql = "PRAGMA schema_version";
            connection.execute(sql).await.map(drop)
        }

        /// A database in memory has a name too, and no file of it.
        fn fresh_options(options: &SqliteConnectOptions) -> Option<SqliteConnectOptions> {
            let has_file = options.get_filename().exists();
            // A file that was moved away is missing, and no reason to make an empty one.
            has_file.then(|| options.clone().create_if_missing(false))
        }
    }
}

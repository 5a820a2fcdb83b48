//! What differs between the versions of sqlx that these sources are built for: 0.9 here, and
//! 0.8 in the package `steadfast-sqlx-08`, which sets `sqlx_08`.

#[cfg(not(sqlx_08))]
mod here {
    use sqlx::migrate::{AppliedMigration, Migrate, MigrateError};
    pub(crate) use sqlx::{SqlSafeStr, SqlStr};

    /// Returns the migration that failed half-way.
    pub(crate) async fn dirty_version(
        connection: &mut impl Migrate,
        table: &str,
    ) -> Result<Option<i64>, MigrateError> {
        connection.dirty_version(table).await
    }

    /// Returns the migrations that were applied.
    pub(crate) async fn applied_migrations(
        connection: &mut impl Migrate,
        table: &str,
    ) -> Result<Vec<AppliedMigration>, MigrateError> {
        connection.list_applied_migrations(table).await
    }

    /// Returns the text of a statement.
    pub(crate) fn text(statement: &SqlStr) -> &str {
        statement.as_str()
    }

    #[cfg(any(feature = "postgres", feature = "mysql"))]
    /// Makes a query of a statement in which nothing comes from outside.
    pub(crate) fn raw_sql(statement: &str) -> sqlx::RawSql {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned()))
    }
}

#[cfg(sqlx_08)]
mod here {
    use std::borrow::Cow;

    use sqlx::migrate::{AppliedMigration, Migrate, MigrateError};

    /// Returns the migration that failed half-way, in the one table that there is.
    pub(crate) async fn dirty_version(
        connection: &mut impl Migrate,
        _: &str,
    ) -> Result<Option<i64>, MigrateError> {
        connection.dirty_version().await
    }

    /// Returns the migrations that were applied.
    pub(crate) async fn applied_migrations(
        connection: &mut impl Migrate,
        _: &str,
    ) -> Result<Vec<AppliedMigration>, MigrateError> {
        connection.list_applied_migrations().await
    }

    /// A statement.
    pub(crate) type SqlStr = Cow<'static, str>;

    /// What is a statement of the application's own: a text in its source, mostly.
    pub trait SqlSafeStr {
        /// Returns the statement.
        fn into_sql_str(self) -> Cow<'static, str>;
    }

    impl<T: Into<Cow<'static, str>>> SqlSafeStr for T {
        fn into_sql_str(self) -> Cow<'static, str> {
            self.into()
        }
    }

    /// Returns the text of a statement.
    pub(crate) fn text(statement: &SqlStr) -> &str {
        statement
    }

    #[cfg(any(feature = "postgres", feature = "mysql"))]
    /// Makes a query of a statement in which nothing comes from outside.
    pub(crate) fn raw_sql(statement: &str) -> sqlx::RawSql<'_> {
        sqlx::raw_sql(statement)
    }
}

#[cfg(not(sqlx_08))]
pub(crate) use here::SqlSafeStr;
#[cfg(sqlx_08)]
pub use here::SqlSafeStr;
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(crate) use here::raw_sql;
pub(crate) use here::{SqlStr, applied_migrations, dirty_version, text};

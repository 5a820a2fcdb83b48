//! The check that the schema is the one this build was made for.

use std::{borrow::Cow, collections::HashMap, ops::DerefMut, sync::Mutex};

use sqlx::{
    ConnectOptions, Connection, Pool,
    migrate::{Migrate, MigrateError, Migrator},
};
use steadfast_core::{Check, CheckOutcome, CheckRun, CheckStatus, Failure, FailureClass};
use tokio::time::timeout_at;

use crate::{classify::classify, clock, driver::Driver, version};

/// Where sqlx notes what it has applied, unless told otherwise.
const TABLE: &str = "_sqlx_migrations";

/// Returns a check that the database has exactly the migrations of `migrator`.
///
/// Pending, failed halfway (*dirty*) and changed migrations fail it as
/// [`FailureClass::Misconfigured`], with how many there are; a migration that only the
/// database knows is a warning, because that is what a rollback looks like. Nothing is
/// applied, created or locked.
///
/// It looks until it has passed once, then repeats that answer: a schema does not lose
/// its migrations while a process runs, but an instance may well start before the job
/// that applies them has ended. [`Migrations::always`] looks each time.
///
/// For SQLite it looks through an idle connection of the pool, otherwise through a
/// connection of its own that is closed afterwards.
pub fn migrations<DB: Driver>(pool: &Pool<DB>, migrator: &Migrator) -> Migrations<DB>
where
    DB::Connection: Migrate,
{
    let wanted = migrator
        .iter()
        .filter(|migration| !migration.migration_type.is_down_migration())
        .map(|migration| (migration.version, migration.checksum.clone()))
        .collect();
    Migrations {
        pool: pool.clone(),
        wanted,
        table: TABLE.into(),
        always: false,
        passed: Mutex::new(None),
    }
}

/// A check of the schema; made by [`migrations`].
#[derive(Debug)]
#[must_use]
pub struct Migrations<DB: Driver> {
    pool: Pool<DB>,
    wanted: Vec<(i64, Checksum)>,
    table: Cow<'static, str>,
    always: bool,
    passed: Mutex<Option<CheckOutcome>>,
}

type Checksum = Cow<'static, [u8]>;

impl<DB: Driver> Migrations<DB>
where
    DB::Connection: Migrate,
{
    /// Looks at each run, not only until it has passed.
    pub fn always(mut self) -> Self {
        self.always = true;
        self
    }

    #[cfg(not(sqlx_08))]
    /// Sets the table in which the migrator notes what it has applied;
    /// `_sqlx_migrations` without it.
    pub fn table(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.table = name.into();
        self
    }

    async fn look(&self) -> CheckOutcome {
        let seen = if DB::endpoint(&self.pool.connect_options()).is_some() {
            self.look_beside_pool().await
        } else {
            let Some(mut connection) = self.pool.try_acquire() else {
                return CheckOutcome::unknown(
                    FailureClass::Saturated,
                    "no connection of the pool is idle to look through",
                );
            };
            self.read(connection.deref_mut()).await
        };
        match seen {
            Ok(applied) => judge(&self.wanted, &applied),
            Err(failure) => CheckOutcome::fail(failure.class(), failure.message()),
        }
    }

    async fn look_beside_pool(&self) -> Result<Applied, Failure> {
        let options = DB::probe_options(&self.pool.connect_options());
        let mut connection = options.connect().await.map_err(|error| classify(&error))?;
        let seen = self.read(&mut connection).await;
        let _ = connection.close().await;
        seen
    }

    async fn read(&self, connection: &mut DB::Connection) -> Result<Applied, Failure> {
        let dirty = match version::dirty_version(connection, &self.table).await {
            Ok(dirty) => dirty,
            Err(error) if is_missing_table(&error) => return Ok(Applied::default()),
            Err(error) => return Err(failure(&error)),
        };
        let done = version::applied_migrations(connection, &self.table).await;
        let done = done.map_err(|error| failure(&error))?;
        Ok(Applied {
            dirty,
            done: done
                .into_iter()
                .map(|one| (one.version, one.checksum))
                .collect(),
        })
    }
}

impl<DB: Driver> Check for Migrations<DB>
where
    DB::Connection: Migrate,
{
    async fn run(&self, run: CheckRun) -> CheckOutcome {
        let passed = || self.passed.lock().expect("nothing panics while it is held");
        if !self.always
            && !run.first
            && let Some(outcome) = passed().clone()
        {
            return outcome;
        }
        let until = run.deadline.with_margin(clock::now());
        let outcome = timeout_at(until.instant().into(), self.look()).await;
        let outcome = outcome.unwrap_or_else(|_| {
            CheckOutcome::fail(
                FailureClass::Timeout,
                "the applied migrations have not been listed in time",
            )
        });
        if matches!(outcome.status(), CheckStatus::Pass | CheckStatus::Warn) {
            *passed() = Some(outcome.clone());
        }
        outcome
    }

    fn kind(&self) -> &'static str {
        "migrations"
    }
}

/// What the database says that it has.
#[derive(Debug, Default)]
struct Applied {
    dirty: Option<i64>,
    done: HashMap<i64, Checksum>,
}

fn judge(wanted: &[(i64, Checksum)], applied: &Applied) -> CheckOutcome {
    let pending: Vec<i64> = wanted
        .iter()
        .map(|(version, _)| *version)
        .filter(|version| !applied.done.contains_key(version))
        .collect();
    let changed = wanted
        .iter()
        .find(|(version, sum)| applied.done.get(version).is_some_and(|done| done != sum));
    let unknown = applied
        .done
        .keys()
        .filter(|version| !wanted.iter().any(|(known, _)| known == *version))
        .count();
    let outcome = if let Some(version) = applied.dirty {
        misconfigured(format!(
            "migration {version} failed halfway and needs repair"
        ))
    } else if let (Some(first), count) = (pending.first(), pending.len()) {
        let noun = if count == 1 {
            "migration is"
        } else {
            "migrations are"
        };
        misconfigured(format!("{count} {noun} pending, from {first} on"))
    } else if let Some((version, _)) = changed {
        misconfigured(format!(
            "migration {version} was applied in another form than this build has"
        ))
    } else if unknown > 0 {
        let text = format!("the database has {unknown} migrations that this build does not know");
        CheckOutcome::warn(FailureClass::Misconfigured, text)
    } else {
        CheckOutcome::pass()
    };
    let float = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    outcome
        .number("migrations_pending", float(pending.len()))
        .number("migrations_unknown", float(unknown))
}

fn misconfigured(message: String) -> CheckOutcome {
    CheckOutcome::fail(FailureClass::Misconfigured, message)
}

fn failure(error: &MigrateError) -> Failure {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => classify(error),
        other => Failure::new(FailureClass::Other, other.to_string()),
    }
}

/// A database that was never migrated has no table to say so.
fn is_missing_table(error: &MigrateError) -> bool {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else {
        return false;
    };
    error.as_database_error().is_some_and(|error| {
        // PostgreSQL: undefined_table, invalid_schema_name. MySQL: no such table.
        matches!(error.code().as_deref(), Some("42P01" | "3F000" | "42S02"))
            || error.message().starts_with("no such table")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(dirty: Option<i64>, done: &[(i64, &'static [u8])], expected: &str) {
        let wanted = [(1, Cow::Borrowed(&b"a"[..])), (2, Cow::Borrowed(&b"b"[..]))];
        let done = done
            .iter()
            .map(|&(version, sum)| (version, sum.into()))
            .collect();
        let outcome = judge(&wanted, &Applied { dirty, done });
        assert_eq!(outcome.message(), expected);
    }

    #[test]
    fn what_is_wrong_with_a_schema_is_said() {
        check(None, &[(1, b"a"), (2, b"b")], "");
        check(None, &[(1, b"a")], "1 migration is pending, from 2 on");
        check(None, &[], "2 migrations are pending, from 1 on");
        check(
            Some(2),
            &[(1, b"a"), (2, b"b")],
            "migration 2 failed halfway and needs repair",
        );
        check(
            None,
            &[(1, b"a"), (2, b"x")],
            "migration 2 was applied in another form than this build has",
        );
        check(
            None,
            &[(1, b"a"), (2, b"b"), (3, b"c")],
            "the database has 1 migrations that this build does not know",
        );
    }
}

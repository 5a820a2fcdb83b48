//! Whether the error of a query says anything about the database.
//!
//! Most errors do not: a server that reports a unique violation, a syntax error or a missing
//! right has answered, and answers others as well. Some do, and some of those say that this
//! session is over too, whatever becomes of the server.

use steadfast_core::{CallOutcome, Failure, FailureClass};

use crate::{
    classify::{classify, mysql, pgbouncer, sqlite, sqlstate},
    guard::carried,
};

/// What was heard of a query that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) said: Said,
    /// Whether the session is of no use to anybody any more.
    pub(crate) ends_session: bool,
}

/// What it says about the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// It has answered, or was not asked.
    Nothing,
    /// The query took longer than an operator meant it to: evidence for who measures time.
    Slow,
    /// It takes no writes, and goes on reading.
    ReadOnly {
        /// What it said.
        failure: Failure,
        /// Whether it was told to (a standby, an option), so that another server may have
        /// taken its place; and not for want of room.
        by_role: bool,
    },
    /// Its file, or one beside it, failed: it does not say whether for those who read too.
    FileFailure(Failure),
    /// It failed.
    Failure(Failure),
}

/// Says what the end of a query says about the database, for `Dependency::call_by`: as a
/// guard judges it.
///
/// ```
/// use steadfast_core::CallOutcome;
///
/// let missing = sqlx::Error::RowNotFound;
/// assert_eq!(steadfast_sqlx::outcome(Err::<&(), _>(&missing)), CallOutcome::Neutral);
/// ```
#[must_use]
pub fn outcome<T>(result: Result<&T, &sqlx::Error>) -> CallOutcome {
    let Err(error) = result else {
        return CallOutcome::Success;
    };
    match Heard::of(error).said {
        Said::Nothing => CallOutcome::Neutral,
        Said::Slow => CallOutcome::Slow,
        Said::ReadOnly { failure, .. } | Said::FileFailure(failure) | Said::Failure(failure) => {
            CallOutcome::Failure(failure.class().into())
        }
    }
}

impl Heard {
    /// Hears an error.
    pub(crate) fn of(error: &sqlx::Error) -> Self {
        // Of a guard, whose breaker has heard what it stands for.
        if carried(error) {
            return Self::nothing();
        }
        match error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed => {
                Self::failure(classify(error)).and_ends()
            }
            // The driver and the server do not agree any more, for which either may be blamed.
            sqlx::Error::Protocol(_) => Self::nothing().and_ends(),
            sqlx::Error::Database(answer) => {
                let answer = &**answer;
                let code = answer.code();
                if let Some(number) = mysql::number(answer) {
                    Self::of_mysql(number, || classify(error))
                } else if let Some(code) = sqlite::primary(answer) {
                    Self::of_sqlite(code, || classify(error))
                } else {
                    let code = code.as_deref().unwrap_or_default();
                    Self::of_sqlstate(code, answer.message(), || classify(error))
                }
            }
            _ => Self::nothing(),
        }
    }

    fn of_sqlstate(code: &str, message: &str, failure: impl FnOnce() -> Failure) -> Self {
        match code {
            // Cancelled: a bound that an operator has set, or an operator.
            "57014" => Self::slow(),
            // Ended by a bound on idle sessions and transactions: its holder was idle.
            "57P05" | "25P03" | "25P04" => Self::nothing().and_ends(),
            sqlstate::PROTOCOL_VIOLATION => match pgbouncer::class(message) {
                Some(FailureClass::Timeout) => Self::slow().and_ends(),
                Some(_) => Self::failure(failure()).and_ends(),
                None => Self::nothing().and_ends(),
            },
            "25006" => Self::read_only(failure(), true),
            "53100" => Self::read_only(failure(), false),
            _ if code.starts_with("57P") || code.starts_with("08") => {
                Self::failure(failure()).and_ends()
            }
            // No resources; the server's own files; data that is damaged.
            "XX001" | "XX002" => Self::failure(failure()),
            _ if code.starts_with("53") || code.starts_with("58") => Self::failure(failure()),
            _ => Self::nothing(),
        }
    }

    fn of_mysql(number: u16, failure: impl FnOnce() -> Failure) -> Self {
        match number {
            3024 | 1969 | 1317 => Self::slow(),
            1053 | 1077 | 1152 | 1158..=1161 | 1184 | 1927 => Self::failure(failure()).and_ends(),
            1836 | 1036 => Self::read_only(failure(), true),
            1290 => {
                let failure = failure();
                if failure.class() == FailureClass::ReadOnly {
                    Self::read_only(failure, true)
                } else {
                    Self::nothing()
                }
            }
            1021 => Self::read_only(failure(), false),
            // No resources or session; an error of the storage engine; a damaged table.
            1030 | 1034 | 1037 | 1038 | 1040 | 1041 | 1114 | 1129 | 1194 | 1203 | 1226 => {
                Self::failure(failure())
            }
            _ => Self::nothing(),
        }
    }

    /// No code ends a session, because the only copy of the data may be in it.
    fn of_sqlite(code: i32, failure: impl FnOnce() -> Failure) -> Self {
        match code {
            sqlite::READONLY | sqlite::FULL => Self::read_only(failure(), false),
            sqlite::IOERR | sqlite::CANTOPEN => Self::file_failure(failure()),
            sqlite::NOMEM | sqlite::CORRUPT | sqlite::NOTADB => Self::failure(failure()),
            _ => Self::nothing(),
        }
    }

    const fn nothing() -> Self {
        let said = Said::Nothing;
        Self {
            said,
            ends_session: false,
        }
    }

    const fn slow() -> Self {
        let said = Said::Slow;
        Self {
            said,
            ends_session: false,
        }
    }

    const fn read_only(failure: Failure, by_role: bool) -> Self {
        let said = Said::ReadOnly { failure, by_role };
        Self {
            said,
            ends_session: false,
        }
    }

    const fn file_failure(failure: Failure) -> Self {
        let said = Said::FileFailure(failure);
        Self {
            said,
            ends_session: false,
        }
    }

    const fn failure(failure: Failure) -> Self {
        let said = Said::Failure(failure);
        Self {
            said,
            ends_session: false,
        }
    }

    fn and_ends(self) -> Self {
        Self {
            ends_session: true,
            ..self
        }
    }
}

#[cfg(test)]
mod tests;

//! The guard, and whatever it lends, as executors of sqlx.
//!
//! Written once for each database, because an implementation that is generic over them
//! overflows the compiler's trait solver; sqlx gave up its own for that reason.

use futures_core::{future::BoxFuture, stream::BoxStream};
use sqlx::{Database, Either, Execute, Executor};
use sqlx_core::{describe::Describe, ext::async_stream::TryAsyncStream};

use super::{
    GuardedConnection, GuardedSavepoint, GuardedSession, GuardedTransaction, PoolGuard, Writes,
    judged::Step, watch::Patience,
};
use crate::driver::Driver;
#[cfg(not(sqlx_08))]
use crate::version::SqlStr;

type Answer<DB> = Either<<DB as Database>::QueryResult, <DB as Database>::Row>;

/// What is prepared, which sqlx 0.8 borrows and 0.9 does not.
#[cfg(not(sqlx_08))]
macro_rules! prepares {
    ($how:ident $db:ty, $c:lifetime) => {
        fn prepare_with<'e>(
            self,
            sql: SqlStr,
            parameters: &'e [<$db as Database>::TypeInfo],
        ) -> BoxFuture<'e, sqlx::Result<<$db as Database>::Statement>>
        where
            $c: 'e,
        {
            asks!($how self.prepare_with(sql, parameters))
        }

        fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<Describe<$db>>>
        where
            $c: 'e,
        {
            asks!($how self.describe(sql))
        }
    };
}

#[cfg(sqlx_08)]
macro_rules! prepares {
    ($how:ident $db:ty, $c:lifetime) => {
        fn prepare_with<'e, 'q: 'e>(
            self,
            sql: &'q str,
            parameters: &'e [<$db as Database>::TypeInfo],
        ) -> BoxFuture<'e, sqlx::Result<<$db as Database>::Statement<'q>>>
        where
            $c: 'e,
        {
            asks!($how self.prepare_with(sql, parameters))
        }

        fn describe<'e, 'q: 'e>(self, sql: &'q str) -> BoxFuture<'e, sqlx::Result<Describe<$db>>>
        where
            $c: 'e,
        {
            asks!($how self.describe(sql))
        }
    };
}

/// Asks a session, what leads to one, or a guard that lends one.
macro_rules! asks {
    (session $self:ident.$ask:ident($($word:ident),*)) => {
        Box::pin($self.answer(Patience::OfRequest, |connection| connection.$ask($($word),*)))
    };
    (borrowed $self:ident.$ask:ident($($word:ident),*)) => {
        (&mut **$self).$ask($($word),*)
    };
    (guard $self:ident.$ask:ident($($word:ident),*)) => {{
        let acquire = $self.lend();
        Box::pin(async move { acquire.await?.$ask($($word),*).await })
    }};
}

macro_rules! executors {
    ($db:ty) => {
        impl<'c> Executor<'c> for &'c mut GuardedSession<$db> {
            type Database = $db;

            fn fetch_many<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxStream<'e, sqlx::Result<Answer<$db>>>
            where
                'c: 'e,
                E: 'q + Execute<'q, $db>,
            {
                self.rows(look::<$db>, |connection| connection.fetch_many(query))
            }

            fn fetch_optional<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxFuture<'e, sqlx::Result<Option<<$db as Database>::Row>>>
            where
                'c: 'e,
                E: 'q + Execute<'q, $db>,
            {
                Box::pin(self.answer(Patience::OfRequest, |connection| connection.fetch_optional(query)))
            }

            prepares!(session $db, 'c);
        }

        executors!(borrowed $db, GuardedConnection<$db>);
        executors!(borrowed $db, GuardedTransaction<$db>);
        executors!(borrowed $db, GuardedSavepoint<'_, $db>);

        executors!(guard $db, &'_ PoolGuard<$db>);
        executors!(guard $db, Writes<'_, $db>);
    };
    (guard $db:ty, $guard:ty) => {
        impl<'p> Executor<'p> for $guard {
            type Database = $db;

            fn fetch_many<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxStream<'e, sqlx::Result<Answer<$db>>>
            where
                'p: 'e,
                E: 'q + Execute<'q, $db>,
            {
                let acquire = self.lend();
                Box::pin(TryAsyncStream::new(|out| async move {
                    let mut connection = acquire.await?;
                    let mut steps = (&mut connection).fetch_many(query);
                    while let Some(step) = next(&mut steps).await {
                        out.r#yield(step?).await;
                    }
                    Ok(())
                }))
            }

            fn fetch_optional<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxFuture<'e, sqlx::Result<Option<<$db as Database>::Row>>>
            where
                'p: 'e,
                E: 'q + Execute<'q, $db>,
            {
                let acquire = self.lend();
                Box::pin(async move { (&mut acquire.await?).fetch_optional(query).await })
            }

            prepares!(guard $db, 'p);
        }
    };
    (borrowed $db:ty, $owner:ty) => {
        impl<'c> Executor<'c> for &'c mut $owner {
            type Database = $db;

            fn fetch_many<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxStream<'e, sqlx::Result<Answer<$db>>>
            where
                'c: 'e,
                E: 'q + Execute<'q, $db>,
            {
                (&mut **self).fetch_many(query)
            }

            fn fetch_optional<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxFuture<'e, sqlx::Result<Option<<$db as Database>::Row>>>
            where
                'c: 'e,
                E: 'q + Execute<'q, $db>,
            {
                (&mut **self).fetch_optional(query)
            }

            prepares!(borrowed $db, 'c);
        }
    };
}

#[cfg(feature = "postgres")]
executors!(sqlx::Postgres);

#[cfg(feature = "mysql")]
executors!(sqlx::MySql);

#[cfg(feature = "sqlite")]
executors!(sqlx::Sqlite);

impl<DB: Driver> PoolGuard<DB> {
    /// Lends a connection to one query.
    fn lend(&self) -> impl Future<Output = sqlx::Result<GuardedConnection<DB>>> + Send + use<DB> {
        self.acquire()
    }
}

impl<DB: Driver> Writes<'_, DB> {
    /// Lends a connection to one query, which writes.
    fn lend(&self) -> impl Future<Output = sqlx::Result<GuardedConnection<DB>>> + Send + use<DB> {
        let observer = std::sync::Arc::clone(&self.0.0.connections.observer);
        let acquire = self.0.acquire();
        async move {
            observer.admit_write()?;
            let mut connection = acquire.await?;
            connection.set_writes();
            Ok(connection)
        }
    }
}

/// Says what a step of the answer shows.
fn look<DB: Driver>(step: &Answer<DB>) -> Step {
    match step {
        Either::Left(result) => Step::End {
            touched_rows: DB::touched_rows(result),
        },
        Either::Right(_) => Step::Row,
    }
}

/// Waits for the next step of a stream.
async fn next<T>(steps: &mut BoxStream<'_, T>) -> Option<T> {
    std::future::poll_fn(|cx| steps.as_mut().poll_next(cx)).await
}

//! How a connection is had from the driver, and what its errors mean.

use std::{fmt, sync::Arc};

use sqlx::{Pool, pool::PoolConnection};
use steadfast_core::{
    Deadline, Failure, FailureClass,
    plumbing::{PoolDriver, PoolFuture, PoolLease, PoolMeaning},
};

use super::{GuardedSession, GuardedTransaction, observer::Observer, transaction::begin};
use crate::{classify::classify, clock, driver::Driver, gauges, probe, version::SqlStr};

/// The connections of a pool.
pub(super) struct Connections<DB: Driver> {
    pub(super) pool: Pool<DB>,
    how: How,
    pub(super) observer: Arc<Observer>,
}

impl<DB: Driver> fmt::Debug for Connections<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}

/// How a connection is wanted.
#[derive(Clone)]
pub(super) enum How {
    Bare,
    /// In a transaction that has begun, with this statement if there is one.
    Begun(Option<SqlStr>),
}

impl<DB: Driver> Connections<DB> {
    pub(super) fn new(pool: &Pool<DB>, how: How, observer: Arc<Observer>) -> Self {
        let pool = pool.clone();
        Self {
            pool,
            how,
            observer,
        }
    }
}

impl<DB: Driver> PoolDriver for Connections<DB> {
    type Connection = PoolConnection<DB>;
    type Error = Fault;

    fn connect(&self) -> PoolFuture<Result<PoolConnection<DB>, Fault>> {
        let pool = self.pool.clone();
        // Written where they stay, because `Box::pin` copies: the future of an acquire has nine
        // kilobytes, and one that also begins a transaction more, so that is another.
        match self.how.clone() {
            How::Bare => {
                let connected = Box::write(Box::new_uninit(), async move {
                    pool.acquire().await.map_err(Fault::Connect)
                });
                Box::into_pin(connected)
            }
            How::Begun(statement) => {
                let begun = Box::write(Box::new_uninit(), async move {
                    let connection = pool.acquire().await.map_err(Fault::Connect)?;
                    begin(connection, statement).await.map_err(Fault::Begin)
                });
                Box::into_pin(begun)
            }
        }
    }

    fn ask(&self, until: Deadline) -> PoolFuture<Result<(), Failure>> {
        let asked = probe::ask_beside(probe::Server::of(&self.pool), until);
        let state = Arc::clone(&self.observer.state);
        Box::pin(async move {
            let answer = asked.await;
            // That one was refused while others serve is noted by who asks this.
            if answer.is_ok() {
                state.note_session_opened(clock::now());
            }
            answer
        })
    }

    fn idle(&self) -> u32 {
        gauges::read(&self.pool).idle
    }

    fn in_use(&self) -> u32 {
        gauges::read(&self.pool).in_use()
    }

    fn meaning(&self, fault: &Fault) -> PoolMeaning {
        match fault {
            Fault::Connect(sqlx::Error::PoolTimedOut) => PoolMeaning::Silence,
            Fault::Connect(sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed)
            | Fault::Begin(
                sqlx::Error::WorkerCrashed
                | sqlx::Error::BeginFailed
                | sqlx::Error::InvalidSavePointStatement,
            ) => PoolMeaning::Other,
            Fault::Connect(error) => PoolMeaning::Failure(classify(error)),
            Fault::Begin(error) => begin_meaning(error),
        }
    }

    fn give_back(self: Arc<Self>, connection: PoolConnection<DB>, lease: PoolLease) {
        let is_begun = matches!(self.how, How::Begun(_));
        let session = GuardedSession::new(connection, lease, self);
        if is_begun {
            drop(GuardedTransaction::new(session));
        }
    }
}

/// An error of sqlx, by what was being done.
#[derive(Debug)]
pub(super) enum Fault {
    /// A connection was taken from the pool.
    Connect(sqlx::Error),
    /// A transaction began on it.
    Begin(sqlx::Error),
}

impl Fault {
    pub(super) fn into_error(self) -> sqlx::Error {
        match self {
            Self::Connect(error) | Self::Begin(error) => error,
        }
    }
}

/// A server that refuses the statement has answered: that is the caller's matter (a lock that
/// another writer has, a level that it does not know) and says nothing against the server,
/// unless it says that it is going away or coming up.
fn begin_meaning(error: &sqlx::Error) -> PoolMeaning {
    let failure = classify(error);
    let leaves = matches!(
        failure.class(),
        FailureClass::Unreachable | FailureClass::Loading
    );
    if matches!(error, sqlx::Error::Database(_)) && !leaves {
        return PoolMeaning::Other;
    }
    PoolMeaning::Failure(failure)
}

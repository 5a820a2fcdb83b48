//! How a check asks a server by way of sqlx: on a session of its own, beside the pool.

use std::sync::Mutex;

use sqlx::{ConnectOptions, Connection, Database, Pool};
use steadfast_core::{Deadline, Failure, FailureClass};
use steadfast_pool::probe::{self, Answer, Silent};
use tokio::time::timeout_at;

use crate::{
    classify::classify,
    driver::{Driver, Options},
    reach::{Endpoint, Reach, reach},
};

/// The server of a pool.
pub(crate) struct Server<DB: Driver> {
    options: Options<DB>,
    endpoint: Option<Endpoint>,
}

impl<DB: Driver> Server<DB> {
    /// Returns the server that the pool leads to now.
    pub(crate) fn of(pool: &Pool<DB>) -> Self {
        let options = pool.connect_options();
        Self {
            endpoint: DB::endpoint(&options),
            options: DB::probe_options(&options),
        }
    }

    /// Whether there is one: an SQLite has none.
    pub(crate) const fn is_there(&self) -> bool {
        self.endpoint.is_some()
    }
}

impl<DB: Driver> probe::Server for Server<DB> {
    type Session = <DB as Database>::Connection;
    type Error = sqlx::Error;

    fn open(&self) -> Answer<Self> {
        let options = self.options.clone();
        Box::pin(async move {
            let mut session = options.connect().await?;
            DB::round_trip(&mut session).await?;
            Ok(session)
        })
    }

    fn ping(&self, mut session: Self::Session) -> Answer<Self> {
        Box::pin(async move {
            DB::round_trip(&mut session).await?;
            Ok(session)
        })
    }

    fn endpoint(&self) -> Option<&Endpoint> {
        self.endpoint.as_ref()
    }

    async fn reach(&self, endpoint: &Endpoint, seen: &Mutex<Reach>) {
        reach(endpoint, seen).await;
    }

    async fn failure(&self, error: sqlx::Error, _: Deadline) -> Failure {
        classify(&error)
    }

    fn unheard(&self, silent: Silent) -> Failure {
        match &self.endpoint {
            Some(endpoint) => Reach::NotTried.explain(endpoint, silent.for_ms),
            None => Failure::new(FailureClass::Timeout, "the file was not opened in time"),
        }
    }
}

/// Asks the server for a session beside the pool, and says why there is none.
pub(crate) async fn ask_beside<DB: Driver>(
    server: Server<DB>,
    until: Deadline,
) -> Result<(), Failure> {
    let session = probe::ask_beside(&server, until).await?;
    goodbye(session, until).await;
    Ok(())
}

/// Closes a session. The server frees the slot at the goodbye; without it, when it next looks.
pub(crate) async fn goodbye<C: Connection>(session: C, until: Deadline) {
    let _ = timeout_at(until.instant().into(), session.close()).await;
}

/// Opens a session of a database that has no server, and closes it: a file that was moved
/// away or may not be read any more is found by that alone. `None` if others have it locked,
/// or if that took too long to say.
pub(crate) async fn open_anew<DB: Driver>(
    options: Options<DB>,
    until: Deadline,
) -> Option<Result<(), Failure>> {
    let attempt = async {
        let mut connection = options.connect().await?;
        DB::round_trip(&mut connection).await?;
        connection.close().await
    };
    match timeout_at(until.instant().into(), attempt).await.ok()? {
        Ok(()) => Some(Ok(())),
        Err(error) => {
            let failure = classify(&error);
            (failure.class() != FailureClass::Saturated).then_some(Err(failure))
        }
    }
}

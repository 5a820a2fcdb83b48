//! How a connection is had from the driver, and what its errors mean.

use std::{sync::Arc, time::Duration};

use deadpool::managed::Object;
use deadpool_redis::{PoolError as DriverError, redis};
use steadfast_core::{
    Deadline, Failure,
    plumbing::{PoolDriver, PoolFuture, PoolGate, PoolLease, PoolMeaning},
};

use tokio::time::timeout;

use super::sessions::{Session, Sessions};
use crate::{
    clock,
    probe::{LISTEN_MAX, refused},
};

/// Time for the server's own words, half of which is for one who listens.
const HEAR_MAX: Duration = LISTEN_MAX.saturating_mul(2);

/// How long a new session may take to answer before it is lent all the same. A server that is
/// full closes with its sentence, so its end is there with the answer to the driver's greeting
/// or a moment later; and a session that serves is not kept from its request for a round trip.
const PONG_MAX: Duration = Duration::from_millis(5);

/// The connections of a pool.
pub(super) struct Connections {
    pub(super) sessions: Arc<Sessions>,
    pub(super) gate: Arc<PoolGate>,
}

impl PoolDriver for Connections {
    type Connection = Session;
    type Error = Fault;

    fn connect(&self) -> PoolFuture<Result<Session, Fault>> {
        let doubt = if self.gate.has_trouble(clock::now()) {
            Doubt::Much
        } else {
            Doubt::Some
        };
        let sessions = Arc::clone(&self.sessions);
        Box::pin(async move {
            match take(&sessions, doubt).await {
                Ok(session) => Ok(session),
                Err(error) => Err(Fault {
                    meaning: meaning(&error, &sessions).await,
                    error,
                }),
            }
        })
    }

    fn ask(&self, until: Deadline) -> PoolFuture<Result<(), Failure>> {
        let sessions = Arc::clone(&self.sessions);
        Box::pin(async move { sessions.ask(until).await })
    }

    fn idle(&self) -> u32 {
        let pool = &self.sessions.pool;
        let status = pool.status();
        // What is being opened counts as in use there, and not as part of the pool, so the
        // idle ones are more than that if any is.
        let idle = if status.available > 0 || status.size == 0 {
            status.available
        } else {
            pool.retain(|_, _| true).retained
        };
        u32::try_from(idle).unwrap_or(u32::MAX)
    }

    fn in_use(&self) -> u32 {
        let status = self.sessions.pool.status();
        u32::try_from(status.size.saturating_sub(status.available)).unwrap_or(u32::MAX)
    }

    fn meaning(&self, fault: &Fault) -> PoolMeaning {
        fault.meaning.clone()
    }

    fn give_back(self: Arc<Self>, connection: Session, lease: PoolLease) {
        // It is back when it is dropped.
        drop(connection);
        lease.give_back(clock::now());
    }
}

/// An error of the driver, and what was found out about it.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) error: DriverError,
    meaning: PoolMeaning,
}

/// How much it is to be doubted that a new session is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    /// It is new.
    Some,
    /// Others were refused lately.
    Much,
}

/// deadpool tests idle connections, and not new ones; and the driver opens one that a full or
/// loading server will not serve without a word. So a new one is asked, and one that was lent
/// before is not asked twice: each question is a round trip.
async fn take(sessions: &Sessions, doubt: Doubt) -> Result<Session, DriverError> {
    let mut session = sessions.take().await?;
    if Object::metrics(&session).recycled.is_some() {
        return Ok(session);
    }
    let ping = redis::cmd("PING");
    let asked = ping.query_async::<()>(&mut *session);
    let answer = match doubt {
        // Who is far away is not waited for: the command follows the question on its way.
        Doubt::Some => timeout(PONG_MAX, asked).await.unwrap_or(Ok(())),
        Doubt::Much => asked.await,
    };
    if let Err(error) = answer {
        // It is closed, and not given back.
        drop(Object::take(session));
        return Err(DriverError::Backend(error));
    }
    Ok(session)
}

/// Says what an error of a new or tested connection means.
async fn meaning(error: &DriverError, sessions: &Sessions) -> PoolMeaning {
    match error {
        DriverError::Timeout(_) => PoolMeaning::Silence,
        DriverError::Backend(error) if error.is_timeout() => PoolMeaning::Silence,
        DriverError::Backend(error) => {
            let until = Deadline::after(clock::now(), HEAR_MAX);
            PoolMeaning::Failure(refused(error, sessions.endpoint.as_ref(), until).await)
        }
        DriverError::Closed | DriverError::NoRuntimeSpecified | DriverError::PostCreateHook(_) => {
            PoolMeaning::Other
        }
    }
}

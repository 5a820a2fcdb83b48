//! A connection of a guarded pool, which sees what becomes of its commands.

use std::{fmt, sync::Arc, time::Instant};

use deadpool_redis::{
    Connection,
    redis::{Cmd, Pipeline, RedisError, RedisFuture, Value, aio::ConnectionLike},
};
use steadfast_core::{
    CallOutcome, CallPermit, DependencyState, Failure, FailureClass, PoolCatch, PoolLease, stripe,
};

use crate::{classify::classify, clock};

/// A connection of a guarded pool; goes back when it is dropped.
///
/// Give it to commands as any connection: `query_async(&mut connection)`, or through
/// `AsyncCommands`. It sees their answers, and tells the breaker: a server that loads its
/// data, takes no writes, closes connections or is silent has failed, one that does not
/// know a command has not.
#[must_use = "a connection that is dropped has gone back"]
pub struct GuardedConnection {
    connection: Connection,
    state: Arc<DependencyState>,
    /// `None` only while it is dropped.
    lease: Option<PoolLease>,
    /// `None` once the first answer has come.
    permit: Option<CallPermit<Arc<DependencyState>>>,
}

impl GuardedConnection {
    pub(super) fn new(caught: PoolCatch<Connection>, state: Arc<DependencyState>) -> Self {
        Self {
            connection: caught.connection,
            state,
            lease: Some(caught.lease),
            permit: Some(caught.permit),
        }
    }

    /// Begins to watch one command.
    fn watch(&mut self) -> (&mut Connection, Watch<'_>) {
        let watch = Watch {
            state: &self.state,
            lease: self.lease.as_ref(),
            permit: self.permit.take(),
            since: clock::now(),
        };
        (&mut self.connection, watch)
    }
}

/// Waits for the answer of one command. Dropped before, the command was abandoned.
struct Watch<'a> {
    state: &'a Arc<DependencyState>,
    lease: Option<&'a PoolLease>,
    permit: Option<CallPermit<Arc<DependencyState>>>,
    since: Instant,
}

impl Watch<'_> {
    fn answered(mut self, failure: Option<Failure>) {
        let now = clock::now();
        // Later commands of one connection are only told when they fail.
        let permit = self.permit.take().or_else(|| {
            let state = Arc::clone(self.state);
            let again = || {
                DependencyState::try_acquire(state, now, stripe::current(), fastrand::u64(..)).ok()
            };
            failure.as_ref().and_then(|_| again())
        });
        let Some(permit) = permit else { return };
        let Some(failure) = failure else {
            permit.settle(CallOutcome::Success, now);
            return;
        };
        permit.fail(failure.class().into(), &failure, now);
        // One that takes no writes still gives connections.
        if let Some(lease) = self.lease
            && failure.class() != FailureClass::ReadOnly
        {
            lease.gate().connect_failed(failure, now);
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            let now = clock::now();
            let elapsed = now.saturating_duration_since(self.since);
            permit.settle(CallOutcome::Abandoned { elapsed }, now);
        }
    }
}

/// Returns the error that a reply is: the driver makes it one only later.
fn said(value: &Value) -> Option<RedisError> {
    match value {
        Value::ServerError(error) => Some(error.clone().into()),
        _ => None,
    }
}

/// Says what is wrong with a server that gives this error, if anything is.
fn ill(error: &RedisError) -> Option<Failure> {
    if error.is_timeout() {
        return Some(Failure::new(FailureClass::Timeout, error.to_string()));
    }
    let failure = classify(error);
    let is_ill = matches!(
        failure.class(),
        FailureClass::Dns
            | FailureClass::Loading
            | FailureClass::Overloaded
            | FailureClass::ReadOnly
            | FailureClass::RefusedByServer
            | FailureClass::Tls
            | FailureClass::Unreachable
    );
    is_ill.then_some(failure)
}

impl ConnectionLike for GuardedConnection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let (connection, watch) = self.watch();
            let answer = connection.req_packed_command(command).await;
            watch.answered(match &answer {
                Ok(value) => said(value).as_ref().and_then(ill),
                Err(error) => ill(error),
            });
            answer
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let (connection, watch) = self.watch();
            let answers = connection
                .req_packed_commands(commands, offset, count)
                .await;
            watch.answered(match &answers {
                Ok(values) => values.iter().find_map(said).as_ref().and_then(ill),
                Err(error) => ill(error),
            });
            answers
        })
    }

    fn get_db(&self) -> i64 {
        self.connection.get_db()
    }
}

impl Drop for GuardedConnection {
    fn drop(&mut self) {
        let now = clock::now();
        // It was tested when it was lent.
        if let Some(permit) = self.permit.take() {
            permit.settle(CallOutcome::Success, now);
        }
        // The connection itself follows at once: its drop is the next step of this one.
        if let Some(lease) = self.lease.take() {
            lease.give_back(now);
        }
    }
}

impl fmt::Debug for GuardedConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedConnection")
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

//! A connection of a guarded pool, which sees what becomes of its commands.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use deadpool_redis::{
    Connection,
    redis::{
        Cmd, Pipeline, RedisError, RedisFuture, Value,
        aio::{ConnectionLike, MultiplexedConnection},
    },
};
use steadfast_core::{
    CallOutcome, CallPermit, Deadline, DependencyState, Failure, FailureClass, PoolCatch,
    PoolLease, stripe,
};

use crate::{classify::classify, clock};

/// How much longer than a command waits in the server the driver waits for its answer.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);

/// A connection of a guarded pool; goes back when it is dropped.
///
/// Give it to commands as any connection: `query_async(&mut connection)`, or through
/// `AsyncCommands`. It sees their answers, and tells the breaker: a server that loads its
/// data, takes no writes, closes connections or is silent has failed, one that does not
/// know a command has not.
///
/// A command that waits in the server (`BLPOP`, `XREAD BLOCK`) is no different from one that
/// hangs, unless [`GuardedConnection::expect_up_to`] is called before.
#[must_use = "a connection that is dropped has gone back"]
pub struct GuardedConnection {
    /// `None` only while it is dropped.
    connection: Option<Connection>,
    /// The same connection, for commands that wait in the server.
    patient: Option<Patient>,
    state: Arc<DependencyState>,
    /// `None` only while it is dropped.
    lease: Option<PoolLease>,
    /// `None` once the first answer has come.
    permit: Option<CallPermit<Arc<DependencyState>>>,
}

impl GuardedConnection {
    pub(super) fn new(caught: PoolCatch<Connection>, state: Arc<DependencyState>) -> Self {
        Self {
            connection: Some(caught.connection),
            patient: None,
            state,
            lease: Some(caught.lease),
            permit: Some(caught.permit),
        }
    }

    /// Says that commands wait in the server on purpose, for so long and at most a day
    /// (`BLPOP`, `XREAD BLOCK`, `WAIT`), and that the connection is held until then.
    ///
    /// The driver then waits for an answer for so long and a second more, instead of its
    /// response timeout (500 ms unless set); such a wait is not a call that hangs, and the
    /// guard neither reports the connection as held for long nor calls a full pool stuck
    /// because of it. It ends when the connection goes back. Its place is taken all the
    /// same, so a listener that never ends belongs on a connection of its own beside the
    /// pool.
    ///
    /// ```no_run
    /// # async fn run(redis: steadfast_deadpool_redis::PoolGuard) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use deadpool_redis::redis::AsyncCommands;
    ///
    /// let mut connection = redis.acquire().await?;
    /// connection.expect_up_to(Duration::from_secs(5));
    /// let job: Option<(String, String)> = connection.blpop("jobs", 5.0).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// If a command is cancelled while it waits, the connection is closed instead of given
    /// back, because the server would take the next command on it only afterwards. What it
    /// was about to hand out can be lost, as ever with a command that takes.
    pub fn expect_up_to(&mut self, hold: Duration) {
        let now = clock::now();
        let hold = Deadline::after(now, hold).remaining(now);
        if let Some(lease) = &self.lease {
            lease.expect_up_to(hold, now);
        }
        // It was tested when it was lent; from now on only failures are told.
        if let Some(permit) = self.permit.take() {
            permit.settle(CallOutcome::Success, now);
        }
        if let Some(connection) = &self.connection {
            let mut connection = MultiplexedConnection::clone(connection);
            connection.set_response_timeout(hold + ANSWER_MARGIN);
            self.patient = Some(Patient {
                connection,
                is_waiting: false,
            });
        }
    }

    /// Begins to watch one command.
    fn watch(&mut self) -> (Wire<'_>, Watch<'_>) {
        let watch = Watch {
            state: &self.state,
            lease: self.lease.as_ref(),
            permit: self.permit.take(),
            since: clock::now(),
        };
        let wire = match &mut self.patient {
            Some(patient) => Wire::Patient(patient),
            None => {
                let connection = self.connection.as_mut();
                Wire::Pooled(connection.expect("it is there until the drop"))
            }
        };
        (wire, watch)
    }
}

/// A connection whose answers are waited for, for longer than is usual.
struct Patient {
    connection: MultiplexedConnection,
    /// Whether the server works on a command of it.
    is_waiting: bool,
}

/// What a command is sent on.
enum Wire<'a> {
    Pooled(&'a mut Connection),
    Patient(&'a mut Patient),
}

impl Wire<'_> {
    async fn command(self, command: &Cmd) -> Result<Value, RedisError> {
        match self {
            Self::Pooled(connection) => connection.req_packed_command(command).await,
            Self::Patient(patient) => {
                patient.is_waiting = true;
                let answer = patient.connection.req_packed_command(command).await;
                patient.is_waiting = false;
                answer
            }
        }
    }

    async fn commands(
        self,
        commands: &Pipeline,
        offset: usize,
        count: usize,
    ) -> Result<Vec<Value>, RedisError> {
        match self {
            Self::Pooled(connection) => {
                let answers = connection.req_packed_commands(commands, offset, count);
                answers.await
            }
            Self::Patient(patient) => {
                patient.is_waiting = true;
                let connection = &mut patient.connection;
                let answers = connection.req_packed_commands(commands, offset, count);
                let answers = answers.await;
                patient.is_waiting = false;
                answers
            }
        }
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
            let (wire, watch) = self.watch();
            let answer = wire.command(command).await;
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
            let (wire, watch) = self.watch();
            let answers = wire.commands(commands, offset, count).await;
            watch.answered(match &answers {
                Ok(values) => values.iter().find_map(said).as_ref().and_then(ill),
                Err(error) => ill(error),
            });
            answers
        })
    }

    fn get_db(&self) -> i64 {
        let connection = self.connection.as_ref();
        connection.map_or(0, ConnectionLike::get_db)
    }
}

impl Drop for GuardedConnection {
    fn drop(&mut self) {
        let now = clock::now();
        // It was tested when it was lent.
        if let Some(permit) = self.permit.take() {
            permit.settle(CallOutcome::Success, now);
        }
        if let Some(connection) = self.connection.take()
            && self
                .patient
                .take()
                .is_some_and(|patient| patient.is_waiting)
        {
            // Closed, and not given back.
            drop(Connection::take(connection));
        }
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

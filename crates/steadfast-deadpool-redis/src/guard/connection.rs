//! A connection of a guarded pool, which sees what becomes of its commands.

use std::{fmt, sync::Arc, time::Duration};

use deadpool::managed::Object;
use deadpool_redis::redis::{
    Cmd, Pipeline, RedisError, RedisFuture, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};
use steadfast_core::{
    Deadline, Refusal,
    plumbing::{PoolAcquired, PoolLease},
};

use super::{
    command::Traits,
    error::refused,
    sessions::{Session, Sessions},
    watch::{Fate, Watch},
};
use crate::{clock, verdict::Verdict};

/// How much longer than a command waits in the server the driver waits for its answer.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);

/// A connection of a guarded pool; goes back when it is dropped.
///
/// Give it to commands as any connection: `query_async(&mut connection)`, or through
/// `AsyncCommands`. Each command, and each pipeline, is judged once by its answer (the
/// table at [`outcome`](crate::outcome())):
/// - a server that loads its data, has lost its cluster, closes connections or is silent
///   has failed; one that does not know a command has not;
/// - one that takes no writes is told to the dependency, which from then on refuses the
///   commands that write, and serves those that read. Such a refusal is found in the
///   driver's error by `steadfast::Error` and [`Refusal::find`](steadfast_core::Refusal::find);
/// - a session that leads to a demoted server is closed, and not given back.
///
/// A command ends with the request's deadline, and no later than the driver's response
/// timeout (500 ms, or [`silence_max`](super::PoolGuardBuilder::silence_max)). One that
/// waits in the server on purpose (`BLPOP`, `XREAD BLOCK`) is not evidence when that time is
/// over; to let it wait for longer, call [`GuardedConnection::expect_up_to`] before.
#[must_use = "a connection that is dropped has gone back"]
pub struct GuardedConnection {
    /// `None` only while it is dropped.
    session: Option<Session>,
    /// The same session with another response timeout, which is not given back with it.
    wire: Option<MultiplexedConnection>,
    /// Whether commands wait in the server for as long as was said.
    is_patient: bool,
    sessions: Arc<Sessions>,
    /// `None` only while it is dropped.
    lease: Option<PoolLease>,
    /// When the request has no use for answers any more.
    deadline: Option<Deadline>,
    fate: Fate,
}

impl GuardedConnection {
    pub(super) fn new(
        acquired: PoolAcquired<Session>,
        sessions: Arc<Sessions>,
        silence_max: Option<Duration>,
        deadline: Option<Deadline>,
    ) -> Self {
        // That there was a connection is no success, and what its holder does before its first
        // command is no time of the server's: each command asks for a permit of its own.
        acquired.permit.hand_back();
        let mut connection = Self {
            session: Some(acquired.connection),
            wire: None,
            is_patient: false,
            sessions,
            lease: Some(acquired.lease),
            deadline,
            fate: Fate::default(),
        };
        if let Some(longest) = silence_max {
            connection.wait_up_to(longest);
        }
        connection
    }

    /// Says that commands wait in the server on purpose, for so long and at most a day
    /// (`BLPOP`, `XREAD BLOCK`, `WAIT`), and that the connection is held until then.
    ///
    /// The driver then waits for an answer for so long and a second more, whatever the
    /// request's deadline is; such a wait is not a call that hangs, and the
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
    /// If a command that waits is cancelled, the connection is closed instead of given
    /// back, because the server would take the next command on it only afterwards. What it
    /// was about to hand out can be lost, as ever with a command that takes.
    pub fn expect_up_to(&mut self, hold: Duration) {
        let now = clock::now();
        let hold = Deadline::after(now, hold).remaining(now);
        if let Some(lease) = &self.lease {
            lease.expect_up_to(hold, now);
        }
        self.is_patient = true;
        self.wait_up_to(hold + ANSWER_MARGIN);
    }

    fn wait_up_to(&mut self, longest: Duration) {
        if let Some(session) = &self.session {
            let mut wire = MultiplexedConnection::clone(session);
            wire.set_response_timeout(longest);
            self.wire = Some(wire);
        }
    }

    /// Begins to watch what is sent, unless it is known that the server will not take it.
    fn watch(
        &mut self,
        traits: Traits,
    ) -> Result<(&mut MultiplexedConnection, Watch<'_>), RedisError> {
        let now = clock::now();
        let state = &self.sessions.state;
        let only_growth = self.sessions.generation(|it| it.only_growth);
        let traits = Traits {
            writes: if only_growth {
                traits.grows
            } else {
                traits.writes
            },
            ..traits
        };
        if traits.writes {
            let refused = |refusal: Refusal| refused(refusal.entered());
            state.admit_write(now).map_err(refused)?;
        }
        let is_patient = self.is_patient || traits.waits;
        let permit = if is_patient {
            None
        } else {
            steadfast_pool::permit(state, now)
        };
        self.fate.is_waiting = is_patient;
        let session = self.session.as_mut();
        let session = session.expect("it is there until the drop");
        let watch = Watch {
            created: Object::metrics(session).created,
            traits,
            is_patient,
            until: if is_patient {
                None
            } else {
                Deadline::current().or(self.deadline)
            },
            sessions: &self.sessions,
            lease: self.lease.as_ref(),
            permit,
            since: now,
            fate: &mut self.fate,
        };
        Ok((self.wire.as_mut().unwrap_or(session), watch))
    }
}

impl ConnectionLike for GuardedConnection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let (wire, watch) = self.watch(Traits::of(command))?;
            let answer = wire.req_packed_command(command);
            let fails = Value::extract_error;
            watch
                .until_deadline(answer, Verdict::of_answer, fails)
                .await
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let (wire, watch) = self.watch(Traits::of_all(commands))?;
            let answers = wire.req_packed_commands(commands, offset, count);
            // Those that were answered well are the caller's, whatever became of the others.
            watch.until_deadline(answers, Verdict::of_answers, Ok).await
        })
    }

    fn get_db(&self) -> i64 {
        self.session.as_ref().map_or(0, |session| session.get_db())
    }
}

impl Drop for GuardedConnection {
    fn drop(&mut self) {
        let now = clock::now();
        if let Some(session) = self.session.take() {
            let created = Object::metrics(&session).created;
            let is_over = || self.sessions.generation(|it| it.is_over_for(created));
            if self.fate.is_lost || self.fate.is_waiting || is_over() {
                // Closed, and not given back.
                drop(Object::take(session));
            }
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

//! One connection of the check's own, beside the pool, opened with the pool's settings.
//!
//! It lives until a younger one takes its place ([`crate::fresh`]), so most readings cost
//! one round trip. A question that is
//! not answered is kept and waited for again at the next reading, instead of being asked
//! anew: a server that hangs then holds one connection of ours, not one more every few
//! seconds. What is being asked is owned by the reading that waits for it; when that is
//! dropped, the connection is closed.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Mutex,
    task::Poll,
    time::{Duration, Instant},
};

use deadpool::managed::Manager as _;
use deadpool_redis::{
    Pool,
    redis::{self, RedisError, RedisResult, aio::MultiplexedConnection},
};
use steadfast_core::{Deadline, Failure, FailureClass};
use steadfast_pool::Patience;
use tokio::time::timeout_at;

use crate::{
    classify::{classify, closed, io_below, is_closed},
    clock,
    knock::{Endpoint, Knock, knock, knock_at},
};

/// How long a question is waited for before it is asked on a new connection.
///
/// Long enough that a server which hangs sees two connects a minute, short enough that a
/// path which died without a word is noticed before its TCP timers do.
const QUESTION_AGE_MAX: Duration = Duration::from_secs(30);

/// Most questions in one reading: a late answer, a broken connection, a new one, a ping.
const QUESTIONS_MAX: u32 = 4;

/// Longest wait for what a server says unasked. A full one says it at once, so this is a
/// round trip to the other side of the world.
pub(crate) const LISTEN_MAX: Duration = Duration::from_millis(250);

/// Where the write probe writes, and for how long it is kept.
const WRITE_KEY: &str = "steadfast:probe";
const WRITE_TTL_MS: u32 = 10_000;

/// The connection, when nobody asks it.
pub(crate) struct Probe {
    endpoint: Option<Endpoint>,
    writes: bool,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    state: State,
    /// A session that is asked for beside the one that stands.
    younger: Option<Question>,
    /// Whether a connection that stood fell silent, and nothing was heard since.
    fell_silent: bool,
}

#[derive(Default)]
enum State {
    #[default]
    Closed,
    Open(MultiplexedConnection),
    Asked(Question),
}

/// Something the server has been asked: a session, or a sign of life.
struct Question {
    answer: Pin<Box<dyn Future<Output = RedisResult<MultiplexedConnection>> + Send>>,
    /// Whether a session is asked for.
    is_connect: bool,
    asked_at: Instant,
    /// For how long somebody has waited for the answer.
    waited: Duration,
    knock: Knock,
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Probe {
    pub(crate) fn new(endpoint: Option<Endpoint>) -> Self {
        Self {
            endpoint,
            writes: false,
            inner: Mutex::default(),
        }
    }

    pub(crate) fn write_too(&mut self) {
        self.writes = true;
    }

    fn inner<T>(&self, ask: impl FnOnce(&mut Inner) -> T) -> T {
        ask(&mut self.inner.lock().expect("nothing panics while it is held"))
    }

    /// Asks the server for a sign of life, and says in time why there is none.
    ///
    /// It begins no question for which there is no fair time left, and says what is known
    /// without it.
    pub(crate) async fn ask(&self, pool: &Pool, patience: Patience) -> Result<Answered, Trouble> {
        let started_at = clock::now();
        let mut state = self.inner(|inner| std::mem::take(&mut inner.state));
        let (mut has_broken, mut is_new) = (false, false);
        for _ in 0..QUESTIONS_MAX {
            let mut question = match state {
                State::Open(connection) => Question::ping(connection, self.writes),
                State::Asked(old) if old.age() < QUESTION_AGE_MAX => old,
                State::Asked(_) | State::Closed => Question::session(pool.clone()),
            };
            let is_late = question.asked_at < started_at;
            let answer = question
                .wait(self.endpoint.as_ref(), patience.until())
                .await;
            let is_enough = patience.is_enough(clock::now());
            is_new |= question.is_connect && matches!(answer, Some(Ok(_)));
            match answer {
                Some(Ok(connection)) if is_enough && (question.is_connect || is_late) => {
                    state = State::Open(connection);
                }
                Some(Ok(connection)) => {
                    self.inner(|inner| {
                        inner.state = State::Open(connection);
                        inner.fell_silent = false;
                    });
                    let took = question.age();
                    return Ok(Answered { took, is_new });
                }
                // It had been idle and broke: only a new connection can say how it is now.
                Some(Err(error))
                    if is_enough
                        && !has_broken
                        && is_broken(&error)
                        && (is_late || !question.is_connect) =>
                {
                    has_broken = true;
                    state = State::Closed;
                }
                Some(Err(error)) => {
                    self.inner(|inner| inner.fell_silent = false);
                    return Err(Trouble {
                        failure: self.refused(&error, patience.until()).await,
                        is_of_new: question.is_connect,
                    });
                }
                None => {
                    let failure = self.silent(&question);
                    let is_of_new = question.is_connect;
                    self.inner(|inner| inner.state = State::Asked(question));
                    return Err(Trouble { failure, is_of_new });
                }
            }
        }
        Err(Trouble {
            failure: closed(&self.name()),
            is_of_new: true,
        })
    }

    /// Asks for a new session, which takes the place of the one that stands. `None` if the
    /// server has not answered yet, and had no fair time or is asked for the first time: it may
    /// be slow, and is listened to, or asked, at the next reading.
    pub(crate) async fn renew(
        &self,
        pool: &Pool,
        patience: Patience,
    ) -> Option<Result<(), Failure>> {
        let started_at = clock::now();
        let asked = self.inner(|inner| inner.younger.take());
        let mut question = match asked {
            Some(asked) if asked.age() < QUESTION_AGE_MAX => asked,
            _ if !patience.is_enough(started_at) => return None,
            _ => Question::session(pool.clone()),
        };
        let answer = question
            .wait(self.endpoint.as_ref(), patience.until())
            .await;
        let failure = match answer {
            Some(Ok(connection)) => {
                self.inner(|inner| inner.state = State::Open(connection));
                return Some(Ok(()));
            }
            Some(Err(error)) => self.refused(&error, patience.until()).await,
            None => {
                let is_late = question.asked_at < started_at;
                let is_told = is_late && patience.is_fair(question.waited);
                let failure = is_told.then(|| self.silent(&question));
                self.inner(|inner| inner.younger = Some(question));
                failure?
            }
        };
        Some(Err(failure))
    }

    /// Says what it means that nothing was said.
    fn silent(&self, question: &Question) -> Failure {
        let ms = question.age().as_millis();
        let name = self.name();
        let stuck = |what: &str| {
            let text = format!("{name} {what} and has not answered for {ms} ms");
            Failure::new(FailureClass::Stuck, text)
        };
        let fell_silent = self.inner(|inner| {
            inner.fell_silent |= !question.is_connect;
            inner.fell_silent
        });
        match &question.knock {
            Knock::Failed(failure) => failure.clone(),
            Knock::Taken => stuck("takes connections"),
            Knock::Resolving => Failure::new(
                FailureClass::Dns,
                format!("the name of {name} has not resolved within {ms} ms"),
            ),
            Knock::Connecting => Failure::new(
                FailureClass::Unreachable,
                format!("nothing at {name} answers a connect within {ms} ms"),
            ),
            Knock::NotTried if fell_silent => stuck("had a connection that stood"),
            Knock::NotTried => Failure::new(
                FailureClass::Timeout,
                format!(
                    "{name} has given no session within {ms} ms: it hangs, or the network does not reach it"
                ),
            ),
        }
    }

    /// Says what an error means, with the server's own words if it shouts them.
    async fn refused(&self, error: &RedisError, until: Deadline) -> Failure {
        refused(error, self.endpoint.as_ref(), until).await
    }

    fn name(&self) -> String {
        name_of(self.endpoint.as_ref())
    }
}

fn name_of(endpoint: Option<&Endpoint>) -> String {
    endpoint.map_or_else(|| "the server".to_owned(), Endpoint::to_string)
}

/// Says what an error of a new session means, with the server's own words if it shouts them.
///
/// A full server says its sentence to whoever comes, and closes. The driver has sent its
/// login by then, for which the server resets the connection, and the sentence is lost with
/// it: the driver shows a broken pipe, or a login that did not work. Who comes and only
/// listens hears it.
pub(crate) async fn refused(
    error: &RedisError,
    endpoint: Option<&Endpoint>,
    until: Deadline,
) -> Failure {
    let is_broken = is_broken(error);
    let may_be_full = is_broken || error.kind() == redis::ErrorKind::AuthenticationFailed;
    if let Some(endpoint) = endpoint
        && may_be_full
    {
        let seen = Mutex::new(Knock::NotTried);
        let now = clock::now();
        // A server that is not full says nothing, and is not waited for long.
        let listen_until = now + (until.remaining(now) / 2).min(LISTEN_MAX);
        let _ = timeout_at(listen_until.into(), knock(endpoint, &seen)).await;
        let seen = seen.into_inner().expect("nothing panics while it is held");
        if let Knock::Failed(failure) = seen {
            return failure;
        }
    }
    if is_broken {
        closed(&name_of(endpoint))
    } else {
        classify(error)
    }
}

/// What was seen of a server that answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    /// How fast it did.
    pub(crate) took: Duration,
    /// Whether it has given a new session for it.
    pub(crate) is_new: bool,
}

/// Why there was no answer.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) failure: Failure,
    /// Whether a new session was asked for, and not one that stands.
    is_of_new: bool,
}

impl Trouble {
    /// Whether it is a matter of new sessions alone: sessions that stand may be served.
    pub(crate) const fn spares_old(&self) -> bool {
        use FailureClass as Class;
        let is_of_door = matches!(
            self.failure.class(),
            Class::Auth
                | Class::Dns
                | Class::Misconfigured
                | Class::RefusedByServer
                | Class::Tls
                | Class::Unreachable
        );
        self.is_of_new && is_of_door
    }
}

impl Question {
    /// Asks for a session, and whether it is served: a full server takes the connection and
    /// refuses the first command.
    fn session(pool: Pool) -> Self {
        let mut asked = Self::connect(pool);
        let connected = asked.answer;
        asked.answer = Box::pin(async move {
            let mut connection = connected.await?;
            let () = redis::cmd("PING").query_async(&mut connection).await?;
            Ok(connection)
        });
        asked
    }

    fn connect(pool: Pool) -> Self {
        Self::new(true, async move {
            loop {
                match pool.manager().create().await {
                    // The driver's own connect timeout (1 s): silence, so far.
                    Err(error) if error.is_timeout() => {}
                    answer => return answer,
                }
            }
        })
    }

    fn ping(mut connection: MultiplexedConnection, writes: bool) -> Self {
        // The driver's own limit (500 ms) would turn silence into an error of the driver.
        connection.set_response_timeout(QUESTION_AGE_MAX * 2);
        Self::new(false, async move {
            let () = redis::cmd("PING").query_async(&mut connection).await?;
            if writes {
                let mut set = redis::cmd("SET");
                set.arg(WRITE_KEY).arg(1).arg("PX").arg(WRITE_TTL_MS);
                let () = set.query_async(&mut connection).await?;
            }
            Ok(connection)
        })
    }

    fn new(
        is_connect: bool,
        answer: impl Future<Output = RedisResult<MultiplexedConnection>> + Send + 'static,
    ) -> Self {
        Self {
            answer: Box::pin(answer),
            is_connect,
            asked_at: clock::now(),
            waited: Duration::ZERO,
            knock: Knock::NotTried,
        }
    }

    fn age(&self) -> Duration {
        clock::now().saturating_duration_since(self.asked_at)
    }

    /// Waits for the answer, `None` if it has not come. Knocks once in the life of a
    /// question, when most of the time is over.
    async fn wait(
        &mut self,
        endpoint: Option<&Endpoint>,
        until: Deadline,
    ) -> Option<RedisResult<MultiplexedConnection>> {
        let since = clock::now();
        let answer = self.wait_or_knock(endpoint, until).await;
        self.waited += clock::now().saturating_duration_since(since);
        answer
    }

    async fn wait_or_knock(
        &mut self,
        endpoint: Option<&Endpoint>,
        until: Deadline,
    ) -> Option<RedisResult<MultiplexedConnection>> {
        let knock_at = knock_at(until, clock::now());
        if let Ok(answer) = timeout_at(knock_at.into(), &mut self.answer).await {
            return Some(answer);
        }
        let (Knock::NotTried, Some(endpoint)) = (&self.knock, endpoint) else {
            return timeout_at(until.instant().into(), &mut self.answer)
                .await
                .ok();
        };
        let seen = Mutex::new(Knock::NotTried);
        let answer = timeout_at(until.instant().into(), async {
            let mut knocking = pin!(knock(endpoint, &seen));
            let mut knocked = false;
            poll_fn(|cx| {
                let answer = self.answer.as_mut().poll(cx);
                knocked = knocked || answer.is_pending() && knocking.as_mut().poll(cx).is_ready();
                match answer {
                    Poll::Ready(answer) => Poll::Ready(answer),
                    Poll::Pending => Poll::Pending,
                }
            })
            .await
        })
        .await;
        let seen = seen.into_inner().expect("nothing panics while it is held");
        self.knock = seen.after(clock::now().saturating_duration_since(knock_at));
        answer.ok()
    }
}

/// Whether the other side ended the connection, rather than refuse one or answer.
pub(crate) fn is_broken(error: &RedisError) -> bool {
    match io_below(error) {
        Some(error) => is_closed(error),
        None => error.kind() == redis::ErrorKind::Io,
    }
}

#[cfg(test)]
mod tests;

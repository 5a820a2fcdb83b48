//! One connection of the check's own, beside the pool.
//!
//! It lives until a younger one takes its place ([`crate::fresh`]), so most readings cost
//! one round trip. A question that the
//! server does not answer is kept and waited for again at the next reading, instead of
//! being asked anew: a server that hangs then holds one connection of ours, not one more
//! every few seconds (its backlog is small, and pending connects fill it). What is being
//! asked is owned by the reading that waits for it; when that is dropped, the connection
//! is closed.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Mutex,
    task::Poll,
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions, Connection, Database, Pool};
use steadfast_core::{Deadline, Failure, FailureClass};
use steadfast_pool::Patience;
use tokio::time::timeout_at;

use crate::{
    classify::classify,
    clock,
    driver::{Driver, Options},
    knock::{Endpoint, Knock, knock, knock_at},
};

/// How long a question is waited for before it is asked on a new connection.
///
/// Long enough that a server which hangs sees two connects a minute, short enough that a
/// path which died without a word is noticed before its TCP timers do.
const QUESTION_AGE_MAX: Duration = Duration::from_secs(30);

/// Most questions in one reading: a late answer, a broken connection, a new one, a ping.
const QUESTIONS_MAX: u32 = 4;

/// The connection, when nobody asks it.
pub(crate) struct Probe<C> {
    state: Mutex<State<C>>,
    /// A session that is asked for beside the one that stands.
    younger: Mutex<Option<Question<C>>>,
}

#[derive(Default)]
enum State<C> {
    #[default]
    Closed,
    Open(C),
    Asked(Question<C>),
}

impl<C> std::fmt::Debug for Probe<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe").finish_non_exhaustive()
    }
}

/// Something the server has been asked: a session, or a sign of life.
struct Question<C> {
    answer: Pin<Box<dyn Future<Output = sqlx::Result<C>> + Send>>,
    /// Whether a session is asked for.
    is_connect: bool,
    asked_at: Instant,
    /// For how long somebody has waited for the answer.
    waited: Duration,
    knock: Knock,
}

/// A connection that has just answered, and how fast it did.
pub(crate) struct Answered<C> {
    pub(crate) connection: C,
    pub(crate) took: Duration,
    /// Whether the server has given a new session for it.
    pub(crate) is_new: bool,
}

impl<C> Probe<C> {
    pub(crate) const fn new() -> Self {
        Self {
            state: Mutex::new(State::Closed),
            younger: Mutex::new(None),
        }
    }

    /// Whether a session that stands has not answered what it was asked at an earlier reading.
    pub(crate) fn is_silent(&self) -> bool {
        let state = self.state.lock().expect("nothing panics while it is held");
        matches!(&*state, State::Asked(question) if !question.is_connect)
    }

    /// Gives the connection back for the next reading.
    pub(crate) fn keep(&self, connection: C) {
        self.put(State::Open(connection));
    }

    fn take(&self) -> State<C> {
        std::mem::take(&mut *self.state.lock().expect("nothing panics while it is held"))
    }

    fn put(&self, state: State<C>) {
        *self.state.lock().expect("nothing panics while it is held") = state;
    }

    fn younger(&self, next: Option<Question<C>>) -> Option<Question<C>> {
        let mut younger = self
            .younger
            .lock()
            .expect("nothing panics while it is held");
        std::mem::replace(&mut *younger, next)
    }

    /// Asks the server for a sign of life, and says in time why there is none.
    ///
    /// It begins no question for which there is no fair time left, and says what is known
    /// without it.
    pub(crate) async fn ask<DB>(
        &self,
        pool: &Pool<DB>,
        endpoint: &Endpoint,
        patience: Patience,
    ) -> Result<Answered<C>, Failure>
    where
        DB: Driver + Database<Connection = C>,
        C: Connection<Database = DB> + 'static,
    {
        let started_at = clock::now();
        let mut state = self.take();
        let mut is_new = false;
        for _ in 0..QUESTIONS_MAX {
            let mut question = match state {
                State::Open(connection) => Question::ping::<DB>(connection),
                State::Asked(old) if old.age() < QUESTION_AGE_MAX => old,
                State::Asked(_) | State::Closed => {
                    Question::session::<DB>(DB::probe_options(&pool.connect_options()))
                }
            };
            let is_late = question.asked_at < started_at;
            let answer = question.wait(endpoint, patience.until()).await;
            let is_enough = patience.is_enough(clock::now());
            is_new |= question.is_connect && matches!(answer, Some(Ok(_)));
            match answer {
                Some(Ok(connection)) if is_enough && (question.is_connect || is_late) => {
                    state = State::Open(connection);
                }
                Some(Ok(connection)) => {
                    let took = question.age();
                    return Ok(Answered {
                        connection,
                        took,
                        is_new,
                    });
                }
                // It had been idle and broke: only a new connection can say how it is now.
                Some(Err(_)) if is_enough && (!question.is_connect || is_late) => {
                    state = State::Closed;
                }
                Some(Err(error)) => return Err(classify(&error)),
                None => {
                    let silent_ms = question.age().as_millis();
                    let failure = question.knock.explain(endpoint, silent_ms);
                    self.put(State::Asked(question));
                    return Err(failure);
                }
            }
        }
        Err(Failure::new(
            FailureClass::Unreachable,
            format!("{endpoint} closes each connection before it answers"),
        ))
    }

    /// Asks for a new session. `None` if the server has not answered yet, and had no fair
    /// time or is asked for the first time: it may be slow to give one, and is listened to, or
    /// asked, at the next reading.
    pub(crate) async fn renew<DB>(
        &self,
        pool: &Pool<DB>,
        endpoint: &Endpoint,
        patience: Patience,
    ) -> Option<Result<Answered<C>, Failure>>
    where
        DB: Driver + Database<Connection = C>,
        C: Connection<Database = DB> + 'static,
    {
        let started_at = clock::now();
        let mut question = match self.younger(None) {
            Some(asked) if asked.age() < QUESTION_AGE_MAX => asked,
            _ if !patience.is_enough(started_at) => return None,
            _ => Question::session::<DB>(DB::probe_options(&pool.connect_options())),
        };
        match question.wait(endpoint, patience.until()).await {
            Some(Ok(connection)) => Some(Ok(Answered {
                connection,
                took: question.age(),
                is_new: true,
            })),
            Some(Err(error)) => Some(Err(classify(&error))),
            None => {
                let silent_ms = question.age().as_millis();
                let is_late = question.asked_at < started_at;
                let is_told = is_late && patience.is_fair(question.waited);
                let failure = is_told.then(|| question.knock.explain(endpoint, silent_ms));
                self.younger(Some(question));
                Some(Err(failure?))
            }
        }
    }
}

impl<C: Connection> Question<C> {
    /// Asks for a session, and whether it is served: a proxy may give sessions of a server
    /// that it does not reach.
    fn session<DB>(options: Options<DB>) -> Self
    where
        DB: Driver + Database<Connection = C>,
        C: Connection<Database = DB>,
    {
        Self::new(true, async move {
            let mut connection = options.connect().await?;
            DB::round_trip(&mut connection).await?;
            Ok(connection)
        })
    }

    fn ping<DB>(mut connection: C) -> Self
    where
        DB: Driver + Database<Connection = C>,
        C: 'static,
    {
        Self::new(false, async move {
            DB::round_trip(&mut connection).await?;
            Ok(connection)
        })
    }

    fn new(
        is_connect: bool,
        answer: impl Future<Output = sqlx::Result<C>> + Send + 'static,
    ) -> Self {
        Self {
            answer: Box::pin(answer),
            is_connect,
            asked_at: clock::now(),
            waited: Duration::ZERO,
            knock: Knock::NotTried,
        }
    }

    /// Waits for the answer, `None` if it has not come. Knocks once in the life of a
    /// question, when most of the time is over.
    async fn wait(&mut self, endpoint: &Endpoint, until: Deadline) -> Option<sqlx::Result<C>> {
        let since = clock::now();
        let answer = self.wait_or_knock(endpoint, until).await;
        self.waited += clock::now().saturating_duration_since(since);
        answer
    }

    async fn wait_or_knock(
        &mut self,
        endpoint: &Endpoint,
        until: Deadline,
    ) -> Option<sqlx::Result<C>> {
        let knock_at = knock_at(until, clock::now());
        if let Ok(answer) = timeout_at(knock_at.into(), &mut self.answer).await {
            return Some(answer);
        }
        if !matches!(self.knock, Knock::NotTried) {
            return timeout_at(until.instant().into(), &mut self.answer)
                .await
                .ok();
        }
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

impl<C> Question<C> {
    fn age(&self) -> Duration {
        clock::now().saturating_duration_since(self.asked_at)
    }
}

/// Asks the server for a session beside the pool, and says why there is none.
///
/// A server that is only silent is knocked at, so that one that hangs and one that is gone
/// come apart.
pub(crate) async fn ask_beside<DB: Driver>(pool: Pool<DB>, until: Deadline) -> Result<(), Failure> {
    let options = pool.connect_options();
    let mut question = Question::<DB::Connection>::session::<DB>(DB::probe_options(&options));
    let Some(endpoint) = DB::endpoint(&options) else {
        return match timeout_at(until.instant().into(), question.answer).await {
            Ok(answer) => answer.map(drop).map_err(|error| classify(&error)),
            Err(_) => Err(Failure::new(
                FailureClass::Timeout,
                "the file was not opened in time",
            )),
        };
    };
    match question.wait(&endpoint, until).await {
        Some(Ok(connection)) => {
            // The server frees the slot at the goodbye; without it, when it next looks.
            let _ = timeout_at(until.instant().into(), connection.close()).await;
            Ok(())
        }
        Some(Err(error)) => Err(classify(&error)),
        None => Err(question
            .knock
            .explain(&endpoint, question.age().as_millis())),
    }
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

#[cfg(all(test, feature = "postgres"))]
mod tests;

//! One session of a check's own, beside the pool.
//!
//! It lives until a younger one takes its place ([`crate::fresh`]), so most readings cost
//! one round trip. A question that the server does not answer is kept and waited for again at
//! the next reading, instead of being asked anew: a server that hangs then holds one
//! connection of ours, not one more every few seconds (its backlog is small, and pending
//! connects fill it). What is being asked is owned by the reading that waits for it; when
//! that is dropped, the connection is closed.
//!
//! How a session is opened and asked, and what an error means, is said by the adapter
//! ([`Server`]).

mod question;

use std::{
    fmt,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use steadfast_core::{Deadline, Failure, FailureClass, plumbing::PoolFuture};

use self::question::Question;
use crate::{
    Patience, clock,
    reach::{Endpoint, Reach},
};

/// How long a question is waited for before it is asked on a new connection.
///
/// Long enough that a server which hangs sees two connects a minute, short enough that a
/// path which died without a word is noticed before its TCP timers do.
pub const QUESTION_AGE_MAX: Duration = Duration::from_secs(30);

/// Most questions in one reading: a late answer, a broken connection, a new one, a ping.
const QUESTIONS_MAX: u32 = 4;

/// What becomes of a question.
pub type Answer<S> = PoolFuture<Result<<S as Server>::Session, <S as Server>::Error>>;

/// A server that can be asked, by way of its driver.
pub trait Server: Sync {
    /// A session with it.
    type Session: Send + 'static;
    /// An error of its driver.
    type Error: Send + 'static;

    /// Opens a session, and asks on it whether it is served: a proxy may give sessions of a
    /// server that it does not reach, and a full server may take a connection and refuse the
    /// first command.
    fn open(&self) -> Answer<Self>;

    /// Asks a session that stands for a sign of life.
    fn ping(&self, session: Self::Session) -> Answer<Self>;

    /// Returns where it listens, if anybody knows.
    fn endpoint(&self) -> Option<&Endpoint>;

    /// Tries a plain connect: see [`reach`](crate::reach::reach).
    fn reach(&self, endpoint: &Endpoint, seen: &Mutex<Reach>) -> impl Future<Output = ()> + Send;

    /// Whether an error may be a matter of the session that it came on, so that only a new
    /// one can say how the server is now.
    fn may_be_of_session(&self, error: &Self::Error) -> bool {
        let _ = error;
        true
    }

    /// Says what an error means, before `until`.
    fn failure(&self, error: Self::Error, until: Deadline) -> impl Future<Output = Failure> + Send;

    /// Says what it means that nothing was said, where no plain connect could be tried.
    fn unheard(&self, silent: Silent) -> Failure;
}

/// For how long a server has said nothing, and to what. Complete: more is not known.
#[derive(Clone, Copy, Debug)]
pub struct Silent {
    /// For how long, in milliseconds.
    pub for_ms: u128,
    /// Whether a session that stood fell silent, and nothing was heard since.
    pub on_old_session: bool,
}

/// A session that has just answered. Complete: it, and how it was had.
#[derive(Debug)]
pub struct Answered<S> {
    /// The session.
    pub session: S,
    /// How fast it answered.
    pub took: Duration,
    /// Whether the server has given a new session for it.
    pub is_new: bool,
}

/// Why there was no answer.
#[derive(Debug)]
pub struct Trouble {
    /// What is wrong.
    pub failure: Failure,
    /// Whether a new session was asked for, and not one that stands.
    is_of_new: bool,
}

impl Trouble {
    /// Whether it is a matter of new sessions alone: sessions that stand may be served.
    #[must_use]
    pub const fn spares_old(&self) -> bool {
        use FailureClass as Class;
        let is_of_sessions = matches!(
            self.failure.class(),
            Class::Auth
                | Class::Dns
                | Class::Misconfigured
                | Class::RefusedByServer
                | Class::Tls
                | Class::Unreachable
        );
        self.is_of_new && is_of_sessions
    }
}

/// The session of a check, when nobody asks it.
pub struct Probe<S: Server> {
    inner: Mutex<Inner<S>>,
}

struct Inner<S: Server> {
    state: State<S>,
    /// A session that is asked for beside the one that stands.
    younger: Option<Question<S>>,
    /// Whether a session that stood fell silent, and nothing was heard since.
    fell_silent: bool,
}

enum State<S: Server> {
    Closed,
    Open(S::Session),
    Asked(Question<S>),
}

impl<S: Server> Default for Probe<S> {
    fn default() -> Self {
        Self {
            inner: Mutex::new(Inner {
                state: State::Closed,
                younger: None,
                fell_silent: false,
            }),
        }
    }
}

impl<S: Server> fmt::Debug for Probe<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").finish_non_exhaustive()
    }
}

impl<S: Server> Probe<S> {
    /// Whether a session that stands has not answered what it was asked at an earlier reading.
    ///
    /// # Panics
    /// If a holder of the lock has panicked.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        matches!(&self.inner().state, State::Asked(question) if !question.is_connect)
    }

    /// Gives a session back for the next reading; it takes the place of any that stands.
    ///
    /// # Panics
    /// If a holder of the lock has panicked.
    pub fn keep(&self, session: S::Session) {
        self.inner().state = State::Open(session);
    }

    /// Asks the server for a sign of life, and says in time why there is none.
    ///
    /// It begins no question for which there is no fair time left, and says what is known
    /// without it.
    ///
    /// # Errors
    /// Why there is no sign of life.
    ///
    /// # Panics
    /// If a holder of the lock has panicked.
    ///
    /// # Cancel safety
    /// Dropped, it closes the session.
    pub async fn ask(
        &self,
        server: &S,
        patience: Patience,
    ) -> Result<Answered<S::Session>, Trouble> {
        let started_at = clock::now();
        let mut state = std::mem::replace(&mut self.inner().state, State::Closed);
        let mut is_new = false;
        for _ in 0..QUESTIONS_MAX {
            let mut question = match state {
                State::Open(session) => Question::new(false, server.ping(session)),
                State::Asked(old) if old.age() < QUESTION_AGE_MAX => old,
                State::Asked(_) | State::Closed => Question::new(true, server.open()),
            };
            let is_late = question.asked_at < started_at;
            let answer = question.wait(server, patience.until()).await;
            let is_enough = patience.is_enough(clock::now());
            is_new |= question.is_connect && matches!(answer, Some(Ok(_)));
            match answer {
                Some(Ok(session)) if is_enough && (question.is_connect || is_late) => {
                    state = State::Open(session);
                }
                Some(Ok(session)) => {
                    self.inner().fell_silent = false;
                    return Ok(Answered {
                        session,
                        took: question.age(),
                        is_new,
                    });
                }
                // It had been idle and broke: only a new one can say how the server is now.
                Some(Err(error))
                    if is_enough
                        && (is_late || !question.is_connect)
                        && server.may_be_of_session(&error) =>
                {
                    state = State::Closed;
                }
                Some(Err(error)) => {
                    self.inner().fell_silent = false;
                    return Err(Trouble {
                        failure: server.failure(error, patience.until()).await,
                        is_of_new: question.is_connect,
                    });
                }
                None => {
                    let is_of_new = question.is_connect;
                    let failure = self.silent(server, &question);
                    self.inner().state = State::Asked(question);
                    return Err(Trouble { failure, is_of_new });
                }
            }
        }
        Err(Trouble {
            failure: closes(server.endpoint()),
            is_of_new: true,
        })
    }

    /// Asks for a new session. `None` if the server has not answered yet, and had no fair
    /// time or is asked for the first time: it may be slow to give one, and is listened to, or
    /// asked, at the next reading.
    ///
    /// # Panics
    /// If a holder of the lock has panicked.
    ///
    /// # Cancel safety
    /// Dropped, it closes what it asked on.
    pub async fn renew(
        &self,
        server: &S,
        patience: Patience,
    ) -> Option<Result<Answered<S::Session>, Failure>> {
        let started_at = clock::now();
        let asked = self.inner().younger.take();
        let mut question = match asked {
            Some(asked) if asked.age() < QUESTION_AGE_MAX => asked,
            _ if !patience.is_enough(started_at) => return None,
            _ => Question::new(true, server.open()),
        };
        Some(match question.wait(server, patience.until()).await {
            Some(Ok(session)) => Ok(Answered {
                session,
                took: question.age(),
                is_new: true,
            }),
            Some(Err(error)) => Err(server.failure(error, patience.until()).await),
            None => {
                let is_late = question.asked_at < started_at;
                let is_told = is_late && patience.is_fair(question.waited);
                let failure = is_told.then(|| self.silent(server, &question));
                self.inner().younger = Some(question);
                Err(failure?)
            }
        })
    }

    /// Says what it means that a question was not answered.
    fn silent(&self, server: &S, question: &Question<S>) -> Failure {
        let mut inner = self.inner();
        inner.fell_silent |= !question.is_connect;
        question.silent(server, inner.fell_silent)
    }

    fn inner(&self) -> MutexGuard<'_, Inner<S>> {
        self.inner.lock().expect("nothing panics while it is held")
    }
}

/// Asks a server for a session beside its pool, and says why there is none.
///
/// A server that is only silent is connected to beside the driver, so that one that hangs and one that is gone
/// come apart.
///
/// # Errors
/// Why there is none.
///
/// # Cancel safety
/// Dropped, it closes what it asked on.
pub async fn ask_beside<S: Server>(server: &S, until: Deadline) -> Result<S::Session, Failure> {
    let mut question = Question::new(true, server.open());
    match question.wait(server, until).await {
        Some(Ok(session)) => Ok(session),
        Some(Err(error)) => Err(server.failure(error, until).await),
        None => Err(question.silent(server, false)),
    }
}

/// Says what was seen of a server that takes connections and ends each without a word.
#[must_use]
pub fn closes(endpoint: Option<&Endpoint>) -> Failure {
    let name = endpoint.map_or_else(|| "the server".to_owned(), Endpoint::to_string);
    Failure::new(
        FailureClass::Unreachable,
        format!("{name} takes connections and closes them before it answers"),
    )
}

#[cfg(test)]
mod tests;

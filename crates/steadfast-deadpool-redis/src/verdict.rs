//! What the answer to a command says about the server, and about the session it came on.
//!
//! Pure. Three things are kept apart that one error can say: that the server is not well,
//! that it takes no writes, and that *this session* leads to a server which cannot serve
//! while a new one may not.

use deadpool_redis::redis::{ErrorKind, RedisError, ServerError, Value};
use steadfast_core::{CallOutcome, Failure, FailureClass, Refusal};

use crate::classify::{self, io_below, is_closed};

/// Says what the end of a command says about the server, for `Dependency::call_by`: as a
/// guard judges it.
///
/// | what was said | outcome |
/// |---|---|
/// | an answer | success |
/// | the connection was lost, nothing was answered in time | failure |
/// | `CLUSTERDOWN`, `MASTERDOWN`, `LOADING`, `BUSY`, `NOAUTH`, no client slot free | failure |
/// | `READONLY`, `MISCONF`, `OOM`, `NOREPLICAS` | failure of the class `read-only`, which is no outage: reads go on |
/// | anything else (`WRONGTYPE`, `NOSCRIPT`, `NOPERM`, syntax, `EXECABORT`, `MOVED`) | neutral: it is the caller's matter |
///
/// ```
/// use deadpool_redis::redis::parse_redis_value;
/// use steadfast_core::{CallFailure, CallOutcome, FailureClass};
/// use steadfast_deadpool_redis::outcome;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let said = |line: &[u8]| parse_redis_value(line).map(|it| it.extract_error().unwrap_err());
/// let down = said(b"-CLUSTERDOWN Hash slot not served\r\n")?;
/// let unhealthy = CallFailure::new(FailureClass::Unhealthy);
/// assert_eq!(outcome(Err::<&(), _>(&down)), CallOutcome::Failure(unhealthy));
/// let wrong = said(b"-WRONGTYPE Operation against a key\r\n")?;
/// assert_eq!(outcome(Err::<&(), _>(&wrong)), CallOutcome::Neutral);
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn outcome<T>(result: Result<&T, &RedisError>) -> CallOutcome {
    let Err(error) = result else {
        return CallOutcome::Success;
    };
    // Of a guard, whose breaker has heard what it stands for; and how the driver calls a
    // value that is not of the type that was asked for.
    if error.kind() == ErrorKind::Parse || Refusal::find(error).is_some() {
        return CallOutcome::Neutral;
    }
    match Verdict::of_error(error).health {
        Health::ReadOnly { failure, .. } | Health::Ill(failure) => {
            CallOutcome::Failure(failure.class().into())
        }
        Health::Served | Health::Callers => CallOutcome::Neutral,
    }
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) health: Health,
    pub(crate) session: Session,
}

/// What it says about the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// It did what it was asked for.
    Served,
    /// It answered, and the answer is the caller's matter.
    Callers,
    /// It answers and takes no writes.
    ReadOnly {
        failure: Failure,
        /// Whether only those writes that need memory are refused.
        only_growth: bool,
    },
    /// It is not well.
    Ill(Failure),
}

/// What it says about the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Session {
    /// It works.
    Keep,
    /// It does not, and that says nothing about others.
    Close,
    /// It leads to a server that was demoted, and so may others of its age.
    Demoted,
}

impl Verdict {
    const SERVED: Self = Self::new(Health::Served, Session::Keep);

    const fn new(health: Health, session: Session) -> Self {
        Self { health, session }
    }

    /// Judges the answer to one command.
    pub(crate) fn of_answer(answer: &Result<Value, RedisError>) -> Self {
        match answer {
            Ok(Value::ServerError(error)) => Self::of_reply(error),
            Ok(_) => Self::SERVED,
            Err(error) => Self::of_error(error),
        }
    }

    /// Judges the answers to several commands by the worst of them.
    pub(crate) fn of_answers(answers: &Result<Vec<Value>, RedisError>) -> Self {
        match answers {
            Ok(values) => values.iter().fold(Self::SERVED, |worst, value| {
                let next = match value {
                    Value::ServerError(error) => Self::of_reply(error),
                    // What `EXEC` returns: one answer for each command.
                    Value::Array(inner) => Self::worst_of(inner.iter().filter_map(said)),
                    _ => Self::SERVED,
                };
                worst.or_worse(next)
            }),
            Err(error) => Self::of_error(error),
        }
    }

    /// Judges an error of the driver.
    pub(crate) fn of_error(error: &RedisError) -> Self {
        if let Some(errors) = error.clone().into_server_errors() {
            return Self::worst_of(errors.iter().map(|(_, error)| error));
        }
        if error.is_timeout() {
            let failure = Failure::new(FailureClass::Timeout, error.to_string());
            return Self::new(Health::Ill(failure), Session::Keep);
        }
        let lost = io_below(error).is_some_and(is_closed) || error.kind() == ErrorKind::Io;
        // Nothing that follows on this session can be understood.
        let garbled = error.kind() == ErrorKind::Parse;
        if lost || garbled {
            return Self::new(Health::Ill(classify::classify(error)), Session::Close);
        }
        Self::new(Health::Callers, Session::Keep)
    }

    fn worst_of<'e>(errors: impl Iterator<Item = &'e ServerError>) -> Self {
        errors
            .map(Self::of_reply)
            .fold(Self::SERVED, Self::or_worse)
    }

    fn of_reply(error: &ServerError) -> Self {
        let text = error.details().unwrap_or_default();
        let (code, text) = within_script(error.code(), text);
        Self::of_code(code, text)
    }

    /// Judges an error reply by its first word and the rest.
    fn of_code(code: &str, text: &str) -> Self {
        let failure = || classify::reply(code, text);
        let read_only = |only_growth| Health::ReadOnly {
            failure: failure(),
            only_growth,
        };
        let (health, session) = match code {
            "READONLY" => (read_only(false), Session::Demoted),
            "OOM" => (read_only(true), Session::Keep),
            "MISCONF" | "NOREPLICAS" => (read_only(false), Session::Keep),
            "MASTERDOWN" => (Health::Ill(failure()), Session::Demoted),
            "CLUSTERDOWN" | "LOADING" | "BUSY" => (Health::Ill(failure()), Session::Keep),
            "NOAUTH" | "DENIED" => (Health::Ill(failure()), Session::Close),
            // A command that waited is told when its server is demoted.
            "UNBLOCKED" => (Health::Callers, Session::Demoted),
            _ if classify::is_full(text) => (Health::Ill(failure()), Session::Close),
            _ if classify::is_of_proxy(code, text) => (Health::Ill(failure()), Session::Keep),
            _ => (Health::Callers, Session::Keep),
        };
        Self::new(health, session)
    }

    /// Returns the worse of the two, with the worse of both sessions.
    fn or_worse(self, other: Self) -> Self {
        let session = self.session.max(other.session);
        let health = if other.health.rank() > self.health.rank() {
            other.health
        } else {
            self.health
        };
        Self::new(health, session)
    }
}

impl Health {
    /// Whether nothing was answered in time.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self, Self::Ill(failure) if failure.class() == FailureClass::Timeout)
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Served => 0,
            Self::Callers => 1,
            Self::ReadOnly { .. } => 2,
            Self::Ill(_) => 3,
        }
    }
}

fn said(value: &Value) -> Option<&ServerError> {
    match value {
        Value::ServerError(error) => Some(error),
        _ => None,
    }
}

/// Servers before 7 wrap what a command of a script was told into an error of the script.
fn within_script<'e>(code: &'e str, text: &'e str) -> (&'e str, &'e str) {
    let inner = ["-READONLY ", "-OOM ", "-MISCONF ", "-NOREPLICAS "];
    let found = inner.iter().find_map(|word| text.find(word));
    match found.map(|at| &text[at + 1..]) {
        Some(inner) if code == "ERR" => inner.split_once(' ').unwrap_or((inner, "")),
        _ => (code, text),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use deadpool_redis::redis::parse_redis_value;

    use super::*;

    fn value(reply: &str) -> Value {
        parse_redis_value(reply.as_bytes()).unwrap()
    }

    fn verdict(reply: &str) -> Verdict {
        Verdict::of_answer(&Ok(value(&format!("-{reply}\r\n"))))
    }

    #[track_caller]
    fn check(reply: &str, health: &str, session: Session) {
        let verdict = verdict(reply);
        let word = match &verdict.health {
            Health::Served => "served".to_owned(),
            Health::Callers => "caller's".to_owned(),
            Health::ReadOnly { only_growth, .. } => format!("read-only {only_growth}"),
            Health::Ill(failure) => failure.class().to_string(),
        };
        assert_eq!(
            (word.as_str(), verdict.session),
            (health, session),
            "{reply}"
        );
    }

    #[test]
    fn a_reply_is_evidence_a_matter_of_writes_or_the_callers() {
        use Session::{Close, Demoted, Keep};
        check("CLUSTERDOWN Hash slot not served", "unhealthy", Keep);
        check("CLUSTERDOWN The cluster is down", "unhealthy", Keep);
        check("LOADING Redis is loading the dataset", "loading", Keep);
        check("MASTERDOWN Link with MASTER is down", "unhealthy", Demoted);
        check("BUSY Redis is busy running a script", "overloaded", Keep);
        check("NOAUTH Authentication required.", "auth", Close);
        check(
            "ERR max number of clients reached",
            "refused-by-server",
            Close,
        );
        check("upstream failure", "unreachable", Keep);
        check("no upstream host", "unreachable", Keep);
        check("ERR Connection refused", "unreachable", Keep);
        check("READONLY You can't write", "read-only false", Demoted);
        check("OOM command not allowed", "read-only true", Keep);
        check("MISCONF Redis is configured", "read-only false", Keep);
        check("NOREPLICAS Not enough good", "read-only false", Keep);
        check(
            "ERR Error running script (call to f_1): @user_script:1: -READONLY You can't write",
            "read-only false",
            Demoted,
        );
        check("UNBLOCKED force unblock", "caller's", Demoted);
        for mine in [
            "WRONGTYPE Operation against a key",
            "NOSCRIPT No matching script.",
            "NOPERM User x has no permissions",
            "ERR syntax error",
            "ERR unknown command 'FOO'",
            "EXECABORT Transaction discarded",
            "MOVED 3999 127.0.0.1:6381",
            "ASK 3999 127.0.0.1:6381",
            "TRYAGAIN Multiple keys request",
            "CROSSSLOT Keys in request",
            "BUSYGROUP Consumer Group name already exists",
            "BUSYKEY Target key name already exists.",
            "NOGROUP No such key",
        ] {
            check(mine, "caller's", Keep);
        }
    }

    #[test]
    fn a_pipeline_is_judged_by_its_worst_answer() {
        let judge = |replies: &[&str]| {
            let values = replies.iter().map(|reply| value(reply)).collect();
            Verdict::of_answers(&Ok(values))
        };
        let wrong = "-WRONGTYPE Operation\r\n";
        assert_eq!(judge(&["+OK\r\n"]).health, Health::Served);
        assert_eq!(judge(&["+OK\r\n", wrong]).health, Health::Callers);
        let both = judge(&[wrong, "-READONLY You can't write\r\n", wrong]);
        assert_eq!(both.session, Session::Demoted);
        assert!(matches!(both.health, Health::ReadOnly { .. }), "{both:?}");
        let worst = judge(&["-READONLY x\r\n", "-CLUSTERDOWN x\r\n"]);
        assert!(matches!(worst.health, Health::Ill(_)), "{worst:?}");
        let executed = judge(&["*2\r\n+OK\r\n-OOM command not allowed\r\n"]);
        assert!(
            matches!(executed.health, Health::ReadOnly { .. }),
            "{executed:?}"
        );
    }

    #[test]
    fn a_lost_connection_and_silence_are_evidence_and_a_clients_error_is_not() {
        let of = |error: RedisError| Verdict::of_error(&error);
        let lost = of(io::Error::from(io::ErrorKind::BrokenPipe).into());
        assert_eq!(lost.session, Session::Close);
        assert!(matches!(lost.health, Health::Ill(_)), "{lost:?}");
        let silent = of(io::Error::from(io::ErrorKind::TimedOut).into());
        assert!(
            matches!(&silent.health, Health::Ill(it) if it.class() == FailureClass::Timeout),
            "{silent:?}"
        );
        let client = of((ErrorKind::Client, "empty command").into());
        assert_eq!(client, Verdict::new(Health::Callers, Session::Keep));
        let unread: RedisError = (ErrorKind::Parse, "not an integer").into();
        assert_eq!(outcome(Err::<&(), _>(&unread)), CallOutcome::Neutral);
    }
}

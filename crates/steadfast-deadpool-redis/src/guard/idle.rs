//! What becomes of the pool's idle sessions when no new one can be had, or when new ones
//! lead to a better server.
//!
//! deadpool tests an idle session when it is lent, one after the other, each for as long as
//! the driver waits for an answer. Behind a server that hangs, a request would wait for all
//! of them. But a server that gives no new session (at `maxclients`, with a new password)
//! may serve those that stand, and none of these could be opened again. So they are all
//! asked at once, and only those that do not answer are closed.

use std::time::{Duration, Instant};

use deadpool::managed::{Manager as _, Metrics};
use deadpool_redis::{
    Pool,
    redis::{self, Value, aio::MultiplexedConnection},
};
use steadfast_core::Deadline;
use tokio::{task::JoinSet, time::timeout_at};

use super::generation::Found;
use crate::clock;

/// How long an idle session may take to answer, while nothing else is waited for: as long
/// as the driver's own test of one.
const ANSWER_MAX: Duration = Duration::from_millis(500);

/// Longest time for a scout. One that takes longer is no better place.
const SCOUT_MAX: Duration = Duration::from_millis(1000);

/// By what an idle session is known again: when it was opened, and how often it was lent.
type Key = (Instant, usize);

fn key(metrics: &Metrics) -> Key {
    (metrics.created, metrics.recycle_count)
}

/// Asks all idle sessions at once for a sign of life, while `asked` goes on, and closes
/// those that give none. Returns what came of `asked`, and whether any has answered.
pub(super) async fn test_beside<T, E>(
    pool: &Pool,
    until: Deadline,
    asked: impl Future<Output = Result<T, E>>,
) -> (Result<T, E>, u32) {
    let started_at = clock::now();
    let (mut tests, mut silent) = (JoinSet::new(), Vec::new());
    for (key, session) in idle(pool) {
        silent.push(key);
        tests.spawn(async move { (key, answers(session, until).await) });
    }
    let answer = asked.await;
    let mut serving = 0;
    if answer.is_err() {
        let enough = (started_at + ANSWER_MAX).min(until.instant());
        // What has been answered already is taken in also if that moment has passed.
        while let Ok(Some(tested)) = timeout_at(enough.into(), tests.join_next()).await {
            if let Ok((key, sign @ (Sign::Serves | Sign::Speaks))) = tested {
                serving += u32::from(sign == Sign::Serves);
                silent.retain(|it| *it != key);
            }
        }
        drop(pool.retain(|_, metrics| !silent.contains(&key(&metrics))));
    }
    (answer, serving)
}

/// Asks the idle sessions of a pool for a sign of life, and returns whether one gives it.
/// None is closed.
pub(crate) async fn any_serves(pool: &Pool, until: Deadline) -> bool {
    let mut tests = JoinSet::new();
    for (_, session) in idle(pool) {
        tests.spawn(answers(session, until));
    }
    while let Ok(Some(tested)) = timeout_at(until.instant().into(), tests.join_next()).await {
        if matches!(tested, Ok(Sign::Serves)) {
            return true;
        }
    }
    false
}

fn idle(pool: &Pool) -> Vec<(Key, MultiplexedConnection)> {
    let mut idle = Vec::new();
    // Nothing is removed; it is the way to look at them.
    drop(pool.retain(|session, metrics| {
        idle.push((key(&metrics), session.clone()));
        true
    }));
    idle
}

/// What a session gives when it is asked for a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// It answers as it should.
    Serves,
    /// It is told an error, which is met by whoever uses it.
    Speaks,
    /// Nothing, or an end.
    Silent,
}

async fn answers(mut session: MultiplexedConnection, until: Deadline) -> Sign {
    session.set_response_timeout(until.remaining(clock::now()));
    match redis::cmd("PING").query_async::<Value>(&mut session).await {
        Ok(_) => Sign::Serves,
        Err(error) if error.code().is_some() => Sign::Speaks,
        Err(_) => Sign::Silent,
    }
}

/// Asks a new session for its role, and closes it.
pub(super) async fn scout(pool: &Pool) -> Found {
    let until = clock::now() + SCOUT_MAX;
    let asked = async {
        let mut session = pool.manager().create().await?;
        redis::cmd("ROLE").query_async::<Value>(&mut session).await
    };
    match timeout_at(until.into(), asked).await {
        Ok(Ok(role)) => found(&role),
        // It may not be asked (`NOPERM`), or a proxy answers.
        Ok(Err(error)) if matches!(error.code(), Some("NOPERM" | "ERR")) => Found::Better,
        Ok(Err(_)) | Err(_) => Found::NoBetter,
    }
}

fn found(role: &Value) -> Found {
    let word = match role {
        Value::Array(parts) => parts.first(),
        _ => None,
    };
    match word {
        Some(Value::BulkString(word)) if word != b"master" => Found::NoBetter,
        Some(Value::SimpleString(word)) if word != "master" => Found::NoBetter,
        _ => Found::Better,
    }
}

#[cfg(test)]
mod tests {
    use redis::parse_redis_value;

    use super::*;

    #[test]
    fn a_role_is_better_unless_it_is_known_to_be_no_masters() {
        for (reply, expected) in [
            ("*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n", Found::Better),
            ("*2\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n", Found::NoBetter),
            ("*1\r\n$8\r\nsentinel\r\n", Found::NoBetter),
            ("+OK\r\n", Found::Better),
        ] {
            let value = parse_redis_value(reply.as_bytes()).unwrap();
            assert_eq!(found(&value), expected, "{reply:?}");
        }
    }
}

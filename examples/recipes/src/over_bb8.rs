//! bb8: its `TimedOut` stands for a pool that is busy as well as for a server that is gone, so
//! the code around it looks at the pool before it accuses anybody.

use bb8::{Pool, RunError};
use bb8_redis::{RedisConnectionManager, redis::AsyncCommands};
use steadfast::{CallOutcome, Dependency, Error, FailureClass};

/// Reads a key, unless the cache is down.
///
/// # Errors
/// The refusal, or what the pool or the server says.
pub async fn read(
    cache: &Dependency,
    pool: &Pool<RedisConnectionManager>,
    key: &str,
) -> Result<Option<String>, Error> {
    let permit = cache.try_acquire()?;
    let mut connection = match pool.get().await {
        Ok(connection) => connection,
        Err(error) => {
            match outcome(pool, &error) {
                // `fail` also tells operators the words of the error.
                CallOutcome::Failure(failure) => permit.fail(failure, &error),
                other => permit.settle(other),
            }
            return Err(error.into());
        }
    };
    match connection.get(key).await {
        Ok(value) => {
            permit.settle(CallOutcome::Success);
            Ok(value)
        }
        Err(error) if error.is_io_error() || error.is_connection_dropped() => {
            permit.fail(FailureClass::Unreachable, &error);
            Err(error.into())
        }
        // The server has answered; what it says is between it and the caller.
        Err(error) => {
            permit.settle(CallOutcome::Neutral);
            Err(error.into())
        }
    }
}

/// A pool whose connections are all in use has said nothing about the server.
fn outcome<E>(pool: &Pool<RedisConnectionManager>, error: &RunError<E>) -> CallOutcome {
    match error {
        RunError::TimedOut if pool.state().connections > 0 => CallOutcome::Neutral,
        RunError::TimedOut | RunError::User(_) => {
            CallOutcome::Failure(FailureClass::Unreachable.into())
        }
    }
}

//! fred: it reconnects by itself and queues commands meanwhile, so a bound on each command is
//! what tells that the server is gone.

use fred::{
    clients::Client,
    error::{Error as FredError, ErrorKind},
    interfaces::KeysInterface,
};
use steadfast::{CallOutcome, Dependency, Error, FailureClass};

/// Reads a key, unless the cache is down.
///
/// Set `PerformanceConfig::default_command_timeout`, or `call_timeout` of the dependency:
/// without either a command waits for as long as fred reconnects.
///
/// # Errors
/// The refusal, a time-out, or what fred says.
pub async fn read(cache: &Dependency, client: &Client, key: &str) -> Result<Option<String>, Error> {
    Ok(cache.call_by(judge, client.get(key)).await?)
}

/// What the end of a command says about the server: that an argument was wrong says nothing.
#[must_use]
pub fn judge<T>(result: Result<&T, &FredError>) -> CallOutcome {
    let Err(error) = result else {
        return CallOutcome::Success;
    };
    match error.kind() {
        ErrorKind::InvalidArgument
        | ErrorKind::InvalidCommand
        | ErrorKind::NotFound
        | ErrorKind::Parse
        | ErrorKind::Canceled => CallOutcome::Neutral,
        ErrorKind::Timeout => CallOutcome::Failure(FailureClass::Timeout.into()),
        ErrorKind::IO => CallOutcome::Failure(FailureClass::Unreachable.into()),
        _ => CallOutcome::Failure(FailureClass::Unhealthy.into()),
    }
}

//! How a check asks a server by way of the driver: on a session of its own, beside the pool,
//! opened with the pool's settings.

use std::{sync::Mutex, time::Duration};

use deadpool::managed::Manager as _;
use deadpool_redis::{
    Pool,
    redis::{self, RedisError, aio::MultiplexedConnection},
};
use steadfast_core::{Deadline, Failure, FailureClass};
use steadfast_pool::probe::{self, Answer, QUESTION_AGE_MAX, Silent, closes};
use tokio::time::timeout_at;

use crate::{
    classify::{classify, io_below, is_closed},
    clock,
    reach::{Endpoint, Reach, reach},
};

/// Longest wait for what a server says unasked. A full one says it at once, so this is a
/// round trip to the other side of the world.
pub(crate) const LISTEN_MAX: Duration = Duration::from_millis(250);

/// Where the write probe writes, and for how long it is kept.
const WRITE_KEY: &str = "steadfast:probe";
const WRITE_TTL_MS: u32 = 10_000;

/// The server of a pool.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) pool: Pool,
    pub(crate) endpoint: Option<Endpoint>,
    /// Whether a sign of life is a write too.
    pub(crate) writes: bool,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The pool's own text shows the client, and with it the password.
        f.debug_struct("Server")
            .field("pool", &self.pool.status())
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl probe::Server for Server {
    type Session = MultiplexedConnection;
    type Error = RedisError;

    fn open(&self) -> Answer<Self> {
        let pool = self.pool.clone();
        Box::pin(async move {
            let mut session = loop {
                match pool.manager().create().await {
                    // The driver's own connect timeout (1 s): silence, so far.
                    Err(error) if error.is_timeout() => {}
                    answer => break answer?,
                }
            };
            let () = redis::cmd("PING").query_async(&mut session).await?;
            Ok(session)
        })
    }

    fn ping(&self, mut session: MultiplexedConnection) -> Answer<Self> {
        let writes = self.writes;
        // The driver's own limit (500 ms) would turn silence into an error of the driver.
        session.set_response_timeout(QUESTION_AGE_MAX * 2);
        Box::pin(async move {
            let () = redis::cmd("PING").query_async(&mut session).await?;
            if writes {
                let mut set = redis::cmd("SET");
                set.arg(WRITE_KEY).arg(1).arg("PX").arg(WRITE_TTL_MS);
                let () = set.query_async(&mut session).await?;
            }
            Ok(session)
        })
    }

    fn endpoint(&self) -> Option<&Endpoint> {
        self.endpoint.as_ref()
    }

    async fn reach(&self, endpoint: &Endpoint, seen: &Mutex<Reach>) {
        reach(endpoint, seen).await;
    }

    fn may_be_of_session(&self, error: &RedisError) -> bool {
        is_broken(error)
    }

    async fn failure(&self, error: RedisError, until: Deadline) -> Failure {
        refused(&error, self.endpoint.as_ref(), until).await
    }

    fn unheard(&self, silent: Silent) -> Failure {
        let name = self.endpoint.as_ref();
        let name = name.map_or_else(|| "the server".to_owned(), Endpoint::to_string);
        let ms = silent.for_ms;
        if silent.on_old_session {
            let text =
                format!("{name} had a connection that stood and has not answered for {ms} ms");
            return Failure::new(FailureClass::Stuck, text);
        }
        let text = format!(
            "{name} has given no session within {ms} ms: it hangs, or the network does not reach it"
        );
        Failure::new(FailureClass::Timeout, text)
    }
}

/// Says what an error of a new session means, with the server's own words if it sends them unasked.
///
/// A full server says its sentence to whoever comes, and closes. The driver has sent its
/// login by then, for which the server resets the connection, and the sentence is lost with
/// it: the driver shows a broken pipe, or a login that did not work. Who comes and only
/// listens hears it. So does nobody who does not know where.
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
        let seen = Mutex::new(Reach::NotTried);
        let now = clock::now();
        // A server that is not full says nothing, and is not waited for long.
        let listen_until = now + (until.remaining(now) / 2).min(LISTEN_MAX);
        let _ = timeout_at(listen_until.into(), reach(endpoint, &seen)).await;
        let seen = seen.into_inner().expect("nothing panics while it is held");
        if let Reach::Failed(failure) = seen {
            return failure;
        }
    }
    if !is_broken {
        return classify(error);
    }
    let failure = closes(endpoint);
    if endpoint.is_some() {
        return failure;
    }
    let text = format!("{failure}; to hear what it says, set its `url`, or `ping_url`");
    Failure::new(failure.class(), text)
}

/// Whether the other side ended the connection, rather than refuse one or answer.
pub(crate) fn is_broken(error: &RedisError) -> bool {
    match io_below(error) {
        Some(error) => is_closed(error),
        None => error.kind() == redis::ErrorKind::Io,
    }
}

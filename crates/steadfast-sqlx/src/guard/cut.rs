//! What becomes in the server of a query that was cut.
//!
//! A query that nobody waits for any more runs on in the server, and its session keeps its
//! place until it has ended. There are two ways to make that soon, and both cost a session beside
//! the pool, of which there is never more than one, and no request a round trip.
//!
//! *Left.* PostgreSQL can look now and then whether its client is still there
//! (`client_connection_check_interval`), and ends what it does for one who is not. Where it does,
//! a query that has not ended by itself a moment after it was cut loses its connection, and its
//! place is free when the server has looked. Whether it does is asked when the first query is
//! cut, and again when the answer is old. Without it the server would work on for a socket that
//! is closed, beside the connection that takes its place; so nothing is closed then.
//!
//! *Told.* PostgreSQL and MySQL end a query when another session of the same user says so. For
//! that the session has to be known by name, which its driver keeps to itself: so who runs what
//! may be cut asks for it, once, in the transaction in which it is run. There the name stays
//! right behind a pooler too, which gives a session to somebody else only afterwards. It is told
//! on the way of the connection back to the pool, so it holds up no request, and is over before
//! anybody else can have the session that it speaks of.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions, Connection, Pool, pool::PoolConnection};
use steadfast_core::plumbing::RELEASE_MAX;
use tokio::time::{sleep, timeout};

use super::observer::Observer;
use crate::{
    clock,
    driver::{Driver, SessionName},
};

/// How long it may take to tell the server, the wait for others who tell it something included.
/// Whoever is not heard by then waits for the query's own end, as everybody does who asked for
/// nothing.
const TELL_MAX: Duration = Duration::from_secs(2);

/// Tells the server to end what a session is asked.
pub(super) async fn end_query<DB: Driver>(
    pool: Pool<DB>,
    observer: Arc<Observer>,
    name: SessionName,
) {
    let tell = async {
        let _turn = observer.telling.lock().await;
        let options = DB::probe_options(&pool.connect_options());
        let mut session = options.connect().await?;
        DB::end_query(&mut session, &name).await?;
        session.close().await
    };
    // Whatever became of it, the way back waits for the session.
    let _ = timeout(TELL_MAX, tell).await;
}

/// How long a query that was cut may take to end by itself before its connection is closed for
/// it: most do, and to open another costs more than to wait for them.
const ENDS_SOON: Duration = Duration::from_secs(1);

/// For how long it is believed what the server said of looking for its clients. Who sets it is
/// heard within that time, and a server without it is asked once a minute at most.
const LOOKS_KNOWN_FOR: Duration = Duration::from_secs(60);

/// How often a server looks whether its clients are there: `None` if it does not, or does not say.
#[derive(Debug, Default)]
pub(super) struct Looks(Option<(Instant, Option<Duration>)>);

impl Looks {
    fn known(&self, now: Instant) -> Option<Option<Duration>> {
        let (at, every) = self.0?;
        (now.saturating_duration_since(at) < LOOKS_KNOWN_FOR).then_some(every)
    }
}

/// Takes a connection back on which a query was cut. Is done when the server works on it no more,
/// as far as that can be known.
pub(super) async fn take_back<DB: Driver>(
    mut connection: PoolConnection<DB>,
    pool: Pool<DB>,
    observer: Arc<Observer>,
) {
    let mut back = Box::pin(connection.return_to_pool());
    if timeout(ENDS_SOON, &mut back).await.is_ok() {
        return;
    }
    let looks = timeout(TELL_MAX, looks_every(&pool, &observer)).await;
    let every = looks.ok().flatten().filter(|every| *every < RELEASE_MAX);
    let Some(every) = every else {
        return back.await;
    };
    // It may have ended while that was asked.
    if timeout(Duration::ZERO, &mut back).await.is_err() {
        drop(back);
        sleep(every).await;
    }
}

/// Asks the server how often it looks, unless it was asked lately.
async fn looks_every<DB: Driver>(pool: &Pool<DB>, observer: &Observer) -> Option<Duration> {
    let mut looks = observer.looks.lock().await;
    if let Some(every) = looks.known(clock::now()) {
        return every;
    }
    // Whoever is cut off here has asked all the same.
    looks.0 = Some((clock::now(), None));
    let _turn = observer.telling.lock().await;
    let options = DB::probe_options(&pool.connect_options());
    let mut session = options.connect().await.ok()?;
    let every = DB::looks_every(&mut session).await;
    looks.0 = Some((clock::now(), every));
    let _ = session.close().await;
    every
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_said_is_believed_for_a_while() {
        let now = clock::now();
        let mut looks = Looks::default();
        assert_eq!(looks.known(now), None);
        for every in [None, Some(Duration::from_secs(1))] {
            looks.0 = Some((now, every));
            assert_eq!(looks.known(now + LOOKS_KNOWN_FOR / 2), Some(every));
            assert_eq!(looks.known(now + LOOKS_KNOWN_FOR), None);
        }
    }
}

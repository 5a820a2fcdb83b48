//! Has the server end a query that was cut.
//!
//! A query that nobody waits for any more runs on in the server, and its session keeps its
//! place until it has ended. PostgreSQL and MySQL end it when another session of the same user
//! says so. For that the session has to be known by name, which its driver keeps to itself: so
//! who runs what may be cut asks for it, once, in the transaction in which it is run. There the
//! name stays right behind a pooler too, which gives a session to somebody else only afterwards.
//!
//! The other session is one of the guard's, beside the pool, and there is never more than one;
//! it is tried on the way of the connection back to the pool, so it holds up no request, and is
//! over before anybody else can have the session that it speaks of.

use std::{sync::Arc, time::Duration};

use sqlx::{ConnectOptions, Connection, Pool};
use tokio::time::timeout;

use super::observer::Observer;
use crate::driver::{Driver, SessionName};

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

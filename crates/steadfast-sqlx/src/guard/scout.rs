//! One who looks whether new sessions lead to a better server than those that stand.
//!
//! After a failover an address leads to the new primary, and the sessions of a pool lead to
//! the old one, which answers every test and takes no writes. Closing each session that says
//! so would open as many as requests come, for as long as no new primary is there. So one
//! such answer sends a scout: a session of its own beside the pool, twice a second. Only when
//! that leads to a server which takes writes are the others closed: those that are idle and
//! say otherwise at once, one after the other, and those that are lent when they come back.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use futures_core::future::BoxFuture;
use sqlx::{ConnectOptions, Connection, Pool};
use steadfast_core::Failure;
use tokio::{
    runtime::Handle,
    time::{sleep, timeout},
};

use super::observer::Observer;
use crate::{clock, driver::Driver};

/// How often a scout looks: often enough that a failover heals within two seconds, and no
/// burden on a server that comes up.
const INTERVAL: Duration = Duration::from_millis(500);

/// How long one look may take. A server that takes longer to open a session is not better.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// What a scout does to the pool of some database.
pub(super) trait Scout: Send + Sync {
    /// Opens a session beside the pool and asks whether it takes writes; `None` if there is
    /// none, or it cannot say.
    fn look(&self) -> BoxFuture<'_, Option<bool>>;

    /// Closes the idle sessions that take no writes.
    fn close_idle(&self) -> BoxFuture<'_, ()>;
}

/// Sends a scout, who looks until the server takes writes, until nobody says any more that it
/// takes none, or until the guard is gone.
pub(super) fn send(observer: &Arc<Observer>, said: Failure) {
    let Ok(runtime) = Handle::try_current() else {
        observer.scouted();
        return;
    };
    runtime.spawn(look_out(Arc::downgrade(observer), said));
}

async fn look_out(observer: Weak<Observer>, said: Failure) {
    loop {
        let Some(observer) = observer.upgrade() else {
            return;
        };
        let seen = timeout(LOOK_MAX, observer.scout.look()).await;
        let now = clock::now();
        match seen.ok().flatten() {
            Some(true) => {
                observer.next_generation();
                observer.scout.close_idle().await;
                observer.state.note_writable(clock::now());
                observer.scouted();
                return;
            }
            // What one statement said of itself is now known of the server.
            Some(false) => observer.state.note_read_only(&said, now),
            None => {}
        }
        if observer.state.view(now).read_only.is_none() {
            observer.scouted();
            return;
        }
        drop(observer);
        sleep(INTERVAL).await;
    }
}

/// Looks at a pool.
pub(super) struct PoolScout<DB: Driver>(pub(super) Pool<DB>);

impl<DB: Driver> Scout for PoolScout<DB> {
    fn look(&self) -> BoxFuture<'_, Option<bool>> {
        Box::pin(async move {
            let options = DB::probe_options(&self.0.connect_options());
            let mut session = options.connect().await.ok()?;
            let takes_writes = DB::takes_writes(&mut session).await;
            let _ = session.close().await;
            takes_writes
        })
    }

    fn close_idle(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // The pool hands out the one that has been idle for longest, and takes it back
            // behind the others, so as many as there are now is each of them once.
            for _ in 0..self.0.num_idle() {
                let Some(mut session) = self.0.try_acquire() else {
                    return;
                };
                let asked = timeout(LOOK_MAX, DB::takes_writes(&mut session));
                if asked.await == Ok(Some(true)) {
                    session.return_to_pool().await;
                } else {
                    let _ = timeout(LOOK_MAX, session.close()).await;
                }
            }
        })
    }
}

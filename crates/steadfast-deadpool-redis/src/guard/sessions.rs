//! The sessions of a pool: which one is lent, and which is closed instead.

use std::sync::{Arc, Mutex};

use deadpool::managed::Object;
use deadpool_redis::{Manager, Pool, PoolError, Timeouts};
use steadfast_core::{Deadline, DependencyState, Failure};
use steadfast_pool::{
    Patience,
    probe::{Probe, Trouble},
};

use super::{
    generation::{Found, Generation, Lending},
    idle,
};
use crate::{clock, probe::Server, reach::Endpoint};

/// A session of the pool. deadpool-redis's own wrapper does not say when it was opened.
pub(super) type Session = Object<Manager>;

/// The pool, and what its sessions have said of the server.
pub(super) struct Sessions {
    pub(super) pool: Pool,
    pub(super) state: Arc<DependencyState>,
    pub(super) endpoint: Option<Endpoint>,
    generation: Mutex<Generation>,
}

impl Sessions {
    pub(super) fn new(pool: Pool, state: Arc<DependencyState>, endpoint: Option<Endpoint>) -> Self {
        Self {
            pool,
            state,
            endpoint,
            generation: Mutex::default(),
        }
    }

    pub(super) fn generation<T>(&self, ask: impl FnOnce(&mut Generation) -> T) -> T {
        ask(&mut self
            .generation
            .lock()
            .expect("nothing panics while it is held"))
    }

    /// Takes a session that does not lead to a demoted server, as far as anybody knows.
    pub(super) async fn take(&self) -> Result<Session, PoolError> {
        // With a turn there is nothing to wait for but a guest who did not ask the gate;
        // the gate's own limits end that.
        let timeouts = Timeouts {
            wait: None,
            ..self.pool.timeouts()
        };
        loop {
            // The same pool, as one of sessions that know their age.
            let pool = self.pool.weak().upgrade().ok_or(PoolError::Closed)?;
            let session = pool.timeout_get(&timeouts).await?;
            let created = Object::metrics(&session).created;
            let is_over = match self.generation(|it| it.lending(created, clock::now())) {
                Lending::Lend => false,
                Lending::Close => true,
                Lending::Scout => self.scout().await == Found::Better,
            };
            if !is_over {
                return Ok(session);
            }
            // It ends: what comes next is as old and closed too, or was opened since.
            drop(Object::take(session));
        }
    }

    /// Finds out whether new sessions lead to a better server, and closes those that are
    /// idle and old in that case.
    async fn scout(&self) -> Found {
        let found = idle::scout(&self.pool).await;
        self.generation(|it| it.scouted(found));
        if found == Found::Better {
            self.state.note_writable(clock::now());
            let is_old = |created| self.generation(|it| it.is_over_for(created));
            drop(self.pool.retain(|_, metrics| !is_old(metrics.created)));
        }
        found
    }

    /// Asks the server for a new session, and says why there is none.
    ///
    /// A server that gives none and serves those that stand answers all the same.
    pub(super) async fn ask(&self, until: Deadline) -> Result<(), Failure> {
        let server = Server {
            pool: self.pool.clone(),
            endpoint: self.endpoint.clone(),
            writes: false,
        };
        let probe = Probe::default();
        let asked = probe.ask(&server, Patience::new(until, clock::now()));
        let (answer, serving) = idle::test_beside(&self.pool, until, asked).await;
        let now = clock::now();
        match answer {
            Ok(_) => self.state.note_session_opened(now),
            Err(trouble) if serving == 0 => return Err(trouble.failure),
            Err(Trouble { failure, .. }) => {
                let class = failure.class();
                self.state
                    .note_new_sessions_refused(class, &failure, serving, now);
            }
        }
        Ok(())
    }
}

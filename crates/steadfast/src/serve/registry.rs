//! The open connections: how many there may be, and which are there to be cut.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::conn::Conn;
use crate::{
    clock,
    drain::{DrainState, WaitGroup, WaitGroupMember},
};

/// How long a connection has to be idle to give way to a new one, how many are asked at once,
/// and how often it is looked whether there is room. Whoever sends requests at all sends one
/// in this time; one that does not holds a place that others wait for.
const GIVES_WAY: Duration = Duration::from_secs(5);
const GIVE_WAY_AT_ONCE: usize = 32;
const ROOM_EVERY: Duration = Duration::from_millis(100);

/// The connections, by number. Bounded by the semaphore, except for those that the last
/// look at the kernel's queue finds.
#[derive(Debug)]
pub(super) struct Registry {
    places: Arc<Semaphore>,
    live: WaitGroup,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    all: HashMap<u64, Arc<Conn>>,
}

/// A connection's entry; dropped, it is gone.
#[derive(Debug)]
pub(super) struct Registered {
    number: u64,
    open: Arc<Mutex<Open>>,
    _live: WaitGroupMember,
    _place: Option<OwnedSemaphorePermit>,
}

impl Registry {
    pub(super) fn new(max: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(max)),
            live: WaitGroup::default(),
            open: Arc::default(),
        }
    }

    /// Waits for room for one more connection. Where there is none, those that have long been
    /// idle give way, one at a time.
    pub(super) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            tokio::select! {
                biased;
                place = self.place() => return place,
                () = tokio::time::sleep(ROOM_EVERY) => self.make_room(1, GIVES_WAY),
            }
        }
    }

    /// Lets some that have long been idle give way.
    pub(super) fn make_some_room(&self) {
        self.make_room(GIVE_WAY_AT_ONCE, GIVES_WAY);
    }

    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// Whether there is room.
    pub(super) fn has_room(&self) -> bool {
        self.places.available_permits() > 0
    }

    pub(super) fn enter(
        &self,
        conn: &Arc<Conn>,
        place: Option<OwnedSemaphorePermit>,
    ) -> Registered {
        let live = self.live.enter();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let number = open.next;
        open.next += 1;
        open.all.insert(number, Arc::clone(conn));
        Registered {
            number,
            open: Arc::clone(&self.open),
            _live: live,
            _place: place,
        }
    }

    /// Asks the connections that have been idle for the longest to give way, at least for
    /// `idle_min` and at most this many.
    pub(super) fn make_room(&self, most: usize, idle_min: Duration) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let conns: Vec<_> = open.all.values().cloned().collect();
        drop(open);
        let now = clock::now();
        let mut idle: Vec<_> = conns
            .into_iter()
            .filter_map(|conn| conn.idle_since().map(|since| (since, conn)))
            .filter(|(since, _)| *since + idle_min <= now)
            .collect();
        idle.sort_unstable_by_key(|(since, _)| *since);
        for (_, conn) in idle.into_iter().take(most) {
            conn.gives_way(now);
        }
    }

    pub(super) fn count(&self) -> usize {
        self.live.count()
    }

    /// Waits until none is open.
    pub(super) async fn none(&self) {
        self.live.none().await;
    }

    /// Cuts every connection, and writes down what each loses.
    pub(super) fn cut_all(&self, drain: &DrainState) {
        let conns: Vec<_> = {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.all.values().cloned().collect()
        };
        let now = clock::now();
        for conn in conns {
            conn.cut(&mut drain.tally(), now);
        }
    }
}

/// Whoever drops `serve` ends what it served.
impl Drop for Registry {
    fn drop(&mut self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let conns: Vec<_> = open.all.values().cloned().collect();
        drop(open);
        for conn in conns {
            conn.cut(&mut crate::drain::Tally::default(), clock::now());
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let gone = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.all.remove(&self.number)
        };
        // An upgraded connection has outlived its task, which could not count its end.
        if let Some(conn) = gone {
            let upgraded = conn.state().upgraded.is_some();
            if upgraded {
                conn.ended(false);
            }
        }
    }
}

//! What everybody who leaves shares: the stage of the drain, its tally, hooks and tasks.

use std::{
    any::Any,
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use steadfast_core::{Lifecycle, Refusal};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
};

use super::{
    Closed, Cut, Drain, DrainReport, Stuck, hooks::Hooks, tasks::Tasks, wait_group::WaitGroup,
};

/// How far the drain has come, for whoever holds a connection or a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Nobody leaves.
    #[default]
    Serving,
    /// Everything is served; connections are asked to end, a growing share of them.
    LameDuck { since: Instant, until: Instant },
    /// Nothing new comes; what runs has until then.
    Closing { since: Instant, until: Instant },
    /// The last moment: whoever listens for it can still say goodbye.
    Cancelling,
    /// What still runs is ended.
    Cutting,
    /// All is over.
    Over,
}

impl Stage {
    pub(crate) const fn is_closing(&self) -> bool {
        !matches!(self, Self::Serving | Self::LameDuck { .. })
    }
}

/// What the accept loop has come to, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Server {
    /// Somebody else serves.
    Elsewhere,
    /// It accepts.
    Accepting,
    /// Its listener is closed.
    Closed,
    /// Its last connection has ended.
    Gone,
}

/// A place among the open streams, given back when it is dropped.
pub(crate) type StreamPlace = Box<dyn Any + Send + Sync>;

/// Where upgraded connections ask for one. The gate that counts streams lies above the drain.
pub(crate) struct StreamDoor(
    #[cfg_attr(not(feature = "ws"), expect(dead_code, reason = "only WebSockets ask"))]
    pub(crate)  Box<dyn Fn() -> Result<StreamPlace, Refusal> + Send + Sync>,
);

impl fmt::Debug for StreamDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamDoor")
    }
}

/// One for each guard, behind a handle that costs no shared line to clone.
#[derive(Debug)]
pub(crate) struct DrainState {
    life: Arc<Lifecycle>,
    pub(crate) settings: Drain,
    pub(crate) hooks: Hooks,
    pub(crate) tasks: Tasks,
    /// Work that handlers asked to be waited for.
    pub(crate) permits: WaitGroup,
    /// WebSockets that close when they are told. Where an accept loop sees connections, it
    /// counts those that do not.
    pub(crate) sockets: WaitGroup,
    #[cfg_attr(not(feature = "ws"), expect(dead_code, reason = "only WebSockets ask"))]
    pub(crate) stream_door: StreamDoor,
    pub(crate) hurry: Notify,
    pub(crate) stage: watch::Sender<Stage>,
    pub(crate) server: watch::Sender<Server>,
    pub(crate) report: watch::Sender<Option<Arc<DrainReport>>>,
    /// The runtime that the guard was started on: a drain may be ordered from another one.
    pub(crate) runtime: OnceLock<Handle>,
    tally: Mutex<Tally>,
}

/// What is counted on the way out.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) served: u64,
    pub(crate) abandoned: u64,
    pub(crate) closed: Closed,
    pub(crate) cut: Cut,
    pub(crate) stuck: Vec<Stuck>,
    /// Whether an accept loop counts connections here.
    pub(crate) connections_seen: bool,
}

impl Tally {
    /// Writes down something that was cut.
    pub(crate) fn cut(&mut self, reason: Reason, route: &str, age: Duration) {
        let cut = &mut self.cut;
        let (word, count) = match reason {
            Reason::Handshake => ("handshake", &mut cut.handshake),
            Reason::RequestBody => ("request-body", &mut cut.request_body),
            Reason::Handler => ("handler", &mut cut.handler),
            Reason::Body => ("body", &mut cut.body),
            Reason::Stream => ("stream", &mut cut.stream),
            Reason::Upgrade => ("upgrade", &mut cut.upgrade),
            Reason::Task => ("task", &mut cut.task),
        };
        *count += 1;
        let at = self.stuck.partition_point(|other| other.age >= age);
        if at < DrainReport::STUCK_MAX {
            self.stuck.truncate(DrainReport::STUCK_MAX - 1);
            self.stuck.insert(at, Stuck::new(word, route, age));
        }
    }
}

/// Where something was when it was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Handshake,
    RequestBody,
    Handler,
    Body,
    Stream,
    Upgrade,
    Task,
}

impl DrainState {
    pub(crate) fn new(settings: Drain, life: Arc<Lifecycle>, stream_door: StreamDoor) -> Self {
        Self {
            life,
            settings,
            hooks: Hooks::default(),
            tasks: Tasks::default(),
            permits: WaitGroup::default(),
            sockets: WaitGroup::default(),
            stream_door,
            hurry: Notify::new(),
            stage: watch::Sender::new(Stage::Serving),
            server: watch::Sender::new(Server::Elsewhere),
            report: watch::Sender::new(None),
            runtime: OnceLock::new(),
            tally: Mutex::default(),
        }
    }

    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the process is on its way out. Costs requests no shared line.
    pub(crate) fn is_leaving(&self) -> bool {
        self.life.is_leaving()
    }

    /// Returns how far the drain has come.
    pub(crate) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Says that the server has come this far. It never goes back.
    pub(crate) fn server_is(&self, server: Server) {
        self.server.send_if_modified(|known| {
            let ahead = *known < server;
            *known = server.max(*known);
            ahead
        });
    }

    /// Waits until the server has come this far.
    pub(crate) async fn server_reached(&self, server: Server) {
        let mut servers = self.server.subscribe();
        let _ = servers.wait_for(|known| *known >= server).await;
    }
}

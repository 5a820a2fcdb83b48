//! The seam between the doctor and whoever looks at something.

use std::{net::SocketAddr, sync::Mutex, time::Duration};

use steadfast_diagnosis::Id;
use tokio::time::Instant;

use crate::{
    cli::Options,
    clock,
    host::Logs,
    library::Refusal,
    probe::{Probe, Ration},
    target::Target,
};

/// What a collector is handed.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    /// The service that is asked about.
    pub(crate) target: &'a Target,
    /// What the command line says.
    pub(crate) options: &'a Options,
    /// By when the collector has come back; what it holds then is lost.
    pub(crate) deadline: Instant,
    /// When the run began.
    pub(crate) since: Instant,
    /// How many requests may still be sent to the target; whoever asks it takes from here.
    pub(crate) ration: &'a Ration,
    /// The refusals that `--explain` asked for, once they are found.
    pub(crate) refusals: &'a Mutex<Vec<Refusal>>,
    /// What the stages before have found.
    pub(crate) found: &'a Found,
}

/// What the first stages found, for those after them.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Every listening TCP socket that this process may see, whoever owns it.
    pub(crate) listeners: Vec<Listener>,
    /// The processes that listen at the target's address.
    pub(crate) owners: Vec<u32>,
    /// Established and beginning connections that the owners opened: what they depend on.
    pub(crate) outbound: Vec<Connection>,
    /// Whether the target is on this host.
    pub(crate) local: bool,
    /// The port at which the owners listen; 0 for a Unix socket.
    pub(crate) port: u16,
    /// A process in the owners' network namespace, if that is not ours.
    pub(crate) namespace: Option<u32>,
    /// How long the owners' logs were when the run began.
    pub(crate) logs: Logs,
    /// Where the target's name leads.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The first probe, if it was answered before the other stages began.
    pub(crate) first: Option<Probe>,
}

/// A listening socket.
#[derive(Debug, Clone)]
pub(crate) struct Listener {
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    /// The processes that hold it, none if they are not ours to see.
    pub(crate) pids: Vec<u32>,
    /// The name of the first of them (`/proc/PID/comm`).
    pub(crate) program: Option<String>,
    /// A process in its network namespace, if that is not ours.
    pub(crate) namespace: Option<u32>,
}

/// A connection that a process opened.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    /// Where it leads.
    pub(crate) remote: SocketAddr,
    /// Whether it is established; otherwise it still waits for an answer (SYN-SENT).
    pub(crate) established: bool,
}

/// What a collector brings back: `saw(source, tied, observation)` for what it saw,
/// `could_not(id, reason, remedy)` for what it could not look at. It judges nothing; thresholds
/// belong to the rules of `steadfast_diagnosis::knowledge`.
pub(crate) type Collected = steadfast_diagnosis::Evidence;

/// What only the processes and the kernel of the service's own host can say.
pub(crate) const HOST_ONLY: [Id; 7] = [
    Id::AppHung,
    Id::AppWorkersBusy,
    Id::HostAcceptQueueFull,
    Id::HostFdExhausted,
    Id::HostCpuThrottled,
    Id::HostOomKill,
    Id::HostDiskFull,
];

/// Time between the two samples of a counter: long enough for a delta, short enough for the budget.
pub(crate) const SAMPLE_GAP: Duration = Duration::from_secs(2);

impl Job<'_> {
    /// How much time is left, at most this.
    pub(crate) fn within(&self, most: Duration) -> Duration {
        self.deadline
            .saturating_duration_since(clock::now())
            .min(most)
    }

    /// Runs a step for at most this long and not past the deadline; `None` if it was cut.
    pub(crate) async fn bounded<T>(
        &self,
        most: Duration,
        step: impl Future<Output = T>,
    ) -> Option<T> {
        tokio::time::timeout(self.within(most), step).await.ok()
    }
}

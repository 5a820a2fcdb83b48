#![doc = include_str!("../README.md")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "an example whose servers do not start has nobody to return an error to"
)]

mod dashboard;
mod prometheus;
mod shop;
mod story;

use example_testing::{Caller, eventually};
use support::{HaProxy, Postgres, free_port};

pub use dashboard::{Query, queries};
pub use prometheus::{Answers, Sample};
pub use shop::{Instance, TOKEN};
pub use story::{Story, Trouble};

use prometheus::Monitoring;

/// How many instances there are.
pub const INSTANCES: usize = 3;

/// What it starts, with the packages of Debian that bring it.
const PROGRAMS: &[(&str, &str)] = &[
    ("initdb", "postgresql"),
    ("postgres", "postgresql"),
    ("pg_isready", "postgresql"),
    ("haproxy", "haproxy"),
    ("prometheus", "prometheus"),
];

/// Everything that runs. Dropped, it is ended.
#[derive(Debug)]
pub struct Fleet {
    // In the order in which they are to end: nobody asks whom is gone already.
    prometheus: Monitoring,
    haproxy: HaProxy,
    instances: Vec<Instance>,
    _postgres: Postgres,
    front: Caller,
}

impl Fleet {
    /// Says which programs are missing, and what brings them; `None` if all are there.
    #[must_use]
    pub fn missing() -> Option<String> {
        support::missing(PROGRAMS)
    }

    /// Starts it with the program of the shop, and waits until Prometheus has seen every
    /// instance.
    ///
    /// # Panics
    /// A server is not installed ([`missing`](Self::missing) says so before) or does not come up.
    pub async fn start(shop: &str) -> Self {
        let postgres = Postgres::builder().max_connections(60).start();
        let mut instances = Vec::new();
        for _ in 0..INSTANCES {
            instances.push(Instance::start(shop, &postgres).await);
        }
        let port = free_port();
        let servers: Vec<_> = instances.iter().map(Instance::address).collect();
        // An instance that says no is out after two checks, and whoever it refused a
        // connection is sent elsewhere.
        let backend = "    balance roundrobin\n    option httpchk GET /ready/\n    \
                       option redispatch 1\n    retries 3\n    default-server fall 2 rise 1\n";
        let haproxy = HaProxy::start(&HaProxy::config(port, &servers, backend));
        let front = Caller::new(&format!("http://127.0.0.1:{port}"));
        eventually("HAProxy has a server", || async {
            let answer = front.get("/products").await;
            (answer.status == 200).then_some(())
        })
        .await;
        let prometheus = Monitoring::start(&instances);
        let fleet = Self {
            prometheus,
            haproxy,
            instances,
            _postgres: postgres,
            front,
        };
        eventually("Prometheus has seen all of them", || async {
            let seen = fleet.ask("steadfast_phase{phase=\"ready\"} == 1").await;
            (seen.len() == INSTANCES).then_some(())
        })
        .await;
        fleet
    }

    /// Asks Prometheus.
    ///
    /// # Panics
    /// It does not understand the question.
    pub async fn ask(&self, question: &str) -> Answers {
        self.prometheus.ask(question).await
    }

    /// The instances.
    #[must_use]
    pub fn instances(&self) -> &[Instance] {
        &self.instances
    }

    /// A client of the fleet: what it asks, HAProxy sends to an instance.
    #[must_use]
    pub fn front(&self) -> Caller {
        self.front.clone()
    }

    /// Where Prometheus has its own page.
    #[must_use]
    pub fn prometheus_url(&self) -> String {
        self.prometheus.url()
    }

    /// The process ids of the servers beside the instances.
    #[must_use]
    pub fn servers(&self) -> [u32; 2] {
        [self.prometheus.pid(), self.haproxy.pid()]
    }
}

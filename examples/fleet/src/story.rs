//! The trouble that is made, step by step, and the questions in between.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use example_testing::{Caller, eventually};
use tokio::task::JoinSet;

use crate::{Answers, Fleet, queries};

/// What is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// Nothing.
    None,
    /// The database of one instance is paused.
    PausedDatabase,
    /// All have more to do than they can.
    Overload,
    /// One instance is told to leave.
    Drain,
    /// Somebody has taken one out on purpose.
    Maintenance,
}

/// The instance whose database is paused.
const PAUSED: usize = 1;

/// The instance that is drained.
const DRAINED: usize = 0;

/// The instance that is taken out.
const TAKEN_OUT: usize = 2;

/// A fleet to which things happen.
#[derive(Debug)]
pub struct Story {
    fleet: Fleet,
    /// Customers, who end with it.
    traffic: JoinSet<()>,
}

impl Story {
    /// Begins with a few customers.
    #[must_use]
    pub fn begin(fleet: Fleet) -> Self {
        let mut traffic = JoinSet::new();
        for _ in 0..3 {
            traffic.spawn(browse(fleet.front()));
        }
        Self { fleet, traffic }
    }

    /// Returns the fleet.
    #[must_use]
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Returns the name of the instance that is in trouble on its own.
    #[must_use]
    pub fn victim(&self, trouble: Trouble) -> &str {
        let which = match trouble {
            Trouble::Drain => DRAINED,
            Trouble::Maintenance => TAKEN_OUT,
            _ => PAUSED,
        };
        self.fleet.instances()[which].name()
    }

    /// Asks Prometheus what a panel of the dashboard asks; the answers to all its queries.
    pub async fn panel(&self, title: &str) -> Answers {
        let mut answers = Vec::new();
        for query in queries() {
            if query.panel == title {
                answers.extend(self.fleet.ask(&query.expr).await);
            }
        }
        answers
    }

    /// Makes trouble, and returns when Prometheus has seen it. Returns the moment in which it
    /// began, as Unix time.
    pub async fn make(&mut self, trouble: Trouble) -> f64 {
        let began = unix_now();
        match trouble {
            Trouble::None => {}
            Trouble::PausedDatabase => self.fleet.instances()[PAUSED].pause_database(),
            Trouble::Overload => {
                for _ in 0..60 {
                    self.traffic.spawn(work(self.fleet.front()));
                }
            }
            Trouble::Drain => self.fleet.instances()[DRAINED].drain().await,
            Trouble::Maintenance => {
                self.fleet.instances()[TAKEN_OUT]
                    .declare_maintenance()
                    .await;
            }
        }
        eventually("Prometheus sees it", || self.is_seen(trouble)).await;
        began
    }

    /// Ends it, and returns when Prometheus has seen that.
    pub async fn end(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::PausedDatabase => self.fleet.instances()[PAUSED].resume_database(),
            Trouble::Overload => {
                self.traffic.shutdown().await;
                for _ in 0..3 {
                    self.traffic.spawn(browse(self.fleet.front()));
                }
            }
            // There is no way back.
            Trouble::None | Trouble::Drain | Trouble::Maintenance => return,
        }
        eventually("Prometheus sees that it is over", || async {
            let refusing = self.panel("Refusing now").await;
            let down = self.panel("Down now").await;
            (refusing.is_empty() && down.is_empty()).then_some(())
        })
        .await;
    }

    async fn is_seen(&self, trouble: Trouble) -> Option<()> {
        let seen = match trouble {
            Trouble::None => true,
            Trouble::PausedDatabase => {
                let refusing = !self.panel("Refusing now").await.is_empty();
                refusing && !self.panel("Down now").await.is_empty()
            }
            Trouble::Overload => {
                let refusing = self.panel("Refusing now").await;
                refusing.len() >= self.fleet.instances().len()
            }
            Trouble::Drain | Trouble::Maintenance => {
                let out = self.panel("Out of rotation").await;
                let victim = self.victim(trouble);
                out.iter().any(|it| it.label("instance") == victim)
            }
        };
        seen.then_some(())
    }
}

/// A customer who looks at the products now and then.
async fn browse(front: Caller) {
    loop {
        let _ = front.try_ask(http::Method::GET, "/products", &[], "").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// One of a crowd.
async fn work(front: Caller) {
    loop {
        let _ = front
            .try_ask(http::Method::GET, "/work?ms=300", &[], "")
            .await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "a moment that the service tells as wall time is compared with one of this process"
)]
fn unix_now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

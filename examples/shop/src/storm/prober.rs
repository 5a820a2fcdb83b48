//! Asks `/ready/` all the time, as a balancer does.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::client::Client;

const INTERVAL: Duration = Duration::from_millis(100);

/// What the probes saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The last answer, in one line.
    pub(super) line: String,
    pub(super) asked: u64,
    pub(super) times: Vec<Duration>,
}

/// Its clones share what was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Prober(Arc<Mutex<Seen>>);

impl Prober {
    /// Begins to ask; ends with the process.
    pub(super) fn start(client: Client) -> Self {
        let prober = Self::default();
        let asking = prober.clone();
        tokio::spawn(async move {
            loop {
                let began = Instant::now();
                let answer = client.ready().await;
                let took = Instant::now().saturating_duration_since(began);
                let gone = answer.is_none();
                asking.with(|seen| {
                    if let Some(line) = answer {
                        seen.asked += 1;
                        seen.times.push(took);
                        seen.line = line;
                    } else if !seen.line.is_empty() {
                        seen.line = "not ready: gone".to_owned();
                    }
                });
                if gone && asking.seen().asked > 0 {
                    return;
                }
                tokio::time::sleep(INTERVAL).await;
            }
        });
        prober
    }

    pub(super) fn line(&self) -> String {
        self.with(|seen| seen.line.clone())
    }

    pub(super) fn seen(&self) -> Seen {
        self.with(|seen| seen.clone())
    }

    /// Waits until the answer is the one that is waited for. Returns whether it came.
    pub(super) async fn wait(&self, most: Duration, is: impl Fn(&str) -> bool) -> bool {
        let until = Instant::now() + most;
        while !is(&self.line()) {
            if Instant::now() > until {
                return false;
            }
            tokio::time::sleep(INTERVAL / 4).await;
        }
        true
    }

    fn with<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

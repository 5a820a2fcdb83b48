//! Load that does not wait: requests are sent when they are due, whether or not earlier
//! ones have been answered, because that is what a crowd does.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

use super::{
    client::{Ask, Client},
    tally::Tally,
};

/// Most requests of one stream that wait for an answer. What is due beyond it is not sent,
/// and is told.
const UNDER_WAY_MAX: usize = 1000;

type Next = Box<dyn Fn(u64) -> Ask + Send>;
type Until = Box<dyn Fn() -> bool + Send>;

/// So many requests a second, for so long.
pub(super) struct Stream {
    per_second: u32,
    length: Duration,
    next: Next,
    until: Until,
    tally: Arc<Tally>,
}

impl Stream {
    pub(super) fn new(
        per_second: u32,
        length: Duration,
        next: impl Fn(u64) -> Ask + Send + 'static,
    ) -> Self {
        Self {
            per_second,
            length,
            next: Box::new(next),
            until: Box::new(|| false),
            tally: Arc::default(),
        }
    }

    /// Ends the stream early, when this is so.
    pub(super) fn until(mut self, over: impl Fn() -> bool + Send + 'static) -> Self {
        self.until = Box::new(over);
        self
    }

    pub(super) fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    /// Sends them all, and waits for every answer.
    pub(super) async fn run(self, client: Client) {
        let began = Instant::now();
        let room = Arc::new(Semaphore::new(UNDER_WAY_MAX));
        let mut under_way = JoinSet::new();
        let total = self.length.as_secs() * u64::from(self.per_second);
        for number in 0..total {
            let due = began + Duration::from_secs_f64(number as f64 / f64::from(self.per_second));
            tokio::time::sleep_until(due).await;
            if (self.until)() {
                break;
            }
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                self.tally.held_back();
                continue;
            };
            let (client, tally, ask) = (client.clone(), self.tally(), (self.next)(number));
            self.tally.asked();
            under_way.spawn(async move {
                let answer = client.ask(ask).await;
                // From when it was due: a request that was sent late was waited for as well.
                tally.answered(answer, Instant::now().saturating_duration_since(due));
                drop(place);
            });
            while under_way.try_join_next().is_some() {}
        }
        while under_way.join_next().await.is_some() {}
    }
}

//! What comes: bursts, steady streams, and clients that ask again as soon as they have an
//! answer.

use std::{future::Future, time::Duration};

use tokio::{task::JoinSet, time::Instant};

use super::{Answer, App};

/// Asks so often at once.
pub(crate) async fn burst(app: &App, path: &'static str, count: u32) -> Vec<Answer> {
    let mut all = JoinSet::new();
    for _ in 0..count {
        let app = app.clone();
        all.spawn(async move { app.ask(path).await });
    }
    all.join_all().await
}

/// Asks at a rate, whatever becomes of what was asked before.
pub(crate) async fn steady(
    app: &App,
    path: &'static str,
    rate_per_sec: f64,
    time: Duration,
) -> Vec<Answer> {
    let app = app.clone();
    steadily(rate_per_sec, time, move || {
        let app = app.clone();
        async move { app.ask(path).await }
    })
    .await
}

/// Asks at a rate by whatever means.
pub(crate) async fn steadily<F>(
    rate_per_sec: f64,
    time: Duration,
    ask: impl Fn() -> F,
) -> Vec<Answer>
where
    F: Future<Output = Answer> + Send + 'static,
{
    let started_at = Instant::now();
    let mut all = JoinSet::new();
    let count = (time.as_secs_f64() * rate_per_sec).round();
    let mut sent = 0.0;
    while sent < count {
        tokio::time::sleep_until(started_at + Duration::from_secs_f64(sent / rate_per_sec)).await;
        all.spawn(ask());
        sent += 1.0;
    }
    let mut answers = all.join_all().await;
    answers.sort_by_key(|answer| answer.asked_at);
    answers
}

/// So many clients, each of which asks so often, one after the other.
pub(crate) async fn clients(app: &App, path: &'static str, clients: u32, each: u32) -> Vec<Answer> {
    let mut all = JoinSet::new();
    for _ in 0..clients {
        let app = app.clone();
        all.spawn(async move {
            let mut answers = Vec::new();
            for _ in 0..each {
                answers.push(app.ask(path).await);
            }
            answers
        });
    }
    all.join_all().await.concat()
}

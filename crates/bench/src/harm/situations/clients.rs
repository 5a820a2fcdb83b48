//! Clients that go on asking, many and few, on a machine with time and without.

use std::{
    sync::{
        Arc,
        mpsc::{Sender, TryRecvError, channel},
    },
    time::Duration,
};

use serde_json::json;
use support::Relay;

use super::{Places, Seen, Side, Situation};
use crate::stack::{
    load, redis,
    sql::{Routes, postgres, warm},
    upstream::{self, Mood, Upstream},
};

const HOLDS_2: Routes = &[("/", "SELECT 1 FROM pg_sleep(0.002)")];
const HOLDS_NONE: Routes = &[("/", "SELECT 1")];

pub(super) fn situations() -> Vec<Situation> {
    vec![
        Situation::new(
            "cold-200-clients",
            "200 clients on a cold pool of 10, each holding a connection for 2 ms, 20 times",
            |places, side, pace| Box::pin(cold(places, side, pace.pick(5, 20), false)),
        ),
        Situation::new(
            "cold-200-clients-busy",
            "the same on a machine whose processors are busy with something else",
            |places, side, pace| Box::pin(cold(places, side, pace.pick(5, 20), true)),
        ),
        Situation::new(
            "low-rate",
            "5 requests a second on a cold pool of 10",
            |places, side, pace| {
                let time = Duration::from_secs(pace.pick(2, 5));
                Box::pin(steady(places, side, 5.0, time))
            },
        )
        .quick()
        .together(),
        Situation::new(
            "steady-200",
            "200 requests a second on a cold pool of 10",
            |places, side, _| Box::pin(steady(places, side, 200.0, Duration::from_secs(4))),
        ),
        Situation::new(
            "network-blip",
            "nothing passes for 1.5 s, at 20 requests a second on a warm pool of 10",
            |places, side, _| Box::pin(blip(places, side)),
        )
        .together(),
        Situation::new(
            "redis-slow-answers",
            "Redis answers each command after 150 ms, at 20 requests a second on a cold pool of 10",
            |places, side, _| Box::pin(redis_slow(places, side)),
        )
        .together(),
        Situation::new(
            "upstream-2-of-10",
            "an upstream that fails 2 of 10, at 50 requests a second through a breaker",
            |_, side, _| Box::pin(upstream_errors(side)),
        )
        .passes_on()
        .together(),
    ]
}

async fn cold(places: Arc<Places>, side: Side, each: u32, busy: bool) -> Seen {
    let url = places.postgres().await.admin_url();
    let pool = postgres::pool(10, &url);
    let app = postgres::app(side, &pool, HOLDS_2);
    app.ready().await;
    let spinning = busy.then(Spin::start);
    let answers = load::clients(&app, "/", 200, each).await;
    let connections = pool.size();
    drop(spinning);
    Seen {
        answers,
        notes: vec![("connections", json!(connections))],
    }
}

async fn steady(places: Arc<Places>, side: Side, rate: f64, time: Duration) -> Seen {
    let url = places.postgres().await.admin_url();
    let pool = postgres::pool(10, &url);
    let app = postgres::app(side, &pool, HOLDS_NONE);
    app.ready().await;
    load::steady(&app, "/", rate, time).await.into()
}

async fn blip(places: Arc<Places>, side: Side) -> Seen {
    let server = places.postgres().await;
    let relay = Relay::start(server.port());
    let pool = warm(postgres::pool(10, &server.admin_url_at(relay.port())), 10).await;
    let app = postgres::app(side, &pool, HOLDS_NONE);
    app.ready().await;
    let harm = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        relay.pause();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        relay.resume();
    };
    let asked = load::steady(&app, "/", 20.0, Duration::from_secs(5));
    tokio::join!(asked, harm).0.into()
}

async fn redis_slow(places: Arc<Places>, side: Side) -> Seen {
    let relay = Relay::start(places.redis().await.port());
    let url = format!("redis://127.0.0.1:{}/", relay.port());
    let pool = redis::pool(10, &url);
    let app = redis::app(side, &pool, &url, &[("/", "PING")]);
    app.ready().await;
    relay.delay_answers(Duration::from_millis(150));
    load::steady(&app, "/", 20.0, Duration::from_secs(4))
        .await
        .into()
}

async fn upstream_errors(side: Side) -> Seen {
    let server = Upstream::start().await;
    let app = upstream::app(side, server.url());
    app.ready().await;
    server.be(Mood::Failing(2));
    load::steady(&app, "/", 50.0, Duration::from_secs(6))
        .await
        .into()
}

/// Keeps as many processors busy as there are.
struct Spin(Vec<Sender<()>>);

impl Spin {
    fn start() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let spin = |_| {
            let (sender, ended) = channel();
            std::thread::spawn(move || {
                while !matches!(ended.try_recv(), Err(TryRecvError::Disconnected)) {
                    std::hint::spin_loop();
                }
            });
            sender
        };
        Self((0..cores).map(spin).collect())
    }
}

impl Drop for Spin {
    fn drop(&mut self) {
        self.0.clear();
    }
}

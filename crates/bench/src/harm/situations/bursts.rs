//! Many at once, on warm pools and cold ones, with fast connects and slow ones.

use std::{sync::Arc, time::Duration};

use support::{MariaDb, Relay};

use super::{Places, Seen, Side, Situation};
use crate::stack::{
    blocking, load, redis,
    sql::{Routes, mysql, postgres, warm},
};

/// A connection is held for 2 ms, 5 ms and half a second.
const HOLDS_2: Routes = &[("/", "SELECT 1 FROM pg_sleep(0.002)")];
const HOLDS_5: Routes = &[("/", "SELECT 1 FROM pg_sleep(0.005)")];
const HOLDS_500: Routes = &[("/", "SELECT 1 FROM pg_sleep(0.5)")];
const MARIA_HOLDS_2: Routes = &[("/", "SELECT SLEEP(0.002)")];
const PING: redis::Routes = &[("/", "PING")];

/// What a connect takes that is slow: far away, or a busy server.
const SLOW_CONNECT: Duration = Duration::from_millis(1500);

pub(super) fn situations() -> Vec<Situation> {
    vec![
        Situation::new(
            "burst-200",
            "200 at once on a warm pool of 10, each holding a connection for 2 ms",
            |places, side, _| Box::pin(burst(places, side, 200, 10, HOLDS_2)),
        )
        .quick(),
        Situation::new(
            "burst-1000",
            "1000 at once on a warm pool of 10, each holding a connection for 2 ms",
            |places, side, _| Box::pin(burst(places, side, 1000, 10, HOLDS_2)),
        ),
        Situation::new(
            "burst-seconds",
            "16 at once on a warm pool of 2, each holding a connection for 500 ms: the last waits 3.5 s",
            |places, side, _| Box::pin(burst(places, side, 16, 2, HOLDS_500)),
        ),
        Situation::new(
            "burst-cold",
            "200 at once on a cold pool of 10, each holding a connection for 2 ms",
            |places, side, _| Box::pin(burst_with(places, side, Burst::of(200, 10).open(0))),
        ),
        Situation::new(
            "slow-connect-warm",
            "eight bursts of 10 on a pool of 10 with one warm connection, a new one takes 1.5 s",
            |places, side, pace| Box::pin(slow_connects(places, side, 1, pace.pick(3, 8))),
        )
        .quick(),
        Situation::new(
            "slow-connect-cold",
            "20 at once on a cold pool of 10, a connect takes 1.5 s",
            |places, side, _| {
                let burst = Burst::of(20, 10).open(0).connect(SLOW_CONNECT);
                Box::pin(burst_with(places, side, burst))
            },
        ),
        Situation::new(
            "slow-connect-3s",
            "20 at once on a pool of 10 with one warm connection, a new one takes 3 s",
            |places, side, _| {
                let burst = Burst::of(20, 10).open(1).connect(SLOW_CONNECT * 2);
                Box::pin(burst_with(places, side, burst))
            },
        ),
        Situation::new(
            "mariadb-burst-200",
            "200 at once on a warm pool of 10 of MariaDB, each holding a connection for 2 ms",
            |_, side, _| Box::pin(mariadb(side, Duration::ZERO, 200)),
        ),
        Situation::new(
            "mariadb-slow-connect",
            "20 at once on a pool of 10 of MariaDB with one warm connection, a new one takes 1.5 s",
            |_, side, _| Box::pin(mariadb(side, SLOW_CONNECT, 20)),
        ),
        Situation::new(
            "redis-burst-200",
            "200 at once on a warm pool of 10 of Redis, which answers after 2 ms",
            |places, side, _| Box::pin(redis_burst(places, side, 10, Duration::ZERO, 200)),
        )
        .quick(),
        Situation::new(
            "redis-slow-connect",
            "20 at once on a pool of 10 of Redis with one warm connection, a new one takes 1.5 s",
            |places, side, _| Box::pin(redis_burst(places, side, 1, SLOW_CONNECT, 20)),
        ),
    ]
}

#[derive(Clone, Copy)]
struct Burst {
    count: u32,
    size: u32,
    open: u32,
    connect: Duration,
}

impl Burst {
    const fn of(count: u32, size: u32) -> Self {
        Self {
            count,
            size,
            open: size,
            connect: Duration::ZERO,
        }
    }

    const fn open(mut self, open: u32) -> Self {
        self.open = open;
        self
    }

    const fn connect(mut self, time: Duration) -> Self {
        self.connect = time;
        self
    }
}

async fn burst(places: Arc<Places>, side: Side, count: u32, size: u32, routes: Routes) -> Seen {
    let url = places.postgres().await.admin_url();
    let pool = warm(postgres::pool(size, &url), size).await;
    let app = postgres::app(side, &pool, routes);
    app.ready().await;
    load::burst(&app, "/", count).await.into()
}

async fn burst_with(places: Arc<Places>, side: Side, burst: Burst) -> Seen {
    let server = places.postgres().await;
    let relay = Relay::start(server.port());
    let url = server.admin_url_at(relay.port());
    let pool = warm(postgres::pool(burst.size, &url), burst.open).await;
    let app = postgres::app(side, &pool, HOLDS_2);
    app.ready().await;
    relay.delay_connects(burst.connect);
    load::burst(&app, "/", burst.count).await.into()
}

async fn slow_connects(places: Arc<Places>, side: Side, open: u32, rounds: u32) -> Seen {
    let server = places.postgres().await;
    let relay = Relay::start(server.port());
    let pool = warm(postgres::pool(10, &server.admin_url_at(relay.port())), open).await;
    let app = postgres::app(side, &pool, HOLDS_5);
    app.ready().await;
    relay.delay_connects(SLOW_CONNECT);
    let mut answers = Vec::new();
    for _ in 0..rounds {
        answers.extend(load::burst(&app, "/", 10).await);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    answers.into()
}

async fn mariadb(side: Side, connect: Duration, count: u32) -> Seen {
    let server = blocking(|| MariaDb::builder().start());
    let relay = Relay::start(server.port());
    let open = if connect.is_zero() { 10 } else { 1 };
    let pool = warm(mysql::pool(10, &MariaDb::url_at(relay.port())), open).await;
    let app = mysql::app(side, &pool, MARIA_HOLDS_2);
    app.ready().await;
    relay.delay_connects(connect);
    let answers = load::burst(&app, "/", count).await;
    blocking(|| drop(server));
    answers.into()
}

async fn redis_burst(
    places: Arc<Places>,
    side: Side,
    open: usize,
    connect: Duration,
    count: u32,
) -> Seen {
    let relay = Relay::start(places.redis().await.port());
    let url = format!("redis://127.0.0.1:{}/", relay.port());
    let pool = redis::warm(10, open, &url).await;
    let app = redis::app(side, &pool, &url, PING);
    app.ready().await;
    relay.delay_answers(Duration::from_millis(2));
    relay.delay_connects(connect);
    load::burst(&app, "/", count).await.into()
}

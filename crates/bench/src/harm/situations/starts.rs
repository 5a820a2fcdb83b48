//! Applications that are asked as soon as they are started, and restarts behind a balancer
//! that asks nobody whether they are ready.

use std::{sync::Arc, time::Duration};

use support::{Relay, free_port};

use super::{Places, Seen, Side, Situation};
use crate::{
    harm::restarts::{self, Front, How},
    stack::{
        load, redis,
        sql::{Routes, postgres, sqlite},
        upstream::{self, Upstream},
    },
};

const HOLDS_NONE: Routes = &[("/", "SELECT 1")];

/// As a test does that starts its application and asks it: so many requests.
const ASKED: u32 = 10;

pub(super) fn situations() -> Vec<Situation> {
    vec![
        Situation::new(
            "start-and-ask",
            "10 requests at once, in the moment in which the application is started",
            |places, side, _| Box::pin(start_and_ask(places, side, Duration::ZERO)),
        )
        .quick(),
        Situation::new(
            "start-and-ask-slow",
            "the same, and a connect takes 500 ms",
            |places, side, _| {
                Box::pin(start_and_ask(places, side, Duration::from_millis(500)))
            },
        ),
        Situation::new(
            "start-and-ask-gone",
            "the same, and the port of the server is closed",
            |_, side, _| Box::pin(start_without(side)),
        )
        .together(),
        Situation::new(
            "start-and-ask-sqlite",
            "the same on an SQLite in memory",
            |_, side, _| Box::pin(start_on_sqlite(side)),
        )
        .quick(),
        Situation::new(
            "start-and-ask-redis",
            "the same on Redis",
            |places, side, _| Box::pin(start_on_redis(places, side)),
        ),
        Situation::new(
            "start-and-ask-upstream",
            "the same on an HTTP upstream without a check",
            |_, side, _| Box::pin(start_on_upstream(side)),
        ),
        Situation::new(
            "restarts-nginx-killed",
            "two processes behind nginx are killed and started in turns, at 100 requests a second",
            |places, side, pace| {
                let times = pace.pick(2, 4);
                Box::pin(restarts::run(places, side, Front::Nginx, How::Killed, times))
            },
        )
        .passes_on(),
        Situation::new(
            "restarts-haproxy-killed",
            "the same behind HAProxy without checks",
            |places, side, pace| {
                let times = pace.pick(2, 4);
                Box::pin(restarts::run(places, side, Front::HaProxy, How::Killed, times))
            },
        )
        .passes_on(),
        Situation::new(
            "restarts-nginx-told",
            "two processes behind nginx are told to end and started in turns, at 100 requests a second",
            |places, side, _| {
                Box::pin(restarts::run(places, side, Front::Nginx, How::Told, 2))
            },
        )
        .passes_on()
        .together(),
    ]
}

async fn start_and_ask(places: Arc<Places>, side: Side, connect: Duration) -> Seen {
    let server = places.postgres().await;
    let relay = Relay::start(server.port());
    relay.delay_connects(connect);
    let pool = postgres::pool(10, &server.admin_url_at(relay.port()));
    let app = postgres::app(side, &pool, HOLDS_NONE);
    load::burst(&app, "/", ASKED).await.into()
}

async fn start_without(side: Side) -> Seen {
    let url = format!("postgres://nobody@127.0.0.1:{}/nothing", free_port());
    let app = postgres::app(side, &postgres::pool(10, &url), HOLDS_NONE);
    load::burst(&app, "/", ASKED).await.into()
}

async fn start_on_sqlite(side: Side) -> Seen {
    let pool = sqlite::pool(1, "sqlite::memory:");
    let app = sqlite::app(side, &pool, HOLDS_NONE);
    load::burst(&app, "/", ASKED).await.into()
}

async fn start_on_redis(places: Arc<Places>, side: Side) -> Seen {
    let url = places.redis().await.url();
    let app = redis::app(side, &redis::pool(10, &url), &url, &[("/", "PING")]);
    load::burst(&app, "/", ASKED).await.into()
}

async fn start_on_upstream(side: Side) -> Seen {
    let server = Upstream::start().await;
    let app = upstream::app(side, server.url());
    load::burst(&app, "/", ASKED).await.into()
}

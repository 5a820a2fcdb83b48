//! After an outage, and short ones.

use std::time::Duration;

use support::{Postgres, Redis};

use super::{Pace, Seen, Side, Situation};
use crate::stack::{
    Answer, App, blocking, load, redis,
    sql::{Routes, postgres},
};

const HOLDS_NONE: Routes = &[("/", "SELECT 1")];

pub(super) fn situations() -> Vec<Situation> {
    vec![
        Situation::new(
            "outage-at-10",
            "PostgreSQL was gone for 6 s, at 10 requests a second: the 10 s after its return",
            |_, side, pace| Box::pin(outage(side, pace, 10.0)),
        )
        .together(),
        Situation::new(
            "outage-at-3",
            "PostgreSQL was gone for 6 s, at 3 requests a second: the 10 s after its return",
            |_, side, pace| Box::pin(outage(side, pace, 3.0)),
        )
        .together(),
        Situation::new(
            "restart-at-10",
            "PostgreSQL restarts, at 10 requests a second: all requests",
            |_, side, _| Box::pin(restart(side)),
        )
        .quick()
        .together(),
        Situation::new(
            "gone-for-1s-at-10",
            "PostgreSQL is gone for 1.5 s, at 10 requests a second: all requests",
            |_, side, _| Box::pin(gone(side, Duration::from_millis(1500))),
        )
        .together(),
        Situation::new(
            "gone-for-2s-at-10",
            "PostgreSQL is gone for 2.2 s, at 10 requests a second: all requests",
            |_, side, _| Box::pin(gone(side, Duration::from_millis(2200))),
        )
        .together(),
        Situation::new(
            "burst-after-checks",
            "40 at once after an outage and then 40 s of nothing but checks that pass",
            |_, side, pace| Box::pin(after_checks(side, pace)),
        )
        .together(),
        Situation::new(
            "redis-outage-at-10",
            "Redis was gone for 6 s, at 10 requests a second: the 10 s after its return",
            |_, side, pace| Box::pin(redis_outage(side, pace, 10.0)),
        )
        .together(),
        Situation::new(
            "redis-outage-at-3",
            "Redis was gone for 6 s, at 3 requests a second: the 10 s after its return",
            |_, side, pace| Box::pin(redis_outage(side, pace, 3.0)),
        )
        .together(),
    ]
}

/// How long the server is gone, and how long it is looked at afterwards.
const fn times(pace: Pace) -> [Duration; 2] {
    match pace {
        Pace::Quick => [Duration::from_secs(3), Duration::from_secs(4)],
        Pace::Full => [Duration::from_secs(6), Duration::from_secs(10)],
    }
}

/// Asks through an outage, and returns the answers after it and how many of those during it
/// were served all the same.
async fn through(
    app: &App,
    pace: Pace,
    rate: f64,
    harm: impl FnOnce(),
    heal: impl FnOnce(),
) -> Seen {
    let [gone, after] = times(pace);
    let _ = load::steady(app, "/", rate, Duration::from_secs(1)).await;
    blocking(harm);
    let during = tokio::spawn({
        let app = app.clone();
        async move { load::steady(&app, "/", rate, gone).await }
    });
    tokio::time::sleep(gone).await;
    blocking(heal);
    let answers = load::steady(app, "/", rate, after).await;
    let during: Vec<Answer> = during.await.expect("it runs to its end");
    let served = during.iter().filter(|it| it.is_served()).count();
    Seen {
        answers,
        notes: vec![
            ("asked_meanwhile", during.len().into()),
            ("served_meanwhile", served.into()),
        ],
    }
}

async fn outage(side: Side, pace: Pace, rate: f64) -> Seen {
    let server = blocking(|| Postgres::builder().start());
    let pool = postgres::pool(10, &server.admin_url());
    let app = postgres::app(side, &pool, HOLDS_NONE);
    app.ready().await;
    let cell = std::sync::Mutex::new(server);
    let with = |work: fn(&mut Postgres)| work(&mut cell.lock().expect("nobody panics with it"));
    let seen = through(
        &app,
        pace,
        rate,
        || with(Postgres::stop),
        || with(Postgres::start_again),
    )
    .await;
    blocking(|| drop(cell));
    seen
}

async fn restart(side: Side) -> Seen {
    gone(side, Duration::ZERO).await
}

/// Asks while the server goes, stays away for so long, and comes back.
async fn gone(side: Side, away: Duration) -> Seen {
    let mut server = blocking(|| Postgres::builder().start());
    let pool = postgres::pool(10, &server.admin_url());
    let app = postgres::app(side, &pool, HOLDS_NONE);
    app.ready().await;
    let asked = tokio::spawn({
        let app = app.clone();
        async move { load::steady(&app, "/", 10.0, Duration::from_secs(8)).await }
    });
    // Between two requests: one that is being answered when the server goes fails on either side.
    tokio::time::sleep(Duration::from_millis(1050)).await;
    blocking(|| {
        server.stop();
        std::thread::sleep(away);
        server.start_again();
    });
    let answers = asked.await.expect("it runs to its end");
    blocking(|| drop(server));
    answers.into()
}

async fn after_checks(side: Side, pace: Pace) -> Seen {
    let quiet = Duration::from_secs(pace.pick(10, 40));
    let mut server = blocking(|| Postgres::builder().start());
    let pool = postgres::pool(10, &server.admin_url());
    let app = postgres::app(side, &pool, HOLDS_NONE);
    app.ready().await;
    let _ = load::steady(&app, "/", 10.0, Duration::from_secs(1)).await;
    blocking(|| server.stop());
    let _ = load::steady(&app, "/", 10.0, times(pace)[0]).await;
    blocking(|| server.start_again());
    tokio::time::sleep(quiet).await;
    let seen = load::burst(&app, "/", 40).await.into();
    blocking(|| drop(server));
    seen
}

async fn redis_outage(side: Side, pace: Pace, rate: f64) -> Seen {
    let server = blocking(|| Redis::builder().start());
    let url = server.url();
    let pool = redis::pool(10, &url);
    let app = redis::app(side, &pool, &url, &[("/", "PING")]);
    app.ready().await;
    let cell = std::sync::Mutex::new(server);
    let with = |work: fn(&mut Redis)| work(&mut cell.lock().expect("nobody panics with it"));
    let seen = through(
        &app,
        pace,
        rate,
        || with(Redis::stop),
        || with(Redis::start_again),
    )
    .await;
    blocking(|| drop(cell));
    seen
}

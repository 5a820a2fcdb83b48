//! Pools that are larger than what the server has left for them, and smaller; pools that
//! are used up.

use std::time::Duration;

use axum::{Router, routing::get};
use sqlx::{Connection, MySqlConnection, MySqlPool, PgPool, mysql::MySqlConnectOptions};
use support::{MariaDb, PgBouncer, Postgres, Redis};

use super::{Seen, Side, Situation};
use crate::stack::{
    App, blocking, load, redis,
    sql::{Routes, mysql, postgres, warm},
};

const HOLDS_50: Routes = &[("/", "SELECT 1 FROM pg_sleep(0.05)")];
const SIMPLE_HOLDS_50: Routes = &[("/", "/* simple */ SELECT 1 FROM pg_sleep(0.05)")];
const MARIA_HOLDS_50: Routes = &[("/", "SELECT SLEEP(0.05)")];

/// So many clients ask so often.
const CLIENTS: u32 = 8;
const EACH: u32 = 12;

pub(super) fn situations() -> Vec<Situation> {
    vec![
        Situation::new(
            "role-limit-pool-8",
            "PostgreSQL has room for 4 sessions of the role, the pool may have 8, 8 clients ask",
            |_, side, _| Box::pin(role_limit(side, 4, 8)),
        )
        .quick(),
        Situation::new(
            "role-limit-pool-3",
            "PostgreSQL has room for 4 sessions of the role, the pool may have 3, 8 clients ask",
            |_, side, _| Box::pin(role_limit(side, 4, 3)),
        ),
        Situation::new(
            "role-limit-equal",
            "PostgreSQL has room for 3 sessions of the role, and the pool may have 3",
            |_, side, _| Box::pin(role_limit(side, 3, 3)),
        ),
        Situation::new(
            "mariadb-full-pool-8",
            "MariaDB has 4 of 10 sessions left, the pool may have 8, 8 clients ask",
            |_, side, _| Box::pin(mariadb_full(side, 8)),
        ),
        Situation::new(
            "mariadb-full-pool-3",
            "MariaDB has 4 of 10 sessions left, the pool may have 3, 8 clients ask",
            |_, side, _| Box::pin(mariadb_full(side, 3)),
        ),
        Situation::new(
            "pgbouncer-full-pool-8",
            "PgBouncer lets 4 clients in, the pool may have 8, 8 clients ask",
            |_, side, _| Box::pin(pgbouncer_full(side, 8)),
        ),
        Situation::new(
            "pgbouncer-full-pool-3",
            "PgBouncer lets 4 clients in, the pool may have 3, 8 clients ask",
            |_, side, _| Box::pin(pgbouncer_full(side, 3)),
        ),
        Situation::new(
            "redis-full-pool-8",
            "Redis lets 4 clients in, the pool may have 8, 8 clients ask",
            |_, side, _| Box::pin(redis_full(side, 8)),
        ),
        Situation::new(
            "redis-full-pool-3",
            "Redis lets 4 clients in, the pool may have 3, 8 clients ask",
            |_, side, _| Box::pin(redis_full(side, 3)),
        ),
        Situation::new(
            "two-each",
            "4 handlers at once on a pool of 4, each takes a second connection beside its first",
            |_, side, _| Box::pin(two_each(side)),
        )
        .together(),
        Situation::new(
            "pool-used-up",
            "somebody keeps all 4 connections of the pool, and 20 ask",
            |_, side, _| Box::pin(used_up(side)),
        )
        .together(),
    ]
}

async fn role_limit(side: Side, limit: u32, size: u32) -> Seen {
    let server = blocking(|| {
        let server = Postgres::builder().max_connections(50).start();
        let role = format!("CREATE ROLE app LOGIN PASSWORD 'secret' CONNECTION LIMIT {limit}");
        let _ = server.sql(&role);
        server
    });
    let pool = postgres::pool(size, &server.url("postgres", "app", "secret"));
    let app = postgres::app(side, &pool, HOLDS_50);
    app.ready().await;
    let seen = load::clients(&app, "/", CLIENTS, EACH).await.into();
    blocking(|| drop(server));
    seen
}

async fn mariadb_full(side: Side, size: u32) -> Seen {
    let server = blocking(|| MariaDb::builder().setting("max-connections", "10").start());
    let options: MySqlConnectOptions = server.url().parse().expect("the URL is one");
    let mut others = Vec::new();
    for _ in 0..6 {
        let other = MySqlConnection::connect_with(&options).await;
        others.push(other.expect("there is room"));
    }
    let pool: MySqlPool = mysql::pool(size, &server.url());
    let app = mysql::app(side, &pool, MARIA_HOLDS_50);
    app.ready().await;
    let seen = load::clients(&app, "/", CLIENTS, EACH).await.into();
    drop(others);
    blocking(|| drop(server));
    seen
}

async fn pgbouncer_full(side: Side, size: u32) -> Seen {
    let (server, bouncer) = blocking(|| {
        let server = Postgres::builder().max_connections(50).start();
        let bouncer = PgBouncer::builder().setting("max_client_conn", "4");
        let bouncer = bouncer.start(&server);
        (server, bouncer)
    });
    let url = format!("{}?statement-cache-capacity=0", bouncer.admin_url());
    let pool: PgPool = postgres::pool(size, &url);
    let app = postgres::app(side, &pool, SIMPLE_HOLDS_50);
    app.ready().await;
    let seen = load::clients(&app, "/", CLIENTS, EACH).await.into();
    blocking(|| drop((bouncer, server)));
    seen
}

async fn redis_full(side: Side, size: usize) -> Seen {
    let server = blocking(|| Redis::builder().arg("--maxclients").arg("4").start());
    let relay = support::Relay::start(server.port());
    let url = format!("redis://127.0.0.1:{}/", relay.port());
    let pool = redis::pool(size, &url);
    let app = redis::app(side, &pool, &url, &[("/", "PING")]);
    app.ready().await;
    relay.delay_answers(Duration::from_millis(20));
    let seen = load::clients(&app, "/", CLIENTS, EACH).await.into();
    blocking(|| drop(server));
    seen
}

/// The application of one side whose handler holds a connection and asks for another.
fn two_each_app(side: Side, pool: &PgPool) -> App {
    let pause = Duration::from_millis(100);
    if side == Side::Bare {
        let pool = pool.clone();
        let handler = move || {
            let pool = pool.clone();
            async move {
                let _first = pool.acquire().await?;
                tokio::time::sleep(pause).await;
                let _second = pool.acquire().await?;
                Ok::<_, steadfast::Error>("served")
            }
        };
        return App::Bare(Router::new().route("/", get(handler)));
    }
    let dependency = postgres::dependency(pool);
    let guard = steadfast_sqlx::guard(pool, &dependency).build();
    let guard = guard.expect("the settings are right");
    let handler = move || {
        let guard = guard.clone();
        async move {
            let _first = guard.acquire().await?;
            tokio::time::sleep(pause).await;
            let _second = guard.acquire().await?;
            Ok::<_, steadfast::Error>("served")
        }
    };
    App::guarded(Router::new().route("/", get(handler)), &[&dependency])
}

async fn two_each(side: Side) -> Seen {
    let server = blocking(|| Postgres::builder().start());
    let pool = warm(postgres::pool(4, &server.admin_url()), 4).await;
    let app = two_each_app(side, &pool);
    app.ready().await;
    let seen = load::burst(&app, "/", 4).await.into();
    blocking(|| drop(server));
    seen
}

async fn used_up(side: Side) -> Seen {
    let server = blocking(|| Postgres::builder().start());
    let pool = warm(postgres::pool(4, &server.admin_url()), 4).await;
    let app = postgres::app(side, &pool, HOLDS_50);
    app.ready().await;
    let mut kept = Vec::new();
    for _ in 0..4 {
        kept.push(pool.acquire().await.expect("all are idle"));
    }
    let seen = load::burst(&app, "/", 20).await.into();
    drop(kept);
    blocking(|| drop(server));
    seen
}

//! PostgreSQL.

use axum::{Router, http::StatusCode, routing::get};
use sqlx::PgPool;
use support::{Postgres, Relay};

use super::{
    super::watch::{Plan, Seen, observe},
    Expected, Situation, app,
};
use crate::stack::{
    App, blocking,
    sql::{self, Routes, postgres, warm},
};

const ROUTES: Routes = &[
    ("/", "SELECT v FROM t WHERE id = 1"),
    ("/write", "UPDATE t SET v = 'b' WHERE id = 1"),
    ("/twice", "INSERT INTO t VALUES (1, 'a')"),
    ("/typo", "SELEKT 1"),
    ("/bounded", "SELECT pg_sleep(1)"),
];

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text);
    INSERT INTO t VALUES (1, 'a');
    CREATE ROLE app LOGIN PASSWORD 'secret';
    GRANT ALL ON t TO app";

const READ_ONLY: [&str; 2] = [
    "ALTER SYSTEM SET default_transaction_read_only = on",
    "SELECT pg_reload_conf()",
];
const WRITABLE: [&str; 2] = [
    "ALTER SYSTEM RESET default_transaction_read_only",
    "SELECT pg_reload_conf()",
];

/// A trigger says what a server whose disk is full says.
const DISK_FULL: &str = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      RAISE EXCEPTION 'could not extend file \"base/5/16390\": No space left on device'
        USING ERRCODE = '53100', HINT = 'Check free disk space.'; END $$;
    CREATE TRIGGER full_disk BEFORE UPDATE ON t EXECUTE FUNCTION full_disk()";
const DISK_FREE: &str = "DROP TRIGGER full_disk ON t; DROP FUNCTION full_disk";

const PLAN: Plan = Plan::of(sql::NAME);

pub(super) fn situations() -> Vec<Situation> {
    let gone = Expected::says(&["refused", "shutting down", "starting up", "closed", "lost"]);
    let read_only = Expected::says(&["read-only"]);
    vec![
        Situation::new(
            "postgres-stopped",
            "PostgreSQL is stopped, at 10 requests a second",
            gone,
            || Box::pin(stopped(PLAN)),
        )
        .quick(),
        Situation::new(
            "postgres-stopped-slowly-asked",
            "PostgreSQL is stopped, at 1 request a second",
            gone,
            || Box::pin(stopped(PLAN.at(1.0))),
        ),
        Situation::new(
            "postgres-stands-still",
            "PostgreSQL stands still: it takes connections and says nothing",
            Expected::says(&[
                "no answer",
                "answer",
                "timed out",
                "silent",
                "stuck",
                "hang",
            ]),
            || Box::pin(stands_still()),
        ),
        Situation::new(
            "postgres-stopped-hidden",
            "PostgreSQL is stopped, and the application answers every error with 404",
            gone.hides(),
            || Box::pin(hidden()),
        ),
        Situation::new(
            "postgres-read-only",
            "PostgreSQL takes no writes any more; reads go on beside them",
            read_only,
            || Box::pin(writes_fail(&READ_ONLY, &WRITABLE)),
        )
        .quick(),
        Situation::new(
            "postgres-failover",
            "the sessions stay on the demoted server; healed is when new connections lead to the new one",
            read_only,
            || Box::pin(failover()),
        ),
        Situation::new(
            "postgres-disk-full",
            "every write is answered with SQLSTATE 53100; reads go on beside them",
            Expected::says(&["No space left"]),
            || Box::pin(writes_fail(&[DISK_FULL], &[DISK_FREE])),
        ),
        Situation::new(
            "postgres-password-rotated",
            "the password is another; old sessions serve on",
            Expected::says(&["password authentication failed"]).by_check(),
            || Box::pin(newcomers_fail("PASSWORD 'other'", "PASSWORD 'secret'")),
        )
        .quick(),
        Situation::new(
            "postgres-full-for-newcomers",
            "the role has no room for new sessions; old ones serve on",
            Expected::says(&["too many connections"]).by_check(),
            || Box::pin(newcomers_fail("CONNECTION LIMIT 1", "CONNECTION LIMIT -1")),
        ),
        Situation::new(
            "postgres-full-for-all",
            "the role has no room for any session, and the pool is cold",
            Expected::says(&[
                "too many connections for role app",
                "too many connections for role \"app\"",
            ]),
            || Box::pin(full_for_all()),
        ),
        Situation::new(
            "postgres-guard-and-call",
            "every query fails, each in a `call` of the dependency on a connection of its guard",
            Expected::says(&["does not exist"]),
            || Box::pin(guard_and_call()),
        ),
        Situation::new(
            "postgres-unique-violations",
            "every request violates a unique key: the dependency is well",
            Expected::innocent(),
            || Box::pin(innocent("/twice")),
        )
        .quick(),
        Situation::new(
            "postgres-syntax-errors",
            "every request has a syntax error: the dependency is well",
            Expected::innocent(),
            || Box::pin(innocent("/typo")),
        ),
        Situation::new(
            "postgres-statement-timeout",
            "every request is longer than its statement_timeout: the dependency is well",
            Expected::innocent(),
            || Box::pin(statement_timeout()),
        ),
    ]
}

fn server() -> Postgres {
    let server = Postgres::builder().max_connections(30).start();
    for sql in TABLE.split(";\n") {
        let _ = server.sql(sql);
    }
    server
}

fn run(server: &Postgres, sqls: &[&str]) {
    for sql in sqls {
        let _ = server.sql(sql);
    }
}

fn guarded(pool: &PgPool) -> App {
    let dependency = postgres::dependency(pool);
    app(postgres::guarded(pool, &dependency, ROUTES), &dependency)
}

async fn stopped(plan: Plan) -> Seen {
    let mut server = blocking(server);
    let app = guarded(&postgres::pool(5, &server.admin_url()));
    observe(
        &app,
        &plan,
        &mut server,
        Postgres::stop,
        Postgres::start_again,
    )
    .await
}

async fn stands_still() -> Seen {
    let mut server = blocking(server);
    let app = guarded(&postgres::pool(5, &server.admin_url()));
    observe(&app, &PLAN, &mut server, Postgres::pause, Postgres::resume).await
}

async fn hidden() -> Seen {
    let mut server = blocking(server);
    let pool = postgres::pool(5, &server.admin_url());
    let dependency = postgres::dependency(&pool);
    let guard = steadfast_sqlx::guard(&pool, &dependency).build();
    let guard = guard.expect("the settings are right");
    let handler = move || {
        let guard = guard.clone();
        async move {
            let connection = guard.acquire().await.map_err(|_| StatusCode::NOT_FOUND);
            let mut connection = connection?;
            let asked = sqlx::query("SELECT 1").execute(&mut *connection).await;
            asked.map_err(|_| StatusCode::NOT_FOUND)?;
            Ok::<_, StatusCode>("served")
        }
    };
    let app = app(Router::new().route("/", get(handler)), &dependency);
    observe(
        &app,
        &PLAN,
        &mut server,
        Postgres::stop,
        Postgres::start_again,
    )
    .await
}

/// One sort of SQL spoils every write, and another mends it, while reads go on.
async fn writes_fail(sick: &[&str], well: &[&str]) -> Seen {
    let mut server = blocking(server);
    let app = guarded(&postgres::pool(5, &server.admin_url()));
    let plan = PLAN.asks("/write").beside("/");
    observe(
        &app,
        &plan,
        &mut server,
        |server| run(server, sick),
        |server| run(server, well),
    )
    .await
}

async fn failover() -> Seen {
    let (old, new) = blocking(|| (server(), server()));
    let relay = Relay::start(old.port());
    let app = guarded(&postgres::pool(5, &old.admin_url_at(relay.port())));
    let plan = PLAN.asks("/write").beside("/");
    let mut all = (old, new, relay);
    observe(
        &app,
        &plan,
        &mut all,
        |(old, _, _)| run(old, &READ_ONLY),
        |(_, new, relay)| relay.lead_to(new.port()),
    )
    .await
}

/// One session is there when newcomers are kept out, by a word about the role `app`.
async fn newcomers_fail(sick: &str, well: &str) -> Seen {
    let mut server = blocking(server);
    let url = server.url("postgres", "app", "secret");
    let app = guarded(&warm(postgres::pool(5, &url), 1).await);
    let alter = |server: &mut Postgres, how: &str| run(server, &[&format!("ALTER ROLE app {how}")]);
    observe(
        &app,
        &PLAN,
        &mut server,
        |server| alter(server, sick),
        |server| alter(server, well),
    )
    .await
}

async fn full_for_all() -> Seen {
    let mut server = blocking(server);
    let app = guarded(&postgres::pool(5, &server.url("postgres", "app", "secret")));
    let end_all =
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'app'";
    observe(
        &app,
        &PLAN,
        &mut server,
        |server| run(server, &["ALTER ROLE app CONNECTION LIMIT 0", end_all]),
        |server| run(server, &["ALTER ROLE app CONNECTION LIMIT -1"]),
    )
    .await
}

async fn guard_and_call() -> Seen {
    let mut server = blocking(server);
    let pool = postgres::pool(5, &server.admin_url());
    let dependency = postgres::dependency(&pool);
    let guard = steadfast_sqlx::guard(&pool, &dependency).build();
    let guard = guard.expect("the settings are right");
    let called = dependency.clone();
    let handler = move || {
        let (guard, called) = (guard.clone(), called.clone());
        async move {
            let mut connection = guard.acquire().await?;
            let query = sqlx::query("SELECT v FROM t").execute(&mut *connection);
            let answered = called.call(query).await;
            // As an error type of the application's own does.
            answered
                .map(|_| "served")
                .map_err(|error| match called.explain(&error) {
                    Some(refusal) => steadfast::Error::from(refusal),
                    None => error.into(),
                })
        }
    };
    let app = app(Router::new().route("/", get(handler)), &dependency);
    observe(
        &app,
        &PLAN,
        &mut server,
        |server| run(server, &["ALTER TABLE t RENAME TO gone"]),
        |server| run(server, &["ALTER TABLE gone RENAME TO t"]),
    )
    .await
}

async fn innocent(path: &'static str) -> Seen {
    let mut server = blocking(server);
    let app = guarded(&postgres::pool(5, &server.admin_url()));
    let plan = PLAN.then_asks(path).beside("/").harmless();
    observe(&app, &plan, &mut server, |_| {}, |_| {}).await
}

async fn statement_timeout() -> Seen {
    let mut server = blocking(server);
    let url = server.admin_url() + "?options=-c%20statement_timeout%3D50ms";
    let app = guarded(&postgres::pool(5, &url));
    let plan = PLAN.then_asks("/bounded").beside("/").harmless();
    observe(&app, &plan, &mut server, |_| {}, |_| {}).await
}

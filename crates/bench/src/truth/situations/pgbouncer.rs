//! PgBouncer, with transaction pooling.

use support::{PgBouncer, Postgres};

use super::{
    super::watch::{Plan, Seen, observe},
    Expected, Situation, app,
};
use crate::stack::{
    App, blocking,
    sql::{self, Routes, postgres},
};

const ROUTES: Routes = &[("/", "/* simple */ SELECT 1")];

const PLAN: Plan = Plan::of(sql::NAME);

pub(super) fn situations() -> Vec<Situation> {
    vec![
        Situation::new(
            "pgbouncer-server-stopped",
            "PostgreSQL is stopped behind a PgBouncer that lives",
            Expected::says(&["server", "pgbouncer"]),
            || Box::pin(server_stopped()),
        )
        .quick(),
        Situation::new(
            "pgbouncer-server-stopped-slowly-asked",
            "the same, at 1 request a second",
            Expected::says(&["server", "pgbouncer"]),
            || Box::pin(server_stopped_at(1.0)),
        ),
        Situation::new(
            "pgbouncer-stopped",
            "PgBouncer is stopped",
            Expected::says(&["refused", "shutting down", "shut down", "closed"]),
            || Box::pin(stopped()),
        ),
        Situation::new(
            "pgbouncer-paused",
            "PgBouncer is paused by its console, so queries wait in it",
            Expected::says(&[
                "no answer",
                "answer",
                "timed out",
                "silent",
                "stuck",
                "hang",
            ]),
            || Box::pin(paused()),
        ),
        Situation::new(
            "pgbouncer-full-for-newcomers",
            "PgBouncer lets no more clients in; old sessions serve on",
            Expected::says(&["no more connections allowed"])
                .never_class(&["unhealthy"])
                .by_check(),
            || Box::pin(full_for_newcomers()),
        ),
        Situation::new(
            "pgbouncer-full-for-all",
            "PgBouncer lets nobody in, and the pool is cold",
            Expected::says(&["no more connections allowed"]).never_class(&["unhealthy"]),
            || Box::pin(full_for_all()),
        ),
    ]
}

fn servers() -> (Postgres, PgBouncer) {
    let server = Postgres::builder().max_connections(30).start();
    let bouncer = PgBouncer::builder()
        .setting("server_login_retry", "1")
        .start(&server);
    (server, bouncer)
}

fn guarded(bouncer: &PgBouncer) -> App {
    let url = bouncer.admin_url() + "?statement-cache-capacity=0";
    let pool = postgres::pool(5, &url);
    let dependency = postgres::dependency(&pool);
    app(postgres::guarded(&pool, &dependency, ROUTES), &dependency)
}

fn tell(bouncer: &PgBouncer, commands: &[&str]) {
    for command in commands {
        let _ = bouncer.console(command);
    }
}

async fn server_stopped() -> Seen {
    server_stopped_at(PLAN.rate_per_sec).await
}

async fn server_stopped_at(rate: f64) -> Seen {
    let mut both = blocking(servers);
    let app = guarded(&both.1);
    observe(
        &app,
        &PLAN.at(rate),
        &mut both,
        |(server, _)| server.stop(),
        |(server, _)| server.start_again(),
    )
    .await
}

async fn stopped() -> Seen {
    let mut both = blocking(servers);
    let app = guarded(&both.1);
    observe(
        &app,
        &PLAN,
        &mut both,
        |(_, bouncer)| bouncer.stop(),
        |(_, bouncer)| bouncer.start_again(),
    )
    .await
}

async fn paused() -> Seen {
    let mut both = blocking(servers);
    let app = guarded(&both.1);
    observe(
        &app,
        &PLAN,
        &mut both,
        |(_, bouncer)| tell(bouncer, &["PAUSE"]),
        |(_, bouncer)| tell(bouncer, &["RESUME"]),
    )
    .await
}

async fn full_for_newcomers() -> Seen {
    let mut both = blocking(servers);
    let app = guarded(&both.1);
    observe(
        &app,
        &PLAN,
        &mut both,
        // Administrators are let in all the same.
        |(_, bouncer)| tell(bouncer, &["SET max_client_conn = 1"]),
        |(_, bouncer)| tell(bouncer, &["SET max_client_conn = 100"]),
    )
    .await
}

async fn full_for_all() -> Seen {
    let mut both = blocking(servers);
    let app = guarded(&both.1);
    observe(
        &app,
        &PLAN,
        &mut both,
        |(_, bouncer)| {
            bouncer.stop();
            bouncer.start_again_with("max_client_conn", "0");
        },
        |(_, bouncer)| tell(bouncer, &["SET max_client_conn = 100"]),
    )
    .await
}

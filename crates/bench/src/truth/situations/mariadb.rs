//! MariaDB.

use sqlx::{Connection, MySqlConnection, MySqlPool};
use support::MariaDb;
use tokio::runtime::Handle;

use super::{
    super::watch::{Plan, Seen, observe},
    Expected, Situation, app,
};
use crate::stack::{
    App, blocking,
    sql::{self, Routes, mysql, warm},
};

const ROUTES: Routes = &[
    ("/", "SELECT v FROM app.t WHERE id = 1"),
    ("/write", "UPDATE app.t SET v = v + 1 WHERE id = 1"),
    ("/twice", "INSERT INTO app.t VALUES (1, 1)"),
];

const PLAN: Plan = Plan::of(sql::NAME);

pub(super) fn situations() -> Vec<Situation> {
    vec![
        Situation::new(
            "mariadb-stopped",
            "MariaDB is stopped",
            Expected::says(&["refused", "shutdown", "closed", "lost", "eof"]),
            || Box::pin(stopped()),
        ),
        Situation::new(
            "mariadb-stands-still",
            "MariaDB stands still: it takes connections and says nothing",
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
            "mariadb-read-only",
            "MariaDB takes no writes any more (error 1290); reads go on beside them",
            Expected::says(&["read-only", "read_only"]),
            || Box::pin(read_only()),
        )
        .quick(),
        Situation::new(
            "mariadb-full-for-newcomers",
            "the user is at max_user_connections of MariaDB; old sessions serve on",
            Expected::says(&["too many connections", "max_user_connections"]).by_check(),
            || Box::pin(full_for_newcomers()),
        ),
        Situation::new(
            "mariadb-password-rotated",
            "the password is another; old sessions serve on",
            Expected::says(&["access denied"]).by_check(),
            || Box::pin(password_rotated()),
        ),
        Situation::new(
            "mariadb-duplicate-keys",
            "every request violates a unique key: the dependency is well",
            Expected::innocent(),
            || Box::pin(innocent()),
        ),
    ]
}

fn server() -> MariaDb {
    let server = MariaDb::builder().start();
    run(
        &server,
        "CREATE TABLE app.t (id INT PRIMARY KEY, v INT); INSERT INTO app.t VALUES (1, 1)",
    );
    server
}

fn run(server: &MariaDb, sql: &str) {
    let _ = server.sql(sql);
}

fn guarded(pool: &MySqlPool) -> App {
    let dependency = mysql::dependency(pool);
    app(mysql::guarded(pool, &dependency, ROUTES), &dependency)
}

async fn stopped() -> Seen {
    let mut server = blocking(server);
    let app = guarded(&mysql::pool(5, &server.url()));
    observe(
        &app,
        &PLAN,
        &mut server,
        MariaDb::stop,
        MariaDb::start_again,
    )
    .await
}

async fn stands_still() -> Seen {
    let mut server = blocking(server);
    let app = guarded(&mysql::pool(5, &server.url()));
    observe(&app, &PLAN, &mut server, MariaDb::pause, MariaDb::resume).await
}

async fn read_only() -> Seen {
    let mut server = blocking(server);
    let app = guarded(&mysql::pool(5, &server.url()));
    observe(
        &app,
        &PLAN.asks("/write").beside("/"),
        &mut server,
        |server| run(server, "SET GLOBAL read_only = 1"),
        |server| run(server, "SET GLOBAL read_only = 0"),
    )
    .await
}

/// A user's sessions are counted from the first on that is opened under a limit, so the limit
/// is there before the application, and the harm is others who take what is left.
async fn full_for_newcomers() -> Seen {
    let server = blocking(server);
    run(
        &server,
        "ALTER USER app@'127.0.0.1' WITH MAX_USER_CONNECTIONS 8",
    );
    let app = guarded(&warm(mysql::pool(5, &server.url()), 1).await);
    let mut others = (server, Vec::new());
    observe(
        &app,
        &PLAN,
        &mut others,
        |(server, taken)| {
            let url = server.url();
            let runtime = Handle::current();
            taken.extend(std::iter::from_fn(|| {
                runtime.block_on(MySqlConnection::connect(&url)).ok()
            }));
        },
        |(_, taken)| taken.clear(),
    )
    .await
}

async fn password_rotated() -> Seen {
    let mut server = blocking(server);
    let app = guarded(&warm(mysql::pool(5, &server.url()), 1).await);
    observe(
        &app,
        &PLAN,
        &mut server,
        |server| run(server, "CREATE TABLE app.old AS SELECT authentication_string s FROM mysql.user WHERE user = 'app'; ALTER USER app@'127.0.0.1' IDENTIFIED BY 'other'"),
        |server| {
            let old = server.sql("SELECT s FROM app.old");
            run(server, &format!("ALTER USER app@'127.0.0.1' IDENTIFIED BY PASSWORD '{old}'"));
        },
    )
    .await
}

async fn innocent() -> Seen {
    let mut server = blocking(server);
    let app = guarded(&mysql::pool(5, &server.url()));
    let plan = PLAN.then_asks("/twice").beside("/").harmless();
    observe(&app, &plan, &mut server, |_| {}, |_| {}).await
}

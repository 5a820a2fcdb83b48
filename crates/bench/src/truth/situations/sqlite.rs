//! SQLite, whose server is a file.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use sqlx::{Executor, SqlitePool, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use super::{
    super::watch::{Plan, Seen, observe},
    Expected, Situation, app,
};
use crate::stack::{
    App,
    sql::{self, Routes, sqlite},
};

const ROUTES: Routes = &[
    ("/", "SELECT count(*) FROM t"),
    ("/write", "INSERT INTO t (v) VALUES (zeroblob(3000))"),
    ("/null", "INSERT INTO t (v) VALUES (NULL)"),
];

/// No file grows beyond these many pages, as on a disk that is full.
const PAGES_MAX: &str = "PRAGMA max_page_count = 400";

const PLAN: Plan = Plan::of(sql::NAME);

pub(super) fn situations() -> Vec<Situation> {
    vec![
        Situation::new(
            "sqlite-file-moved",
            "the file is moved away: reads go on, writes fail",
            Expected::says(&["readonly", "read-only", "moved", "unable to open"]),
            || Box::pin(moved()),
        )
        .quick(),
        Situation::new(
            "sqlite-full",
            "the file cannot grow any more: reads go on, writes fail",
            Expected::says(&["full"]),
            || Box::pin(full()),
        )
        .quick(),
        Situation::new(
            "sqlite-journal-blocked",
            "no journal can be made beside the file: reads go on, writes fail",
            Expected::says(&["unable to open"]),
            || Box::pin(journal_blocked()),
        ),
        Situation::new(
            "sqlite-constraints",
            "every request violates a constraint: the dependency is well",
            Expected::innocent(),
            || Box::pin(innocent()),
        )
        .quick(),
    ]
}

struct File {
    dir: TempDir,
    pool: SqlitePool,
}

impl File {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("there is room for a temporary directory");
        let path = dir.path().join("db");
        fs::File::create(&path).expect("the directory can be written");
        // It is there from now on: what an application would make anew is another database.
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false);
        let pool = sqlite::Options::new().max_connections(5);
        let pool = pool
            .after_connect(|connection, _| {
                Box::pin(async move { connection.execute(PAGES_MAX).await.map(drop) })
            })
            .connect_lazy_with(options);
        let made = pool.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB NOT NULL)");
        made.await.expect("a table can be made");
        let made = pool.execute("CREATE TABLE filler (v BLOB)").await;
        made.expect("a table can be made");
        Self { dir, pool }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn guarded(&self) -> App {
        let dependency = sqlite::dependency(&self.pool);
        app(
            sqlite::guarded(&self.pool, &dependency, ROUTES),
            &dependency,
        )
    }

    /// Runs a statement beside the application until it fails.
    fn repeat(&self, sql: &'static str, times: usize) {
        let work = async {
            for _ in 0..times {
                if self.pool.execute(sql).await.is_err() {
                    return;
                }
            }
        };
        tokio::runtime::Handle::current().block_on(work);
    }
}

async fn moved() -> Seen {
    let mut file = File::new().await;
    let app = file.guarded();
    let rename = |file: &File, from: &str, to: &str| {
        fs::rename(file.path(from), file.path(to)).expect("the directory can be written");
    };
    observe(
        &app,
        &PLAN.asks("/write").beside("/"),
        &mut file,
        |file| rename(file, "db", "moved"),
        |file| rename(file, "moved", "db"),
    )
    .await
}

async fn full() -> Seen {
    let mut file = File::new().await;
    let app = file.guarded();
    observe(
        &app,
        &PLAN.asks("/write").beside("/"),
        &mut file,
        |file| {
            file.repeat("INSERT INTO filler VALUES (zeroblob(100000))", 1000);
            file.repeat("INSERT INTO filler VALUES (zeroblob(2000))", 1000);
        },
        |file| file.repeat("DELETE FROM filler", 1),
    )
    .await
}

async fn journal_blocked() -> Seen {
    let mut file = File::new().await;
    let app = file.guarded();
    observe(
        &app,
        &PLAN.asks("/write").beside("/"),
        &mut file,
        |file| {
            // Root may write everywhere, but not through a link that leads nowhere; and readers
            // look where it leads, so for them there is no journal. The moment without one
            // comes between two writes.
            let nowhere = file.path("nowhere/nothing");
            while symlink(&nowhere, file.path("db-journal")).is_err() {
                std::thread::yield_now();
            }
        },
        |file| fs::remove_file(file.path("db-journal")).expect("it is a link"),
    )
    .await
}

async fn innocent() -> Seen {
    let mut file = File::new().await;
    let app = file.guarded();
    let plan = PLAN.then_asks("/null").beside("/").harmless();
    observe(&app, &plan, &mut file, |_| {}, |_| {}).await
}

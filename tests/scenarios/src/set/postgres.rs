//! PostgreSQL and PgBouncer, behind an application that answers 503 while they are sick.

use std::{
    io::Write,
    process::{Child, Command, Stdio},
};

use support::{PgBouncer, Postgres, PostgresBuilder};

use super::{EXPLAINED, Scenario};
use crate::stage::{Side, Stage, until};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "postgres-down",
        is: "PostgreSQL was stopped",
        says: &["pg.down"],
        exit: EXPLAINED,
        quick: false,
        set_up: |side| {
            let mut postgres = small().start();
            if side == Side::Sick {
                postgres.stop();
            }
            behind(side, postgres)
        },
    },
    Scenario {
        name: "postgres-paused",
        is: "PostgreSQL stands still: connections are made and never answered",
        says: &["pg.hung"],
        exit: EXPLAINED,
        quick: true,
        set_up: |side| {
            let mut postgres = small().start();
            if side == Side::Sick {
                postgres.pause();
            }
            behind(side, postgres)
        },
    },
    Scenario {
        name: "postgres-reserved-left",
        is: "every slot of the application is taken, those for superusers are free",
        says: &["pg.exhausted"],
        exit: EXPLAINED,
        quick: true,
        set_up: |side| {
            let postgres = small()
                .setting("superuser_reserved_connections", "2")
                .start();
            let count = if side == Side::Sick { 4 } else { 1 };
            let clients = clients(&postgres, count, "select pg_sleep(600)");
            behind(side, postgres).keep(clients)
        },
    },
    Scenario {
        name: "postgres-all-slots",
        is: "every slot is taken, the superusers' too",
        says: &["pg.exhausted"],
        exit: EXPLAINED,
        quick: false,
        set_up: |side| {
            let postgres = small().start();
            let count = if side == Side::Sick { 6 } else { 1 };
            let clients = clients(&postgres, count, "select pg_sleep(600)");
            behind(side, postgres).keep(clients)
        },
    },
    Scenario {
        name: "postgres-idle-in-transaction",
        is: "most slots are held by transactions that do nothing",
        says: &["pg.idle_in_tx"],
        exit: EXPLAINED,
        quick: false,
        set_up: |side| {
            let postgres = small().start();
            let count = if side == Side::Sick { 4 } else { 0 };
            let clients = clients(&postgres, count, "begin; select 1;");
            if side == Side::Sick {
                // The rule asks for half a minute of doing nothing.
                std::thread::sleep(std::time::Duration::from_secs(32));
            }
            behind(side, postgres).keep(clients)
        },
    },
    Scenario {
        name: "postgres-read-only",
        is: "PostgreSQL takes no writes",
        says: &["pg.read_only"],
        exit: EXPLAINED,
        quick: false,
        set_up: |side| {
            let only = if side == Side::Sick { "on" } else { "off" };
            behind(
                side,
                small()
                    .setting("default_transaction_read_only", only)
                    .start(),
            )
        },
    },
    Scenario {
        name: "pgbouncer-full",
        is: "PgBouncer takes no more clients",
        says: &["pgb.client_limit"],
        exit: EXPLAINED,
        quick: false,
        set_up: |side| {
            let postgres = small().start();
            let most = if side == Side::Sick { "1" } else { "20" };
            let bouncer = PgBouncer::builder()
                .setting("max_client_conn", most)
                .start(&postgres);
            let url = bouncer.url("postgres", "postgres", support_password(&postgres).as_str());
            let client = vec![psql(&url, "select pg_sleep(600)")];
            until("the client is served", || {
                postgres
                    .sql("select count(*) from pg_stat_activity where query like '%pg_sleep(600)%'")
                    != "0"
            });
            let mut stage = Stage::depending(side).tell("--pg", &url);
            stage.postgres = Some(bouncer.port());
            stage.keep(postgres).keep(bouncer).keep(Clients(client))
        },
    },
];

fn small() -> PostgresBuilder {
    Postgres::builder().max_connections(6)
}

/// The application in front of it, and the doctor with a superuser's login that the application
/// would have: where reserved slots matter, a login of an ordinary role.
fn behind(side: Side, postgres: Postgres) -> Stage {
    let mut stage = Stage::depending(side).tell("--pg", postgres.admin_url());
    stage.postgres = Some(postgres.port());
    stage.keep(postgres)
}

/// What stands between the colon and the at.
fn support_password(postgres: &Postgres) -> String {
    let url = postgres.admin_url();
    let inner = url.split('@').next().unwrap_or_default();
    inner.rsplit(':').next().unwrap_or_default().to_owned()
}

/// Sessions that are held.
pub(super) struct Clients(Vec<Child>);

fn clients(postgres: &Postgres, count: usize, sql: &str) -> Clients {
    let _ = postgres.sql("do $$ begin if not exists (select from pg_roles where rolname = 'app') then create role app login password 'app'; end if; end $$");
    let url = postgres.url("postgres", "app", "app");
    let mut clients = Vec::new();
    // While the superuser counts, there is a slot less: whoever was refused comes again.
    until("the sessions stand", || {
        clients.retain_mut(|it: &mut Child| it.try_wait().is_ok_and(|ended| ended.is_none()));
        while clients.len() < count {
            clients.push(psql(&url, sql));
        }
        if count < 6 {
            let counted = postgres
                .sql("select count(*) from pg_stat_activity where usename = 'app' and query <> ''");
            counted.trim() == count.to_string()
        } else {
            let output = Command::new("psql").args([&url, "-c", "select 1"]).output();
            output.is_ok_and(|it| !it.status.success())
        }
    });
    Clients(clients)
}

fn psql(url: &str, sql: &str) -> Child {
    let mut child = Command::new("psql")
        .args([url, "-q"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("psql is installed");
    if let Some(stdin) = &mut child.stdin {
        let _ = stdin.write_all(format!("{sql};\n").as_bytes());
    }
    child
}

impl Drop for Clients {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

//! PostgreSQL.

use std::time::{Duration, Instant};

use support::Postgres;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

use crate::{
    App, Told, doctor,
    told::{becomes_silent_on, doctor_with, wait_for_answer},
};

/// Sessions that stay until they are dropped.
pub(crate) struct Held {
    runtime: Runtime,
    sessions: Vec<Client>,
}

impl Held {
    pub(crate) fn open(url: &str, count: usize) -> Self {
        let runtime = Runtime::new().unwrap();
        let sessions = (0..count).map(|_| {
            runtime.block_on(async {
                let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
                tokio::spawn(connection);
                client
            })
        });
        let sessions = sessions.collect();
        Self { runtime, sessions }
    }

    fn run(&self, at: usize, sql: &str) {
        self.runtime
            .block_on(self.sessions[at].batch_execute(sql))
            .unwrap();
    }

    /// Begins a statement again and again, until it did not end by itself for two seconds.
    fn begin_again_until_it_waits(&self, session: Client, sql: &'static str) {
        self.runtime.spawn(async move {
            let mut began = Instant::now();
            while session.batch_execute(sql).await.is_ok()
                && began.elapsed() < Duration::from_secs(2)
            {
                began = Instant::now();
            }
        });
    }

    /// Begins a statement that will not end by itself.
    fn begin(&self, session: Client, sql: &'static str) {
        self.runtime.spawn(async move {
            let _ = session.batch_execute(sql).await;
        });
    }
}

/// Asks about a service that answers 503, and uses this server.
fn asked(url: &str) -> Told {
    let app = App::failing();
    doctor(&[&app.url(), "--pg", url])
}

/// Asks how many sessions have waited in this way for longer than a finding takes, in its whole
/// seconds too.
fn waiting_long(how: &str) -> String {
    format!(
        "SELECT count(*) FROM pg_stat_activity \
        WHERE {how} AND clock_timestamp() - query_start > interval '6 seconds'"
    )
}

#[test]
fn a_healthy_server_is_silent() {
    let postgres = Postgres::builder().max_connections(10).start();
    let app = App::well();
    let url = postgres.admin_url();
    let told = doctor(&[&app.url(), "--pg", &url]);
    told.is_silent_on(&["pg.", "pgb.", "dep."])
        .keeps_secret("admin-of-the-test");
    told.sees("server", "reached", "answers")
        .sees("postgres", "slots", "\"max\":10");
    assert_eq!(told.code, 0, "{told:?}");
}

#[test]
fn a_server_that_is_stopped_is_down() {
    let mut postgres = Postgres::builder().start();
    postgres.stop();
    asked(&postgres.admin_url())
        .names("pg.down")
        .keeps_secret("admin-of-the-test");
}

#[test]
fn a_paused_server_is_hung() {
    let mut postgres = Postgres::builder().start();
    let url = postgres.admin_url();
    postgres.pause();
    asked(&url)
        .names("pg.hung")
        .sees("server", "stopped", "postgres");
    postgres.resume();
    asked(&url).is_silent_on(&["pg."]);
}

#[test]
fn a_server_that_recovers_is_starting() {
    let mut postgres = Postgres::builder().start();
    postgres.stop();
    postgres.start_as_cold_standby();
    asked(&postgres.admin_url())
        .names("pg.starting")
        .sees("postgres", "error", "57P03");
}

#[test]
fn slots_that_are_gone_for_the_application_are_seen_while_some_are_reserved() {
    let postgres = Postgres::builder()
        .max_connections(6)
        .setting("superuser_reserved_connections", "2")
        .start();
    let _ = postgres.sql("CREATE ROLE app LOGIN PASSWORD 'app'");
    let url = postgres.url("postgres", "app", "app");
    let held = Held::open(&url, 4);
    // The message after the login, which nobody without a password gets to see.
    asked(&url)
        .names("pg.exhausted")
        .sees("postgres", "error", "53300");
    // A superuser still gets in, and sees the same.
    asked(&postgres.admin_url())
        .names("pg.exhausted")
        .sees("postgres", "slots", "\"reserved\":2");
    drop(held);
    becomes_silent_on(&["pg."], || asked(&url));
}

#[test]
fn all_slots_taken_are_seen_without_a_password() {
    let postgres = Postgres::builder().max_connections(5).start();
    let _held = Held::open(&postgres.admin_url(), 5);
    let stranger = format!("postgres://127.0.0.1:{}/postgres", postgres.port());
    asked(&stranger)
        .names("pg.exhausted")
        .sees("postgres", "error", "53300");
}

#[test]
fn sessions_idle_in_a_transaction_are_told_from_busy_ones() {
    let postgres = Postgres::builder().max_connections(10).start();
    let held = Held::open(&postgres.admin_url(), 6);
    for at in 0..6 {
        held.run(at, "BEGIN; SELECT 1");
    }
    let idle = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' \
        AND clock_timestamp() - state_change > interval '5 seconds'";
    wait_for_answer("6", || postgres.sql(idle));
    let told = asked(&postgres.admin_url());
    told.sees("postgres", "idle_in_transaction", "\"count\":6");
    for at in 0..6 {
        held.run(at, "ROLLBACK");
    }
    asked(&postgres.admin_url()).is_silent_on(&["pg.idle"]);
}

#[test]
fn the_session_at_the_root_of_the_locks_is_named() {
    let postgres = Postgres::builder().start();
    let _ = postgres.sql("CREATE TABLE stock (n int); INSERT INTO stock VALUES (1)");
    let mut held = Held::open(&postgres.admin_url(), 3);
    held.run(0, "BEGIN; LOCK TABLE stock");
    for _ in 0..2 {
        let session = held.sessions.pop().unwrap();
        held.begin(session, "SELECT n FROM stock");
    }
    wait_for_answer("2", || {
        postgres.sql(&waiting_long("wait_event_type = 'Lock'"))
    });
    let told = asked(&postgres.admin_url());
    told.names("pg.locks")
        .sees("postgres", "locks", "\"waiting\":2");
    held.run(0, "ROLLBACK");
    becomes_silent_on(&["pg."], || asked(&postgres.admin_url()));
}

#[test]
fn a_server_that_takes_no_writes_is_read_only() {
    let postgres = Postgres::builder()
        .setting("default_transaction_read_only", "on")
        .start();
    asked(&postgres.admin_url()).finds("pg.read_only");
}

#[test]
fn commits_that_wait_for_a_standby_are_told() {
    let postgres = Postgres::builder().start();
    let _ = postgres.sql("CREATE TABLE stock (n int)");
    let mut held = Held::open(&postgres.admin_url(), 2);
    // Its own commit is not waited for; the next one is.
    let _ = postgres.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    let _ = postgres.sql("SELECT pg_reload_conf()");
    for _ in 0..2 {
        let session = held.sessions.pop().unwrap();
        // The checkpointer tells the server of the setting, whenever it gets to it; until then
        // commits wait for nobody.
        held.begin_again_until_it_waits(session, "INSERT INTO stock VALUES (1)");
    }
    wait_for_answer("2", || {
        postgres.sql(&waiting_long("wait_event = 'SyncRep'"))
    });
    asked(&postgres.admin_url())
        .names("pg.replication")
        .sees("postgres", "standbys", "nobody");
    let _ = postgres.sql("ALTER SYSTEM RESET synchronous_standby_names");
    let _ = postgres.sql("SELECT pg_reload_conf()");
    // The checkpointer lets them go, whenever it gets to it.
    becomes_silent_on(&["pg."], || asked(&postgres.admin_url()));
}

#[test]
fn without_a_url_the_variables_of_psql_lead_to_the_server() {
    let postgres = Postgres::builder().max_connections(9).start();
    let app = App::well();
    let port = postgres.port().to_string();
    let named = [
        ("PGHOST", "127.0.0.1"),
        ("PGPORT", port.as_str()),
        ("PGUSER", "postgres"),
        ("PGPASSWORD", "admin-of-the-test"),
        ("PGDATABASE", "postgres"),
    ];
    doctor_with(&named, &["--pg", &app.url()])
        .is_silent_on(&["pg.", "dep."])
        .sees("postgres", "slots", "\"max\":9")
        .sees("postgres", "standbys", "\"connected\":0")
        .keeps_secret("admin-of-the-test");
    // Nobody asked for it.
    let told = doctor_with(&named, &[&app.url()]);
    assert!(!format!("{told:?}").contains(&format!("127.0.0.1:{port}")));
}

#[test]
fn a_wrong_password_is_no_fault_of_the_server() {
    let postgres = Postgres::builder().start();
    let told = asked(&postgres.url("postgres", "postgres", "geheim"));
    told.is_silent_on(&["pg."])
        .sees("server", "reached", "login_refused")
        .keeps_secret("geheim");
}

#[test]
fn a_server_that_only_the_environment_of_the_process_names_is_asked() {
    let mut postgres = Postgres::builder().start();
    let app = App::failing_with("DATABASE_URL", &postgres.admin_url());
    let told = doctor(&[&app.url()]);
    told.is_silent_on(&["pg."]).could_not("pg.locks");
    told.sees("server", "reached", "answers");
    told.keeps_secret("admin-of-the-test");
    postgres.pause();
    doctor(&[&app.url()]).names("pg.hung");
    postgres.resume();
    postgres.stop();
    doctor(&[&app.url()]).names("pg.down");
}

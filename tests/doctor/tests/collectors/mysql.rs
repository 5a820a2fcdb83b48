//! MariaDB.

use mysql_async::{Conn, prelude::Queryable};
use support::MariaDb;
use tokio::runtime::Runtime;

use crate::{
    App, Told, doctor,
    told::{becomes_silent_on, wait_for_answer},
};

fn asked(url: &str) -> Told {
    let app = App::failing();
    doctor(&[&app.url(), "--mysql", url])
}

#[test]
fn a_server_that_is_well_is_silent_and_a_full_one_is_not() {
    let mariadb = MariaDb::builder().setting("max-connections", "10").start();
    let app = App::well();
    let told = doctor(&[&app.url(), "--mysql", &mariadb.url()]);
    told.is_silent_on(&["mysql.", "dep."])
        .sees("mysql", "sessions", "\"max\":10");
    told.sees("mysql", "read_only", "false")
        .keeps_secret("app-of-the-test");
    assert_eq!(told.code, 0, "{told:?}");

    let runtime = Runtime::new().unwrap();
    let mut held: Vec<Conn> = Vec::new();
    while held.len() < 10 {
        match runtime.block_on(Conn::from_url(mariadb.url())) {
            Ok(session) => held.push(session),
            // Those that came before may not have gone yet.
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(50)),
        }
    }
    asked(&mariadb.url())
        .names("mysql.exhausted")
        .sees("mysql", "error", "1040");
    drop(held);
}

#[test]
fn the_session_at_the_root_of_the_locks_is_named() {
    let mariadb = MariaDb::builder().start();
    // Who may not see others is told so, and what it may see.
    let app = App::well();
    doctor(&[&app.url(), "--mysql", &mariadb.url()]).could_not("mysql.locks");
    let _ = mariadb.sql("GRANT PROCESS ON *.* TO app@'127.0.0.1'");
    let runtime = Runtime::new().unwrap();
    let open = || runtime.block_on(Conn::from_url(mariadb.url())).unwrap();
    let (mut root, mut waits) = (open(), open());
    let run = |session: &mut Conn, sql: &str| runtime.block_on(session.query_drop(sql)).unwrap();
    run(
        &mut root,
        "CREATE TABLE stock (n INT PRIMARY KEY, k INT) ENGINE=InnoDB",
    );
    run(&mut root, "INSERT INTO stock VALUES (1, 1)");
    run(&mut root, "BEGIN");
    run(&mut root, "UPDATE stock SET k = 2 WHERE n = 1");
    let waiting = runtime.spawn(async move {
        let _ = waits.query_drop("UPDATE stock SET k = 3 WHERE n = 1").await;
    });
    let long = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT' \
        AND TIMESTAMPDIFF(SECOND, trx_wait_started, NOW()) > 5";
    wait_for_answer("1", || mariadb.sql(long));
    let number = root.id().to_string();
    asked(&mariadb.url()).names("mysql.locks").sees(
        "mysql",
        "locks",
        &format!("\"root\":{number}"),
    );
    run(&mut root, "ROLLBACK");
    runtime.block_on(waiting).unwrap();
    becomes_silent_on(&["mysql."], || asked(&mariadb.url()));
}

#[test]
fn a_server_that_is_stopped_paused_or_read_only_is_told_apart() {
    let mut mariadb = MariaDb::builder().setting("read-only", "1").start();
    asked(&mariadb.url()).finds("mysql.read_only");
    mariadb.pause();
    asked(&mariadb.url()).names("mysql.hung");
    mariadb.resume();
    mariadb.stop();
    asked(&mariadb.url()).names("mysql.down");
}

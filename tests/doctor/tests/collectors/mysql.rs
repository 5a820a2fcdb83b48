//! MariaDB.

use mysql_async::Conn;
use support::MariaDb;
use tokio::runtime::Runtime;

use crate::{App, Told, doctor};

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
fn a_server_that_is_stopped_paused_or_read_only_is_told_apart() {
    let mut mariadb = MariaDb::builder().setting("read-only", "1").start();
    asked(&mariadb.url()).finds("mysql.read_only");
    mariadb.pause();
    asked(&mariadb.url()).names("mysql.hung");
    mariadb.resume();
    mariadb.stop();
    asked(&mariadb.url()).names("mysql.down");
}

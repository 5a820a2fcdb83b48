//! PgBouncer.

use support::{PgBouncer, Postgres};

use crate::{App, Told, doctor, postgres::Held};

fn asked(url: &str) -> Told {
    let app = App::failing();
    doctor(&[&app.url(), "--pg", url])
}

#[test]
fn a_pooler_and_its_server_that_are_well_are_silent() {
    let postgres = Postgres::builder().start();
    let bouncer = PgBouncer::builder().start(&postgres);
    let app = App::well();
    let told = doctor(&[&app.url(), "--pg", &bouncer.admin_url()]);
    told.is_silent_on(&["pg", "dep."]);
    told.sees("pgbouncer", "clients", "max")
        .sees("server", "reached", "answers");
    assert_eq!(told.code, 0, "{told:?}");
}

#[test]
fn a_pooler_that_takes_no_more_clients_says_so() {
    let postgres = Postgres::builder().start();
    let bouncer = PgBouncer::builder()
        .setting("max_client_conn", "2")
        .start(&postgres);
    let _held = Held::open(&bouncer.admin_url(), 2);
    asked(&bouncer.admin_url())
        .names("pgb.client_limit")
        .sees("pgbouncer", "error", "08P01");
}

#[test]
fn a_server_that_is_dead_behind_a_pooler_is_the_root() {
    let mut postgres = Postgres::builder().start();
    let bouncer = PgBouncer::builder().start(&postgres);
    postgres.stop();
    let told = asked(&bouncer.admin_url());
    told.names("pg.down")
        .sees("server", "reached", &postgres.port().to_string());
}

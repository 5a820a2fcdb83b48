//! The storm ends well, and says so.

use std::process::Command;

#[test]
fn what_clients_saw_is_what_the_ledger_says() {
    // The whole storm, as a person runs it; it decides itself whether the numbers agree.
    let storm = Command::new(env!("CARGO_BIN_EXE_shop"))
        .arg("storm")
        // Whatever is set around it must not lead the storm to somebody's database.
        .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing")
        .env("STEADFAST__SHED__LIMT", "1")
        .output()
        .expect("the storm starts");
    let said = String::from_utf8_lossy(&storm.stdout);
    let failed = String::from_utf8_lossy(&storm.stderr);
    assert!(storm.status.success(), "{said}\n{failed}");
    for part in ["overloaded", "In the ledger's own words", "Do they agree?"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(
        !said.contains('\x1b'),
        "no escapes when nobody looks: {said}"
    );
    assert!(!said.contains('✗'), "{said}");
}

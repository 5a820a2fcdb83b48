//! What somebody is told who mistyped.

mod common;

use common::{bench, is_wrong};

#[test]
fn what_makes_no_sense_is_named_with_what_does() {
    is_wrong(&[], &["no benchmark", "usage: bench overhead"]);
    is_wrong(&["harms"], &["`harms`", "bench harm "]);
    is_wrong(&["traps", "--jsn"], &["`--jsn`", "bench traps [--json]"]);
    is_wrong(&["overhead", "--json", "3"], &["`3`", "bench overhead"]);
    is_wrong(&["rollouts", "--quik"], &["`--quik`", "bench rollouts"]);
    is_wrong(&["rollouts", "--front", "x"], &["`x`", "haproxy"]);
}

#[test]
fn help_is_no_mistake() {
    let output = bench(&["--help"]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("usage: "));
}

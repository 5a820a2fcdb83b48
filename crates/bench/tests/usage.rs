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

#[test]
fn each_benchmark_says_what_can_be_typed_after_it() {
    let names = [
        "overhead", "traps", "rollouts", "overload", "harm", "truth", "page", "serve", "soak",
    ];
    for name in names {
        for asked in [&[name, "--help"][..], &[name, "--quick", "-h"]] {
            let output = bench(asked);
            assert!(
                output.status.success() && output.stderr.is_empty(),
                "{name}"
            );
            let help = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(
                help.starts_with(&format!("usage: bench {name} [")),
                "{help}"
            );
            let others = names.iter().filter(|it| **it != name);
            let of_others = others.filter(|it| help.contains(&format!("bench {it} ")));
            assert_eq!(of_others.count(), 0, "{help}");
            is_what_mistakes_are_told(name, &help);
        }
    }
}

/// The usage that a wrong option is answered with is a part of the help.
fn is_what_mistakes_are_told(name: &str, help: &str) {
    let output = bench(&[name, "--nonsense"]);
    assert_eq!(output.status.code(), Some(64), "{name}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let typed: Vec<_> = said
        .lines()
        .filter(|line| line.contains("bench "))
        .collect();
    assert!(!typed.is_empty(), "{said}");
    for line in typed {
        let line = line.trim().trim_start_matches("usage: ");
        assert!(
            help.lines().any(|it| it.ends_with(line)),
            "{line} is not in {help}"
        );
    }
}

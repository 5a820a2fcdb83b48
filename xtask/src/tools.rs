//! Checks by programs that not every machine has: each looks if its program is there, and says
//! otherwise what was not looked at and what brings it.

use std::process;

use crate::{
    programs,
    step::{Call, Step},
    workspace::{Workspace, cargo},
};

/// Licences, sources and known faults of everything that is depended on.
pub(crate) fn dependencies() -> Step<'static> {
    Step::new("dependencies", || {
        if !has("deny") {
            println!("not looked at: `cargo install cargo-deny --locked` brings what looks");
            return Ok(());
        }
        let deny = |what: &str| Call::new(cargo(), &format!("deny --all-features check {what}"));
        deny("bans licenses sources").run()?;
        match deny("advisories").run_quietly()? {
            Ok(()) => Ok(()),
            Err(said) if said.contains(NO_DATABASE) => {
                println!("known faults not looked at: their database cannot be reached");
                Ok(())
            }
            // News from outside: the same commit must not pass on one day and fail on the next.
            Err(said) => {
                println!("known faults, to be looked at:\n{said}");
                Ok(())
            }
        }
    })
}

/// Whether each published crate builds with the oldest compiler that its manifest promises.
/// Clippy sees newer parts of std, and a law newer syntax; a dependency that needs more, only
/// the compiler itself sees.
pub(crate) fn oldest_compiler(workspace: &Workspace) -> Step<'_> {
    Step::new("oldest compiler", || {
        for (version, packages) in workspace.by_rust_version() {
            if !has_compiler(version) {
                println!(
                    "not looked at: `rustup toolchain install {version}` brings what builds{}",
                    named(&packages, " ")
                );
                continue;
            }
            let line = format!(
                "run {version} cargo check --quiet --all-features{}",
                named(&packages, " -p ")
            );
            // What another compiler has built is built anew each time the two take turns.
            let target = workspace.target.join("oldest");
            let call = Call::new("rustup", &line).env("CARGO_TARGET_DIR", target);
            call.run()?;
        }
        Ok(())
    })
}

/// Whether what has been published can be upgraded to what is here. The baseline is the last tag
/// of a version, or the commit that was asked for.
pub(crate) fn semver<'a>(workspace: &'a Workspace, since: Option<&'a str>) -> Step<'a> {
    Step::new("upgrades", move || {
        if !has("semver-checks") {
            println!(
                "not looked at: `cargo install cargo-semver-checks --locked` brings what looks"
            );
            return Ok(());
        }
        let Some(baseline) = since.map(Into::into).or_else(last_tag) else {
            println!("nothing to compare with: no version has been tagged");
            return Ok(());
        };
        let packages = workspace.published().filter(|it| it.has_library(workspace));
        let packages: Vec<&str> = packages.map(|it| it.name.as_str()).collect();
        let line = format!(
            "semver-checks --baseline-rev {baseline}{}",
            named(&packages, " -p ")
        );
        Call::new(cargo(), &line).run()
    })
}

/// Whether cargo has this command.
pub(crate) fn has(command: &str) -> bool {
    process::Command::new(cargo())
        .args([command, "--version"])
        .env("PATH", programs::search_path())
        .output()
        .is_ok_and(|output| output.status.success())
}

fn has_compiler(version: &str) -> bool {
    process::Command::new("rustup")
        .args(["run", version, "rustc", "--version"])
        .output()
        .is_ok_and(|output| output.status.success())
}

/// The tag of the last version before this commit: `v0.1.0`.
fn last_tag() -> Option<String> {
    let output = process::Command::new("git")
        .args(["describe", "--tags", "--abbrev=0", "--match", "v[0-9]*"])
        .output()
        .ok()?;
    let tag = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!tag.is_empty()).then_some(tag)
}

fn named(packages: &[&str], before: &str) -> String {
    packages
        .iter()
        .map(|name| format!("{before}{name}"))
        .collect()
}

/// How `cargo deny` begins to say that it has no network, or a place where it must not reach.
const NO_DATABASE: &str = "failed to fetch advisory database";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_no_command() {
        assert!(has("fmt"));
        assert!(!has("a-command-that-nobody-wrote"));
        assert!(!has_compiler("0.1.0"));
    }

    #[test]
    fn packages_are_named_each_with_its_option() {
        assert_eq!(named(&["a", "b"], " -p "), " -p a -p b");
    }
}

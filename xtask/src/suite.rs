//! Which steps `test` and `verify` run, made from what cargo says the workspace holds.

use crate::{
    api,
    command::TestOptions,
    laws, programs,
    step::{Call, Step},
    tools,
    workspace::{Package, Workspace, cargo},
};

/// Everything, on a machine that this sets up.
pub(crate) fn test(workspace: &Workspace, options: TestOptions) -> Vec<Step<'_>> {
    let mut steps = vec![programs::step(workspace, !options.no_install)];
    if options.quick {
        steps.push(tests(workspace, |_| true));
    } else {
        steps.extend(checks(workspace, |_| true));
    }
    steps
}

/// Everything that needs no server and changes nothing on the machine.
pub(crate) fn verify(workspace: &Workspace) -> Vec<Step<'_>> {
    checks(workspace, |package| !package.needs_servers())
}

/// What fails in a second comes first.
fn checks(workspace: &Workspace, tested: impl Fn(&Package) -> bool) -> Vec<Step<'_>> {
    vec![
        Step::calls("format", vec![in_cargo("fmt --all --check")]),
        laws::step(workspace),
        api::step(workspace),
        tools::dependencies(),
        clippy(),
        tests(workspace, tested),
        documentation(),
        features(workspace),
        loom(workspace),
        tools::oldest_compiler(workspace),
        tools::semver(workspace, None),
    ]
}

/// Each published crate, built from what would be published and nothing else. All in one call,
/// because cargo lets them find each other only then.
pub(crate) fn package(workspace: &Workspace) -> Vec<Step<'_>> {
    let names = workspace.published().map(|it| format!(" -p {}", it.name));
    let line = format!("package --allow-dirty{}", names.collect::<String>());
    vec![Step::calls("packages", vec![in_cargo(&line)])]
}

/// All packages in one run, which builds what they share once. There cargo turns on for each
/// package what any other asks of a shared dependency, so a feature that is missing goes
/// unseen; for what users get, [`features`] sees it.
fn clippy() -> Step<'static> {
    let call = in_cargo("clippy --quiet --workspace --all-targets --all-features -- -D warnings");
    Step::calls("clippy", vec![call])
}

fn tests(workspace: &Workspace, tested: impl Fn(&Package) -> bool) -> Step<'_> {
    let untested = workspace.packages.iter().filter(|it| !tested(it));
    let excluded: String = untested
        .map(|package| format!(" --exclude {}", package.name))
        .collect();
    let runner = if tools::has("nextest") {
        "nextest run"
    } else {
        "test"
    };
    // All of them run, so that one run names every test that fails.
    let calls = vec![
        in_cargo(&format!(
            "{runner} --no-fail-fast --workspace --all-features{excluded}"
        )),
        in_cargo(&format!("test --doc --workspace --all-features{excluded}")),
    ];
    Step::calls("tests", calls)
}

fn documentation() -> Step<'static> {
    let call = in_cargo("doc --quiet --workspace --no-deps --all-features");
    Step::calls(
        "documentation",
        vec![call.flag("RUSTDOCFLAGS", "-D warnings")],
    )
}

/// A feature only adds, so each published crate builds with none, with each one alone and with
/// all, apart from all other packages: what those ask of a shared dependency would hide what
/// is missing here. `check` without tests, since what tests depend on would lend its own
/// features; only that a package's own tests are written for fewer of its features is looked at
/// with them.
fn features(workspace: &Workspace) -> Step<'_> {
    let calls = workspace.published().flat_map(|package| {
        let bare = format!("check --quiet -p {} --no-default-features", package.name);
        let alone = package.features.iter().filter(|name| *name != "default");
        let alone = alone.map(|name| in_cargo(&format!("{bare} --features {name}")));
        let all = in_cargo(&format!("check --quiet -p {} --all-features", package.name));
        [in_cargo(&bare), in_cargo(&format!("{bare} --tests")), all]
            .into_iter()
            .chain(alone.collect::<Vec<_>>())
    });
    Step::calls("each feature alone", calls.collect())
}

/// Loom replaces the atomics in the whole build, so its artefacts are kept apart.
fn loom(workspace: &Workspace) -> Step<'_> {
    let call = in_cargo("test --quiet -p steadfast-core --release --lib loom_")
        .flag("RUSTFLAGS", "--cfg loom")
        .env("CARGO_TARGET_DIR", workspace.target.join("loom"));
    Step::calls("loom", vec![call])
}

fn in_cargo(line: &str) -> Call {
    Call::new(cargo(), line)
}

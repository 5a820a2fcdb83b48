//! What the manifests and the map of the code must say.

use std::fs;

use toml::Table;

use super::Finding;
use crate::{
    step::Failure,
    workspace::{Package, Workspace},
};

const FORBIDDEN: &str = "law 7: write `unsafe_code = \"forbid\"` under [workspace.lints.rust]";
const INHERITED: &str =
    "law 7: write `workspace = true` under [lints], so that the ban of unsafe code holds here";
const ALONE: &str = "law 1: core depends on nothing but loom, and that under `cfg(loom)`";
const NOUNS: &str = "a feature is named with a noun: `sqlite`, not `with-sqlite`";
const MAPPED: &str = "the code map in ARCHITECTURE.md names every crate: `crates/name/`";

/// Reads the manifests and checks them.
pub(crate) fn check(workspace: &Workspace) -> Result<Vec<Finding>, Failure> {
    let read = |path: &str| {
        let text = fs::read_to_string(workspace.root.join(path));
        text.map_err(|error| Failure::check(format!("{path}: {error}")))
    };
    let mut findings = Vec::from_iter(forbids_unsafe(&read("Cargo.toml")?));
    let map = read("ARCHITECTURE.md").ok();
    for package in &workspace.packages {
        let manifest = read(&manifest_of(package))?;
        findings.extend(inherits_lints(package, &manifest));
        findings.extend(depends_on_nothing(package));
        findings.extend(names_features(package));
        findings.extend(map.as_deref().and_then(|map| is_mapped(package, map)));
    }
    Ok(findings)
}

fn forbids_unsafe(manifest: &str) -> Option<Finding> {
    let lints = table(manifest, &["workspace", "lints", "rust"]);
    let lint = lints.get("unsafe_code");
    let level = lint.and_then(|it| it.get("level").unwrap_or(it).as_str());
    (level != Some("forbid")).then(|| Finding {
        place: "Cargo.toml".into(),
        found: format!("the level of `unsafe_code` is {level:?}"),
        rule: FORBIDDEN,
    })
}

fn inherits_lints(package: &Package, manifest: &str) -> Option<Finding> {
    let inherits = table(manifest, &["lints"]).get("workspace") == Some(&true.into());
    (!inherits).then(|| Finding {
        place: manifest_of(package),
        found: "the workspace's lints are not taken over".into(),
        rule: INHERITED,
    })
}

fn depends_on_nothing(package: &Package) -> Vec<Finding> {
    let foreign = package.dependencies.iter().filter(|dependency| {
        package.name == "steadfast-core" && dependency.target.as_deref() != Some("cfg(loom)")
    });
    let finding = |name: &String| Finding {
        place: manifest_of(package),
        found: format!("a dependency on `{name}`"),
        rule: ALONE,
    };
    foreign.map(|it| finding(&it.name)).collect()
}

fn names_features(package: &Package) -> Vec<Finding> {
    let verbs = ["with-", "with_", "use-", "use_"];
    let wrong = |name: &&String| verbs.iter().any(|verb| name.starts_with(verb));
    let finding = |name: &String| Finding {
        place: manifest_of(package),
        found: format!("a feature named `{name}`"),
        rule: NOUNS,
    };
    package.features.iter().filter(wrong).map(finding).collect()
}

fn is_mapped(package: &Package, map: &str) -> Option<Finding> {
    let name = package.dir.strip_prefix("crates/")?;
    let part_of_word = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    let mut places = map.match_indices(name);
    let mapped = places.any(|(at, _)| {
        let (before, after) = (&map[..at], &map[at + name.len()..]);
        let whole = !before.ends_with(part_of_word) && !after.starts_with(part_of_word);
        whole && (before.ends_with("crates/") || after.starts_with('/'))
    });
    (!mapped).then(|| Finding {
        place: "ARCHITECTURE.md".into(),
        found: format!("nothing about `{}/`", package.dir),
        rule: MAPPED,
    })
}

fn manifest_of(package: &Package) -> String {
    format!("{}/Cargo.toml", package.dir)
}

/// The table at the end of the path, empty if there is none.
fn table(manifest: &str, path: &[&str]) -> Table {
    let whole: Table = manifest.parse().unwrap_or_default();
    let step = |table: Table, key: &&str| match table.get(*key) {
        Some(toml::Value::Table(inner)) => inner.clone(),
        _ => Table::new(),
    };
    path.iter().fold(whole, step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    fn package(name: &str) -> Package {
        Package {
            name: name.into(),
            dir: format!("crates/{name}"),
            ..Package::default()
        }
    }

    #[test]
    fn unsafe_code_is_forbidden() {
        let forbids = |level| format!("[workspace.lints.rust]\nunsafe_code = {level}\n");
        assert!(forbids_unsafe(&forbids("\"forbid\"")).is_none());
        assert!(forbids_unsafe(&forbids("{ level = \"forbid\" }")).is_none());
        assert!(forbids_unsafe(&forbids("\"deny\"")).is_some());
        assert!(forbids_unsafe("[workspace]").is_some());
    }

    #[test]
    fn every_package_takes_the_lints_over() {
        let package = package("a");
        assert!(inherits_lints(&package, "[lints]\nworkspace = true").is_none());
        assert!(inherits_lints(&package, "lints.workspace = true").is_none());
        assert!(inherits_lints(&package, "[package]\nname = \"a\"").is_some());
    }

    #[test]
    fn core_depends_on_nothing() {
        let depends = |name: &str, target: Option<&str>| {
            let mut package = package("steadfast-core");
            package.dependencies.push(Dependency {
                name: name.into(),
                target: target.map(Into::into),
            });
            depends_on_nothing(&package).len()
        };
        assert_eq!(depends("loom", Some("cfg(loom)")), 0);
        assert_eq!(depends("loom", None), 1);
        assert_eq!(depends("serde", Some("cfg(unix)")), 1);
    }

    #[test]
    fn a_feature_is_a_noun() {
        let mut package = package("a");
        package.features = ["sqlite", "with-mysql", "use_tls"].map(Into::into).into();
        assert_eq!(names_features(&package).len(), 2);
    }

    #[test]
    fn the_map_names_every_crate() {
        let missing = |map| is_mapped(&package("steadfast"), map).is_some();
        assert!(missing(
            "Steadfast: `crates/steadfast-core/`, `steadfast` and more"
        ));
        assert!(!missing("  steadfast/   the shell"));
        assert!(!missing("`crates/steadfast`: the shell"));
    }
}

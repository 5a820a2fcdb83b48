//! What cargo knows about this workspace, so that no list of packages is kept by hand.

use std::{collections::BTreeMap, env, path::PathBuf, process};

use serde_json::Value;

use crate::step::Failure;

/// The workspace as `cargo metadata` tells it.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) packages: Vec<Package>,
}

/// One member.
#[derive(Debug, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Where it lies, relative to the root, with `/` between the parts: `crates/steadfast`.
    pub(crate) dir: String,
    /// Whether it goes to crates.io; the promises to users hold for these.
    pub(crate) published: bool,
    pub(crate) features: Vec<String>,
    pub(crate) dependencies: Vec<Dependency>,
    /// The oldest compiler that builds it, if it says so: `1.85`.
    pub(crate) rust_version: Option<String>,
    /// Programs that its tests start, from `[package.metadata.xtask] programs = [...]`.
    pub(crate) programs: Vec<String>,
}

/// What a package depends on outside its tests.
#[derive(Debug, Default)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// The condition it stands under: `cfg(loom)`.
    pub(crate) target: Option<String>,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn read() -> Result<Self, Failure> {
        let output = process::Command::new(cargo())
            .args(["metadata", "--format-version=1", "--no-deps"])
            .stderr(process::Stdio::inherit())
            .output()
            .map_err(|error| Failure::check(format!("cargo metadata does not start: {error}")))?;
        if !output.status.success() {
            return Err(Failure::check("cargo metadata gave no answer"));
        }
        let metadata = serde_json::from_slice(&output.stdout)
            .map_err(|error| Failure::check(format!("cargo metadata is not JSON: {error}")))?;
        Ok(Self::parse(&metadata))
    }

    fn parse(metadata: &Value) -> Self {
        let root = PathBuf::from(text(&metadata["workspace_root"]));
        let packages = items(&metadata["packages"])
            .map(|package| Package::parse(package, &root))
            .collect();
        Self {
            target: PathBuf::from(text(&metadata["target_directory"])),
            root,
            packages,
        }
    }

    /// The packages that go to crates.io.
    pub(crate) fn published(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.published)
    }

    /// The published packages by the oldest compiler that they promise to build with.
    pub(crate) fn by_rust_version(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut versions = BTreeMap::<_, Vec<_>>::new();
        for package in self.published() {
            if let Some(version) = &package.rust_version {
                let packages = versions.entry(version.as_str()).or_default();
                packages.push(package.name.as_str());
            }
        }
        versions
    }
}

impl Package {
    fn parse(package: &Value, root: &std::path::Path) -> Self {
        let manifest = PathBuf::from(text(&package["manifest_path"]));
        let dir = manifest.parent().unwrap_or(root);
        let dir = dir.strip_prefix(root).unwrap_or(dir);
        Self {
            name: text(&package["name"]),
            dir: dir.to_string_lossy().replace('\\', "/"),
            published: items(&package["publish"]).next().is_some() || package["publish"].is_null(),
            features: package["features"]
                .as_object()
                .map(|features| features.keys().cloned().collect())
                .unwrap_or_default(),
            dependencies: items(&package["dependencies"])
                .filter(|dependency| dependency["kind"] != "dev")
                .map(|dependency| Dependency {
                    name: text(&dependency["name"]),
                    target: dependency["target"].as_str().map(Into::into),
                })
                .collect(),
            rust_version: package["rust_version"].as_str().map(Into::into),
            programs: items(&package["metadata"]["xtask"]["programs"])
                .map(text)
                .collect(),
        }
    }

    /// Whether others can depend on it.
    pub(crate) fn has_library(&self, workspace: &Workspace) -> bool {
        workspace.root.join(&self.dir).join("src/lib.rs").is_file()
    }

    /// Whether its tests need servers, which is what the packages in `tests/` are for.
    pub(crate) fn needs_servers(&self) -> bool {
        self.dir.starts_with("tests/")
    }
}

/// The cargo that runs this program, so that a chosen toolchain stays chosen.
pub(crate) fn cargo() -> String {
    env::var("CARGO").unwrap_or_else(|_| "cargo".into())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().into()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_read_from_metadata() {
        let metadata = serde_json::json!({
            "workspace_root": "/w", "target_directory": "/w/target",
            "packages": [
                { "name": "a", "manifest_path": "/w/crates/a/Cargo.toml", "publish": null,
                  "features": { "tower": [] },
                  "dependencies": [
                      { "name": "loom", "kind": null, "target": "cfg(loom)" },
                      { "name": "proptest", "kind": "dev", "target": null } ] },
                { "name": "e2e", "manifest_path": "/w/tests/e2e/Cargo.toml", "publish": [],
                  "metadata": { "xtask": { "programs": ["chromium"] } } } ] });
        let workspace = Workspace::parse(&metadata);
        let [a, e2e] = &workspace.packages[..] else {
            panic!("two packages: {workspace:?}");
        };
        assert_eq!((a.dir.as_str(), a.published), ("crates/a", true));
        assert_eq!(a.features, ["tower"]);
        assert_eq!(a.dependencies.len(), 1);
        assert!(!a.needs_servers() && e2e.needs_servers() && !e2e.published);
        assert_eq!(e2e.programs, ["chromium"]);
    }

    #[test]
    fn whoever_runs_something_reads_which_rust_it_needs() {
        let workspace = Workspace::read().expect("cargo answers");
        let version = |dir: &str| {
            let package = workspace.packages.iter().find(|it| it.dir == dir);
            package.and_then(|it| it.rust_version.clone())
        };
        let readme = include_str!("../../README.md");
        let (shop, library) = (version("examples/shop"), version("crates/steadfast"));
        let (shop, library) = (shop.expect("it says"), library.expect("it says"));
        let said = format!("needs nothing but Rust {shop} (the library itself: {library})");
        assert!(readme.contains(&said), "{said}");
        let doctor = version("crates/why503").expect("it says");
        let said = format!("builds with Rust {doctor}.");
        assert!(
            include_str!("../../docs/why503.md").contains(&said),
            "{said}"
        );
        // Rows of tables: the name is in the first cell, the version is the last.
        let of_crates = workspace
            .published()
            .map(|it| (readme, it, it.name.as_str()));
        let examples = include_str!("../../examples/README.md");
        let of_examples = workspace.packages.iter().filter_map(|it| {
            let name = it.dir.strip_prefix("examples/")?;
            (!name.contains('/')).then_some((examples, it, name))
        });
        let mut read = 0;
        for (text, package, name) in of_crates.chain(of_examples) {
            let is_its = |row: &&str| {
                let cell = row.split('|').nth(1).unwrap_or("");
                row.starts_with('|') && cell.contains(&format!("`{name}`"))
            };
            let Some(row) = text.lines().find(is_its) else {
                continue;
            };
            read += 1;
            let needed = package.rust_version.as_deref().unwrap_or("");
            let said = row.trim_end_matches(['|', ' ']).rsplit('|').next();
            let said = said.map(str::trim).filter(|_| !needed.is_empty());
            assert_eq!(said.unwrap_or(""), needed, "{row}");
        }
        assert!(read >= 14, "the tables were not found");
    }
}

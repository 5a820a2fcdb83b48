//! As whom a server runs.

use std::{fs, path::Path, process::Command};

use crate::installed::program;

/// Servers that refuse to run as root are started by root as somebody else.
#[derive(Debug)]
pub(crate) struct ServerUser(Option<(String, u32, u32)>);

impl ServerUser {
    /// Takes the first of these users that the system has, if this is root, else itself.
    pub(crate) fn find(names: &[&str]) -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self(None);
        }
        let users = fs::read_to_string("/etc/passwd").expect("a system has users");
        let find = |wanted: &&str| {
            let mut lines = users.lines();
            let line = lines.find(|line| line.split(':').next() == Some(*wanted))?;
            let mut ids = line
                .split(':')
                .skip(2)
                .map_while(|field| field.parse().ok());
            Some(((*wanted).to_owned(), ids.next()?, ids.next()?))
        };
        let user = names.iter().find_map(find);
        Self(Some(user.unwrap_or_else(|| {
            panic!("there is no user {}", names.join(" or "))
        })))
    }

    /// Gives it a file or a directory.
    pub(crate) fn own(&self, path: &Path) {
        if let Some((_, user, group)) = &self.0 {
            let done = std::os::unix::fs::chown(path, Some(*user), Some(*group));
            done.expect("root may give files away");
        }
    }

    /// Starts to describe a program that runs as this user.
    pub(crate) fn command(&self, binary: &Path) -> Command {
        let Some((user, _, group)) = &self.0 else {
            return Command::new(binary);
        };
        // It replaces itself by the program, so the pid is the program's.
        let mut command = Command::new(program("setpriv", "util-linux", &[]));
        command.arg(format!("--reuid={user}"));
        command.arg(format!("--regid={group}"));
        command.arg("--clear-groups").arg(binary);
        command
    }
}

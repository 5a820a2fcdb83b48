//! Tasks that wait for a disk, which count for the load average although they need no processor.
//!
//! The disk is a file system of FUSE whose server never answers, mounted in a mount namespace of
//! its own, so that nobody else of the host meets it.

use std::{
    ffi::CString,
    fs::{self, File},
    io::Read,
    os::fd::AsRawFd,
    process::{Child, Command, ExitCode, Stdio},
    thread,
};

use rustix::mount::{MountFlags, mount};

use super::{Scenario, WELL};
use crate::{
    ROLE,
    app::App,
    stage::{Side, Stage, until},
};

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "decoy-disk-wait",
    is: "decoy: a load average of 50, of tasks that wait for a disk",
    says: &[],
    exit: WELL,
    quick: false,
    set_up: |side| {
        let app = App::start("ok");
        let stage = Stage::at(app.port).keep(app);
        if side == Side::Well {
            return stage;
        }
        let waiting = Waiting::start();
        until("the load average is 50", || load() >= 50.0);
        stage.keep(waiting)
    },
}];

fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ')
        .next()
        .and_then(|it| it.parse().ok())
        .unwrap_or(0.0)
}

/// The process whose tasks wait.
struct Waiting(Child);

impl Waiting {
    fn start() -> Self {
        let me = std::env::current_exe().expect("this program has a path");
        let child = Command::new("unshare")
            .args(["--mount", "--propagation", "private"])
            .arg(me)
            .env(ROLE, "waiting")
            .stdin(Stdio::piped())
            .spawn()
            .expect("util-linux is installed");
        Self(child)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Most tasks; the average of a minute gets to 50 within ten seconds by so many.
const TASKS: usize = 400;

/// What the process does; it ends with its input.
pub(crate) fn main() -> ExitCode {
    let dir = tempfile::tempdir().expect("there is room for a temporary directory");
    let server = File::options()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .expect("root may open /dev/fuse");
    let options = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0",
        server.as_raw_fd()
    );
    let options = CString::new(options).expect("no byte of it is zero");
    mount(
        "nobody",
        dir.path(),
        "fuse",
        MountFlags::empty(),
        Some(options.as_c_str()),
    )
    .expect("root may mount in its own namespace");
    for _ in 0..TASKS {
        let file = dir.path().join("file");
        // Nobody ever answers what the kernel asks the server, so it waits in state D.
        let waits = move || drop(fs::metadata(file));
        let task = thread::Builder::new().stack_size(64 * 1024);
        task.spawn(waits).expect("there is room for threads");
    }
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    // The directory cannot be looked at any more, and the mount ends with this process.
    std::process::exit(0);
}

//! The accessibility rules of axe-core, as a script.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The wheel that brings it; axe-core is under the MPL, and no part of this repository.
const WHEEL: &str = "axe-playwright-python==0.1.8";

/// Returns the script. `AXE_JS` names a file that has it; without that it is taken from PyPI
/// once, into the directory of what was built.
///
/// # Panics
/// It is not there and cannot be had.
pub fn axe() -> &'static str {
    static SCRIPT: OnceLock<String> = OnceLock::new();
    SCRIPT.get_or_init(|| {
        let file = std::env::var_os("AXE_JS").map_or_else(cached, PathBuf::from);
        let text = fs::read_to_string(&file);
        text.unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    })
}

fn cached() -> PathBuf {
    let built = std::env::current_exe().expect("a path");
    // …/target/debug/deps/this
    let target = built.ancestors().nth(3).expect("a target directory");
    let file = target.join("axe/axe.min.js");
    if !file.is_file() {
        fetch(file.parent().expect("a directory"), &file);
    }
    file
}

fn fetch(directory: &Path, file: &Path) {
    let fresh = tempfile::tempdir().expect("a directory");
    let script = "import glob,sys,zipfile\n\
        wheel=zipfile.ZipFile(glob.glob(sys.argv[1]+'/*.whl')[0])\n\
        name=[n for n in wheel.namelist() if n.endswith('axe.min.js')][0]\n\
        open(sys.argv[2],'wb').write(wheel.read(name))";
    fs::create_dir_all(directory).expect("a directory");
    // Beside its place first, because several tests may come at once.
    let beside = fresh.path().join("axe.min.js");
    let steps: [&[&str]; 2] = [
        &[
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--dest",
            "{dir}",
            WHEEL,
        ],
        &["-c", script, "{dir}", "{file}"],
    ];
    for step in steps {
        let (dir, to) = (fresh.path().display(), beside.display());
        let step = step.iter().map(|it| {
            it.replace("{dir}", &dir.to_string())
                .replace("{file}", &to.to_string())
        });
        let done = Command::new("python3").args(step).output();
        let done = done.expect("python3 is installed (Debian: python3-pip)");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(
            done.status.success(),
            "axe-core cannot be had from PyPI: {said}"
        );
    }
    fs::copy(
        &beside,
        directory.join(format!("{}.part", std::process::id())),
    )
    .expect("copied");
    fs::rename(directory.join(format!("{}.part", std::process::id())), file).expect("renamed");
}

//! What can be typed after `bench`, for `--help` and for whoever mistyped it.

/// Each benchmark's command line, with what it measures; `cargo xtask help` shows it too.
const USAGE: &str = include_str!("usage.txt");

/// Returns the usage of one benchmark, or of all.
pub(crate) fn usage(of: Option<&str>) -> String {
    let mut is_shown = false;
    let mut lines = Vec::new();
    for line in USAGE.lines() {
        if let Some(named) = name(line) {
            is_shown = of.is_none_or(|it| it == named);
        }
        if is_shown {
            lines.push(line.get(INDENT..).unwrap_or(line));
        }
    }
    if lines.iter().any(|line| line.contains("NAME")) {
        lines.push("a NAME that is not known is answered with those that are");
    }
    format!("usage: {}", lines.join("\n       "))
}

/// Whether these are the arguments of a benchmark, of which one asks for its usage.
pub(crate) fn is_asked_for(benchmark: &str, arguments: &[&str]) -> bool {
    let is_help = |it: &&str| matches!(*it, "--help" | "-h");
    USAGE.lines().any(|line| name(line) == Some(benchmark)) && arguments.iter().any(is_help)
}

/// Reads the arguments of a benchmark that takes `--quick` and `--json` and nothing else: whether
/// each is there. Another is told, with what can be typed.
pub(crate) fn quick_and_json(of: &str, arguments: &[&str]) -> Result<(bool, bool), String> {
    let known = ["--quick", "--json"];
    match arguments.iter().find(|it| !known.contains(*it)) {
        Some(other) => Err(format!("unknown option `{other}`\n{}", usage(Some(of)))),
        None => Ok((
            arguments.contains(&"--quick"),
            arguments.contains(&"--json"),
        )),
    }
}

/// The benchmark whose command line it is.
fn name(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix("bench ")?.split(' ').next()
}

/// What stands before each line, so that it fits into the help of `cargo xtask`.
const INDENT: usize = 2;

//! When the program that runs was written: what tells two builds apart where nobody has named
//! a version.

use std::time::{Duration, UNIX_EPOCH};

use crate::clock;

/// Builds that are to be the same byte by byte give their files a moment that means nothing,
/// at the beginning of Unix' or of MS-DOS' time. A day after the latter all of them are over.
const MEANINGLESS: Duration = Duration::from_secs(315_532_800 + 86_400);

/// Names the build by the moment at which its program was written.
pub(crate) fn version() -> Option<String> {
    let program = std::env::current_exe().ok()?;
    let written = program.metadata().ok()?.modified().ok()?;
    named(written.duration_since(UNIX_EPOCH).ok()?)
}

fn named(written: Duration) -> Option<String> {
    (written > MEANINGLESS).then(|| format!("built {}", clock::rfc3339_of(written.as_secs())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_named_by_its_moment_unless_that_means_nothing() {
        for (seconds, expected) in [
            (0, None),
            (1, None),
            (315_532_800, None),
            (1_796_000_000, Some("built 2026-11-30T00:53:20Z")),
        ] {
            let named = named(Duration::from_secs(seconds));
            assert_eq!(named.as_deref(), expected, "{seconds}");
        }
        let version = version().expect("this test is a program");
        assert!(version.starts_with("built 20"), "{version}");
    }
}

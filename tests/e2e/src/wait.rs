//! Waiting for what must come, however slow the machine is.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

/// Long enough for any machine; what is waited for ends as soon as it is seen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again and again until what is seen is as wanted, and returns it.
///
/// # Panics
/// If that does not come within [`PATIENCE`]; with what was seen last.
#[track_caller]
pub fn wait_for<T: Debug>(
    what: &str,
    mut look: impl FnMut() -> T,
    wanted: impl Fn(&T) -> bool,
) -> T {
    let began = Instant::now();
    loop {
        let seen = look();
        if wanted(&seen) {
            return seen;
        }
        assert!(began.elapsed() < PATIENCE, "{what} never came: {seen:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until something is so.
///
/// # Panics
/// If it never is.
#[track_caller]
pub fn wait_until(what: &str, is_so: impl FnMut() -> bool) {
    wait_for(what, is_so, |so| *so);
}

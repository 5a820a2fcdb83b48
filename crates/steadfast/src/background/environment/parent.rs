//! Whether a signal to the container reaches this process.
//!
//! `CMD myservice` in shell form runs `sh -c myservice`: the shell is process 1, gets the
//! signal and passes nothing on, so the drain never begins and everything is killed when the
//! time is over.

/// Shells that start what they are given and keep its signals.
const SHELLS: [&str; 6] = ["sh", "ash", "bash", "dash", "busybox", "zsh"];

/// Says so if process 1 is a shell and this process is its child.
#[cfg(target_os = "linux")]
pub(super) fn swallows_signals() -> Option<String> {
    let parent = std::os::unix::process::parent_id();
    let name = std::fs::read_to_string("/proc/1/comm").ok()?;
    fault(parent, name.trim())
}

/// Process 1 is a matter of Linux containers.
#[cfg(not(target_os = "linux"))]
pub(super) fn swallows_signals() -> Option<String> {
    None
}

#[cfg_attr(
    not(target_os = "linux"),
    allow(dead_code, reason = "process 1 is a matter of Linux containers")
)]
fn fault(parent: u32, first: &str) -> Option<String> {
    (parent == 1 && SHELLS.contains(&first)).then(|| {
        format!(
            "process 1 is {first}, which passes no SIGTERM on to its child: this service will be \
             killed without a drain; start it in exec form, CMD [\"service\"], or with `exec`"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shell_that_is_process_1_and_the_parent_is_a_fault() {
        assert!(fault(1, "sh").is_some_and(|text| text.contains("exec form")));
        assert_eq!(fault(1, "systemd"), None);
        assert_eq!(fault(1, "tini"), None);
        assert_eq!(fault(4711, "sh"), None);
    }
}

//! Signals: the first begins the drain, the second skips to its next step, the third ends
//! the process.

use std::io;

use steadfast_core::Phase;

use crate::instance::Control;

/// The exit status of a process that was told three times: 128 and SIGTERM's number.
const FORCED: i32 = 143;

/// Installs the handlers at once, and follows them on a task for as long as the runtime lives.
#[cfg(unix)]
pub(crate) fn listen(control: Control) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        let mut seen = 0;
        loop {
            let interrupted = tokio::select! {
                _ = terminate.recv() => false,
                _ = interrupt.recv() => true,
            };
            seen += 1;
            react(&control, seen, interrupted);
        }
    });
    Ok(())
}

/// Windows knows Ctrl-C only.
#[cfg(not(unix))]
pub(crate) fn listen(control: Control) -> io::Result<()> {
    tokio::spawn(async move {
        let mut seen = 0;
        while tokio::signal::ctrl_c().await.is_ok() {
            seen += 1;
            react(&control, seen, true);
        }
    });
    Ok(())
}

fn react(control: &Control, seen: u32, interrupted: bool) {
    use std::io::IsTerminal;
    if control.phase() == Some(Phase::Stopped) {
        tracing::warn!(target: crate::log::DRAIN, "a signal after the drain; ending now");
        std::process::exit(FORCED);
    }
    match seen {
        // Nobody balances traffic to a terminal.
        1 if interrupted && io::stdin().is_terminal() => control.begin_drain_at_once("ctrl-c"),
        1 => control.begin_drain(if interrupted { "SIGINT" } else { "SIGTERM" }),
        2 => control.hurry(),
        _ => {
            tracing::error!(target: crate::log::DRAIN, "told three times; ending now");
            std::process::exit(FORCED);
        }
    }
}

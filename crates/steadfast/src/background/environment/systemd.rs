//! What systemd hears over its notification socket: `READY` when the first round of checks
//! has passed, `WATCHDOG` for as long as the runtime runs, `STOPPING` when the process begins
//! to leave, and `EXTEND_TIMEOUT_USEC` so that it is not killed before the drain's own
//! bounds are over.
//!
//! Without `NOTIFY_SOCKET` in the environment nothing is sent and no task runs.

use std::time::Duration;

use sd_notify::NotifyState;
use steadfast_core::Phase;
use tokio::task::JoinHandle;

use crate::instance::Control;

/// What is added to the drain's longest, for the exit itself.
const MARGIN: Duration = Duration::from_secs(2);

/// Follows the guard, if systemd listens. Returns what stops with the guard; what tells of
/// the drain ends with it.
pub(crate) fn follow(control: &Control) -> Option<JoinHandle<()>> {
    std::env::var_os("NOTIFY_SOCKET")?;
    tokio::spawn(tell(control.clone()));
    sd_notify::watchdog_enabled().map(|every| tokio::spawn(watch(every)))
}

async fn tell(control: Control) {
    control.clone().reached(Phase::Ready).await;
    // A signal during the start skips it.
    if control.phase() == Some(Phase::Ready) {
        send(&[NotifyState::Ready, NotifyState::Status("ready")]);
    }
    control.clone().reached(Phase::LameDuck).await;
    let longest = control.drain_settings().longest() + MARGIN;
    let micros = u32::try_from(longest.as_micros()).unwrap_or(u32::MAX);
    send(&[
        NotifyState::Stopping,
        NotifyState::ExtendTimeoutUsec(micros),
        NotifyState::Status("leaving: balancers are told, everything is served"),
    ]);
    control.clone().reached(Phase::Draining).await;
    send(&[NotifyState::Status("draining: running requests finish")]);
}

/// A runtime that is blocked sends nothing, and is restarted.
async fn watch(every: Duration) {
    // Half of it, as sd_watchdog_enabled(3) recommends.
    let mut pings = tokio::time::interval((every / 2).max(Duration::from_millis(1)));
    loop {
        pings.tick().await;
        send(&[NotifyState::Watchdog]);
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(target: crate::log::AUDIT, %error, "systemd was not told");
    }
}

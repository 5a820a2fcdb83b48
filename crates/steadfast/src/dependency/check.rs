//! Checks that need nothing but tokio: a closure, TCP, HTTP, a heartbeat, runtime lag.
//!
//! Checks for databases live in their own crates, so that their drivers' releases are not
//! this crate's. Any type can be a check: implement [`steadfast_core::Check`].
//!
//! ```
//! use steadfast::{CheckOutcome, FailureClass, check};
//!
//! let disk = check::closure(|| async {
//!     if std::path::Path::new("/").exists() {
//!         CheckOutcome::pass()
//!     } else {
//!         CheckOutcome::fail(FailureClass::Other, "no root directory")
//!     }
//! });
//! # let _ = disk;
//! ```

mod heartbeat;
mod http;
#[cfg(feature = "https")]
mod https;
mod lag;
mod tcp;

use std::future::Future;

use steadfast_core::{Check, CheckOutcome, CheckRun};

pub use self::{
    heartbeat::{Heartbeat, HeartbeatCheck, heartbeat},
    http::{HttpCheck, http_get},
    lag::{RuntimeLagCheck, runtime_lag},
    tcp::{TcpCheck, tcp},
};

/// A check made of a closure. It is called once for each run; what it returns is dropped
/// at the deadline.
pub fn closure<F, R>(ask: F) -> ClosureCheck<F>
where
    F: Fn() -> R + Send + Sync + 'static,
    R: Future<Output = CheckOutcome> + Send + 'static,
{
    ClosureCheck { ask }
}

/// See [`closure`].
pub struct ClosureCheck<F> {
    ask: F,
}

impl<F> std::fmt::Debug for ClosureCheck<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClosureCheck")
    }
}

impl<F, R> Check for ClosureCheck<F>
where
    F: Fn() -> R + Send + Sync + 'static,
    R: Future<Output = CheckOutcome> + Send + 'static,
{
    fn run(&self, _run: CheckRun) -> impl Future<Output = CheckOutcome> + Send {
        (self.ask)()
    }

    fn kind(&self) -> &'static str {
        "closure"
    }
}

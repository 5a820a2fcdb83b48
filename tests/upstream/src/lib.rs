//! An HTTP server of the test's own that falls ill, and an application that calls it.

#![allow(
    clippy::disallowed_methods,
    reason = "tests wait for real servers, on the real clock"
)]

mod app;
mod upstream;

pub use app::{HANG, app, client, snapshot};
pub use upstream::{Mood, Upstream};

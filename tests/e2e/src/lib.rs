//! What the tests of this package share: a real service in this process, and a client that
//! shows every byte it was sent.
//!
//! Tests are plain functions. A service has a runtime of its own and a client has none, so
//! neither can hold the other up, also while every thread of a service is blocked.

#![allow(
    clippy::disallowed_methods,
    reason = "tests wait for real servers, on the real clock"
)]

mod client;
mod hold;
mod service;
mod wait;

pub use client::{Answer, Client, get, send};
pub use hold::{Hold, hold};
pub use service::{Application, Service};
pub use wait::{PATIENCE, wait_for, wait_until};

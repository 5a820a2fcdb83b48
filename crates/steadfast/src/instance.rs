//! The instance: what the process knows of itself, and the operator's end of it.

mod breaker_listener;
mod control;
pub(crate) mod departing;
pub(crate) mod evidence;
pub(crate) mod readiness;

pub use control::Control;

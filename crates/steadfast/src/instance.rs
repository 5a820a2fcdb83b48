//! The instance: what the process knows of itself, and the operator's end of it.

pub(crate) mod around;
mod breaker_listener;
mod control;
pub(crate) mod departing;
pub(crate) mod evidence;
pub(crate) mod heads;
pub(crate) mod minutes;
pub(crate) mod past;
pub(crate) mod probers;
pub(crate) mod readiness;
pub(crate) mod traffic;
pub(crate) mod workers;

pub use control::Control;

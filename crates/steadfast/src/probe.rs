//! The guard's own paths: which requests are for it, who is authorised, and what it answers.
//!
//! `/ready/` and `/health/` are answered from memory, without a lock or a question to
//! anybody; the operator's view and orders are for whoever shows the token. All of them are
//! outside every gate, on the application's listener or on one of their own.

pub(crate) mod access;
pub(crate) mod answer;
pub(crate) mod build;
pub(crate) mod health;
pub(crate) mod listener;
pub(crate) mod operator;
pub(crate) mod page_request;
pub(crate) mod paths;
pub(crate) mod session;
pub(crate) mod settings;

pub use access::TOKEN_LEN_MIN;
pub use build::Build;
pub use settings::Probes;

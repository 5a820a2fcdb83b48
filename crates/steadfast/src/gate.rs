//! The gates as layers: each decides on a request before its body is touched, and works
//! alone in any tower stack.

pub(crate) mod drain;
pub(crate) mod early;
pub(crate) mod shed;

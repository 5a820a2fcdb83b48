//! What a request brings: until when an answer is worth something, who goes first, and what
//! is known of its route.

pub mod deadline;
pub(crate) mod priority;
pub(crate) mod routes;

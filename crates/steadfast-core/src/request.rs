//! What a request brings: until when an answer is worth something, who goes first, what is
//! known of its route, and which dependency it spends its time with.

pub mod deadline;
pub(crate) mod priority;
pub(crate) mod routes;
pub(crate) mod shape;
pub(crate) mod spent;

//! What is kept of a request: its head, its class, whose it is, how long its caller listens,
//! what it spends its time with, and the body that holds its permit.

pub(crate) mod body;
pub(crate) mod class;
pub(crate) mod deadlines;
pub(crate) mod head;
pub(crate) mod language;
pub(crate) mod measured;
pub(crate) mod tenant;
pub(crate) mod turn;
pub(crate) mod weight;

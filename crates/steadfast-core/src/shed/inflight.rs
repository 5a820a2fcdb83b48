//! Who is in flight at the gate: how many, counted exactly, and who runs for long.

pub(crate) mod running;
pub(crate) mod tokens;

//! Who is in flight at the gate: how many, counted exactly, for how long, and who runs for
//! long.

pub(in crate::shed) mod hold_time;
pub(crate) mod running;
pub(crate) mod tokens;

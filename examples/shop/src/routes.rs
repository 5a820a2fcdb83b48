//! What the shop answers, a file for each kind of request.

pub(crate) mod live;
pub(crate) mod load;
pub(crate) mod orders;
pub(crate) mod pay;
pub(crate) mod products;

//! The gates as layers: each decides on a request before its body is touched, and works
//! alone in any tower stack. What they share is [`frame`].

pub(crate) mod dependency;
pub(crate) mod drain;
pub(crate) mod early;
pub(crate) mod explain;
pub(crate) mod frame;
pub(crate) mod shed;

pub use dependency::{DependencyGate, DependencyGateService};
pub use drain::{DrainLayer, DrainService};
pub use explain::{ExplainLayer, ExplainService};
pub use frame::{Framed, FramedFuture, Gate};
pub use shed::{
    OBSERVED_LIMIT_DEFAULT, Shed, ShedBody, ShedLayer, ShedService, Shedder, StreamPermit,
};

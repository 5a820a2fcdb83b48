//! The breaker of a dependency as a tower layer around outbound clients.
//!
//! The layer holds the [`Dependency`](crate::Dependency) itself, so applying a layer again, as
//! axum does for each route and connection, shares the one state.
//!
//! Laws kept: the decision falls in `call`, before the inner service is touched;
//! `poll_ready` forwards, but for a client whose calls would all be refused; nothing is
//! boxed but a call that comes at the end of an outage; the permit ends with the answer's head or,
//! when bodies are judged, with the body, and on drop, error and panic. When an answer is judged
//! is a parameter of the one future, and who judges it another.

mod body;
mod late;
mod layer;

pub use body::{AtEnd, CallBody};
pub use layer::{
    BodyBreakerLayer, BodyBreakerService, BreakerFuture, BreakerLayer, BreakerService,
};

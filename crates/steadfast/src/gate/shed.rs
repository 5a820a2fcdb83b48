//! Load shedding as a layer: a request runs if there is room, and is told why not if there is not.
//!
//! A request flows through the stages of [`ask`], which asks the core's gate before anything
//! of the request's body is read. Admitted, it takes a permit that its response body
//! carries to the end; refused, it is answered by the explain room. The layer's error type
//! stays the inner service's, so under axum no `HandleErrorLayer` is needed.
//!
//! Laws kept: the decision is in `call` and never in `poll_ready` (axum's routes are always
//! ready, and a polled semaphore can look full because tokio's coop budget is spent); the
//! state is in the layer's [`Shedder`], so every route, method and connection shares it.
//!
//! ```
//! use steadfast::{Explain, Shed, ShedLayer};
//!
//! let layer = ShedLayer::new(Shed::fixed(64), Explain::default())?;
//! let shedder = layer.shedder();
//! let app: axum::Router = axum::Router::new().layer(layer);
//! assert_eq!(shedder.snapshot().limit, Some(64));
//! # Ok::<(), steadfast::ConfigError>(())
//! ```

mod body;
mod layer;
mod settings;
mod shedder;
mod stage;

pub use body::ShedBody;
pub(crate) use body::Sheds;
pub use layer::{ShedLayer, ShedService};
pub use settings::{OBSERVED_LIMIT_DEFAULT, Shed};
pub use shedder::{Shedder, StreamPermit};
pub(crate) use stage::{Placed, ShedWait, Shedding, ask};

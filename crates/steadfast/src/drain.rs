//! How the process leaves: what it tells clients, for whom it waits, and when it ends.
//!
//! ```text
//! signal ─▶ LameDuck   readiness says no, everything is served, connections are asked to end
//!        ─▶ Draining   the listener is closed; requests, streams and tasks finish
//!        ─▶ (cut)      what still runs when the grace is over, counted by reason
//!        ─▶ Stopped    hooks have run, the report is there
//! ```
//!
//! One task drives this ([`driver`]); connections, streams and handlers follow the stage in
//! the state that all share ([`state`]). The accept loop of [`crate::Guard::serve`] is one
//! follower; with `axum::serve` there is [`DrainLayer`], which does what a layer can.
//!
//! Law kept: leaving never refuses what it can still serve, and never waits without a bound.

mod departure;
mod framing;
mod here;
mod hooks;
mod latecomers;
mod leaving_headers;
pub(crate) mod report;
mod settings;
mod state;
mod tasks;
mod token;
mod wait_group;

pub(crate) use departure::Departure;
pub(crate) use here::here;
pub(crate) use latecomers::note_request;
pub(crate) use leaving_headers::LeavingHeaders;
pub use report::{
    Advice, Closed, Cut, DrainReport, HookEnd, HookReport, HookStage, LameDuckEnd, Stuck,
};
pub use settings::Drain;
#[cfg(feature = "ws")]
pub(crate) use state::StreamPlace;
pub(crate) use state::{DrainState, Reason, Server, Stage, StreamDoor, Tally};
#[cfg(feature = "ws")]
pub(crate) use token::READY_MAX;
pub use token::{DrainPermit, DrainToken, UntilLeaving};
pub(crate) use wait_group::{WaitGroup, WaitGroupMember};

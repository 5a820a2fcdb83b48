//! Rolling restarts under load, and the races in them, for ours and for today's ways.
//!
//! [`run`] restarts two backends in turn, behind a front or without one, while a client
//! that repeats nothing sends requests at a constant rate; [`tally`] compares what the
//! clients saw with what the servers wrote down. [`races`] drives one race at a time.
//! The servers are [`subject`]s: processes that serve the same application in different
//! ways. A program that uses this library hands [`subject::main`] its arguments when it is
//! started as one, so nothing else has to be built or found.
//!
//! Everything is bounded, in time and in count, and only processes started here are
//! ended, by their id.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "tests wait for real processes, on the real clock, and have nobody to return an error to"
)]

pub mod backend;
pub mod client;
pub mod command;
pub mod front;
pub mod load;
pub mod races;
pub mod run;
pub mod subject;
pub mod table;
pub mod tally;

//! Overload in virtual time: drives the limits of `steadfast-core` through worlds of clients, balancers and servers.
//!
//! Everything is a function of a seed, so what a claim found can be run again and drawn.
//! `cargo run -p sim --release -- --help` says how; the README of this package says what was found.

pub mod peers;
pub mod pictures;
pub mod rng;
pub mod scenario;
pub mod scenarios;
pub mod summary;
pub mod svg;
pub mod world;

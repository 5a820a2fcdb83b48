//! Overload in virtual time.

pub mod rng;
pub mod scenario;
pub mod scenarios;
pub mod world;

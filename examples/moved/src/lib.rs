//! An application in the usual style, before and after it moved behind a guard: a pool in the
//! state, `query!` in handlers, transactions that are passed to functions, an error type of
//! its own, and tests that ask with `oneshot`.
//!
//! [`before`] and [`after`] compile the same `app.rs`; what differs between the two is all
//! that moving changes. `docs/moving.md` shows those lines, and a test holds it to them.

#![allow(
    clippy::duplicate_mod,
    clippy::needless_pass_by_value,
    reason = "the same file is compiled twice on purpose, and takes its errors by value"
)]

pub mod after;
pub mod before;

/// The pages that show code are compiled here, where everything that they use is at hand.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;

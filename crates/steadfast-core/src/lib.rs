//! The pure core of Steadfast.

mod cause;
mod check;
mod name;
mod redact;
mod sync;

pub use cause::{Cause, Rule};
pub use check::{
    Check, CheckOutcome, CheckRun, CheckStatus, Deadline, FailureClass, NUMBERS_MAX, Number,
};
pub use name::{NAME_LEN_MAX, Name, NameError};
pub use redact::{MESSAGE_LEN_MAX, redact};

pub mod limit;

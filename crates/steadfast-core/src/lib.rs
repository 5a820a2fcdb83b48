//! The pure core of Steadfast.

mod breaker;
mod cause;
mod check;
mod config_error;
mod name;
mod redact;
mod sync;
mod window;

pub use breaker::{
    Breaker, BreakerMode, BreakerPermit, BreakerReason, BreakerRefusal, BreakerSnapshot,
    BreakerState, BreakerTransition, CallFailure, CallOutcome, CheckDepth, STRIPES_MAX, Trip,
    TripRules,
};
pub use cause::{Cause, Rule};
pub use check::{
    Check, CheckOutcome, CheckRun, CheckStatus, Deadline, FailureClass, NUMBERS_MAX, Number,
};
pub use config_error::ConfigError;
pub use name::{NAME_LEN_MAX, Name, NameError};
pub use redact::{MESSAGE_LEN_MAX, redact};
pub use window::WindowCounts;

//! What is wrong with a dependency, in one class and one sentence.

use std::fmt;

use crate::{dependency::check::FailureClass, redact::redact};

/// A kind of failure, and a sentence about this one. The sentence is redacted on the way
/// in, so whoever passes it on need not think of secrets.
///
/// ```
/// use steadfast_core::{Failure, FailureClass};
///
/// let failure = Failure::new(FailureClass::Unreachable, "nobody at postgres://a:b@db/shop");
/// assert_eq!(failure.message(), "nobody at postgres://***@db/shop");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    class: FailureClass,
    message: Box<str>,
}

impl Failure {
    /// Names a failure.
    pub fn new(class: FailureClass, message: impl AsRef<str>) -> Self {
        Self {
            class,
            message: redact(message.as_ref()).into(),
        }
    }

    /// Returns the kind.
    #[must_use]
    pub const fn class(&self) -> FailureClass {
        self.class
    }

    /// Returns the redacted sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

//! The error of one who asked a pool's server for something and got no answer.
//!
//! An adapter's own error is a new type around [`CommandError`], because only its crate may say how
//! the driver's errors become that.

use std::{error::Error, fmt};

use steadfast_core::Refusal;

/// Why there is no answer. Complete: it was not asked, it failed, or both are known.
#[derive(Debug)]
pub enum CommandError<E> {
    /// It was not asked.
    Refused(Refusal),
    /// It failed, and the outage behind that is known.
    Explained(Explained<E>),
    /// It failed.
    Driver(E),
}

impl<E> CommandError<E> {
    /// Returns the refusal, if it is one, or if it is explained by one.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Explained(explained) => Some(&explained.refusal),
            Self::Driver(_) => None,
        }
    }

    /// Returns the driver's error, if the server was asked.
    #[must_use]
    pub const fn driver(&self) -> Option<&E> {
        match self {
            Self::Refused(_) => None,
            Self::Explained(explained) => Some(&explained.error),
            Self::Driver(error) => Some(error),
        }
    }

    /// Returns both by value. One of the two is there at least.
    #[must_use]
    pub fn into_parts(self) -> (Option<Refusal>, Option<E>) {
        match self {
            Self::Refused(refusal) => (Some(refusal), None),
            Self::Explained(explained) => (Some(explained.refusal), Some(explained.error)),
            Self::Driver(error) => (None, Some(error)),
        }
    }

    /// Describes it for `whom`: one level, as an error's text does.
    ///
    /// # Errors
    /// Those of the formatter.
    pub fn describe(&self, whom: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(_) => write!(f, "{whom} was not asked"),
            Self::Explained(_) | Self::Driver(_) => write!(f, "{whom} did not do it"),
        }
    }
}

impl<E: Error + 'static> CommandError<E> {
    /// Returns what is behind it: the refusal, at last, wherever there is one.
    #[must_use]
    pub fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(match self {
            Self::Refused(refusal) => refusal,
            Self::Explained(explained) => explained,
            Self::Driver(error) => error,
        })
    }
}

/// An error of a driver, and the outage that explains it: says what the error says, and has
/// the refusal behind it. Complete: it is these two.
#[derive(Clone, Debug)]
pub struct Explained<E> {
    /// Says what is known of the outage.
    pub refusal: Refusal,
    /// What the driver said.
    pub error: E,
}

impl<E: fmt::Display> fmt::Display for Explained<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<E: fmt::Debug + fmt::Display> Error for Explained<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.refusal)
    }
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use steadfast_core::{DependencyDown, Evidence, FailureClass, Name};

    use super::*;

    #[test]
    fn an_error_is_one_of_two_or_both_and_a_refusal_is_found_behind_it() {
        let name = Name::new("orders-db").expect("it is a name");
        let class = FailureClass::Unreachable;
        let down = DependencyDown::new(name.clone(), Duration::ZERO, class, "gone");
        let now = crate::clock::now();
        let refusal = Refusal::new(name, Evidence::DependencyDown(down), Duration::ZERO, now);
        let error = || io::Error::other("broken pipe");
        let explained = Explained {
            refusal: refusal.clone(),
            error: error(),
        };
        assert_eq!(explained.to_string(), "broken pipe");
        for (error, has) in [
            (CommandError::Refused(refusal), (true, false)),
            (CommandError::Explained(explained), (true, true)),
            (CommandError::Driver(error()), (false, true)),
        ] {
            let found = error.source().and_then(Refusal::find);
            assert_eq!(found.is_some(), has.0, "{error:?}");
            assert_eq!((error.refusal().is_some(), error.driver().is_some()), has);
            let (refusal, error) = error.into_parts();
            assert_eq!((refusal.is_some(), error.is_some()), has);
        }
    }
}

//! What is wrong with a configuration: every fault at once, because a person who mends
//! one fault at a time restarts the service once for each.

use std::fmt;

/// Every fault of a configuration, in the order in which they were found.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigError {
    faults: Vec<String>,
}

impl ConfigError {
    /// Returns `Ok` if there are no faults.
    ///
    /// # Errors
    /// All the faults given.
    pub fn check(faults: Vec<String>) -> Result<(), Self> {
        if faults.is_empty() {
            Ok(())
        } else {
            Err(Self { faults })
        }
    }

    /// Returns the faults: each says what was found and what is allowed.
    #[must_use]
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Takes the faults apart, to list them under a parent's own.
    #[must_use]
    pub fn into_faults(self) -> Vec<String> {
        self.faults
    }
}

impl From<String> for ConfigError {
    fn from(fault: String) -> Self {
        Self {
            faults: vec![fault],
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.faults.as_slice() {
            [only] => f.write_str(only),
            faults => {
                write!(f, "{} faults in the configuration:", faults.len())?;
                for fault in faults {
                    write!(f, "\n  - {fault}")?;
                }
                Ok(())
            }
        }
    }
}

/// As for people: `main` shows an error that it returns by `Debug`, and a fault of the
/// configuration is meant to be read.
impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ConfigError {}

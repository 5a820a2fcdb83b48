//! What is wrong with a set of settings: every fault at once.
//!
//! A person who mends a configuration wants the whole list, not the first line of it,
//! so a builder looks at every setting before it answers.
//!
//! ```
//! use steadfast_core::Trip;
//!
//! let error = Trip::default()
//!     .failure_ratio(1.5)
//!     .probes(0)
//!     .build()
//!     .expect_err("two faults");
//! assert_eq!(error.faults.len(), 2);
//! assert_eq!(error.to_string().lines().count(), 2);
//! ```

use std::fmt;

/// Every fault that a builder found. Display gives each a line of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// What was found and what is allowed, one sentence for each fault; never empty.
    pub faults: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.faults.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

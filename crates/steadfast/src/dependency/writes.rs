//! Writes, for those who mark them.

use std::fmt;

use steadfast_core::Refusal;

use super::{Dependency, permit::in_handler};
use crate::clock;

impl Dependency {
    /// Asks whether a write may be sent: refuses it at once while the server is known to
    /// take none (a replica after a failover, a full disk), instead of letting it fail.
    /// Reads go on, so only those who write ask.
    ///
    /// Tell afterwards how it ended: [`Dependency::note_writable`] or
    /// [`Dependency::note_read_only`]. While writes are refused, one passes each second and
    /// tries.
    ///
    /// # Errors
    /// A refusal with cause `dependency-down` whose evidence says *read-only* and what the
    /// server said.
    pub fn admit_write(&self) -> Result<(), Refusal> {
        self.state().admit_write(clock::now()).map_err(in_handler)
    }

    /// Tells that the server refused a write because it takes none. The text is shown to
    /// operators, redacted.
    pub fn note_read_only(&self, error: &dyn fmt::Display) {
        self.state().note_read_only(error, clock::now());
    }

    /// Tells that a write succeeded, or that the server said it takes them.
    pub fn note_writable(&self) {
        self.state().note_writable(clock::now());
    }
}

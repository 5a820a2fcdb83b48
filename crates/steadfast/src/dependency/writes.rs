//! Writes, for those who mark them.

use std::{fmt, future::Future};

use steadfast_core::{CallOutcome, DependencyState, Refusal};

use super::{
    Dependency, DependencyCall,
    classifier::{Classify, Plain},
    permit::in_handler,
};
use crate::clock;

impl Dependency {
    /// Calls the dependency like [`Dependency::call`] to write: refuses it also while the
    /// server is known to take no writes, and tells whether it does. Reads that go through
    /// [`Dependency::call`] go on.
    ///
    /// With [`Plain`] judgement no error says *read-only*: use
    /// [`Dependency::call_write_by`] with a classifier that answers
    /// [`FailureClass::ReadOnly`](crate::FailureClass::ReadOnly).
    ///
    /// # Errors
    /// As [`Dependency::call`] and [`Dependency::admit_write`].
    pub fn call_write<T, E, F>(&self, future: F) -> DependencyCall<'_, F, Writes<'_, Plain>>
    where
        F: Future<Output = Result<T, E>>,
        E: fmt::Display,
    {
        self.call_write_by(Plain, future)
    }

    /// Calls the dependency to write, and asks `classify` how it ended: a failure of the
    /// class [`FailureClass::ReadOnly`](crate::FailureClass::ReadOnly) says that the server
    /// takes no writes, a success that it does.
    ///
    /// # Errors
    /// As [`Dependency::call`] and [`Dependency::admit_write`].
    pub fn call_write_by<T, E, F, C>(
        &self,
        classify: C,
        future: F,
    ) -> DependencyCall<'_, F, Writes<'_, C>>
    where
        F: Future<Output = Result<T, E>>,
        C: Classify<T, E>,
        E: fmt::Display,
    {
        let state: &DependencyState = self.state();
        let classify = Writes { classify, state };
        self.call_by(classify, future).that_writes()
    }

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

/// Judges a call that writes: another's judgement, and what it says about writes.
#[derive(Clone, Copy, Debug)]
pub struct Writes<'a, C> {
    classify: C,
    state: &'a DependencyState,
}

impl<T, E, C: Classify<T, E>> Classify<T, E> for Writes<'_, C> {
    fn classify(&self, result: Result<&T, &E>) -> CallOutcome {
        let outcome = self.classify.classify(result);
        if matches!(outcome, CallOutcome::Success | CallOutcome::Slow) {
            self.state.note_writable(clock::now());
        }
        outcome
    }

    fn describe(&self, result: Result<&T, &E>) -> Option<String> {
        self.classify.describe(result)
    }
}

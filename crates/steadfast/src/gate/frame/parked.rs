//! A request that waits, with the service that was polled ready for it.
//!
//! Its gate has decided in `call` that it waits, before anything of its body was read; the
//! body is untouched while it does. The service is taken along as it was polled ready, and its
//! caller is left with a clone, so both keep to tower's contract.

use http::Request;

/// See the module.
pub(crate) struct Parked<S, A>(Option<(S, Request<A>)>);

impl<S: Clone, A> Parked<S, A> {
    /// Takes the service that was polled ready, and leaves a clone that was not.
    pub(crate) fn new(ready: &mut S, request: Request<A>) -> Self {
        let clone = ready.clone();
        Self(Some((std::mem::replace(ready, clone), request)))
    }
}

impl<S, A> Parked<S, A> {
    /// Returns the request, which waits still.
    pub(crate) fn request(&self) -> &Request<A> {
        let (_, request) = self.0.as_ref().expect(WAITS);
        request
    }

    /// Takes both out: the wait is over.
    pub(crate) fn take(&mut self) -> (S, Request<A>) {
        self.0.take().expect(WAITS)
    }
}

const WAITS: &str = "a future is not polled after it is ready";

//! Counting requests that come while the process leaves, each once.

use std::{ptr, sync::Arc, time::Instant};

use http::Request;
use steadfast_core::Lifecycle;

/// The process that has counted a request: a guard and its drain layer may both see it.
#[derive(Clone)]
struct Counted(Arc<Lifecycle>);

/// Counts a request for the report, if the process leaves and nobody outside has.
#[inline]
pub(crate) fn note_request<A>(life: &Arc<Lifecycle>, request: &mut Request<A>, now: Instant) {
    if life.is_leaving() {
        note(life, request, now);
    }
}

#[cold]
fn note<A>(life: &Arc<Lifecycle>, request: &mut Request<A>, now: Instant) {
    let extensions = request.extensions_mut();
    let counted = extensions.get::<Counted>();
    if counted.is_some_and(|by| ptr::eq(&*by.0, &**life)) {
        return;
    }
    extensions.insert(Counted(Arc::clone(life)));
    life.note_request(now);
}

//! Writes a refusal onto the span of its request, in the words of OpenTelemetry.
//!
//! The span is the application's (a `TraceLayer` outside the guard), and so is the choice
//! what to export: a field is written only if the span has declared it, empty. What was
//! refused inside and served all the same is no error of the request, and is not written.
//!
//! | field | value |
//! |---|---|
//! | `error.type` | the cause |
//! | `steadfast.rule` | which bound was met, of `overloaded` |
//! | `steadfast.source` | who refused: a gate or a dependency |
//! | `steadfast.refusal_id` | the id that the client was told |

use steadfast_core::{
    Refusal,
    plumbing::{Answered, RefusalId},
};
use tracing::{Span, field};

pub(super) fn tell(refusal: &Refusal, id: RefusalId, answered: Answered) {
    if matches!(answered, Answered::Status(..=499)) {
        return;
    }
    let span = Span::current();
    if span.is_none() {
        return;
    }
    span.record("error.type", refusal.cause().code());
    span.record("steadfast.refusal_id", field::display(id));
    span.record("steadfast.source", field::display(refusal.refused_by()));
    if let Some(rule) = refusal.rule() {
        span.record("steadfast.rule", rule.code());
    }
}

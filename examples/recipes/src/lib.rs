//! Dependencies around clients that have no adapter of their own. Each file is one recipe, to
//! be copied: a call that is refused while the dependency is down, judged once, and explained.
//! One more, [`traces`], exports the spans of requests that were refused.
//!
//! | client | how | who judges |
//! |---|---|---|
//! | [`reqwest`](mod@over_reqwest) | `call_by(classifier::Http, …)` | the status of the answer |
//! | the same as a tower client | [`layer()`](over_reqwest::guarded) | the status of the answer |
//! | [`fred`](mod@over_fred) | `call_by(closure, …)` | the kind of the error |
//! | [`bb8`](mod@over_bb8) | `try_acquire()`, then `settle` | the code around the pool |

pub mod over_bb8;
pub mod over_fred;
pub mod over_reqwest;
pub mod traces;

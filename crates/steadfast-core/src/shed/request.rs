//! What is asked of the gate: one request, as far as the decision depends on it.

use crate::{
    request::{deadline::Deadline, priority::Priority},
    shed::tenants::Tenant,
};

/// One request that wants to run.
///
/// ```
/// use steadfast_core::{Ask, Priority};
///
/// let ask = Ask::new("/reports/7").priority(Priority::Background);
/// assert_eq!(ask.route, "/reports/7");
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
#[must_use]
pub struct Ask<'a> {
    /// Its path; the head of it is kept while the request runs.
    pub route: &'a str,
    /// How much it hurts to refuse it.
    pub priority: Priority,
    /// Whether its answer is known to be a stream.
    pub stream: bool,
    /// Until when its caller listens, if it said so.
    pub deadline: Option<Deadline>,
    /// Whose it is, if that is asked for: see [`ShedGate::weighs_tenants`](super::ShedGate::weighs_tenants).
    pub tenant: Option<Tenant<'a>>,
}

impl<'a> Ask<'a> {
    /// Asks for a request that nobody classified.
    pub const fn new(route: &'a str) -> Self {
        Self {
            route,
            priority: Priority::Default,
            stream: false,
            deadline: None,
            tenant: None,
        }
    }

    /// Says that its answer is a stream, which is refused at once if there is no room for
    /// one.
    pub const fn stream(mut self, stream: bool) -> Self {
        self.stream = stream;
        self
    }

    /// Sets the class.
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets until when its caller listens. Only a wait looks at it.
    pub const fn deadline(mut self, deadline: Option<Deadline>) -> Self {
        self.deadline = deadline;
        self
    }

    /// Says whose it is.
    pub const fn tenant(mut self, tenant: Option<Tenant<'a>>) -> Self {
        self.tenant = tenant;
        self
    }
}

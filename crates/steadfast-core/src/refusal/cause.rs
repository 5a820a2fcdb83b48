//! Why a request was not served: the closed list that clients, dashboards and
//! `why503` share.
//!
//! A *cause* answers "which of the runbook's cases is this?"; a *rule* says which of
//! the several rules behind `overloaded` decided. Both have a code that is part of the
//! wire contract: a code is never reused for something else and never renamed.
//!
//! ```
//! use steadfast_core::Cause;
//!
//! assert_eq!(Cause::DependencyDown.code(), "dependency-down");
//! assert_eq!(Cause::from_code("dependency-down"), Some(Cause::DependencyDown));
//! ```

use std::fmt;

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Cause {
    /// The application itself answered 503; Steadfast only marked and recorded it.
    Application,
    /// A dependency that the request needs is down.
    DependencyDown,
    /// The process is leaving and takes no new work.
    Draining,
    /// A person, a file or an authorised request declared maintenance.
    Maintenance,
    /// The service has as much work as it can do; the [`Rule`] says which bound was met.
    Overloaded,
    /// The connection pool has no connection to give.
    PoolExhausted,
    /// The first round of checks has not passed yet.
    Starting,
}

impl Cause {
    /// Every cause, in the order of the wire contract.
    pub const ALL: [Self; 7] = [
        Self::Overloaded,
        Self::Starting,
        Self::Draining,
        Self::Maintenance,
        Self::DependencyDown,
        Self::PoolExhausted,
        Self::Application,
    ];

    /// Returns the stable token, as it appears in the `why-503` header.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::DependencyDown => "dependency-down",
            Self::Draining => "draining",
            Self::Maintenance => "maintenance",
            Self::Overloaded => "overloaded",
            Self::PoolExhausted => "pool-exhausted",
            Self::Starting => "starting",
        }
    }

    /// Finds the cause with this token.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.code() == code)
    }

    /// Returns a short title for people, without names or numbers.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Application => "Unavailable",
            Self::DependencyDown => "A dependency is down",
            Self::Draining => "Shutting down",
            Self::Maintenance => "Under maintenance",
            Self::Overloaded => "At capacity",
            Self::PoolExhausted => "No connection free",
            Self::Starting => "Starting",
        }
    }

    /// Returns one sentence for the client, without names or numbers.
    ///
    /// It has no final full stop: the renderer adds the retry hint and ends it.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Application => "The application cannot serve this request now",
            Self::DependencyDown => "A service that this request needs is down",
            Self::Draining => "This instance is shutting down",
            Self::Maintenance => "The service is under maintenance",
            Self::Overloaded => "The service is at its limit",
            Self::PoolExhausted => "No connection that this request needs is free",
            Self::Starting => "The service is starting",
        }
    }

    /// Returns this cause's position in [`Cause::ALL`], for tables of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Overloaded => 0,
            Self::Starting => 1,
            Self::Draining => 2,
            Self::Maintenance => 3,
            Self::DependencyDown => 4,
            Self::PoolExhausted => 5,
            Self::Application => 6,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Which rule behind [`Cause::Overloaded`] decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Rule {
    /// The request's deadline would pass before it could be served.
    Deadline,
    /// As many requests are running as the limit allows.
    Limit,
    /// Memory quota or pressure.
    Memory,
    /// The request's priority is below the present floor.
    Priority,
    /// The wait queue is full.
    QueueFull,
    /// The request waited in the queue for as long as a request may.
    QueueTimeout,
    /// The runtime itself is late.
    RuntimeLag,
    /// The request's tenant asks for more than a fair share of what there is.
    TenantShare,
}

impl Rule {
    /// Every rule, in the order of the wire contract.
    pub const ALL: [Self; 8] = [
        Self::Limit,
        Self::QueueFull,
        Self::QueueTimeout,
        Self::Deadline,
        Self::RuntimeLag,
        Self::Memory,
        Self::Priority,
        Self::TenantShare,
    ];

    /// Returns the stable token, as it appears in the `why-503` header.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Limit => "limit",
            Self::Memory => "memory",
            Self::Priority => "priority",
            Self::QueueFull => "queue-full",
            Self::QueueTimeout => "queue-timeout",
            Self::RuntimeLag => "runtime-lag",
            Self::TenantShare => "tenant-share",
        }
    }

    /// Finds the rule with this token.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.code() == code)
    }

    /// Returns this rule's position in [`Rule::ALL`], for tables.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Limit => 0,
            Self::QueueFull => 1,
            Self::QueueTimeout => 2,
            Self::Deadline => 3,
            Self::RuntimeLag => 4,
            Self::Memory => 5,
            Self::Priority => 6,
            Self::TenantShare => 7,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_ones_of_the_wire_contract() {
        let causes: Vec<_> = Cause::ALL.iter().map(|cause| cause.code()).collect();
        assert_eq!(
            causes.join(" "),
            "overloaded starting draining maintenance dependency-down pool-exhausted application"
        );
        let rules: Vec<_> = Rule::ALL.iter().map(|rule| rule.code()).collect();
        assert_eq!(
            rules.join(" "),
            "limit queue-full queue-timeout deadline runtime-lag memory priority tenant-share"
        );
    }

    #[test]
    fn every_code_finds_its_way_back() {
        for (position, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(Cause::from_code(cause.code()), Some(cause));
            assert_eq!(cause.index(), position);
        }
        for (position, rule) in Rule::ALL.into_iter().enumerate() {
            assert_eq!(rule.index(), position);
            assert_eq!(Rule::from_code(rule.code()), Some(rule));
        }
        assert_eq!(Cause::from_code("Overloaded"), None);
    }
}

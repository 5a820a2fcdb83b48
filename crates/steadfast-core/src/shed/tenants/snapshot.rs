//! What is known of tenants, for people and for the evidence of refusals.

use std::{fmt, time::Instant};

/// The numbers behind a refusal by share.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TenantShare {
    /// Whose request it was, as far as the name is kept.
    pub tenant: Box<str>,
    /// Places that its requests ask for.
    pub asks: f64,
    /// Places that they have had lately.
    pub has: f64,
    /// Places that were its fair share.
    pub fair: f64,
    /// Places that were kept from it for others.
    pub kept: u32,
    /// How many tenants there were; at most [`TENANTS_MAX`](crate::plumbing::TENANTS_MAX) are told apart.
    pub tenants: u32,
}

/// What is known of tenants.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TenantsSnapshot {
    /// Whether the limit was met in the last second, so that shares matter.
    pub contended: bool,
    /// The level that nobody who asks for more stays below, in places; `None` where everybody
    /// gets what they ask for.
    pub fair: Option<f64>,
    /// Places that are kept from those who ask for more.
    pub kept: u32,
    /// How many tenants came lately, as far as they are told apart.
    pub known: u32,
    /// Requests that were refused by it since the start.
    pub refused: u64,
    /// Those who ask most, the first of them first.
    pub most: Vec<TenantSnapshot>,
}

/// What is known of one tenant.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TenantSnapshot {
    /// Its name, as far as it is kept.
    pub name: String,
    /// Places that its requests ask for.
    pub asks: f64,
    /// Places that they have had lately.
    pub has: f64,
    /// Whether it is held to its share.
    pub greedy: bool,
}

/// Somebody began to ask for more than a fair share of a limit that is met, or nobody does any
/// more.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TenantChange {
    /// When.
    pub at: Instant,
    /// Who asks for most, and the numbers; `None` when it is over.
    pub share: Option<TenantShare>,
    /// The limit.
    pub limit: u32,
}

impl fmt::Display for TenantChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(share) = &self.share else {
            return f.write_str("nobody asks for more than a fair share");
        };
        write!(
            f,
            "{} asks for {:.0} places of {}, and its fair share is {:.0}",
            share.tenant, share.asks, self.limit, share.fair
        )
    }
}

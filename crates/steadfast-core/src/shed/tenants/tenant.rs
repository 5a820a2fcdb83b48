//! Whose a request is, as it comes, and as its permit remembers it.

use super::{
    TENANT_ONE_IN,
    table::{Label, TenantId},
};

/// Whose request it is.
///
/// ```
/// use steadfast_core::{Ask, plumbing::Tenant};
///
/// let ask = Ask::new("/reports").tenant(Some(Tenant::new(0x9e37_79b9_7f4a_7c15, "acme")));
/// # assert!(ask.tenant.is_some());
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Tenant<'a> {
    hash: u64,
    pub(super) name: &'a str,
    pub(super) weight: u32,
}

impl<'a> Tenant<'a> {
    /// Describes a tenant by the hash of its key and by a name for people, of which the head
    /// is kept; an empty one shows the hash. Tenants choose their keys, so the hash must have
    /// a seed that nobody outside knows.
    pub const fn new(hash: u64, name: &'a str) -> Self {
        Self {
            hash,
            name,
            weight: 1,
        }
    }

    /// Says that this request stands for [`TENANT_ONE_IN`], because the others were not asked.
    pub const fn sampled(mut self) -> Self {
        self.weight = TENANT_ONE_IN;
        self
    }

    /// Returns what is kept of the name, for people.
    #[must_use]
    pub fn shown(&self) -> String {
        Label::new(self.id(), self.name).to_string()
    }

    pub(super) const fn id(&self) -> TenantId {
        TenantId::new(self.hash)
    }

    pub(in crate::shed) const fn mark(&self) -> TenantMark {
        let sampled = if self.weight > 1 { SAMPLED } else { 0 };
        TenantMark(self.id().0 | sampled)
    }
}

/// Set in the mark of a request that stands for others.
const SAMPLED: u64 = 1;

/// What a permit carries of its tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TenantMark(u64);

impl TenantMark {
    pub(super) const fn id(self) -> TenantId {
        TenantId::new(self.0)
    }

    pub(super) fn weight(self) -> f64 {
        f64::from(if self.0 & SAMPLED == 0 {
            1
        } else {
            TENANT_ONE_IN
        })
    }
}

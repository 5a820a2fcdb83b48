//! Whose a request is: a customer, a key, a team. One setting names it, for fair shares at the
//! limit and for the diagnosis, which says that one of them grew.
//!
//! The key is hashed with a seed of this process, because tenants choose their keys: nobody can
//! make one that is counted as another's. For people the head of it is kept; of a header that
//! proves who somebody is, only the hash is.
//!
//! Requests that have no key belong together, as one tenant: who leaves the header out gains
//! nothing by it.

use std::{
    borrow::Cow,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Instant,
};

use http::{HeaderName, Request, header};
use steadfast_core::{
    ShedGate,
    plumbing::{TENANT_ONE_IN, Tenant},
};

use crate::request::class::HeadView;

/// The name of those who have no key.
const NONE: &str = "(none)";

/// Returns the key of a request.
type KeyRule = dyn for<'a> Fn(HeadView<'a>) -> Option<Cow<'a, str>> + Send + Sync;

/// Where a request says whose it is.
#[derive(Clone)]
pub(crate) enum TenantKey {
    Header(HeaderName),
    Rule(Arc<KeyRule>),
}

impl fmt::Debug for TenantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "Header({name})"),
            Self::Rule(_) => f.write_str("Rule"),
        }
    }
}

/// Tells tenants apart.
#[derive(Debug)]
pub(crate) struct Tenants {
    key: TenantKey,
    seed: RandomState,
}

/// Whose a request is.
#[derive(Debug)]
pub(crate) struct Whose<'a> {
    name: Cow<'a, str>,
    hash: u64,
}

impl Whose<'_> {
    pub(crate) fn tenant(&self) -> Tenant<'_> {
        Tenant::new(self.hash, &self.name)
    }
}

impl Tenants {
    pub(crate) fn new(key: TenantKey) -> Self {
        let seed = RandomState::new();
        Self { key, seed }
    }

    /// Whose a request is.
    pub(crate) fn of<'a, A>(&self, request: &'a Request<A>) -> Whose<'a> {
        let name = match &self.key {
            TenantKey::Header(name) => {
                (request.headers().get(name)).map(|value| String::from_utf8_lossy(value.as_bytes()))
            }
            TenantKey::Rule(rule) => rule(HeadView::of(request)),
        };
        let name = name.filter(|name| !name.is_empty());
        let name = name.unwrap_or(Cow::Borrowed(NONE));
        let hash = self.seed.hash_one(&*name);
        let hidden = matches!(&self.key, TenantKey::Header(name) if proves(name)) && name != NONE;
        let name = if hidden { Cow::Borrowed("") } else { name };
        Whose { name, hash }
    }

    /// Asks the gate with whose a request is: with each while its limit is met, else with one
    /// in sixteen.
    #[inline]
    pub(crate) fn weigh<A, R>(
        &self,
        request: &Request<A>,
        gate: &ShedGate,
        now: Instant,
        ask: impl FnOnce(Option<Tenant<'_>>) -> R,
    ) -> R {
        if gate.weighs_tenants(now) {
            return ask(Some(self.of(request).tenant()));
        }
        if fastrand::u32(..TENANT_ONE_IN) != 0 {
            return ask(None);
        }
        ask(Some(self.of(request).tenant().sampled()))
    }
}

/// Whether the value of a header proves who somebody is, so that nobody may read it.
fn proves(name: &HeaderName) -> bool {
    [
        header::AUTHORIZATION,
        header::PROXY_AUTHORIZATION,
        header::COOKIE,
    ]
    .contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str, value: &[u8]) -> Request<()> {
        let value = http::HeaderValue::from_bytes(value).expect("a value");
        let request = Request::builder().uri("/t/acme/orders").header(name, value);
        request.body(()).expect("a request")
    }

    fn by_header(name: &'static str) -> Tenants {
        Tenants::new(TenantKey::Header(HeaderName::from_static(name)))
    }

    fn by_rule(
        rule: impl for<'a> Fn(HeadView<'a>) -> Option<Cow<'a, str>> + Send + Sync + 'static,
    ) -> Tenants {
        Tenants::new(TenantKey::Rule(Arc::new(rule)))
    }

    #[test]
    fn a_header_tells_tenants_apart_and_who_leaves_it_out_is_one_of_them() {
        let tenants = by_header("x-tenant");
        let of = |name: &str, value: &[u8]| {
            let request = request(name, value);
            let whose = tenants.of(&request);
            (whose.hash, whose.tenant().shown())
        };
        let (acme, shown) = of("x-tenant", b"acme");
        assert_eq!(shown, "acme");
        assert_eq!(of("x-tenant", b"acme").0, acme);
        assert_ne!(of("x-tenant", b"globex").0, acme);
        let (none, shown) = of("x-other", b"acme");
        assert_eq!(shown, "(none)");
        assert_eq!(of("x-tenant", b"").0, none);
        assert_ne!(of("x-tenant", b"\xff\xfe").0, none);
    }

    #[test]
    fn two_processes_do_not_know_each_others_hashes() {
        let request = request("x-tenant", b"acme");
        let (one, other) = (by_header("x-tenant"), by_header("x-tenant"));
        assert_ne!(one.of(&request).hash, other.of(&request).hash);
    }

    #[test]
    fn a_header_that_proves_who_somebody_is_shows_only_its_hash() {
        for name in ["authorization", "cookie", "proxy-authorization"] {
            let request = request(name, b"Bearer s3cr3t");
            let tenants = by_header(name);
            let shown = tenants.of(&request).tenant().shown();
            assert!(shown.starts_with('#') && shown.len() == 7, "{shown}");
        }
    }

    #[test]
    fn a_rule_reads_the_head() {
        let tenants = by_rule(|head| Some(Cow::Borrowed(head.path().split('/').nth(2)?)));
        let request = request("x-tenant", b"other");
        assert_eq!(tenants.of(&request).tenant().shown(), "acme");
    }
}

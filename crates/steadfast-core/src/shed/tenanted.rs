//! The gate's side of fair shares: whose requests are counted, and who is refused by share.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::ShedGate;
use crate::{
    refusal::{
        Refusal,
        cause::Rule,
        evidence::{Evidence, Overloaded, Pressure},
    },
    request::priority::Priority,
    shed::{
        gate::HINT_UNMEASURED,
        moment::{Of, Shared},
        tenants::{KeptFrom, Look, Tenant, TenantChange, TenantMark},
    },
};

/// A client that asks for so many times its share is told no longer wait.
const TIMES_MAX: f64 = 1000.0;

impl ShedGate {
    /// Whether it matters now whose each request is. While it does not, one in
    /// [`TENANT_ONE_IN`](crate::plumbing::TENANT_ONE_IN) is enough.
    #[inline]
    #[must_use]
    pub fn weighs_tenants(&self, now: Instant) -> bool {
        (self.tenants.as_deref()).is_some_and(|shares| shares.is_contended(now))
    }

    /// Counts a request, and says what is kept from it if it asks for more than its share and
    /// there is no more room than that.
    #[cold]
    pub(super) fn weigh(
        &self,
        tenant: &Tenant<'_>,
        priority: Priority,
        stripe: usize,
        now: Instant,
    ) -> Option<KeptFrom> {
        let shares = self.tenants.as_deref()?;
        shares.asks(stripe, tenant);
        self.look_at_tenants(stripe, now);
        // Who goes first is decided before whose turn it is.
        if priority == Priority::Critical || !shares.is_contended(now) {
            return None;
        }
        let kept = shares.kept_from(tenant)?;
        let (limit, reserved) = self.tokens.limit_and_kept(priority);
        // With nothing in flight whoever comes is admitted.
        let room = limit.saturating_sub(reserved + kept.0).max(1);
        if self.tokens.in_flight() < room {
            return None;
        }
        self.met(now);
        self.look_at_reserve(stripe, || true, now);
        Some(kept)
    }

    /// Refuses a request that [`ShedGate::weigh`] found no room for.
    pub(super) fn refuse_by_share(
        &self,
        tenant: &Tenant<'_>,
        kept: KeptFrom,
        priority: Priority,
        stripe: usize,
        now: Instant,
    ) -> Refusal {
        if let Some(shares) = &self.tenants {
            shares.refused(stripe);
        }
        let share = Some((tenant, kept));
        self.refuse_at_limit(Rule::TenantShare, None, share, priority, stripe, now)
    }

    /// Makes the evidence of a refusal by share, and predicts when to come again: what the
    /// tenant asks for at once takes as many times its hold as its share goes into it.
    pub(super) fn explain_share(
        &self,
        of: Of,
        tenant: &Tenant<'_>,
        kept: KeptFrom,
        now: Instant,
    ) -> Shared {
        let share = (self.tenants.as_deref()).map(|shares| shares.explain(tenant, kept));
        let times = (share.as_ref()).map_or(1.0, |share| share.asks / share.fair.max(1.0));
        let hint = (self.mean_held(now)).map_or(HINT_UNMEASURED, |held| {
            held.mul_f64(times.clamp(1.0, TIMES_MAX))
        });
        let overloaded = Overloaded {
            rule: of.rule,
            in_flight: self.tokens.in_flight(),
            limit: of.limit,
            stuck: self.stuck(now),
            queue: None,
            pressure: share.map(Pressure::Share),
        };
        Shared {
            evidence: Arc::new(Evidence::Overloaded(overloaded)),
            hint,
        }
    }

    /// Takes note that the limit was met.
    pub(super) fn met(&self, now: Instant) {
        if let Some(shares) = &self.tenants {
            shares.met(now);
        }
    }

    /// Looks who asks for how much, if it is time.
    #[inline]
    pub(super) fn look_at_tenants(&self, stripe: usize, now: Instant) {
        let Some(shares) = &self.tenants else { return };
        let look = || Look {
            limit: self.tokens.limit(),
            in_flight: self.tokens.in_flight(),
            hold: self.mean_held(now),
        };
        if shares.look_if_due(look, now) {
            self.keep_changed(stripe, now);
        }
    }

    /// Remembers how long a tenant's request had its place.
    #[cold]
    pub(super) fn tenant_ended(
        &self,
        stripe: usize,
        mark: TenantMark,
        held: Duration,
        whole: bool,
    ) {
        if let Some(shares) = &self.tenants {
            shares.ended(stripe, mark, held, whole);
        }
    }

    /// Takes what became of tenants' shares since the last call, oldest first.
    #[must_use]
    pub fn take_tenant_changes(&self) -> Vec<TenantChange> {
        (self.tenants.as_deref())
            .map(|shares| shares.take_changes())
            .unwrap_or_default()
    }
}

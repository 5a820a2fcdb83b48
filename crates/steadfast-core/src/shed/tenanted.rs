//! The gate's side of fair shares: whose requests are counted, and who is refused by share.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{ShedGate, lane::Lane, lanes::LaneId};
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
        tenants::{KeptFrom, Tenant, TenantChange, TenantMark, TenantShares},
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
        self.tenant_shares().any(|shares| shares.is_contended(now))
    }

    /// The shares of each lane; nothing where nobody says whose requests are.
    fn tenant_shares(&self) -> impl Iterator<Item = &TenantShares> {
        let tenants = self.lanes.common().tenants.is_some();
        let lanes = tenants.then(|| self.lanes.all()).into_iter().flatten();
        lanes.filter_map(|lane| lane.tenants.as_deref())
    }
}

impl Lane {
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
}

impl ShedGate {
    /// Refuses a request that [`Lane::weigh`] found no room for.
    pub(super) fn refuse_by_share(
        &self,
        at: LaneId,
        tenant: &Tenant<'_>,
        kept: KeptFrom,
        priority: Priority,
        stripe: usize,
        now: Instant,
    ) -> Refusal {
        if let Some(shares) = &self.lanes.at(at).tenants {
            shares.refused(stripe);
        }
        let share = Some((tenant, kept));
        self.refuse_at_limit(at, Rule::TenantShare, None, share, priority, stripe, now)
    }

    /// Makes the evidence of a refusal by share, and predicts when to come again: what the
    /// tenant asks for at once takes as many times its hold as its share goes into it.
    pub(super) fn explain_share(
        &self,
        at: LaneId,
        of: Of,
        tenant: &Tenant<'_>,
        kept: KeptFrom,
        now: Instant,
    ) -> Shared {
        let lane = self.lanes.at(at);
        let share = (lane.tenants.as_deref()).map(|shares| shares.explain(tenant, kept));
        let times = (share.as_ref()).map_or(1.0, |share| share.asks / share.fair.max(1.0));
        let hint = (lane.mean_held(now)).map_or(HINT_UNMEASURED, |held| {
            held.mul_f64(times.clamp(1.0, TIMES_MAX))
        });
        let overloaded = Overloaded {
            rule: of.rule,
            in_flight: lane.tokens.in_flight(),
            limit: of.limit,
            stuck: self.stuck(now),
            queue: None,
            pressure: share.map(Pressure::Share),
            backend: self.lanes.name(at).cloned(),
        };
        Shared {
            evidence: Arc::new(Evidence::Overloaded(overloaded)),
            hint,
        }
    }

    /// Takes what became of tenants' shares since the last call, oldest first.
    #[must_use]
    pub fn take_tenant_changes(&self) -> Vec<TenantChange> {
        let changes = self.tenant_shares().map(TenantShares::take_changes);
        changes.flatten().collect()
    }
}

//! The decision on one request: a token, or the numbers that say why not.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Ask, ShedGate, ShedPermit, ShedTicket};
use crate::{
    name::Name,
    refusal::{
        Refusal,
        cause::Rule,
        evidence::{Evidence, Overloaded, Pressure, Queued},
    },
    request::priority::Priority,
    shed::{
        inflight::{running::PlaceId, tokens::Token},
        lanes::LaneId,
        limiter::Sampled,
        moment::{Of, Shared},
        reservation::Reserved,
        runtime_lag::Line,
        tenants::{KeptFrom, Tenant},
    },
    sync::{atomic::Ordering, local::Local, stripe},
};

/// The retry hint before anything has been measured.
pub(super) const HINT_UNMEASURED: Duration = Duration::from_secs(1);

pub(super) const SOURCE: Name = Name::from_static("shed");

/// What a gate decided.
#[derive(Debug)]
#[non_exhaustive]
pub enum Decision<P, W> {
    /// The request may run for as long as the permit lives.
    Admit(P),
    /// The request may wait for its turn.
    Wait(W),
    /// The request may not run.
    Refuse(Refusal),
}

impl ShedGate {
    /// Decides on one request.
    ///
    /// `owner` is a handle to the gate, or to whatever else a request needs of which the
    /// gate is a part: the permit keeps a clone of it, so that one handle serves for both.
    #[must_use]
    pub fn admit<T>(
        owner: &Local<T>,
        ask: Ask<'_>,
        now: Instant,
    ) -> Decision<ShedPermit<T>, ShedTicket<T>>
    where
        T: AsRef<Self> + Send + Sync + 'static,
    {
        let this: &Self = (**owner).as_ref();
        let stripe = stripe::current();
        if let Err(refusal) = this.press(ask, stripe, now) {
            return Decision::Refuse(refusal);
        }
        let at = this.lanes.of(ask.route);
        let lane = this.lanes.at(at);
        lane.reserve.arrived(stripe, ask.priority);
        if let Some(tenant) = &ask.tenant {
            if let Some(kept) = lane.weigh(tenant, ask.priority, stripe, now) {
                if !this.observes() {
                    let refusal = this.refuse_by_share(at, tenant, kept, ask.priority, stripe, now);
                    return Decision::Refuse(refusal);
                }
                lane.would_refuse.add_at(stripe, 1);
                let token = lane.tokens.take(stripe);
                let token = token.unwrap_or_else(|| lane.tokens.take_beyond(stripe));
                return Decision::Admit(Self::run(owner, at, token, stripe, ask, now));
            }
        }
        // Who comes while somebody waits takes nothing that lies about.
        if !lane.tokens.seems_wanted() {
            if let Some(token) = lane.tokens.take_as(ask.priority, stripe) {
                return Decision::Admit(Self::run(owner, at, token, stripe, ask, now));
            }
        }
        if this.observes() {
            let token = lane.tokens.take(stripe).unwrap_or_else(|| {
                lane.met(now);
                lane.would_refuse.add_at(stripe, 1);
                lane.tokens.take_beyond(stripe)
            });
            return Decision::Admit(Self::run(owner, at, token, stripe, ask, now));
        }
        Self::wait_or_refuse(owner, at, ask, stripe, now)
    }

    fn observes(&self) -> bool {
        // Relaxed: a mode change need not be ordered with anything.
        self.observe.load(Ordering::Relaxed)
    }

    /// Lets a request run on a token of a lane.
    #[inline]
    pub(super) fn run<T>(
        owner: &Local<T>,
        at: LaneId,
        token: Token,
        stripe: usize,
        ask: Ask<'_>,
        now: Instant,
    ) -> ShedPermit<T>
    where
        T: AsRef<Self> + Send + Sync + 'static,
    {
        let this: &Self = (**owner).as_ref();
        let lane = this.lanes.at(at);
        // The permit is made first: an algorithm of the application's own may panic below,
        // and then the permit's drop gives the token back.
        let mut permit = ShedPermit {
            owner: owner.clone(),
            lane: at,
            token,
            place: PlaceId::NONE,
            sampled: Sampled::NONE,
            line: Line::Out,
            timed: None,
            priority: ask.priority,
            tenant: ask.tenant.as_ref().map(Tenant::mark),
            since: now,
            lined: 0,
            stream: false,
            ended: false,
        };
        lane.admitted.add_at(stripe, 1);
        permit.line = this.lag.stand(stripe, ask.priority, ask.route);
        if permit.is_in_line() {
            // To the algorithm it arrives when its turn comes.
            permit.timed = permit.line.timed();
            lane.line_up(1);
        } else {
            permit.sampled = lane
                .driver
                .arrived(stripe, true, lane.counts(&this.lag), now);
        }
        permit.place = this.running.enter(stripe, ask.route, now);
        // Fetching tokens moves more than one, and the algorithm may just have raised the
        // limit: both can serve somebody who has begun to wait meanwhile.
        lane.offer(stripe, Some(now));
        permit
    }

    /// Refuses a request, and counts it.
    pub(super) fn refuse(
        &self,
        at: LaneId,
        rule: Rule,
        queue: Option<Queued>,
        priority: Priority,
        stripe: usize,
        now: Instant,
    ) -> Refusal {
        self.refuse_at_limit(at, rule, queue, None, priority, stripe, now)
    }

    /// The same, and says whose share it was that the request had no right to.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is one thing that the refusal says"
    )]
    pub(super) fn refuse_at_limit(
        &self,
        at: LaneId,
        rule: Rule,
        queue: Option<Queued>,
        share: Option<(&Tenant<'_>, KeptFrom)>,
        priority: Priority,
        stripe: usize,
        now: Instant,
    ) -> Refusal {
        let lane = self.lanes.at(at);
        lane.refused.add_at(stripe, 1);
        lane.reserve.refused(stripe, priority);
        lane.driver
            .arrived(stripe, false, lane.counts(&self.lag), now);
        lane.offer(stripe, Some(now));
        let (limit, kept) = lane.tokens.limit_and_kept(priority);
        let of = Of {
            rule,
            priority,
            limit,
            kept,
            tenant: share.map(|(tenant, _)| tenant.mark()),
        };
        let Shared { evidence, hint } = match queue {
            // How long the queue is changes with each that comes.
            Some(_) => self.explain(at, of, queue, now),
            None => lane.moments.shared(stripe, of, now, || match share {
                Some((tenant, kept)) => self.explain_share(at, of, tenant, kept, now),
                None => self.explain(at, of, None, now),
            }),
        };
        Refusal::sharing(SOURCE, evidence, hint, now)
    }

    /// Makes the evidence of a refusal at the limit, and predicts when to come again.
    fn explain(&self, at: LaneId, of: Of, queue: Option<Queued>, now: Instant) -> Shared {
        let lane = self.lanes.at(at);
        let Of {
            rule,
            priority,
            limit,
            kept,
            tenant: _,
        } = of;
        let in_flight = lane.tokens.in_flight();
        // What was kept decides only where there was a place.
        let kept = if in_flight < limit { kept } else { 0 };
        let reserved = Reserved { priority, kept };
        let pressure = (kept > 0).then_some(Pressure::Reserved(reserved));
        let in_flight = in_flight.max(limit - kept);
        let rule = match rule {
            Rule::Limit if kept > 0 => Rule::Priority,
            rule => rule,
        };
        // Little's law: places free up at in_flight / mean_held a second. Those who wait
        // already have the first of them, and those who go first the next.
        let turns = queue.map_or(0, |queue| queue.len) + kept + 1;
        let hint = lane.mean_held(now).map_or(HINT_UNMEASURED, |held| {
            (held / in_flight).saturating_mul(turns)
        });
        let overloaded = Overloaded {
            rule,
            in_flight,
            limit,
            stuck: self.stuck(now),
            queue,
            pressure,
            backend: self.lanes.name(at).cloned(),
        };
        Shared {
            evidence: Arc::new(Evidence::Overloaded(overloaded)),
            hint,
        }
    }
}

//! The decision on one request: a credit, or the numbers that say why not.

use std::time::{Duration, Instant};

use super::{Ask, ShedGate, ShedPermit};
use crate::{
    cause::Rule,
    evidence::{Evidence, Overloaded},
    name::Name,
    refusal::Refusal,
    shared::Local,
    stripe,
    sync::atomic::Ordering,
};

/// The retry hint before anything has been measured.
const HINT_UNMEASURED: Duration = Duration::from_secs(1);

const SOURCE: Name = Name::from_static("shed");

/// What a gate decided.
#[derive(Debug)]
#[non_exhaustive]
pub enum Decision<P> {
    /// The request may run for as long as the permit lives.
    Admit(P),
    /// The request may not run.
    Refuse(Refusal),
}

impl ShedGate {
    /// Decides on one request.
    ///
    /// `owner` is a handle to the gate, or to whatever else a request needs of which the
    /// gate is a part: the permit keeps a clone of it, so that one handle serves for both.
    #[must_use]
    pub fn admit<T>(owner: &Local<T>, ask: Ask<'_>, now: Instant) -> Decision<ShedPermit<T>>
    where
        T: AsRef<Self> + Send + Sync + 'static,
    {
        let this: &Self = (**owner).as_ref();
        let stripe = stripe::current();
        let credit = match this.credits.take(stripe) {
            Some(credit) => credit,
            // Relaxed: a mode change need not be ordered with anything.
            None if this.observe.load(Ordering::Relaxed) => {
                this.would_refuse.add_at(stripe, 1);
                this.credits.take_beyond(stripe)
            }
            None => {
                this.refused.add_at(stripe, 1);
                this.pilot.arrived(stripe, false, this.counts(), now);
                return Decision::Refuse(this.refusal(now));
            }
        };
        this.admitted.add_at(stripe, 1);
        let heard = this.pilot.arrived(stripe, true, this.counts(), now);
        let place = this.held.enter(stripe, ask.route, now);
        Decision::Admit(ShedPermit {
            owner: owner.clone(),
            credit,
            place,
            heard,
            since: now,
            ended: false,
        })
    }

    fn refusal(&self, now: Instant) -> Refusal {
        let pace = self.pace(now);
        let limit = self.credits.limit();
        let in_flight = self.credits.in_flight().max(limit);
        // Little's law: places free up at in_flight / mean_held a second.
        let hint = pace
            .mean_held
            .map_or(HINT_UNMEASURED, |held| held / in_flight);
        let overloaded = Overloaded {
            rule: Rule::Limit,
            in_flight,
            limit,
            stuck: pace.stuck,
        };
        Refusal::new(SOURCE, Evidence::Overloaded(overloaded), hint, now)
    }
}

//! The refusal of one who gets no connection, with the numbers at that moment.

use std::time::{Duration, Instant};

use super::{
    PATIENCE_MIN, PoolGate, PoolSilence,
    diagnosis::{Diagnosis, Seen, diagnose},
    gate::place,
    slots::Slots,
};
use crate::{
    DependencyDown, Evidence, Failure, FailureClass, PoolBorrower, PoolExhausted, Refusal,
};

impl PoolGate {
    /// Refuses one who has waited since `since`, or would have to wait too long.
    pub(super) fn refuse_waiting(
        &self,
        slots: &mut Slots,
        since: Instant,
        now: Instant,
    ) -> Refusal {
        let waited = now.saturating_duration_since(since);
        let diagnosis = diagnose(&Seen {
            size: slots.size(),
            lent: slots.used(),
            quiet: slots.quiet(now),
            trouble: slots.trouble(now).map(|trouble| &trouble.failure),
            last_trouble: slots.last_trouble(),
            stuck_after: self.settings.stuck_after,
        });
        match diagnosis {
            Diagnosis::Saturated | Diagnosis::Stuck => {
                let used = slots.used();
                self.refuse_full(slots, used, waited, now)
            }
            Diagnosis::Failed(failure) => {
                slots.counts.refused += 1;
                self.cannot_connect(slots, &failure, waited, now)
            }
        }
    }

    /// Refuses because all connections are in use; `in_use` is how many the driver's pool
    /// has lent, if it is known to be more than the gate has.
    pub(super) fn refuse_full(
        &self,
        slots: &mut Slots,
        in_use: u32,
        waited: Duration,
        now: Instant,
    ) -> Refusal {
        slots.counts.refused += 1;
        let class = if slots.lent() > 0 && slots.quiet(now) >= self.settings.stuck_after {
            FailureClass::Stuck
        } else {
            FailureClass::Saturated
        };
        let in_use = slots.lent().max(in_use.min(slots.size()));
        self.exhausted(slots, in_use, class, None, waited, now)
    }

    /// Refuses one who has heard nothing in time, for a reason that says nothing against the
    /// server.
    pub(super) fn refuse_silent(
        &self,
        why: PoolSilence,
        waited: Duration,
        now: Instant,
    ) -> Refusal {
        match why {
            PoolSilence::Busy { in_use } => {
                let mut slots = crate::sync::lock(&self.slots);
                let trouble = slots.growth.room().and(slots.trouble(now));
                let full = trouble.map(|trouble| trouble.failure.clone());
                match full.filter(|it| it.class() == FailureClass::RefusedByServer) {
                    // All that the server gives are in use, and it is asked for one more.
                    Some(failure) => {
                        slots.counts.refused += 1;
                        self.cannot_connect(&slots, &failure, waited, now)
                    }
                    None => self.refuse_full(&mut slots, in_use, waited, now),
                }
            }
            PoolSilence::Cut => {
                let text = if waited.is_zero() {
                    "the request's time was over before a connection was asked for".to_owned()
                } else {
                    format!("no connection answered within {} ms", waited.as_millis())
                };
                let failure = Failure::new(FailureClass::Timeout, text);
                self.refuse_failed(&failure, waited, now)
            }
        }
    }

    /// Refuses because no connection could be opened.
    pub(super) fn refuse_failed(
        &self,
        failure: &Failure,
        waited: Duration,
        now: Instant,
    ) -> Refusal {
        let mut slots = crate::sync::lock(&self.slots);
        slots.counts.refused += 1;
        self.cannot_connect(&slots, failure, waited, now)
    }

    /// A server without a free slot is a pool that has nothing to give, and so is one whose
    /// connections work while it gives no further one; any other reason is a dependency that
    /// is down.
    fn cannot_connect(
        &self,
        slots: &Slots,
        failure: &Failure,
        waited: Duration,
        now: Instant,
    ) -> Refusal {
        if failure.class() == FailureClass::RefusedByServer || slots.works(now) {
            let said = match slots.growth.room() {
                Some(room) => {
                    let (size, said) = (slots.size(), failure.message());
                    format!("the server has room for {room} of {size}: {said}").into()
                }
                None => failure.message().into(),
            };
            let said = Some(said);
            return self.exhausted(slots, slots.lent(), failure.class(), said, waited, now);
        }
        let trouble = slots.trouble(now);
        let since = trouble.map_or(waited, |trouble| {
            now.saturating_duration_since(trouble.since)
        });
        let evidence = Evidence::DependencyDown(DependencyDown::new(
            self.name.clone(),
            since,
            failure.class(),
            said(failure, slots.last_trouble()),
        ));
        // Nothing here knows when the server is back; by then the pool has asked again.
        Refusal::new(self.name.clone(), evidence, self.settings.connect_max, now).entered()
    }

    fn exhausted(
        &self,
        slots: &Slots,
        in_use: u32,
        class: FailureClass,
        last_error: Option<Box<str>>,
        waited: Duration,
        now: Instant,
    ) -> Refusal {
        let longest = slots.holders().min_by_key(|held| held.since);
        let evidence = Evidence::PoolExhausted(PoolExhausted {
            dependency: self.name.clone(),
            in_use,
            max: slots.size(),
            waiting: slots.waiting(),
            waited,
            class,
            mean_hold: slots.mean_hold(),
            longest: longest.map(|held| PoolBorrower {
                place: place(held.place),
                held: now.saturating_duration_since(held.since),
            }),
            last_error,
        });
        // When a place is predicted to be free; without a prediction, or with one that a
        // stuck pool belies, whoever waited in vain need not come back sooner than it waited.
        let hint = match (class, slots.turn_in(now)) {
            (FailureClass::Saturated, Some(turn)) => turn,
            _ => self.settings.wait_max.min(PATIENCE_MIN),
        };
        Refusal::new(self.name.clone(), evidence, hint, now).entered()
    }
}

/// Says why, and what was last said by the server or on the way to it, if that was another
/// thing: silence alone helps nobody who looks for its reason.
fn said(failure: &Failure, last: Option<&Failure>) -> Box<str> {
    let silence = failure.message();
    match last {
        Some(last) if failure.class() == FailureClass::Timeout && last.message() != silence => {
            format!("{silence}; the last error was: {}", last.message()).into()
        }
        _ => silence.into(),
    }
}

//! Evidence of refusals at the limit, shared by those of the same moment.
//!
//! Under a flood thousands of requests a second meet the same limit with the same numbers. The
//! first of a moment reads them and makes the evidence, the others of its stripe carry a
//! handle to it: no allocation, and no sum over all stripes. A moment is a millisecond, and ends
//! sooner if the limit changes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    refusal::{cause::Rule, evidence::Evidence},
    request::priority::Priority,
    shed::tenants::TenantMark,
    sync::{
        Mutex,
        stripe::{Padded, STRIPES},
        try_lock,
    },
};

/// How long numbers are those of the same moment; people read them in milliseconds.
const MOMENT: Duration = Duration::from_millis(1);

/// What evidence depends on, beside the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Of {
    pub(super) rule: Rule,
    pub(super) priority: Priority,
    pub(super) limit: u32,
    pub(super) kept: u32,
    /// Whose, for a refusal by share.
    pub(super) tenant: Option<TenantMark>,
}

/// Evidence, and the prediction that goes with it.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) evidence: Arc<Evidence>,
    pub(super) hint: Duration,
}

/// What was read last, for each stripe.
#[derive(Debug)]
pub(super) struct Moments(Box<[Padded<Mutex<Option<Cached>>>]>);

#[derive(Debug)]
struct Cached {
    since: Instant,
    of: Of,
    shared: Shared,
}

impl Moments {
    pub(super) fn new() -> Self {
        Self((0..STRIPES).map(|_| Padded(Mutex::new(None))).collect())
    }

    /// Returns what was made in this stripe of the same a moment ago, else what `make` makes, which is
    /// kept. Nobody waits: whoever finds the stripe busy makes its own.
    pub(super) fn shared(
        &self,
        stripe: usize,
        of: Of,
        now: Instant,
        make: impl FnOnce() -> Shared,
    ) -> Shared {
        let Some(mut cached) = try_lock(&self.0[stripe].0) else {
            return make();
        };
        if let Some(cached) = &*cached {
            if cached.of == of && cached.since <= now && now < cached.since + MOMENT {
                return cached.shared.clone();
            }
        }
        let shared = make();
        *cached = Some(Cached {
            since: now,
            of,
            shared: shared.clone(),
        });
        shared
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::testing::origin;

    fn asks(moments: &Moments, of: Of, now: Instant) -> bool {
        let mut asked = false;
        let evidence = Arc::new(Evidence::Application);
        let hint = Duration::ZERO;
        moments.shared(0, of, now, || {
            asked = true;
            Shared { evidence, hint }
        });
        asked
    }

    #[test]
    fn evidence_is_shared_for_a_moment_and_by_its_like() {
        let of = Of {
            rule: Rule::Limit,
            priority: Priority::Default,
            limit: 8,
            kept: 0,
            tenant: None,
        };
        let (moments, now) = (Moments::new(), origin() + MOMENT);
        assert!(asks(&moments, of, now), "the first");
        assert!(!asks(&moments, of, now + MOMENT / 2), "shared");
        assert!(asks(&moments, of, now + MOMENT), "later");
        assert!(asks(&moments, of, now), "earlier");
        for other in [
            Of { limit: 9, ..of },
            Of { kept: 1, ..of },
            Of {
                priority: Priority::Critical,
                ..of
            },
            Of {
                rule: Rule::Deadline,
                ..of
            },
        ] {
            assert!(asks(&moments, other, now), "{other:?}");
        }
    }
}

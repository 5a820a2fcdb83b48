//! One request not served: the value that every gate makes, one room renders, and the
//! ledger keeps.

pub(crate) mod cause;
pub(crate) mod evidence;
pub(crate) mod inside;

use std::{
    error::Error,
    fmt,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use crate::{
    name::Name,
    refusal::{
        cause::{Cause, Rule},
        evidence::Evidence,
    },
};

/// Longest `Retry-After` a client is told, unless configured. A longer one would keep
/// clients away from a service that has long recovered, and some balancers take it as
/// the instance's latency (linkerd2-proxy's load biaser).
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// Shortest `Retry-After`: the header has whole seconds, and 0 invites a hot loop (RFC 9110, 10.2.3).
pub const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);

/// One request that was not served, with the reason and the evidence.
///
/// As an error (`?` in a handler) it shows one sentence without names or numbers, since
/// error texts tend to reach clients.
#[derive(Clone)]
#[must_use = "a refusal that nobody renders is a request without an answer"]
pub struct Refusal {
    source: Name,
    at: Instant,
    retry_after: Duration,
    entered: bool,
    evidence: Arc<Evidence>,
    witness: OnceLock<Box<Witness>>,
}

impl Refusal {
    /// Refuses a request before its handler was entered.
    ///
    /// `source` is who decided: the name of a gate or of a dependency. `retry_after` is
    /// the gate's own prediction, before jitter and bounds.
    pub fn new(source: Name, evidence: Evidence, retry_after: Duration, at: Instant) -> Self {
        Self::sharing(source, Arc::new(evidence), retry_after, at)
    }

    /// Refuses with evidence that other refusals carry too.
    pub(crate) const fn sharing(
        source: Name,
        evidence: Arc<Evidence>,
        retry_after: Duration,
        at: Instant,
    ) -> Self {
        Self {
            source,
            at,
            retry_after,
            entered: false,
            evidence,
            witness: OnceLock::new(),
        }
    }

    /// Says that the handler had been entered, so that repeating the request may repeat
    /// what it did. Whoever explains the request that this thread is polling hears of it
    /// ([`crate::RefusedInside`]), whatever the handler makes of it.
    pub fn entered(mut self) -> Self {
        self.entered = true;
        if self.cause() != Cause::Application {
            inside::RefusedInside::note(&self);
        }
        self
    }

    /// Returns the cause.
    #[must_use]
    pub fn cause(&self) -> Cause {
        self.evidence.cause()
    }

    /// Returns the rule behind an overload.
    #[must_use]
    pub fn rule(&self) -> Option<Rule> {
        self.evidence.rule()
    }

    /// Returns who decided: a gate or a dependency.
    #[must_use]
    pub const fn refused_by(&self) -> &Name {
        &self.source
    }

    /// Returns when it was decided.
    #[must_use]
    pub const fn at(&self) -> Instant {
        self.at
    }

    /// Returns the predicted time until a new attempt makes sense, before jitter.
    #[must_use]
    pub const fn retry_after(&self) -> Duration {
        self.retry_after
    }

    /// Returns the numbers at the moment of the decision.
    #[must_use]
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// Whether a client may repeat the request, whatever its method: no handler has seen it.
    #[must_use]
    pub const fn safe_to_retry(&self) -> bool {
        !self.entered
    }

    /// Finds a refusal in an error or its sources, however deep an application's own
    /// error types have wrapped it, also when `anyhow` or `eyre` turned it into a boxed error.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        // Bounded: an error chain that loops must not hang a handler.
        for _ in 0..64 {
            let error = next?;
            if let Some(refusal) = error.downcast_ref() {
                return Some(refusal);
            }
            if let Some(Witness(refusal)) = error.downcast_ref() {
                return Some(refusal);
            }
            next = error.source();
        }
        None
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cause().code())?;
        if let Some(rule) = self.rule() {
            write!(f, " ({rule})")?;
        }
        Ok(())
    }
}

impl Error for Refusal {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let witness = self.witness.get_or_init(|| {
            let mut refusal = self.clone();
            refusal.witness = OnceLock::new();
            Box::new(Witness(refusal))
        });
        Some(&**witness)
    }
}

/// A refusal's own source: itself, under another type.
///
/// `anyhow::Error` and `eyre::Report` become a `Box<dyn Error>` of a private type that
/// cannot be downcast to what is inside, but answers `source()` with the source of what is
/// inside. So the one place where a refusal is still found after such a `?` is its source.
/// It is made when somebody asks for it, and nobody does where the refusal itself is found.
#[derive(Clone)]
struct Witness(Refusal);

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Witness")
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused, not failed")
    }
}

impl Error for Witness {}

impl PartialEq for Refusal {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
            && self.at == other.at
            && self.retry_after == other.retry_after
            && self.entered == other.entered
            && self.evidence == other.evidence
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal")
            .field("source", &self.source)
            .field("at", &self.at)
            .field("retry_after", &self.retry_after)
            .field("entered", &self.entered)
            .field("evidence", &self.evidence)
            .finish()
    }
}

/// The bounds and the jitter of `Retry-After`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryHint {
    min: Duration,
    max: Duration,
}

impl Default for RetryHint {
    fn default() -> Self {
        Self {
            min: RETRY_AFTER_MIN,
            max: RETRY_AFTER_MAX,
        }
    }
}

impl RetryHint {
    /// Longest upper bound: a client that is told to return tomorrow does not.
    pub const MAX_ALLOWED: Duration = Duration::from_secs(86_400);

    /// Sets the bounds.
    ///
    /// # Errors
    /// `min` is under one second (the header has no fractions) or above `max`, or `max`
    /// is over one day.
    pub fn new(min: Duration, max: Duration) -> Result<Self, String> {
        if min < RETRY_AFTER_MIN || min > max || max > Self::MAX_ALLOWED {
            return Err(format!(
                "retry-after from {min:?} to {max:?}; allowed is 1s <= min <= max <= 1 day"
            ));
        }
        Ok(Self { min, max })
    }

    /// Returns the lower bound.
    #[must_use]
    pub const fn min(&self) -> Duration {
        self.min
    }

    /// Returns the upper bound.
    #[must_use]
    pub const fn max(&self) -> Duration {
        self.max
    }

    /// Returns what the client is told: the prediction spread by ±25 %, so that clients
    /// refused together do not return together, within the bounds.
    ///
    /// A maintenance that has an end is not cut to the upper bound: nobody need ask
    /// before it, and it is spread only forwards.
    #[must_use]
    pub fn spread(&self, refusal: &Refusal, random: u64) -> Duration {
        // 53 bits are what a f64 holds exactly.
        let unit = (random >> 11) as f64 / (1_u64 << 53) as f64;
        let hint = refusal.retry_after();
        if let Evidence::Maintenance {
            left: Some(left), ..
        } = refusal.evidence()
        {
            return left.mul_f64(1.0 + unit * 0.25).max(self.min);
        }
        hint.min(self.max)
            .mul_f64(0.75 + unit * 0.5)
            .clamp(self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::origin;
    use proptest::prelude::*;

    const SHED: Name = Name::from_static("shed");

    fn draining(retry_after: Duration) -> Refusal {
        Refusal::new(
            SHED,
            Evidence::Draining {
                since: Duration::ZERO,
            },
            retry_after,
            origin(),
        )
    }

    proptest! {
        #[test]
        fn the_hint_is_within_bounds_and_within_a_quarter(ms in 0_u64..120_000, random in any::<u64>()) {
            let refusal = draining(Duration::from_millis(ms));
            let told = RetryHint::default().spread(&refusal, random);
            prop_assert!(told >= RETRY_AFTER_MIN && told <= RETRY_AFTER_MAX);
            if (4_000..20_000).contains(&ms) {
                let ratio = told.as_secs_f64() / (ms as f64 / 1000.0);
                prop_assert!((0.75..=1.25).contains(&ratio), "{ratio}");
            }
        }

        #[test]
        fn a_maintenance_with_an_end_is_never_asked_about_before_it(secs in 1_u64..10_000, random in any::<u64>()) {
            let left = Duration::from_secs(secs);
            let evidence = Evidence::Maintenance { reason: "move".into(), since: Duration::ZERO, left: Some(left) };
            let refusal = Refusal::new(SHED, evidence, left, origin());
            let told = RetryHint::default().spread(&refusal, random);
            prop_assert!(told >= left && told <= left.mul_f64(1.25), "{told:?}");
        }
    }

    #[test]
    fn a_wrapped_refusal_is_found() {
        #[derive(Debug)]
        struct Mine(Refusal);
        impl fmt::Display for Mine {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("mine")
            }
        }
        impl Error for Mine {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&self.0)
            }
        }
        let mine = Mine(draining(Duration::ZERO));
        assert_eq!(Refusal::find(&mine), Some(&mine.0));
        assert_eq!(Refusal::find(&fmt::Error), None);
    }

    #[test]
    fn a_refusal_is_found_behind_a_type_that_shows_only_the_source_of_what_it_holds() {
        #[derive(Debug)]
        struct Opaque(Refusal);
        impl fmt::Display for Opaque {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
        impl Error for Opaque {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Error::source(&self.0)
            }
        }
        let opaque = Opaque(draining(Duration::ZERO).entered());
        let found = Refusal::find(&opaque).expect("found");
        assert_eq!(found, &opaque.0);
        assert_eq!(found.clone(), opaque.0.clone());
        assert!(Witness(found.clone()).source().is_none(), "the chain ends");
    }

    #[test]
    fn crossed_bounds_say_what_is_allowed() {
        let fault =
            RetryHint::new(Duration::from_secs(9), Duration::from_secs(3)).expect_err("crossed");
        assert!(fault.contains("9s") && fault.contains("allowed"), "{fault}");
    }
}

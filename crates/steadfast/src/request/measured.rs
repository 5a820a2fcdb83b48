//! A request of which it is measured what it spends its time with, so that routes which wait for
//! different backends get limits of their own (`steadfast-core`, `shed/lanes`), and for how long
//! it computes, so that a late runtime refuses those who make it late (`shed/runtime_lag/costs`).

use std::time::{Duration, Instant};

use steadfast_core::{ShedGate, plumbing::Spent};

use crate::{clock, request::body::RequestPermit};

/// What is known so far of a request that is measured. In a box, because few are and the future
/// moves with it.
#[derive(Debug, Default)]
pub(crate) struct Measured(Option<Box<Measuring>>);

#[derive(Debug)]
struct Measuring {
    /// Whether the gate asked what it spends its time with.
    is_asked: bool,
    /// Since when it runs.
    began: Instant,
    /// For how long it was polled in all.
    computed: Duration,
    spent: Option<Box<Spent>>,
}

impl Measured {
    /// Begins with a request that may run; `drawn` says whether it is the one in sixteen that is
    /// looked at in any case.
    #[inline]
    pub(crate) fn begin<T>(permit: &RequestPermit<T>, drawn: bool) -> Self
    where
        T: AsRef<ShedGate> + Send + Sync + 'static,
    {
        let Some(permit) = permit.permit() else {
            return Self::default();
        };
        let gate: &ShedGate = (**permit.owner()).as_ref();
        let is_asked = gate.asks_what_is_spent(drawn);
        match is_asked || permit.is_timed() {
            true => Self::measuring(is_asked),
            false => Self::default(),
        }
    }

    #[cold]
    fn measuring(is_asked: bool) -> Self {
        Self(Some(Box::new(Measuring {
            is_asked,
            began: clock::now(),
            computed: Duration::ZERO,
            spent: None,
        })))
    }

    pub(crate) const fn is_measuring(&self) -> bool {
        self.0.is_some()
    }

    /// Calls what serves the request, which may do its work in that.
    #[inline]
    pub(crate) fn calling<R>(&mut self, call: impl FnOnce() -> R) -> R {
        let measuring = self.0.as_mut();
        let _timing = measuring.map(|it| Timing::begin(&mut it.computed));
        call()
    }

    /// Polls what serves the request.
    #[inline]
    pub(crate) fn polling<R>(&mut self, poll: impl FnOnce() -> R) -> R {
        match &mut self.0 {
            None => poll(),
            Some(measuring) => measuring.polling(poll),
        }
    }

    /// Tells the gate, once, when the request has been answered or has gone. One that was not
    /// `served` may have ended before its work began, so that it met no dependency says nothing.
    #[inline]
    pub(crate) fn tell<T>(&mut self, permit: &mut RequestPermit<T>, path: &str, served: bool)
    where
        T: AsRef<ShedGate> + Send + Sync + 'static,
    {
        if let Some(measuring) = self.0.take() {
            measuring.tell(permit, path, served);
        }
    }
}

impl Measuring {
    #[cold]
    fn polling<R>(&mut self, poll: impl FnOnce() -> R) -> R {
        let spent = &mut self.spent;
        let _timing = Timing::begin(&mut self.computed);
        match self.is_asked {
            true => Spent::measuring(spent, clock::now, poll),
            false => poll(),
        }
    }

    #[cold]
    fn tell<T>(mut self, permit: &mut RequestPermit<T>, path: &str, served: bool)
    where
        T: AsRef<ShedGate> + Send + Sync + 'static,
    {
        let Some(permit) = permit.permit_mut() else {
            return;
        };
        permit.computed(self.computed, clock::now());
        if !self.is_asked {
            return;
        }
        let now = clock::now();
        if let Some(spent) = &mut self.spent {
            spent.goes_on(now);
        }
        let whole = now.saturating_duration_since(self.began);
        let waited = self.spent.as_deref().and_then(|spent| spent.mostly(whole));
        let computed = || Spent::computing(self.computed, whole).filter(|_| served);
        let with = waited.or_else(computed);
        if served || with.is_some() {
            let gate: &ShedGate = (**permit.owner()).as_ref();
            gate.spent(path, with, now);
        }
    }
}

/// Adds the time until it is dropped, also by a panic.
struct Timing<'a> {
    from: Instant,
    computed: &'a mut Duration,
}

impl<'a> Timing<'a> {
    fn begin(computed: &'a mut Duration) -> Self {
        let from = clock::now();
        Self { from, computed }
    }
}

impl Drop for Timing<'_> {
    fn drop(&mut self) {
        *self.computed += clock::now().saturating_duration_since(self.from);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn spin() {
        let from = clock::now();
        while clock::now().saturating_duration_since(from) < MS {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn calls_and_polls_are_timed_also_those_that_panic() {
        let mut measured = Measured::measuring(false);
        measured.calling(spin);
        measured.polling(spin);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            measured.polling(|| {
                spin();
                panic!("told to panic");
            });
        }));
        assert!(panicked.is_err());
        let measuring = measured.0.expect("it measures");
        assert!(measuring.computed >= 3 * MS, "{:?}", measuring.computed);
    }

    #[test]
    fn who_is_not_measured_is_only_called_and_polled() {
        let mut measured = Measured::default();
        assert_eq!(measured.calling(|| 1) + measured.polling(|| 2), 3);
        assert!(!measured.is_measuring());
    }
}

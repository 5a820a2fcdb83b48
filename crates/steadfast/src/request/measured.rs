//! A request of which it is measured what it spends its time with, so that routes which wait for
//! different backends get limits of their own (`steadfast-core`, `shed/lanes`).

use std::time::Instant;

use steadfast_core::{ShedGate, plumbing::Spent};

use crate::clock;

/// Whether a request is measured, and what is known so far.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    is_asked: bool,
    spent: Option<Box<Spent>>,
}

impl Measured {
    /// Begins with a request that has a place at this gate; `drawn` says whether it is the one
    /// in sixteen that is looked at in any case.
    #[inline]
    pub(crate) fn begin(gate: &ShedGate, drawn: bool) -> Self {
        Self {
            is_asked: gate.asks_what_is_spent(drawn),
            spent: None,
        }
    }

    pub(crate) const fn is_asked(&self) -> bool {
        self.is_asked
    }

    /// Polls what serves the request.
    #[inline]
    pub(crate) fn polling<R>(&mut self, poll: impl FnOnce() -> R) -> R {
        if self.is_asked {
            Spent::measuring(&mut self.spent, clock::now, poll)
        } else {
            poll()
        }
    }

    /// Tells the gate, once, when the request has been answered or has gone. It had its place
    /// since `began`; one that was not `served` may have ended before its work began, so that it
    /// met no dependency says nothing.
    #[inline]
    pub(crate) fn tell(
        &mut self,
        gate: &ShedGate,
        path: &str,
        began: Option<Instant>,
        served: bool,
    ) {
        if self.is_asked {
            self.tell_asked(gate, path, began, served);
        }
    }

    #[cold]
    fn tell_asked(&mut self, gate: &ShedGate, path: &str, began: Option<Instant>, served: bool) {
        self.is_asked = false;
        let Some(began) = began else { return };
        let now = clock::now();
        let mut spent = self.spent.take();
        if let Some(spent) = &mut spent {
            spent.goes_on(now);
        }
        let with = spent.as_deref().and_then(|spent| spent.mostly(began, now));
        if served || with.is_some() {
            gate.spent(path, with, now);
        }
    }
}

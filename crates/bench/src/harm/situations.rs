//! The situations, in which a bare pool does well or badly.

mod bursts;
mod clients;
mod outages;
mod room;
mod starts;

use std::{future::Future, pin::Pin, sync::Arc};

use super::{figures::Seen, places::Places};
use crate::stack::Side;

/// How much time there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    Quick,
    Full,
}

impl Pace {
    /// Picks one of two.
    pub(super) fn pick<T>(self, quick: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

pub(super) type Running = Pin<Box<dyn Future<Output = Seen> + Send>>;

/// One of them.
#[derive(Clone)]
pub(super) struct Situation {
    /// A stable name.
    pub(super) name: &'static str,
    /// What happens.
    pub(super) claim: &'static str,
    /// Whether a quick run has it.
    pub(super) quick: bool,
    /// Whether both are under load at once, because hardly anything runs.
    pub(super) together: bool,
    /// Whether failures may come from elsewhere than the guard: a balancer, an upstream.
    pub(super) passes_on: bool,
    pub(super) run: fn(Arc<Places>, Side, Pace) -> Running,
}

/// All of them.
pub(super) fn all() -> Vec<Situation> {
    [
        bursts::situations(),
        clients::situations(),
        room::situations(),
        outages::situations(),
        starts::situations(),
    ]
    .concat()
}

impl Situation {
    const fn new(
        name: &'static str,
        claim: &'static str,
        run: fn(Arc<Places>, Side, Pace) -> Running,
    ) -> Self {
        Self {
            name,
            claim,
            quick: false,
            together: false,
            passes_on: false,
            run,
        }
    }

    /// A quick run has it too.
    const fn quick(mut self) -> Self {
        self.quick = true;
        self
    }

    /// What fails may fail elsewhere, and then nobody here can explain it.
    const fn passes_on(mut self) -> Self {
        self.passes_on = true;
        self
    }

    /// Hardly anything runs.
    const fn together(mut self) -> Self {
        self.together = true;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_situation_has_a_name_of_its_own() {
        let mut names: Vec<&str> = all().iter().map(|it| it.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}

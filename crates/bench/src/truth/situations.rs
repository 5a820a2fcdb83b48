//! The situations, in which a dependency fails or seems to.

mod mariadb;
mod pgbouncer;
mod postgres;
mod redis;
mod sqlite;
mod upstream;

use std::{future::Future, pin::Pin};

use axum::Router;
use steadfast::{CheckOutcome, Dependency, check};

use super::watch::Seen;
use crate::stack::App;

pub(super) type Running = Pin<Box<dyn Future<Output = Seen> + Send>>;

/// What should be said, and what not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Expected {
    /// One of these words is in the reason.
    pub(super) says: &'static [&'static str],
    /// None of these is.
    pub(super) never: &'static [&'static str],
    /// Of none of these classes is it.
    pub(super) never_class: &'static [&'static str],
    /// The dependency has done nothing.
    pub(super) innocent: bool,
    /// Everything can be served meanwhile.
    pub(super) serves: bool,
    /// Only its check can find out, within its documented bound.
    pub(super) by_check: bool,
    /// Whether it is served again at once when the harm is over.
    pub(super) heals: bool,
    /// The application hides what it was refused with.
    pub(super) hides: bool,
    /// Calls hang and nobody else can be asked, so now and then a client has to find out
    /// whether it is over, and leaves without an answer.
    pub(super) hangs: bool,
}

impl Expected {
    /// It is found out by traffic, and healed.
    const fn says(words: &'static [&'static str]) -> Self {
        Self {
            says: words,
            never: &[],
            never_class: &[],
            innocent: false,
            serves: false,
            by_check: false,
            heals: true,
            hides: false,
            hangs: false,
        }
    }

    const fn never(mut self, words: &'static [&'static str]) -> Self {
        self.never = words;
        self
    }

    const fn never_class(mut self, classes: &'static [&'static str]) -> Self {
        self.never_class = classes;
        self
    }

    /// Old sessions serve on, so only the check can find out.
    const fn by_check(mut self) -> Self {
        self.by_check = true;
        self.serves = true;
        self
    }

    const fn hides(mut self) -> Self {
        self.hides = true;
        self
    }

    const fn hangs(mut self) -> Self {
        self.hangs = true;
        self
    }

    const fn for_good(mut self) -> Self {
        self.heals = false;
        self
    }

    const fn innocent() -> Self {
        let mut it = Self::says(&[]);
        it.innocent = true;
        it
    }
}

/// One of them.
#[derive(Clone)]
pub(super) struct Situation {
    /// A stable name.
    pub(super) name: &'static str,
    /// What happens.
    pub(super) claim: &'static str,
    pub(super) expected: Expected,
    /// Whether a quick run has it.
    pub(super) quick: bool,
    pub(super) run: fn() -> Running,
}

impl Situation {
    const fn new(
        name: &'static str,
        claim: &'static str,
        expected: Expected,
        run: fn() -> Running,
    ) -> Self {
        Self {
            name,
            claim,
            expected,
            quick: false,
            run,
        }
    }

    /// A quick run has it too.
    const fn quick(mut self) -> Self {
        self.quick = true;
        self
    }
}

/// All of them.
pub(super) fn all() -> Vec<Situation> {
    [
        postgres::situations(),
        pgbouncer::situations(),
        mariadb::situations(),
        sqlite::situations(),
        redis::situations(),
        upstream::situations(),
    ]
    .concat()
}

/// Guards an application, with a second dependency that is always well.
fn app(routes: Router, dependency: &Dependency) -> App {
    let well = check::closure(|| async { CheckOutcome::pass() });
    let bystander = Dependency::builder("bystander").check(well).build();
    let bystander = bystander.expect("the settings are right");
    App::guarded(routes, &[dependency, &bystander])
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

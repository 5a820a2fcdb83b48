//! The knowledge base: what each finding means, how it is seen, from where on it counts, what
//! helps, and the rule that looks for it. One table for each area of the runbook.
//!
//! `why503 explain ID` prints a row and `why503 runbook` all of them, so a row is written
//! for a person at three in the morning: first what it means, then how to be sure, then what
//! to do.

mod postgres;

use std::collections::BTreeSet;

use crate::{
    Id, Role,
    engine::{Found, View},
};

/// One row.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Row {
    /// Its id.
    pub id: Id,
    /// What part such a finding plays.
    pub role: Role,
    /// A few words for it.
    pub title: &'static str,
    /// What it means, in sentences.
    pub means: &'static str,
    /// How it looks to a client of the service.
    pub outside: &'static str,
    /// What proves it on the host, and where to read that.
    pub inside: &'static str,
    /// From where on it counts, and why from there.
    pub threshold: &'static str,
    /// What to do, in sentences.
    pub fix: &'static str,
    /// Commands for it. `PID`, `PORT`, `UNIT`, `NAME` and the like stand for what is known
    /// of the case.
    pub commands: &'static [&'static str],
    /// The findings that it may be behind.
    pub effects: &'static [Id],
    /// Looks for it.
    pub(crate) judge: fn(&View<'_>, &mut Found<'_>),
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row")
            .field("id", &self.id)
            .field("title", &self.title)
            .finish_non_exhaustive()
    }
}

/// The tables, in the order of the runbook.
const TABLES: &[&[Row]] = &[postgres::ROWS];

/// Every row, in the order of the runbook.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    TABLES.iter().copied().flatten()
}

/// Returns the row of an id.
#[must_use]
pub fn row(id: Id) -> Option<&'static Row> {
    rows().find(|row| row.id == id)
}

/// Everything that a row may be behind, also by way of others.
pub(crate) fn reach(from: &Row) -> BTreeSet<Id> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<Id> = from.effects.to_vec();
    while let Some(id) = open.pop() {
        if reached.insert(id) {
            open.extend(row(id).map_or(&[][..], |row| row.effects));
        }
    }
    reached
}

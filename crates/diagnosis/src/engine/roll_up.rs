//! From findings to a story: what explains what, roots first.
//!
//! A finding explains another one if the knowledge base says that it may be behind it, if
//! both can be about the same thing, and if it is no less sure. So a paused database stands
//! in front of the pool that it empties, and a processor that is merely busy does not stand
//! in front of a refusal whose rule is known.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, VecDeque},
};

use super::{Strength, found::Ranked};
use crate::{Confidence, Finding, Id, Role, Tied, finding::Link, knowledge};

/// Puts the findings into order and writes the chains.
pub(super) fn order(mut found: Vec<Ranked>) -> Vec<Finding> {
    if Story::new(&found).is_explained() {
        found.retain(|it| {
            it.finding.confidence > Confidence::Possible || it.finding.role != Role::Fault
        });
    }
    let story = Story::new(&found);
    let chains: Vec<_> = (0..found.len()).map(|it| story.chain(it)).collect();
    let effects: Vec<_> = (0..found.len()).map(|it| story.effects_of(it)).collect();
    let places = story.places();
    let mut findings: Vec<_> = found
        .into_iter()
        .zip(chains.into_iter().zip(effects))
        .map(|(ranked, (chain, effects))| {
            Some(Finding {
                chain,
                effects,
                ..ranked.finding
            })
        })
        .collect();
    places
        .into_iter()
        .filter_map(|it| findings[it].take())
        .collect()
}

/// The findings, and which explain which.
struct Story<'a> {
    found: &'a [Ranked],
    /// For each, those that it explains, also by way of others.
    explains: Vec<Vec<usize>>,
}

impl<'a> Story<'a> {
    fn new(found: &'a [Ranked]) -> Self {
        let explains = (0..found.len())
            .map(|root| explained_by(root, found))
            .collect();
        Self { found, explains }
    }

    /// Whether the first place goes to a proven cause of the failure; what is merely possible
    /// beside it need not be told then.
    fn is_explained(&self) -> bool {
        let is_cause = |it: &usize| {
            let finding = &self.found[*it].finding;
            finding.confidence == Confidence::Proven
                && finding.role == Role::Fault
                && self.is_of_the_failure(*it)
        };
        self.places().first().is_some_and(is_cause)
    }

    /// Every finding once: the best of those whose roots have all been named, again and again.
    fn places(&self) -> Vec<usize> {
        let mut left: Vec<usize> = (0..self.found.len()).collect();
        left.sort_by_key(|it| self.rank(*it));
        let mut places = Vec::with_capacity(left.len());
        while !left.is_empty() {
            let is_free = |it: &usize| !left.iter().any(|other| self.explains[*other].contains(it));
            // Effects cannot run in a circle, so somebody is free.
            let next = left.iter().position(is_free).unwrap_or(0);
            places.push(left.remove(next));
        }
        places
    }

    fn rank(&self, it: usize) -> impl Ord + use<> {
        let Ranked {
            finding, strength, ..
        } = &self.found[it];
        let part = match finding.role {
            Role::Fault | Role::Symptom => 0,
            Role::Change => 1,
            Role::Risk => 2,
        };
        (
            part,
            !self.is_of_the_failure(it),
            Reverse(finding.confidence),
            Reverse(*strength),
            Reverse(self.explains[it].len()),
            finding.id,
            finding.about.clone(),
        )
    }

    /// Whether it is about the requests that fail: they are its evidence, or it explains where
    /// they show. What is broken beside them comes later, however sure it is.
    fn is_of_the_failure(&self, it: usize) -> bool {
        let direct =
            |it: usize| self.found[it].seen_failing || self.found[it].finding.role == Role::Symptom;
        direct(it) || self.explains[it].iter().any(|effect| direct(*effect))
    }

    fn effects_of(&self, it: usize) -> Vec<Id> {
        let mut ids: Vec<_> = self.explains[it]
            .iter()
            .map(|it| self.found[*it].finding.id)
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The longest way from a root to where it shows that leads through this one.
    fn chain(&self, it: usize) -> Vec<Link> {
        let up = |it: usize| {
            (0..self.found.len())
                .filter(move |other| self.explains[*other].contains(&it))
                .collect()
        };
        let mut way = longest(it, &up);
        way.reverse();
        way.extend(
            longest(it, &|it| self.explains[it].clone())
                .into_iter()
                .skip(1),
        );
        if way.len() < 2 {
            return Vec::new();
        }
        let link = |it: usize| {
            let finding = &self.found[it].finding;
            Link {
                id: finding.id,
                about: finding.about.clone(),
                title: finding.title,
            }
        };
        way.into_iter().map(link).collect()
    }
}

/// The longest way from here. What is explained by way of others is listed at each step, so
/// the next step is the one that explains all the rest.
fn longest(from: usize, next: &dyn Fn(usize) -> Vec<usize>) -> Vec<usize> {
    let mut way = vec![from];
    let mut here = from;
    while way.len() <= CHAIN_MAX {
        let steps = next(here);
        let Some(step) = steps
            .into_iter()
            .max_by_key(|it| (next(*it).len(), Reverse(*it)))
        else {
            break;
        };
        way.push(step);
        here = step;
    }
    way
}

/// No story has more steps, so a knowledge base that ran in a circle could not hang anybody.
const CHAIN_MAX: usize = 12;

/// Whatever this one explains: what it may be behind, step by step.
///
/// A proven root may skip one step that was not found itself: a database that is down takes
/// an instance out of rotation, whether or not its readiness was looked at. With more than
/// that everything would be behind everything.
fn explained_by(root: usize, found: &[Ranked]) -> Vec<usize> {
    let proven = found[root].finding.confidence == Confidence::Proven;
    let mut open: VecDeque<(Id, bool)> = found[root]
        .row
        .effects
        .iter()
        .map(|id| (*id, false))
        .collect();
    let mut seen = BTreeSet::new();
    let mut explained = BTreeSet::new();
    while let Some((id, skipped)) = open.pop_front() {
        if !seen.insert((id, skipped)) {
            continue;
        }
        let here: Vec<_> = (0..found.len())
            .filter(|it| found[*it].finding.id == id && leads(&found[root], &found[*it]))
            .collect();
        if !here.is_empty() || proven && !skipped {
            let effects = knowledge::row(id).map_or(&[][..], |row| row.effects);
            open.extend(effects.iter().map(|id| (*id, here.is_empty())));
        }
        explained.extend(here);
    }
    explained.remove(&root);
    explained.into_iter().collect()
}

/// Whether one is sure enough to stand in front of the other, and about the same thing.
fn leads(root: &Ranked, effect: &Ranked) -> bool {
    let (a, b) = (&root.finding, &effect.finding);
    let is_root = matches!(a.role, Role::Fault | Role::Symptom);
    let is_sure = a.confidence >= b.confidence
        || (a.confidence == Confidence::Likely && root.strength == Strength::Direct);
    is_root && is_sure && may_be_one(&a.about, &b.about)
}

/// Whether two findings may belong together. Two different dependencies, or backends, do not.
fn may_be_one(a: &Tied, b: &Tied) -> bool {
    match (a, b) {
        (Tied::Dependency(a), Tied::Dependency(b)) => a == b || !(is_own_name(a) && is_own_name(b)),
        (Tied::Backend(a), Tied::Backend(b)) => a == b,
        _ => true,
    }
}

/// Names that the process itself uses have no port; whoever knows an address alone cannot
/// know that two of them differ.
fn is_own_name(name: &crate::Text) -> bool {
    !name.as_str().contains(':')
}

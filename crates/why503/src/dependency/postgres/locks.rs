//! Who everybody waits for: the roots of the lock queue.

use std::collections::{BTreeMap, BTreeSet};

/// A session that waits for a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiter {
    pub(crate) pid: i32,
    /// Who it waits for (`pg_blocking_pids`).
    pub(crate) behind: Vec<i32>,
    /// For how long, in whole seconds.
    pub(crate) seconds: u64,
}

/// A session that waits for nobody and holds up others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Root {
    pub(crate) pid: i32,
    /// How many wait for it, in the end.
    pub(crate) waiters: usize,
    /// The longest of these waits, in whole seconds.
    pub(crate) seconds: u64,
}

/// Finds the roots, the one that holds up most first.
///
/// In a circle nobody is the root; PostgreSQL breaks one after a second (`deadlock_timeout`).
pub(crate) fn roots(waiters: &[Waiter]) -> Vec<Root> {
    let behind: BTreeMap<i32, &Waiter> = waiters.iter().map(|it| (it.pid, it)).collect();
    let mut found: BTreeMap<i32, Root> = BTreeMap::new();
    for waiter in waiters {
        let mut seen = BTreeSet::from([waiter.pid]);
        let mut next = waiter.behind.clone();
        while let Some(pid) = next.pop() {
            if !seen.insert(pid) {
                continue;
            }
            if let Some(further) = behind.get(&pid) {
                next.extend(&further.behind);
                continue;
            }
            let root = found.entry(pid).or_insert(Root {
                pid,
                waiters: 0,
                seconds: 0,
            });
            root.waiters += 1;
            root.seconds = root.seconds.max(waiter.seconds);
        }
    }
    let mut all: Vec<Root> = found.into_values().collect();
    all.sort_by_key(|root| std::cmp::Reverse((root.waiters, root.seconds)));
    all
}

/// Reads PostgreSQL's `{12,34}`.
pub(crate) fn pids(text: &str) -> Vec<i32> {
    let inner = text.trim_matches(['{', '}']);
    inner
        .split(',')
        .filter_map(|pid| pid.trim().parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(waits: &[(i32, &[i32], u64)], expected: &[(i32, usize, u64)]) {
        let waiters: Vec<_> = waits
            .iter()
            .map(|(pid, behind, seconds)| Waiter {
                pid: *pid,
                behind: behind.to_vec(),
                seconds: *seconds,
            })
            .collect();
        let found: Vec<_> = roots(&waiters)
            .iter()
            .map(|root| (root.pid, root.waiters, root.seconds))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_root_is_who_waits_for_nobody() {
        check(&[], &[]);
        check(&[(2, &[1], 7)], &[(1, 1, 7)]);
        check(&[(2, &[1], 7), (3, &[2], 9), (4, &[3, 2], 1)], &[(1, 3, 9)]);
        check(
            &[(2, &[1], 7), (4, &[3], 1), (5, &[3], 2)],
            &[(3, 2, 2), (1, 1, 7)],
        );
        // A circle has none, and ends.
        check(&[(1, &[2], 1), (2, &[1], 1)], &[]);
    }

    #[test]
    fn pids_are_read_and_nonsense_is_left_out() {
        assert_eq!(pids("{12,34}"), [12, 34]);
        assert_eq!(pids("{}"), [0; 0]);
        assert_eq!(pids("{a,5"), [5]);
    }
}

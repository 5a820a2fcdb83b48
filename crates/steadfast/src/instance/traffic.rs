//! Who asks, by shares: which route fills the places, which tenant sends most, and whether
//! clients that were refused come again before they were told to.
//!
//! Nothing here is counted for each request. Once a second the round in the background looks
//! at what runs (the table of `steadfast-core`) and at the latest refusals (the ledger), and
//! counts what it finds; tenants are drawn by lot, where the application has named a header
//! that tells them. A look is a sample, and shares of samples are all that is asked for.
//!
//! ```text
//! what runs, once a second ─▶ shape of its path ─┐
//! a request in sixteen     ─▶ its tenant         ├─▶ a minute of the 32 most frequent, 12 kept
//! the latest refusals, once a second ─▶ ids that come again too soon
//! ```

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use steadfast_core::plumbing::{Recorded, inert};

/// Names counted in one minute. A share that matters is a half, so a few would do; the error
/// of a count is at most the minute's samples divided by this.
const NAMES_MAX: usize = 32;

/// Minutes that are kept: the last two are *now*, those before are *before*.
const MINUTES_KEPT: usize = 12;
const MINUTES_NOW: usize = 2;

/// Fewest minutes that make a *before*, as for the demand.
const MINUTES_BEFORE_MIN: usize = 2;

/// Fewest samples from which a share is told: with fewer, one request is a tenth.
const SAMPLES_MIN: u64 = 20;

/// Longest name, in characters.
const NAME_LEN_MAX: usize = 64;

/// Ids of refused requests that are remembered: twice what the ledger keeps.
const IDS_KEPT: usize = 512;

/// One request in so many is asked for its tenant.
const ONE_IN: u8 = 16;

/// Who asks.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub(crate) routes: Shares,
    pub(crate) tenants: Shares,
    pub(crate) retries: Mutex<Retries>,
}

impl Traffic {
    pub(crate) fn new(began: Instant) -> Self {
        Self {
            routes: Shares::new(began),
            tenants: Shares::new(began),
            retries: Mutex::new(Retries::new(began)),
        }
    }

    pub(crate) fn retries(&self) -> MutexGuard<'_, Retries> {
        self.retries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether this request is one of those that are looked at. Costs a step of the thread's own
/// generator.
#[inline]
pub(crate) fn is_drawn() -> bool {
    fastrand::u8(..ONE_IN) == 0
}

/// Shares of names, minute by minute.
#[derive(Debug)]
pub(crate) struct Shares(Mutex<Ring<Minute>>);

/// The share of the most frequent name, now and before.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Share {
    pub(crate) name: String,
    pub(crate) now: f64,
    pub(crate) before: f64,
}

/// The most frequent names of a minute (Metwally, Agrawal and El Abbadi, "Efficient
/// computation of frequent and top-k elements in data streams", ICDT 2005): who is new when
/// the table is full takes the place, and the count, of the rarest.
#[derive(Debug, Default)]
struct Minute {
    samples: u64,
    names: Vec<(String, u64)>,
}

impl Minute {
    fn count(&mut self, name: &str) {
        self.samples += 1;
        if let Some((_, count)) = self.names.iter_mut().find(|(known, _)| known == name) {
            *count += 1;
        } else if self.names.len() < NAMES_MAX {
            self.names.push((name.to_owned(), 1));
        } else if let Some(rarest) = self.names.iter_mut().min_by_key(|(_, count)| *count) {
            *rarest = (name.to_owned(), rarest.1 + 1);
        }
    }

    fn of(&self, name: &str) -> u64 {
        let known = self.names.iter().find(|(known, _)| known == name);
        known.map_or(0, |(_, count)| *count)
    }
}

impl Shares {
    fn new(began: Instant) -> Self {
        Self(Mutex::new(Ring::new(began)))
    }

    /// Counts one, unless somebody else is counting: a sample more or less.
    pub(crate) fn saw(&self, name: &str, now: Instant) {
        let Ok(mut ring) = self.0.try_lock() else {
            return;
        };
        let name: String = inert(name).chars().take(NAME_LEN_MAX).collect();
        ring.at(now).count(&name);
    }

    /// Returns the most frequent name, if enough was seen now and before.
    pub(crate) fn first(&self, now: Instant) -> Option<Share> {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ring.at(now);
        let (before, lately) = ring
            .kept
            .split_at(ring.kept.len().saturating_sub(MINUTES_NOW));
        let samples: u64 = lately.iter().map(|minute| minute.samples).sum();
        let before: Vec<_> = before.iter().filter(|minute| minute.samples > 0).collect();
        let samples_before: u64 = before.iter().map(|minute| minute.samples).sum();
        if samples < SAMPLES_MIN
            || samples_before < SAMPLES_MIN
            || before.len() < MINUTES_BEFORE_MIN
        {
            return None;
        }
        let names = lately.iter().flat_map(|minute| &minute.names);
        let of = |name: &str| -> u64 { lately.iter().map(|minute| minute.of(name)).sum() };
        let name = names.map(|(name, _)| name).max_by_key(|name| of(name))?;
        // Each minute weighs the same, so that a rush at the end does not become its own past.
        let each = before.iter();
        let shares = each.map(|minute| minute.of(name) as f64 / minute.samples as f64);
        Some(Share {
            name: name.clone(),
            now: of(name) as f64 / samples as f64,
            before: shares.sum::<f64>() / before.len() as f64,
        })
    }
}

/// Something for each of the last minutes, the latest at the end.
#[derive(Debug)]
struct Ring<T> {
    began: Instant,
    last: u64,
    kept: Vec<T>,
}

impl<T: Default> Ring<T> {
    fn new(began: Instant) -> Self {
        Self {
            began,
            last: 0,
            kept: vec![T::default()],
        }
    }

    /// Returns this minute's, after empty ones for those in between.
    fn at(&mut self, now: Instant) -> &mut T {
        let minute = now.saturating_duration_since(self.began).as_secs() / 60;
        let missing = minute.saturating_sub(self.last).min(MINUTES_KEPT as u64);
        for _ in 0..missing {
            if self.kept.len() == MINUTES_KEPT {
                self.kept.remove(0);
            }
            self.kept.push(T::default());
        }
        self.last = self.last.max(minute);
        self.kept.last_mut().expect("it begins with one")
    }
}

/// Requests that were refused, known by an id that their sender keeps when it tries again.
#[derive(Debug)]
pub(crate) struct Retries {
    /// Refusals that there were at the last look, and the latest of them.
    count: u64,
    seen: Option<Instant>,
    /// Id, until when it was told to wait.
    retry_at: VecDeque<(Box<str>, Instant)>,
    minutes: Ring<Again>,
}

/// Refused requests with an id, and those that came again too soon.
#[derive(Clone, Copy, Debug, Default)]
struct Again {
    of: u64,
    repeated: u64,
}

impl Retries {
    fn new(began: Instant) -> Self {
        Self {
            count: 0,
            seen: None,
            retry_at: VecDeque::new(),
            minutes: Ring::new(began),
        }
    }

    /// Whether anything was refused since it was asked last.
    pub(crate) const fn has_news(&mut self, refusals: u64) -> bool {
        let before = std::mem::replace(&mut self.count, refusals);
        before != refusals
    }

    /// Looks at the latest refusals, newest first, as the ledger keeps them.
    pub(crate) fn look(&mut self, recent: &[Recorded], now: Instant) {
        let seen = self.seen;
        let fresh = recent.iter().rev();
        let fresh = fresh.filter(|it| seen.is_none_or(|seen| it.refusal.at() > seen));
        let mut latest = seen;
        for refused in fresh {
            latest = latest.max(Some(refused.refusal.at()));
            let note = &refused.request;
            if let Some(id) = note.request_id.as_deref().or(note.trace_id.as_deref()) {
                self.refused(id, refused.refusal.at(), refused.retry_after, now);
            }
        }
        self.seen = latest;
    }

    fn refused(&mut self, id: &str, at: Instant, wait: Duration, now: Instant) {
        let known = self.retry_at.iter_mut().find(|(other, _)| **other == *id);
        let too_soon = known.as_ref().is_some_and(|(_, until)| at < *until);
        match known {
            Some((_, until)) => *until = at + wait,
            None => {
                if self.retry_at.len() == IDS_KEPT {
                    self.retry_at.pop_front();
                }
                self.retry_at.push_back((id.into(), at + wait));
            }
        }
        let minute = self.minutes.at(now);
        minute.of += 1;
        minute.repeated += u64::from(too_soon);
    }

    /// Returns how many came again too soon in the last minutes, and of how many.
    pub(crate) fn lately(&mut self, now: Instant) -> (u64, u64) {
        self.minutes.at(now);
        let lately = self.minutes.kept.iter().rev().take(MINUTES_NOW);
        lately.fold((0, 0), |(repeated, of), minute| {
            (repeated + minute.repeated, of + minute.of)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_name_that_grew_is_told_with_its_share_before() {
        let start = clock::now();
        let shares = Shares::new(start);
        let second = |count: u64| start + SECOND * count as u32;
        for at in 0..300 {
            shares.saw(if at % 10 == 0 { "/report" } else { "/orders" }, second(at));
        }
        let well = shares.first(second(300)).expect("enough was seen");
        assert_eq!(well.name, "/orders");
        assert!((well.now - well.before).abs() < 0.05, "{well:?}");
        for at in 300..420 {
            for _ in 0..20 {
                shares.saw("/report", second(at));
            }
        }
        let grown = shares.first(second(419)).expect("enough was seen");
        assert_eq!(grown.name, "/report");
        assert!(grown.now > 0.95 && grown.before < 0.2, "{grown:?}");
    }

    #[test]
    fn little_is_no_share_and_many_names_are_bounded() {
        let start = clock::now();
        let shares = Shares::new(start);
        assert_eq!(shares.first(start), None);
        for minute in 0..20 {
            for name in 0..200 {
                let name = format!("{name}-{}", "x".repeat(1000));
                shares.saw(&name, start + 60 * minute * SECOND);
            }
        }
        let ring = shares.0.lock().expect("whole");
        assert_eq!(ring.kept.len(), MINUTES_KEPT);
        for minute in &ring.kept {
            assert_eq!(minute.names.len(), NAMES_MAX);
            let longest = minute
                .names
                .iter()
                .map(|(name, _)| name.chars().count())
                .max();
            assert!(longest <= Some(NAME_LEN_MAX));
        }
    }

    #[test]
    fn a_hostile_name_is_kept_as_what_it_looks_like() {
        let start = clock::now();
        let shares = Shares::new(start);
        for at in 0..200 {
            let name = "/<b>\u{1b}[31m\u{202e}\0\u{2028}";
            shares.saw(name, start + SECOND * at);
        }
        let name = shares.first(start + 200 * SECOND).expect("enough").name;
        for live in ['\u{1b}', '\u{202e}', '\0', '\u{2028}'] {
            assert!(!name.contains(live), "{name:?}");
        }
        assert!(name.starts_with("/<b>"), "{name}");
    }

    #[test]
    fn an_id_that_comes_before_its_time_came_too_soon() {
        let start = clock::now();
        let mut retries = Retries::new(start);
        for (id, at, wait) in [
            ("a", 0, 2),
            ("a", 1, 2),
            ("b", 1, 1),
            ("b", 3, 1),
            ("a", 9, 1),
        ] {
            let at = start + at * SECOND;
            retries.refused(id, at, wait * SECOND, at);
        }
        assert_eq!(retries.lately(start + 9 * SECOND), (1, 5));
        assert_eq!(retries.lately(start + 600 * SECOND), (0, 0));
        for id in 0..10_000 {
            retries.refused(&id.to_string(), start, SECOND, start);
        }
        assert_eq!(retries.retry_at.len(), IDS_KEPT);
    }
}

//! The tenants that ask most, in bounded memory. Pure.
//!
//! Space-saving (Metwally, Agrawal and El Abbadi, "Efficient computation of frequent and top-k
//! elements in data streams", ICDT 2005): who is new when the table is full takes the place, and
//! the count, of the rarest, and remembers how much of the count is not its own. So who asks for
//! more than a table's share of everything is always in it, and `asked - error` never says more
//! than was asked for. That difference is what a tenant is judged by: nobody pays for what
//! another has done.
//!
//! Everything is a number that [`Table::fade`] makes smaller, so that what was long ago weighs
//! less, and sums of two tables are a table of both.

use std::{fmt, str};

use crate::redact::{inert, redact};

/// Longest name that is kept whole, in characters; names that people give are shorter.
const WHOLE_MAX: usize = 16;

/// What is kept of a longer one, in characters: enough to know a customer or the head of a
/// UUID again, too little of a key to use it.
const HEAD_LEN: usize = 8;

/// Bytes of a name: four for each character.
const BYTES: usize = 4 * WHOLE_MAX;

/// Ends by which a tenant's own time counts as much as everybody's.
const PRIOR: f64 = 4.0;

/// Fewest requests that say how long a place is held now.
const WHOLE_MIN: f64 = 8.0;

/// Below this an entry says nothing any more.
const FORGOTTEN: f64 = 0.01;

/// Whom a request belongs to, as the tables know it: the hash of the key, never zero, without
/// its two lowest bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TenantId(pub(super) u64);

impl TenantId {
    pub(super) const fn new(hash: u64) -> Self {
        Self(if hash >> 2 == 0 { 4 } else { hash & !3 })
    }
}

/// What is kept of a tenant's name for people. Costs no allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Label {
    id: TenantId,
    bytes: [u8; BYTES],
    len: u8,
    cut: bool,
}

impl Label {
    /// Of an empty name only the hash is shown.
    pub(super) fn new(id: TenantId, name: &str) -> Self {
        let cut = name.chars().nth(WHOLE_MAX).is_some();
        let shown = if cut { HEAD_LEN } else { WHOLE_MAX };
        let end = name.char_indices().nth(shown).map(|(at, _)| at);
        let head = &name.as_bytes()[..end.unwrap_or(name.len())];
        let mut bytes = [0; BYTES];
        bytes[..head.len()].copy_from_slice(head);
        Self {
            id,
            bytes,
            len: head.len() as u8,
            cut,
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default();
        if name.is_empty() {
            return write!(f, "#{:06x}", self.id.0 >> 40);
        }
        f.write_str(&inert(&redact(name)))?;
        f.write_str(if self.cut { "…" } else { "" })
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What part stays of everything, and of what is fresh.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fade {
    pub(super) to: f64,
    pub(super) fresh_to: f64,
}

/// What a tenant has done lately.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Work {
    /// Requests that asked for a place.
    pub(super) asked: f64,
    /// The same of a shorter time.
    pub(super) fresh: f64,
    /// How much of that may be another's.
    pub(super) error: f64,
    /// Sum of the squares of what was added to it, which is its variance.
    pub(super) squares: f64,
    /// Requests that ended, and how long they had a place, in seconds.
    pub(super) ended: f64,
    pub(super) held_secs: f64,
    /// Those of them that nobody cut short, in the longer time and in the shorter one.
    pub(super) whole: Holds,
    pub(super) fresh_whole: Holds,
}

/// So many requests that had a place for so long, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Holds {
    pub(super) count: f64,
    pub(super) secs: f64,
}

impl Holds {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.secs += other.secs;
    }

    fn fade(&mut self, to: f64) {
        self.count *= to;
        self.secs *= to;
    }

    /// How long one had it, if there are enough to say.
    pub(super) fn mean(self) -> Option<f64> {
        (self.count >= WHOLE_MIN && self.secs > 0.0).then(|| self.secs / self.count)
    }
}

impl Work {
    fn add(&mut self, other: &Self) {
        self.asked += other.asked;
        self.fresh += other.fresh;
        self.error += other.error;
        self.squares += other.squares;
        self.ended += other.ended;
        self.held_secs += other.held_secs;
        self.whole.add(other.whole);
        self.fresh_whole.add(other.fresh_whole);
    }

    fn fade(&mut self, Fade { to, fresh_to }: Fade) {
        self.asked *= to;
        self.fresh *= fresh_to;
        self.error *= to;
        self.squares *= to * to;
        self.ended *= to;
        self.held_secs *= to;
        self.whole.fade(to);
        self.fresh_whole.fade(fresh_to);
    }

    /// What was surely asked for.
    pub(super) const fn own(&self) -> f64 {
        self.asked - self.error
    }

    /// What was asked for in the shorter time, and its standard error.
    pub(super) fn fresh(&self) -> (f64, f64) {
        let each = (self.squares / self.asked.max(1e-9)).max(1.0);
        (self.fresh, (self.fresh * each).sqrt())
    }

    /// How long a place is held, where everybody holds one for `mean` seconds.
    pub(super) fn hold_secs(&self, mean: f64) -> f64 {
        (self.held_secs + PRIOR * mean) / (self.ended + PRIOR)
    }
}

/// One of the tenants that ask most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(super) label: Label,
    pub(super) work: Work,
}

impl Entry {
    pub(super) const fn id(&self) -> TenantId {
        self.label.id
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Table {
    entries: Vec<Entry>,
    max: usize,
    total: Work,
}

impl Table {
    /// For at most so many tenants, which is all that it ever allocates.
    pub(super) fn new(max: usize) -> Self {
        Self {
            entries: Vec::with_capacity(max),
            max,
            total: Work::default(),
        }
    }

    /// The tenants, in no order.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What all did, also those who have no entry.
    pub(super) const fn total(&self) -> &Work {
        &self.total
    }

    pub(super) fn find(&self, id: TenantId) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.id() == id)
    }

    /// Counts a request that stands for `weight` of them.
    pub(super) fn asks(&mut self, id: TenantId, name: &str, weight: f64) {
        let work = Work {
            asked: weight,
            fresh: weight,
            squares: weight * weight,
            ..Work::default()
        };
        self.total.add(&work);
        self.insert(id, || Label::new(id, name), &work);
    }

    /// Counts the end of one, which nobody has cut short if it is `whole`.
    pub(super) fn ended(&mut self, id: TenantId, held_secs: f64, whole: bool, weight: f64) {
        let counts = if whole { weight } else { 0.0 };
        let whole = Holds {
            count: counts,
            secs: held_secs * counts,
        };
        let work = Work {
            ended: weight,
            held_secs: held_secs * weight,
            whole,
            fresh_whole: whole,
            ..Work::default()
        };
        self.total.add(&work);
        // Its name is known where it has asked.
        self.insert(id, || Label::new(id, ""), &work);
    }

    /// Takes everything that another has counted, and leaves it empty.
    pub(super) fn take_from(&mut self, other: &mut Self) {
        self.total.add(&other.total);
        other.total = Work::default();
        for entry in other.entries.drain(..) {
            self.insert(entry.id(), || entry.label, &entry.work);
        }
    }

    /// Makes everything smaller.
    pub(super) fn fade(&mut self, to: Fade) {
        self.total.fade(to);
        self.entries
            .iter_mut()
            .for_each(|entry| entry.work.fade(to));
        self.entries
            .retain(|entry| entry.work.asked.max(entry.work.ended) > FORGOTTEN);
    }

    fn insert(&mut self, id: TenantId, label: impl FnOnce() -> Label, work: &Work) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id() == id) {
            if entry.label.len == 0 {
                entry.label = label();
            }
            return entry.work.add(work);
        }
        if self.entries.len() < self.max {
            let (label, work) = (label(), *work);
            return self.entries.push(Entry { label, work });
        }
        if work.asked == 0.0 {
            // Who only ends takes nobody's place.
            return;
        }
        let (label, mut work) = (label(), *work);
        let least = |a: &&mut Entry, b: &&mut Entry| a.work.asked.total_cmp(&b.work.asked);
        if let Some(rarest) = self.entries.iter_mut().min_by(least) {
            work.error += rarest.work.asked;
            work.asked += rarest.work.asked;
            *rarest = Entry { label, work };
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn shown(name: &str) -> String {
        Label::new(TenantId::new(0xabcd_ef01_2345_6789), name).to_string()
    }

    #[test]
    fn a_name_is_kept_as_far_as_people_need_it() {
        for (name, expected) in [
            ("acme", "acme"),
            ("customer-0000016", "customer-0000016"),
            ("0190f5c2-7f3a-7000-8000-0123456789ab", "0190f5c2…"),
            ("ключ-покупателя-из-Перми", "ключ-пок…"),
            ("sk_live_51HabcDEFghijk", "sk_live_…"),
            ("password=hunter2", "password=***"),
            ("", "#abcdef"),
        ] {
            assert_eq!(shown(name), expected);
        }
        assert!(!shown("a\u{1b}[31m\u{202e}b").contains(['\u{1b}', '\u{202e}']));
    }

    proptest! {
        /// The model is a map without a bound. Lower bound, upper bound, the frequent are there,
        /// and the whole is whole, for one table and for one that took others in.
        #[test]
        fn a_count_is_never_more_than_was_asked_for_and_the_frequent_are_known(
            asks in prop::collection::vec((0_u64..40, 0_usize..3), 1..600),
            max in 1_usize..12,
        ) {
            let mut truth: HashMap<u64, f64> = HashMap::new();
            let mut parts: Vec<_> = (0..3).map(|_| Table::new(max)).collect();
            let mut alone = Table::new(max);
            // A few ask often.
            for (number, part) in asks {
                let key = if number % 3 == 0 { number % 2 } else { number };
                let id = TenantId::new((key + 1) << 8);
                *truth.entry(id.0).or_default() += 1.0;
                parts[part].asks(id, "x", 1.0);
                alone.asks(id, "x", 1.0);
            }
            let all: f64 = truth.values().sum();
            let mut merged = Table::new(max);
            parts.iter_mut().for_each(|part| merged.take_from(part));
            for table in [&alone, &merged] {
                prop_assert!(table.entries().len() <= max);
                prop_assert_eq!(table.total().asked, all);
                let sum: f64 = table.entries().iter().map(|entry| entry.work.asked).sum();
                prop_assert_eq!(sum, all);
                for entry in table.entries() {
                    prop_assert!(entry.work.own() <= truth[&entry.id().0]);
                }
            }
            for (id, count) in truth {
                let known = alone.find(TenantId(id));
                prop_assert!(known.is_none_or(|entry| entry.work.asked >= count));
                prop_assert!(count <= all / max as f64 || known.is_some());
            }
        }

        #[test]
        fn what_is_long_ago_is_forgotten(names in prop::collection::vec(1_u64..1000, 1..100)) {
            let mut table = Table::new(8);
            for name in names {
                table.asks(TenantId::new(name << 2), "x", 16.0);
                table.ended(TenantId::new(name << 2), 0.5, true, 1.0);
            }
            let half = Fade { to: 0.5, fresh_to: 0.25 };
            table.fade(half);
            prop_assert!(!table.entries().is_empty());
            (0..40).for_each(|_| table.fade(half));
            prop_assert!(table.entries().is_empty() && table.total().asked < 1e-6);
        }
    }

    #[test]
    fn an_end_is_counted_where_nothing_was_asked_lately_and_takes_nobodys_place() {
        let (slow, other) = (TenantId::new(1 << 8), TenantId::new(2 << 8));
        let (mut all, mut part) = (Table::new(2), Table::new(1));
        part.asks(slow, "slow", 1.0);
        all.take_from(&mut part);
        part.ended(slow, 30.0, true, 1.0);
        part.ended(other, 1.0, true, 1.0);
        all.take_from(&mut part);
        let known = all.find(slow).expect("it asked");
        assert_eq!(
            (known.work.held_secs, known.label.to_string().as_str()),
            (30.0, "slow")
        );
        assert!(all.find(other).is_none() && all.total().ended == 2.0);
    }

    #[test]
    fn a_table_never_grows() {
        let mut table = Table::new(8);
        let before = table.entries.capacity();
        for name in 0..10_000 {
            table.asks(TenantId::new(name << 2), "x", 1.0);
        }
        assert_eq!(table.entries.capacity(), before);
    }
}

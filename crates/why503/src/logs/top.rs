//! The most frequent of many, in a table of fixed size.
//!
//! The algorithm is *space saving* (Metwally, Agrawal and El Abbadi, 2005): a newcomer takes the
//! place of the least frequent and inherits its count, so that whoever is really frequent is in
//! the table, and by how much a count may be too high stands beside it.

use std::collections::HashMap;

use super::cause::Cause;

/// What is counted: a name, and why.
pub(crate) type Key = (Box<[u8]>, Option<Cause>);

/// A table of the most frequent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Top {
    rows: HashMap<Key, Row>,
}

/// How often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) count: u64,
    /// By how much the count may be too high.
    pub(crate) error: u64,
}

impl Top {
    /// Counts.
    pub(crate) fn add(&mut self, name: &[u8], why: Option<Cause>, row: Row) {
        let key = (Box::from(name), why);
        if let Some(known) = self.rows.get_mut(&key) {
            known.count += row.count;
            known.error += row.error;
            return;
        }
        let mut row = row;
        if self.rows.len() >= ROWS_MAX {
            let least = self
                .rows
                .iter()
                .min_by(|a, b| (a.1.count, a.0).cmp(&(b.1.count, b.0)));
            if let Some((key, least)) = least.map(|(key, row)| (key.clone(), *row)) {
                self.rows.remove(&key);
                row.count += least.count;
                row.error += least.count;
            }
        }
        self.rows.insert(key, row);
    }

    /// Takes over what another counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (key, row) in other.sorted() {
            self.add(&key.0, key.1, row);
        }
    }

    /// The rows, the most frequent first.
    pub(crate) fn sorted(&self) -> Vec<(Key, Row)> {
        let mut rows: Vec<_> = self
            .rows
            .iter()
            .map(|(key, row)| (key.clone(), *row))
            .collect();
        rows.sort_by(|a, b| b.1.count.cmp(&a.1.count).then_with(|| a.0.cmp(&b.0)));
        rows
    }
}

/// One time.
pub(crate) const ONCE: Row = Row { count: 1, error: 0 };
/// Far more than is shown, so that those that are shown are exact.
const ROWS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frequent_survive_any_number_of_others() {
        let mut top = Top::default();
        for at in 0..20_000_u32 {
            top.add(b"often", None, ONCE);
            top.add(&at.to_be_bytes(), None, ONCE);
        }
        assert!(top.rows.len() <= ROWS_MAX);
        let (key, row) = top.sorted().remove(0);
        assert_eq!(&*key.0, b"often");
        assert!(
            row.count - row.error <= 20_000 && row.count >= 20_000,
            "{row:?}"
        );
    }
}

//! Who goes first when not all can be served.
//!
//! Four classes, as few as an operator can keep apart at night. A class says how much it
//! hurts to refuse a request, not how expensive it is. While there is room for all, the
//! class of a request changes nothing. When there is not, places are kept for those who go
//! first, those who wait are served in this order, and background is refused first.

use std::fmt;

/// How much it hurts to refuse a request. Ordered: what goes first is less.
///
/// Complete: the four are part of the contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Priority {
    /// Served until nothing else is: payments, sign-in, what others wait for.
    Critical,
    /// Everything that nobody classified.
    #[default]
    Default,
    /// A person notices its absence and carries on: recommendations, prefetching.
    Sheddable,
    /// Nobody waits for it: reports, crawlers, synchronisation that tries again.
    Background,
}

impl Priority {
    /// Every class, what goes first at the front.
    pub const ALL: [Self; 4] = [
        Self::Critical,
        Self::Default,
        Self::Sheddable,
        Self::Background,
    ];

    /// Returns the stable word, as it stands in configurations and in the ledger.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Default => "default",
            Self::Sheddable => "sheddable",
            Self::Background => "background",
        }
    }

    /// Finds the class with this word.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|priority| priority.code() == code)
    }

    /// Returns this class's position in [`Priority::ALL`], for tables of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_finds_its_way_back_and_the_first_is_served_first() {
        for (position, priority) in Priority::ALL.into_iter().enumerate() {
            assert_eq!(Priority::from_code(priority.code()), Some(priority));
            assert_eq!(priority.index(), position);
        }
        assert!(Priority::Critical < Priority::Background);
        assert_eq!(Priority::from_code("Critical"), None);
    }
}

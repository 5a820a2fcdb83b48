//! The words for where a breaker is and who decides.

use std::fmt;

/// Where a breaker is. Complete: these four are the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// Calls pass and are counted.
    Closed,
    /// Calls are refused until the time of the next probe.
    Open,
    /// A few calls pass as probes; the others are refused.
    Probing,
    /// Calls pass as long as they are no flood, and a growing share of the others.
    Ramping,
}

impl BreakerState {
    /// Returns the stable token, for logs and metric labels.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Probing => "probing",
            Self::Ramping => "ramping",
        }
    }
}

impl fmt::Display for BreakerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Who decides: the rules, or a person. Complete: rules on, off, and dry.
///
/// The mode is apart from the state, because a timer must never undo what a person set:
/// a forced mode ends when it is set to something else, and not before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BreakerMode {
    /// The rules decide.
    #[default]
    Auto,
    /// Everything is refused. Back in auto, the breaker probes before it lets traffic in.
    ForcedOpen,
    /// Everything passes and nothing trips. Calls are still counted.
    ForcedClosed,
    /// The rules run and report what they would do; everything passes.
    Observe,
}

impl BreakerMode {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Auto,
        Self::ForcedOpen,
        Self::ForcedClosed,
        Self::Observe,
    ];

    /// Returns the stable token, for settings, logs and metric labels.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::ForcedOpen => "forced-open",
            Self::ForcedClosed => "forced-closed",
            Self::Observe => "observe",
        }
    }
}

impl fmt::Display for BreakerMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

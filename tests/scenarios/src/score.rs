//! Right or wrong, by one rule for whoever speaks.

use crate::set::Scenario;

/// Of one scenario: whether the fault was named first, and whether the twin was left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Score {
    pub(crate) fault: bool,
    pub(crate) twin: bool,
}

/// Scores what was said of both sides.
pub(crate) fn score(scenario: &Scenario, sick: Option<&str>, well: Option<&str>) -> Score {
    let fault = match sick {
        // Of a decoy nothing is to be said.
        None => scenario.says.is_empty(),
        Some(said) => scenario.says.contains(&said),
    };
    Score {
        fault,
        twin: well.is_none(),
    }
}

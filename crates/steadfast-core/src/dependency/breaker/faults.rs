//! Collects the faults of settings, in words that say what was found and what is allowed.

use std::time::Duration;

#[derive(Debug, Default)]
pub(super) struct Faults(Vec<String>);

impl Faults {
    pub(super) fn check(&mut self, is_right: bool, fault: impl FnOnce() -> String) {
        if !is_right {
            self.0.push(fault());
        }
    }

    pub(super) fn duration(&mut self, name: &str, found: Duration, min: Duration, max: Duration) {
        self.check((min..=max).contains(&found), || {
            format!("{name} {found:?} is not allowed; allowed are {min:?} to {max:?}")
        });
    }

    pub(super) fn count(&mut self, name: &str, found: u32, max: u32) {
        self.check((1..=max).contains(&found), || {
            format!("{name} {found} is not allowed; allowed are 1 to {max}")
        });
    }

    /// A ratio of 0 trips a healthy service and one of 1 can never be exceeded.
    pub(super) fn ratio(&mut self, name: &str, found: f64) {
        self.check(found > 0.0 && found < 1.0, || {
            format!("{name} {found} is not allowed; allowed are above 0 and below 1")
        });
    }

    pub(super) fn into_list(self) -> Vec<String> {
        self.0
    }
}

//! Numbers for whoever collects them, through the `metrics` facade. Without the feature of that
//! name they go nowhere; whoever counts here need not know.
//!
//! The facade has one recorder for the whole process, and two guards that publish under one name
//! would overwrite each other. So each guard that runs has a label of its own, unless it is the
//! only one without a name: then nobody has to know of guards.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Mutex, PoisonError},
};

/// Who publishes: a guard, for as long as it runs.
pub(crate) struct Meters {
    place: Place,
    /// What tells it from the other guards of this process.
    #[cfg(feature = "metrics")]
    guard: Option<String>,
}

/// A name, and which of those that run under it.
type Place = (Option<String>, u32);

/// The guards that run. Bounded by them.
static RUNNING: Mutex<BTreeSet<Place>> = Mutex::new(BTreeSet::new());

impl Meters {
    /// Takes the lowest number that is free under this name.
    pub(crate) fn of_guard(name: Option<&str>) -> Self {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut place = (name.map(Into::into), 1);
        while !running.insert(place.clone()) {
            place.1 += 1;
        }
        Self {
            #[cfg(feature = "metrics")]
            guard: label(name, place.1),
            place,
        }
    }
}

impl Drop for Meters {
    fn drop(&mut self) {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        running.remove(&self.place);
    }
}

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Meters").field(&self.place).finish()
    }
}

/// Nothing for the first without a name.
#[cfg(feature = "metrics")]
fn label(name: Option<&str>, number: u32) -> Option<String> {
    match (name, number) {
        (None, 1) => None,
        (None, number) => Some(number.to_string()),
        (Some(name), 1) => Some(name.to_owned()),
        (Some(name), number) => Some(format!("{name}-{number}")),
    }
}

/// Labels of one number: keys, and values that name no path and no id.
type Labels<'a> = &'a [(&'static str, &'a str)];

#[cfg(feature = "metrics")]
impl Meters {
    /// Sets what goes up and down.
    pub(crate) fn gauge(&self, name: &'static str, labels: Labels<'_>, value: f64) {
        metrics::gauge!(name, self.labels(labels)).set(value);
    }

    /// Sets a sum that only grows.
    pub(crate) fn total(&self, name: &'static str, labels: Labels<'_>, value: u64) {
        metrics::counter!(name, self.labels(labels)).absolute(value);
    }

    fn labels(&self, own: Labels<'_>) -> Vec<metrics::Label> {
        let own = own
            .iter()
            .map(|(key, value)| metrics::Label::new(*key, (*value).to_owned()));
        let guard = self.guard.clone();
        own.chain(guard.map(|guard| metrics::Label::new("guard", guard)))
            .collect()
    }
}

#[cfg(not(feature = "metrics"))]
impl Meters {
    pub(crate) fn gauge(&self, _name: &'static str, _labels: Labels<'_>, _value: f64) {}

    pub(crate) fn total(&self, _name: &'static str, _labels: Labels<'_>, _value: u64) {}
}

/// Counts what is seldom, for all guards of the process together.
pub(crate) fn count(name: &'static str, labels: &[(&'static str, &'static str)], by: u64) {
    #[cfg(feature = "metrics")]
    {
        let labels = labels
            .iter()
            .map(|(key, value)| metrics::Label::from_static_parts(key, value));
        metrics::counter!(name, labels.collect::<Vec<_>>()).increment(by);
    }
    #[cfg(not(feature = "metrics"))]
    let _ = (name, labels, by);
}

#[cfg(all(test, feature = "metrics"))]
mod tests {
    use super::*;

    #[test]
    fn guards_that_run_together_have_different_labels() {
        let guards = ["meter-test", "meter-test"].map(|name| Meters::of_guard(Some(name)));
        let labels = guards.each_ref().map(|guard| guard.guard.as_deref());
        assert_eq!(labels, [Some("meter-test"), Some("meter-test-2")]);
        let [first, second] = guards;
        drop(first);
        let third = Meters::of_guard(Some("meter-test"));
        assert_eq!(
            third.guard.as_deref(),
            Some("meter-test"),
            "a place is given back"
        );
        drop(second);
        assert_eq!(label(None, 1), None);
        assert_eq!(label(None, 2).as_deref(), Some("2"));
    }
}

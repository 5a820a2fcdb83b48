//! Which class a path belongs to: a bounded table of patterns, read once and matched
//! without allocating.
//!
//! The guard stands outside the application's Router, so what the Router knows of a path
//! is not known yet. The table is the guard's own and small on purpose: most paths belong
//! to no class, and an empty table costs one comparison.
//!
//! A pattern is a path of literal segments, `{name}` for any one segment, and `*` at the
//! end for all that is below. Where several match, the more literal one decides, whatever
//! the order in which they were given: `/reports/daily` before `/reports/{id}` before
//! `/reports/*`. Patterns are compared with the path as it was sent, without decoding.
//!
//! ```
//! use steadfast_core::{Priority, plumbing::{RouteClass, RouteTable}};
//!
//! let table = RouteTable::new([
//!     ("/pay/{id}", RouteClass::critical()),
//!     ("/reports/*", RouteClass::background()),
//! ])?;
//! assert_eq!(table.class("/pay/7").priority(), Some(Priority::Critical));
//! assert_eq!(table.class("/reports/2024/q3").priority(), Some(Priority::Background));
//! assert_eq!(table.class("/reports").priority(), None);
//! # Ok::<(), steadfast_core::ConfigError>(())
//! ```

mod class;
mod pattern;

pub use class::{RouteClass, Streams, WhenDraining};
use pattern::Pattern;

use crate::config_error::ConfigError;

/// Most patterns of a table. Each costs a comparison for a request that matches none
/// before it; a service that needs more has a rule, and a rule is a closure.
pub const ROUTES_MAX: usize = 128;

/// Longest pattern, in bytes. Longer paths exist, but none that an operator would read.
pub const PATTERN_LEN_MAX: usize = 256;

/// Patterns and the class of each.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    /// The more literal ones first, so that the first match decides.
    routes: Box<[(Pattern, RouteClass)]>,
}

impl RouteTable {
    /// Reads patterns.
    ///
    /// # Errors
    /// Every fault: a pattern that is none, two that mean the same paths, more than
    /// [`ROUTES_MAX`].
    pub fn new<P: AsRef<str>>(
        routes: impl IntoIterator<Item = (P, RouteClass)>,
    ) -> Result<Self, ConfigError> {
        let (mut read, mut faults) = (Vec::new(), Vec::new());
        for (text, class) in routes {
            match Pattern::new(text.as_ref()) {
                Ok(pattern) => read.push((pattern, class)),
                Err(fault) => faults.push(fault),
            }
        }
        read.sort_by(|(one, _), (other, _)| one.order(other));
        for pair in read.windows(2) {
            let (one, other) = (&pair[0].0, &pair[1].0);
            if one.order(other).is_eq() {
                faults.push(format!("routes: {one} and {other} mean the same paths"));
            }
        }
        if read.len() > ROUTES_MAX {
            let found = read.len();
            faults.push(format!(
                "routes: {found} patterns; allowed are at most {ROUTES_MAX}"
            ));
        }
        ConfigError::check(faults)?;
        Ok(Self {
            routes: read.into(),
        })
    }

    /// Returns the class of a path; one that says nothing if no pattern matches.
    #[inline]
    pub fn class(&self, path: &str) -> RouteClass {
        if self.routes.is_empty() {
            return RouteClass::new();
        }
        self.find(path)
    }

    fn find(&self, path: &str) -> RouteClass {
        self.routes
            .iter()
            .find(|(pattern, _)| pattern.matches(path))
            .map_or(RouteClass::new(), |(_, class)| *class)
    }

    /// Whether there are no patterns.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// Returns every pattern as it was given, with its class, the more literal ones first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, RouteClass)> {
        self.routes
            .iter()
            .map(|(pattern, class)| (pattern.as_str(), *class))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::priority::Priority;
    use proptest::prelude::*;

    fn table(patterns: &[&'static str]) -> RouteTable {
        // The class tells which one matched.
        let classes = patterns
            .iter()
            .zip(Priority::ALL)
            .map(|(pattern, priority)| (*pattern, RouteClass::new().with_priority(priority)));
        RouteTable::new(classes).expect("valid")
    }

    #[test]
    fn the_more_literal_pattern_decides_whatever_the_order() {
        let given = ["/a/*", "/a/{id}", "/a/b", "/*"];
        for turn in 0..given.len() {
            let mut patterns = given;
            patterns.rotate_left(turn);
            let table = table(&patterns);
            let matched = |path: &str| {
                let priority = table.class(path).priority()?;
                Some(patterns[priority.index()])
            };
            assert_eq!(matched("/a/b"), Some("/a/b"));
            assert_eq!(matched("/a/c"), Some("/a/{id}"));
            assert_eq!(matched("/a/c/d"), Some("/a/*"));
            assert_eq!(matched("/a/"), Some("/a/*"));
            assert_eq!(matched("/a"), Some("/*"));
            assert_eq!(matched("*"), None, "`OPTIONS *` has no path");
        }
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let patterns = [
            "reports", "/a?b", "/{}", "/{a}b", "/a/*/b", "/x/{a}", "/x/{b}", "/a*", "",
        ];
        let routes = patterns.map(|pattern| (pattern, RouteClass::critical()));
        let error = RouteTable::new(routes).expect_err("faults");
        assert_eq!(error.faults().len(), 8, "{error}");
        let many = (0..=ROUTES_MAX).map(|n| (format!("/{n}"), RouteClass::critical()));
        let error = RouteTable::new(many).expect_err("too many");
        assert!(error.to_string().contains("129 patterns"), "{error}");
    }

    proptest! {
        /// Goal: the table agrees with the plain meaning of its patterns, for any path.
        #[test]
        fn a_match_is_what_the_segments_say(
            path in "(/[ab]{0,2}){1,4}",
            pattern in "(/([ab]{1,2}|\\{x\\})){1,3}(/\\*)?",
        ) {
            let table = RouteTable::new([(&pattern, RouteClass::critical())]).expect("valid");
            let mut wanted: Vec<_> = pattern.split('/').skip(1).collect();
            let open = wanted.last() == Some(&"*");
            if open { wanted.pop(); }
            let found: Vec<_> = path.split('/').skip(1).collect();
            let lengths = if open { found.len() > wanted.len() } else { found.len() == wanted.len() };
            let plain = lengths && wanted.iter().zip(&found).all(|(want, have)| {
                if *want == "{x}" { !have.is_empty() } else { want == have }
            });
            prop_assert_eq!(table.class(&path).priority().is_some(), plain);
        }
    }
}

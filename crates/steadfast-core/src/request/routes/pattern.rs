//! One pattern of a path, read once and compared many times.

use std::{cmp::Ordering, fmt};

use super::PATTERN_LEN_MAX;

const ALLOWED: &str = "allowed are paths such as /pay, /orders/{id} or /reports/*";

/// A pattern that was read.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: Box<str>,
    segments: Box<[Segment]>,
    /// Whether it ends in `/*`.
    open: bool,
    /// Bytes of the text that a path must begin with: what most paths fail at once.
    literal: usize,
}

/// Ordered by how much it leaves open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Literal(Box<str>),
    Any,
}

impl Pattern {
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let fault = |found: &str| {
            let shown: String = text.chars().take(PATTERN_LEN_MAX).collect();
            format!("routes: pattern {shown:?} {found}; {ALLOWED}")
        };
        if text.len() > PATTERN_LEN_MAX {
            return Err(fault(&format!("is longer than {PATTERN_LEN_MAX} bytes")));
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Err(fault("does not begin with /"));
        };
        let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#');
        if !rest.bytes().all(plain) {
            return Err(fault("has a character that no path has"));
        }
        let (rest, open) = match rest.strip_suffix('*') {
            Some("") => (None, true),
            Some(below) => match below.strip_suffix('/') {
                Some(below) => (Some(below), true),
                None => return Err(fault("has a * that is not a segment of its own")),
            },
            None => (Some(rest), false),
        };
        let segments = rest
            .into_iter()
            .flat_map(|rest| rest.split('/'))
            .map(Segment::new)
            .collect::<Result<Box<[_]>, _>>()
            .map_err(fault)?;
        let literal = text.find('{').unwrap_or(text.len() - usize::from(open));
        Ok(Self {
            text: text.into(),
            segments,
            open,
            literal,
        })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn matches(&self, path: &str) -> bool {
        let (path, literal) = (path.as_bytes(), &self.text.as_bytes()[..self.literal]);
        if !path.starts_with(literal) {
            return false;
        }
        if self.literal == self.text.len() {
            return path.len() == self.literal;
        }
        // The literal start holds a slash at least.
        let mut rest = Some(&path[1..]);
        for segment in &self.segments {
            let Some(text) = rest else { return false };
            let end = text.iter().position(|byte| *byte == b'/');
            let this = &text[..end.unwrap_or(text.len())];
            let fits = match segment {
                Segment::Literal(literal) => literal.as_bytes() == this,
                Segment::Any => !this.is_empty(),
            };
            if !fits {
                return false;
            }
            rest = end.map(|end| &text[end + 1..]);
        }
        rest.is_some() == self.open
    }

    /// The more literal one is less: at the first segment in which two differ, a literal
    /// comes before any, and any before all below. Patterns that mean the same paths are equal.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        for (one, two) in self.segments.iter().zip(&other.segments) {
            let order = one.cmp(two);
            if order.is_ne() {
                return order;
            }
        }
        // One continues where the other ends or is open.
        let longer = other.segments.len().cmp(&self.segments.len());
        longer.then(self.open.cmp(&other.open))
    }
}

impl Segment {
    fn new(text: &str) -> Result<Self, &'static str> {
        if let Some(inner) = text.strip_prefix('{') {
            let name = inner.strip_suffix('}').unwrap_or_default();
            return if name.is_empty() || name.contains(['{', '}', '*']) {
                Err("has a {} that is not one whole segment with a name")
            } else {
                Ok(Self::Any)
            };
        }
        if text.contains(['{', '}', '*']) {
            return Err("has a { } or * that is not a segment of its own");
        }
        Ok(Self::Literal(text.into()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

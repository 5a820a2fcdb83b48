//! Asks a tree for the keys that are known, by the types they have, and notes every fault:
//! a key that nobody asked for, one given twice, a value of the wrong type or out of range.
//!
//! Law kept: an error shows what was found, except where a secret may be. That is the value
//! of a secret key, and everything that stands where a section or an unknown key stands.

use std::{collections::HashSet, ops::RangeInclusive, path::PathBuf, time::Duration};

use steadfast_core::ConfigError;

use super::{
    distance,
    tree::{Tree, clip},
};
use crate::duration;

/// Where a configuration came from: how its keys are spelt in errors, and whether its
/// values are all text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Environment { prefix: String },
    File(PathBuf),
    Text,
}

impl Source {
    /// Spells a key in full, as its author would look for it.
    pub(super) fn key(&self, path: &[String]) -> String {
        let path: Vec<_> = path
            .iter()
            .map(|part| clip(part).escape_debug().to_string())
            .collect();
        match self {
            Self::Environment { prefix } => {
                format!("{prefix}__{}", path.join("__").to_ascii_uppercase())
            }
            Self::File(_) | Self::Text if path.is_empty() => self.within("the configuration"),
            Self::File(_) | Self::Text => self.within(&path.join(".")),
        }
    }

    /// Spells one part of a key.
    fn part(&self, key: &str) -> String {
        match self {
            Self::Environment { .. } => key.to_ascii_uppercase(),
            Self::File(_) | Self::Text => key.to_owned(),
        }
    }

    /// Names the file before what is said of it.
    pub(super) fn within(&self, text: &str) -> String {
        match self {
            Self::File(file) => format!("{}: {text}", file.display()),
            Self::Environment { .. } | Self::Text => text.to_owned(),
        }
    }

    const fn is_all_text(&self) -> bool {
        matches!(self, Self::Environment { .. })
    }
}

/// Reads a whole tree.
pub(super) fn read<T>(
    source: &Source,
    tree: Tree,
    read: impl FnOnce(&mut Section<'_>) -> T,
) -> Result<T, ConfigError> {
    let mut faults = Vec::new();
    let value = Section::read(source, Vec::new(), tree, &mut faults, read);
    ConfigError::check(faults)?;
    Ok(value)
}

/// A table that is being read.
pub(super) struct Section<'a> {
    source: &'a Source,
    path: Vec<String>,
    /// What nobody has asked for yet.
    left: Vec<(String, Tree)>,
    asked: Vec<&'static str>,
    faults: &'a mut Vec<String>,
}

impl Section<'_> {
    fn read<T>(
        source: &Source,
        path: Vec<String>,
        tree: Tree,
        faults: &mut Vec<String>,
        read: impl FnOnce(&mut Section<'_>) -> T,
    ) -> T {
        let left = match tree {
            Tree::Table(entries) => entries,
            Tree::Nothing => Vec::new(),
            other => {
                let (key, found) = (source.key(&path), other.kind());
                faults.push(format!(
                    "{key}: found {found}; allowed is a section with keys of its own"
                ));
                Vec::new()
            }
        };
        let mut section = Section {
            source,
            path,
            left,
            asked: Vec::new(),
            faults,
        };
        let value = read(&mut section);
        section.unknown_keys();
        value
    }

    /// Reads a section in this one; what is missing reads as empty.
    pub(super) fn section<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'_>) -> T,
    ) -> T {
        let tree = self.ask(key).unwrap_or(Tree::Nothing);
        Section::read(self.source, self.path_of(key), tree, self.faults, read)
    }

    /// Reads a section whose keys are names that the author chose, each a section. Returns
    /// each name as it is spelt, and its key in full.
    pub(super) fn named_sections<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Section<'_>) -> T,
    ) -> Vec<(String, String, T)> {
        self.section(key, |names| {
            let (mut sections, mut seen) = (Vec::new(), HashSet::new());
            for (name, tree) in std::mem::take(&mut names.left) {
                if !seen.insert(name.clone()) {
                    names.fault(&name, GIVEN_TWICE);
                }
                let path = names.path_of(&name);
                let shown = names.source.key(&path);
                let value = Section::read(names.source, path, tree, names.faults, &mut read);
                sections.push((name, shown, value));
            }
            sections
        })
    }

    /// Reads a whole number in a range.
    pub(super) fn count(&mut self, key: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        let allowed = format!("a whole number from {} to {}", range.start(), range.end());
        let all_text = self.source.is_all_text();
        self.value(key, &allowed, |value| {
            let number = match value {
                Tree::Whole(number) => u32::try_from(*number).ok(),
                Tree::Text(text) if all_text => text.parse().ok(),
                _ => None,
            };
            number.filter(|number| range.contains(number))
        })
    }

    /// Reads a share from 0 to 1.
    pub(super) fn ratio(&mut self, key: &'static str) -> Option<f64> {
        let all_text = self.source.is_all_text();
        self.value(key, "a number from 0 to 1", |value| {
            let number = match value {
                Tree::Decimal(number) => Some(*number),
                Tree::Whole(number) => i32::try_from(*number).ok().map(f64::from),
                Tree::Text(text) if all_text => text.parse().ok(),
                _ => None,
            };
            number.filter(|number| (0.0..=1.0).contains(number))
        })
    }

    /// Reads a duration; `allowed` says in words what `fits` lets through.
    pub(super) fn length(
        &mut self,
        key: &'static str,
        allowed: &str,
        fits: impl FnOnce(Duration) -> bool,
    ) -> Option<Duration> {
        let allowed = format!("a duration such as \"250ms\", \"5s\" or \"10m\", {allowed}");
        self.value(key, &allowed, |value| match value {
            Tree::Text(text) => duration::parse(text).ok().filter(|length| fits(*length)),
            _ => None,
        })
    }

    /// Reads true or false.
    pub(super) fn flag(&mut self, key: &'static str) -> Option<bool> {
        let all_text = self.source.is_all_text();
        self.value(key, "true or false", |value| match value {
            Tree::Flag(flag) => Some(*flag),
            Tree::Text(text) if all_text => text.parse().ok(),
            _ => None,
        })
    }

    /// Reads one of a few words.
    pub(super) fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let all: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        self.text(key, &all.join(" or "), |text| {
            let found = words.iter().find(|(word, _)| *word == text);
            found.map(|(_, meaning)| *meaning)
        })
    }

    /// Reads text that `read` understands.
    pub(super) fn text<T>(
        &mut self,
        key: &'static str,
        allowed: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.value(key, allowed, |value| match value {
            Tree::Text(text) => read(text),
            _ => None,
        })
    }

    /// Reads text that never shows.
    pub(super) fn secret(
        &mut self,
        key: &'static str,
        allowed: &str,
        fits: impl FnOnce(&str) -> bool,
    ) -> Option<String> {
        let value = self.ask(key).filter(|value| *value != Tree::Nothing)?;
        let found = match value {
            Tree::Text(text) if fits(&text) => return Some(text),
            Tree::Text(text) => format!("{} characters", text.chars().count()),
            other => other.kind().to_owned(),
        };
        self.fault(key, &format!(": found {found}; allowed are {allowed}"));
        None
    }

    fn value<T>(
        &mut self,
        key: &'static str,
        allowed: &str,
        read: impl FnOnce(&Tree) -> Option<T>,
    ) -> Option<T> {
        let found = self.ask(key).filter(|value| *value != Tree::Nothing)?;
        let value = read(&found);
        if value.is_none() {
            self.fault(key, &format!(": found {found}; allowed is {allowed}"));
        }
        value
    }
}

const GIVEN_TWICE: &str = ": given more than once; allowed is once";

/// What all of the above need.
impl Section<'_> {
    fn ask(&mut self, key: &'static str) -> Option<Tree> {
        self.asked.push(key);
        let (found, left) = std::mem::take(&mut self.left)
            .into_iter()
            .partition::<Vec<_>, _>(|(name, _)| name == key);
        self.left = left;
        if found.len() > 1 {
            self.fault(key, GIVEN_TWICE);
        }
        found.into_iter().next().map(|(_, value)| value)
    }

    fn path_of(&self, key: &str) -> Vec<String> {
        let mut path = self.path.clone();
        path.push(key.to_owned());
        path
    }

    fn fault(&mut self, key: &str, fault: &str) {
        let key = self.source.key(&self.path_of(key));
        self.faults.push(format!("{key}{fault}"));
    }

    fn unknown_keys(mut self) {
        let all: Vec<_> = self.asked.iter().map(|key| self.source.part(key)).collect();
        let all = all.join(", ");
        for (key, _) in std::mem::take(&mut self.left) {
            let near = distance::nearest(&key, self.asked.iter().copied());
            let meant = near.map_or(String::new(), |near| {
                format!(", did you mean {}?", self.source.part(near))
            });
            self.fault(&key, &format!(": no such key{meant}; allowed are {all}"));
        }
    }
}

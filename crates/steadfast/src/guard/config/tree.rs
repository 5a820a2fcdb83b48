//! What a configuration is before anybody asks what it means: values in tables. Every
//! format is read into this, so that one reader finds the faults of all of them.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use steadfast_core::plumbing::redact;

/// A value as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
    Decimal(f64),
    Flag(bool),
    List,
    /// Written and left empty, as `shed:` in YAML: the same as not written.
    Nothing,
    /// In the order and with the repetitions of the source.
    Table(Vec<(String, Self)>),
    Text(String),
    Whole(i128),
}

impl Tree {
    /// Says what kind of value it is, and nothing of the value.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Decimal(_) | Self::Whole(_) => "a number",
            Self::Flag(_) => "true or false",
            Self::List => "a list",
            Self::Nothing => "nothing",
            Self::Table(_) => "a table",
            Self::Text(_) => "text",
        }
    }
}

impl fmt::Display for Tree {
    /// Shows a short value, and of a long one its beginning.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decimal(number) => write!(f, "{number:?}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Whole(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{:?}", clip(&redact(text))),
            Self::List | Self::Nothing | Self::Table(_) => f.write_str(self.kind()),
        }
    }
}

/// Cuts what somebody wrote to what fits in a line of an error.
pub(super) fn clip(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Most characters of a key or value in an error: the longest name and a little.
const SHOWN_MAX: usize = 80;

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visit)
    }
}

struct Visit;

impl<'de> Visitor<'de> for Visit {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table, text, a number, true or false")
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Tree, E> {
        Ok(Tree::Flag(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Whole(number.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Tree, E> {
        Ok(Tree::Whole(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Tree, E> {
        Ok(Tree::Decimal(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Tree, E> {
        Ok(Tree::Text(text))
    }

    fn visit_none<E: Error>(self) -> Result<Tree, E> {
        Ok(Tree::Nothing)
    }

    fn visit_unit<E: Error>(self) -> Result<Tree, E> {
        Ok(Tree::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        // No key takes a list, so what is in it does not matter.
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Tree::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut table = Vec::new();
        while let Some(entry) = items.next_entry()? {
            table.push(entry);
        }
        Ok(Tree::Table(table))
    }
}

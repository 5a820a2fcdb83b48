//! The `why-503` header of a service that uses Steadfast: a dictionary of RFC 9651.

use http::HeaderMap;
use sfv::{BareItem, Dictionary, ListEntry, Parser};
use steadfast_core::{Cause, Rule};

/// A longer value was not written by the library.
const VALUE_MAX: usize = 512;

/// What the header says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Why {
    /// The cause.
    pub(crate) cause: Cause,
    /// Which bound, of an overload.
    pub(crate) rule: Option<Rule>,
    /// The refusal's id.
    pub(crate) id: String,
}

/// Reads the header; `None` if there is none that the library could have written.
pub(crate) fn why(headers: &HeaderMap) -> Option<Why> {
    let value = headers.get("why-503")?;
    if value.len() > VALUE_MAX {
        return None;
    }
    let members: Dictionary = Parser::new(value.as_bytes()).parse().ok()?;
    let item = |name: &str| match members.get(name)? {
        ListEntry::Item(item) => Some(item),
        ListEntry::InnerList(_) => None,
    };
    let cause = item("cause")?;
    let rule = cause
        .params
        .get("rule")
        .and_then(token)
        .and_then(Rule::from_code);
    let id = item("id").and_then(|it| match &it.bare_item {
        BareItem::String(id) => Some(id.as_str().to_owned()),
        _ => None,
    });
    Some(Why {
        cause: Cause::from_code(token(&cause.bare_item)?)?,
        rule,
        id: id.unwrap_or_default(),
    })
}

fn token(item: &BareItem) -> Option<&str> {
    match item {
        BareItem::Token(token) => Some(token.as_str()),
        _ => None,
    }
}

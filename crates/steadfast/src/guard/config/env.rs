//! Makes a tree of environment variables.
//!
//! `PREFIX__SHED__LIMIT` is `shed.limit`: two underscores part, upper and lower case are
//! the same. The two underscores after the prefix keep apart what is ours and what a
//! platform sets: Kubernetes gives every pod `NAME_SERVICE_HOST` and `NAME_PORT` of each
//! service, and one of them may well be called like the prefix.

use std::ffi::OsString;

use steadfast_core::ConfigError;

use super::{
    reader::Source,
    tree::{Tree, clip},
};

/// The section whose keys are names.
const NAMED: &str = "dependency";

const PARTS: &str = "__";

/// Makes the tree of all variables under the prefix. A dependency's name stays in the
/// spelling of [`steadfast_core::Name::env_key`].
pub(super) fn tree(
    prefix: &str,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<(Source, Tree), ConfigError> {
    if prefix.is_empty() {
        let fault = "the prefix of environment variables is empty; allowed is a word such as \
                     STEADFAST"
            .to_owned();
        return Err(fault.into());
    }
    let source = Source::Environment {
        prefix: prefix.to_owned(),
    };
    let (mut table, mut faults) = (Vec::new(), Vec::new());
    for (key, value) in variables {
        let key = key.to_string_lossy();
        let Some(rest) = under(prefix, &key) else {
            continue;
        };
        match value.into_string() {
            Ok(text) => insert(&mut table, &parts(rest), Tree::Text(text)),
            Err(_) => faults.push(format!("{}: found bytes; allowed is UTF-8", clip(&key))),
        }
    }
    ConfigError::check(faults)?;
    Ok((source, Tree::Table(table)))
}

fn under<'a>(prefix: &str, key: &'a str) -> Option<&'a str> {
    let start = key.get(..prefix.len())?;
    let rest = key[prefix.len()..].strip_prefix(PARTS)?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// At most section, name and key, so that no variable makes a deep tree.
fn parts(rest: &str) -> Vec<String> {
    let Some((section, rest)) = rest.split_once(PARTS) else {
        return vec![rest.to_ascii_lowercase()];
    };
    let section = section.to_ascii_lowercase();
    if section != NAMED {
        return vec![section, rest.to_ascii_lowercase()];
    }
    // From the right, because a name may have two underscores and a key never has.
    match rest.rsplit_once(PARTS) {
        Some((name, key)) => vec![section, name.to_ascii_uppercase(), key.to_ascii_lowercase()],
        None => vec![section, rest.to_ascii_uppercase()],
    }
}

/// Keeps repetitions: the reader says what is wrong with them.
fn insert(table: &mut Vec<(String, Tree)>, path: &[String], value: Tree) {
    let [key, rest @ ..] = path else { return };
    if rest.is_empty() {
        table.push((key.clone(), value));
        return;
    }
    let place = table
        .iter()
        .position(|(name, tree)| name == key && matches!(tree, Tree::Table(_)))
        .unwrap_or_else(|| {
            table.push((key.clone(), Tree::Table(Vec::new())));
            table.len() - 1
        });
    if let Tree::Table(inner) = &mut table[place].1 {
        insert(inner, rest, value);
    }
}

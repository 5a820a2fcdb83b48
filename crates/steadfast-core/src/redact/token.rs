//! Secrets that are known by their form, wherever they stand.

use super::{GONE, is_word, word_len};

/// What keys and tokens of large providers begin with, and JWTs.
const PREFIXES: [&str; 14] = [
    "eyJ",
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "sk-",
    "sk_live_",
    "rk_live_",
    "AIza",
    "ya29.",
];

/// Shortest word that is taken for a token by its beginning.
const PREFIXED_LEN_MIN: usize = 16;

/// Shortest word that is taken for a token by its look.
const RANDOM_LEN_MIN: usize = 20;

/// Whether a word may need to go; a cheap look before the thorough one.
pub(super) fn could_be(word: &str) -> bool {
    word.len() >= PREFIXED_LEN_MIN
        || word.eq_ignore_ascii_case("bearer")
        || word.eq_ignore_ascii_case("basic")
}

/// Copies what introduces a token that starts here without it; returns what follows.
pub(super) fn token<'a>(text: &'a str, out: &mut String) -> Option<&'a str> {
    if let Some(key) = text.strip_prefix("-----BEGIN ") {
        let (kind, body) = key.split_once("-----")?;
        if !kind.ends_with("PRIVATE KEY") {
            return None;
        }
        out.push_str(GONE);
        let end = body.split_once("-----END ");
        let end = end.and_then(|(_, after)| after.split_once("-----"));
        return Some(end.map_or("", |(_, after)| after));
    }
    let word = &text[..word_len(text)];
    let after = &text[word.len()..];
    if word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("basic") {
        let credentials = after.strip_prefix(' ')?.trim_start_matches(' ');
        let end = credentials.find(|c| !is_word(c) && !matches!(c, '/' | '=' | '~'));
        let (credentials, after) = credentials.split_at(end.unwrap_or(credentials.len()));
        if !is_no_word(credentials) {
            return None;
        }
        out.push_str(word);
        out.push(' ');
        out.push_str(GONE);
        return Some(after);
    }
    let known = PREFIXES.iter().any(|prefix| word.starts_with(prefix));
    if !known || word.len() < PREFIXED_LEN_MIN || !is_no_word(word) {
        return None;
    }
    out.push_str(GONE);
    Some(after)
}

/// Copies `user "…"` or `role "…"` without a name that looks like a token: servers quote in
/// this way the user of the URL that they were called with. Returns what follows it.
pub(super) fn quoted_name<'a>(text: &'a str, out: &mut String) -> Option<&'a str> {
    let word = &text[..word_len(text)];
    if !["user", "role"]
        .iter()
        .any(|it| word.eq_ignore_ascii_case(it))
    {
        return None;
    }
    let value = text[word.len()..].strip_prefix(' ')?;
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let name = &value[1..];
    let name = &name[..name.find(quote)?];
    let known = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    if !(known && name.len() >= PREFIXED_LEN_MIN || looks_random(name)) {
        return None;
    }
    out.push_str(word);
    out.push(' ');
    out.push(quote);
    out.push_str(GONE);
    Some(&value[1 + name.len()..])
}

/// Whether it can hardly be a word of a sentence: `bearer authentication` stays.
fn is_no_word(text: &str) -> bool {
    let inner_capital = text.chars().skip(1).any(|c| c.is_ascii_uppercase())
        && text.chars().any(|c| c.is_ascii_lowercase());
    let has = |is: fn(&char) -> bool| text.chars().any(|c| is(&c));
    text.len() >= 6 && (has(char::is_ascii_digit) || inner_capital || text.ends_with('='))
        || text.len() >= 32
}

/// Whether a machine made it: long, with many digits or many capitals in between.
fn looks_random(text: &str) -> bool {
    let count = |is: fn(&char) -> bool| text.chars().filter(is).count();
    let (digits, upper, lower) = (
        count(char::is_ascii_digit),
        count(char::is_ascii_uppercase),
        count(char::is_ascii_lowercase),
    );
    text.len() >= RANDOM_LEN_MIN && (digits >= 4 || upper >= 3 && lower >= 3)
}

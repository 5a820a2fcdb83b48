//! Takes secrets out of text before anybody sees it.
//!
//! Error messages of drivers quote connection URLs, and a URL carries a password; clients
//! quote the request they sent, with its headers. What leaves a check or a dependency goes
//! through [`redact`] once, at the place where it enters Steadfast, so that no later reader
//! has to remember it:
//!
//! - A URL keeps its scheme, host, port and path and loses user, password, query and
//!   fragment; so does what has the form of one without a scheme (`app:secret@db/shop`,
//!   `/orders?token=…`).
//! - A pair keeps its key and loses its value if the key names a secret, however it is
//!   written: `password=…`, `"apiKey": "…"`, `AccountKey=…;`, `--token …`, `PASSWORD '…'`.
//! - A header that proves who somebody is (`Authorization`, `Cookie`) loses its value.
//! - A token that is known by its form (`Bearer …`, a JWT, a key of a large provider, a
//!   private key in PEM) is taken out wherever it stands.
//!
//! What an operator needs to act stays: hosts, ports, databases, names of roles and users,
//! limits, codes of errors. A name is taken out only if it looks like a token, because some
//! services are called with one as the user.
//!
//! Hazard: text has no grammar. Where its end is not clear, too much is hidden rather than
//! too little; a secret that stands alone and looks like a word stays.

use std::borrow::Cow;

mod inert;
mod pair;
mod token;
mod url;

/// Longest message kept from a driver or a check, in bytes.
///
/// Long enough for the deepest error chain of sqlx with a host name, short enough that
/// 256 of them in a ledger stay under 150 KiB.
pub const MESSAGE_LEN_MAX: usize = 512;

pub use inert::inert;

/// What stands where a secret stood.
const GONE: &str = "***";

/// Returns the text without secrets, without control characters and without the marks that
/// turn the direction of writing, cut to [`MESSAGE_LEN_MAX`] bytes.
///
/// ```
/// use steadfast_core::plumbing::redact;
///
/// assert_eq!(
///     redact("cannot reach postgres://app:hunter2@db:5432/shop?sslmode=require now"),
///     "cannot reach postgres://***@db:5432/shop?*** now",
/// );
/// assert_eq!(redact("host=db user=app password='hunter 2'"), "host=db user=app password=***");
/// assert_eq!(
///     redact("too many connections for role \"app\""),
///     "too many connections for role \"app\"",
/// );
/// ```
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len().min(MESSAGE_LEN_MAX));
    let mut rest = text;
    while !rest.is_empty() && out.len() < MESSAGE_LEN_MAX {
        let secret = url::with_scheme(rest, &mut out)
            .or_else(|| pair::header(rest, &mut out))
            .or_else(|| pair::pair(rest, &mut out))
            .or_else(|| pair::statement(rest, &mut out))
            .or_else(|| url::without_scheme(rest, &mut out))
            .or_else(|| url::path(rest, &mut out))
            .or_else(|| token::token(rest, &mut out))
            .or_else(|| token::quoted_name(rest, &mut out));
        if let Some(after) = secret {
            rest = after;
            continue;
        }
        let mut chars = rest.chars();
        let Some(next) = chars.next() else { break };
        out.push(if next.is_control() { ' ' } else { next });
        rest = chars.as_str();
        // A key, scheme or token starts only where a word starts, so the rest of a word is
        // copied at once.
        if is_word(next) {
            let (word, after) = rest.split_at(word_len(rest));
            out.push_str(word);
            rest = after;
        }
    }
    // What was copied as a part of a URL or a pair may hold such a mark, too.
    if let Cow::Owned(shown) = inert(&out) {
        out = shown;
    }
    truncate(&mut out);
    Cow::Owned(out)
}

/// Whether nothing in the text can belong to a secret.
fn is_plain(text: &str) -> bool {
    text.len() <= MESSAGE_LEN_MAX
        && !text
            .chars()
            .any(|c| inert::deceives(c) || matches!(c, '=' | ':' | '"' | '\'' | '?' | '@'))
        && !text.contains("--")
        && !text.split_ascii_whitespace().any(token::could_be)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '+' | '-' | '.')
}

/// Returns the length of the word that starts here.
fn word_len(text: &str) -> usize {
    text.find(|c| !is_word(c)).unwrap_or(text.len())
}

/// Returns the length of what starts here and has no blank in it.
fn solid_len(text: &str) -> usize {
    text.find(char::is_whitespace).unwrap_or(text.len())
}

fn line_len(text: &str) -> usize {
    text.find(['\n', '\r']).unwrap_or(text.len())
}

fn truncate(text: &mut String) {
    if text.len() > MESSAGE_LEN_MAX {
        let mut end = MESSAGE_LEN_MAX - '…'.len_utf8();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
}

#[cfg(test)]
mod tests;

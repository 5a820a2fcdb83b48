//! URLs, and what has the form of one without its scheme.

use super::{GONE, is_word, line_len, solid_len, word_len};

/// Ends a URL in running text.
const ENDS: [char; 7] = ['"', '<', '>', '`', '|', '{', '}'];

/// Copies a URL that starts here without its secrets; returns what follows it.
pub(super) fn with_scheme<'a>(text: &'a str, out: &mut String) -> Option<&'a str> {
    let scheme = &text[..word_len(text)];
    let after = text[scheme.len()..].strip_prefix("://")?;
    if scheme.is_empty() {
        return None;
    }
    out.push_str(scheme);
    out.push_str("://");
    let visible = without_userinfo(after, userinfo_len(after), out);
    let end = visible.find(|c: char| c.is_whitespace() || ENDS.contains(&c));
    let whole = &visible[..end.unwrap_or(visible.len())];
    // Without a query, what is behind a semicolon is the next pair of a connection string.
    let has_query = whole.contains(['?', '#']);
    let end = whole.find(';').filter(|_| !has_query);
    let (whole, _) = whole.split_at(end.unwrap_or(whole.len()));
    copy_without_query(whole, out);
    Some(&visible[whole.len()..])
}

/// Copies `user:password@` that starts here without both; returns what follows it.
pub(super) fn without_scheme<'a>(text: &'a str, out: &mut String) -> Option<&'a str> {
    let user = word_len(text);
    let password = text[user..].strip_prefix(':')?;
    // A colon at the end of a word is punctuation, and quotes are somebody else's.
    let first = password.chars().next()?;
    if user == 0 || first.is_whitespace() || matches!(first, '"' | '\'' | '/' | ':') {
        return None;
    }
    let solid = &text[..solid_len(text)];
    let at = solid.rfind('@')?;
    let host = solid[at + 1..].chars().next()?;
    if !is_word(host) && host != '[' {
        return None;
    }
    Some(without_userinfo(text, at + 1, out))
}

/// Copies a path that starts here without its query; returns what follows it.
pub(super) fn path<'a>(text: &'a str, out: &mut String) -> Option<&'a str> {
    if !text.starts_with('/') {
        return None;
    }
    let solid = text.find(|c: char| c.is_whitespace() || ENDS.contains(&c) || c == '\'');
    let (whole, rest) = text.split_at(solid.unwrap_or(text.len()));
    // A question mark at the end of a sentence is no query.
    let query = whole.find('?').filter(|at| at + 1 < whole.len())?;
    out.push_str(&whole[..=query]);
    out.push_str(GONE);
    Some(rest)
}

fn without_userinfo<'a>(text: &'a str, len: usize, out: &mut String) -> &'a str {
    if len != 0 {
        out.push_str(GONE);
        out.push('@');
    }
    &text[len..]
}

/// Returns the length of the userinfo with its `@`, 0 if there is none.
///
/// The last `@` of the word ends it, whatever the password contains: people write `/`, `?`,
/// `{` and quotes into passwords and drivers take them. If the word has none, but a colon
/// that no port follows, the password has a blank in it, and the last `@` of the line counts.
/// Hiding too much is the smaller harm.
fn userinfo_len(after: &str) -> usize {
    let word = &after[..solid_len(after)];
    if let Some(at) = word.rfind('@') {
        return at + 1;
    }
    let authority = word.split(['/', '?', '#', ',']).next().unwrap_or_default();
    let has_password = !authority.starts_with('[')
        && authority.split_once(':').is_some_and(|(_, port)| {
            let port = port.trim_end_matches([')', '"', '\'', '`', '>', ']', '.', ';', ':', '!']);
            !port.bytes().all(|byte| byte.is_ascii_digit())
        });
    if !has_password {
        return 0;
    }
    let line = &after[..line_len(after)];
    line.rfind('@').map_or(0, |at| at + 1)
}

fn copy_without_query(text: &str, out: &mut String) {
    match text.find(['?', '#', ';']) {
        Some(at) => {
            out.push_str(&text[..=at]);
            out.push_str(GONE);
        }
        None => out.push_str(text),
    }
}

//! Takes secrets out of text before anybody sees it.
//!
//! Error messages of drivers quote connection URLs, and a URL carries a password. What
//! leaves a check or a dependency goes through [`redact`] once, at the place where it
//! enters Steadfast, so that no later reader has to remember it: a URL keeps its scheme,
//! host, port and path and loses user, password, query and fragment; a `password=…`
//! pair keeps its key, and a user whom a server quotes (`user "…"`) loses the name.

use std::borrow::Cow;

/// Longest message kept from a driver or a check, in bytes.
///
/// Long enough for the deepest error chain of sqlx with a host name, short enough that
/// 256 of them in a ledger stay under 150 KiB.
pub const MESSAGE_LEN_MAX: usize = 512;

/// Keys whose value is a secret in `key=value` text (libpq, odbc and cloud SDK style).
/// Compared without `-` and `_`.
const SECRET_KEYS: [&str; 9] = [
    "password",
    "passwd",
    "pwd",
    "pass",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "passphrase",
];

/// What stands where a secret stood.
const GONE: &str = "***";

/// Returns the text without userinfo, query or fragment of any URL in it, without the
/// values of secret keys and control characters, cut to [`MESSAGE_LEN_MAX`] bytes.
///
/// ```
/// use steadfast_core::redact;
///
/// assert_eq!(
///     redact("cannot reach postgres://app:hunter2@db:5432/shop?sslmode=require now"),
///     "cannot reach postgres://***@db:5432/shop?*** now",
/// );
/// assert_eq!(redact("host=db user=app password='hunter 2'"), "host=db user=app password=***");
/// ```
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len().min(MESSAGE_LEN_MAX));
    let mut rest = text;
    while !rest.is_empty() && out.len() < MESSAGE_LEN_MAX {
        let secret = url(rest, &mut out)
            .or_else(|| secret_pair(rest, &mut out))
            .or_else(|| quoted_user(rest, &mut out));
        if let Some(after) = secret {
            rest = after;
            continue;
        }
        let mut chars = rest.chars();
        let Some(next) = chars.next() else { break };
        out.push(if next.is_control() { ' ' } else { next });
        rest = chars.as_str();
        // A key or scheme starts only where a word starts, so the rest of a word is copied at once.
        if is_word(next) {
            let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
            // A scheme may still end here ("postgres" + "://"); it was tried at the word's start.
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    truncate(&mut out);
    Cow::Owned(out)
}

/// Text without a URL, a `=`, a `:` pair, a quote or a control character needs no work.
fn is_plain(text: &str) -> bool {
    text.len() <= MESSAGE_LEN_MAX
        && !text.contains("//")
        && !text
            .bytes()
            .any(|byte| matches!(byte, b'=' | b':' | b'"' | b'\'') || byte.is_ascii_control())
        && !text.chars().any(char::is_control)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '+' | '-' | '.')
}

/// Copies a URL that starts here without its secrets; returns what follows it.
fn url<'a>(text: &'a str, out: &mut String) -> Option<&'a str> {
    let scheme_len = text.find(|c: char| !is_word(c)).filter(|&len| len > 0)?;
    let after = text[scheme_len..].strip_prefix("://")?;
    out.push_str(&text[..scheme_len]);
    out.push_str("://");
    let hidden = userinfo_len(after);
    if hidden != 0 {
        out.push_str(GONE);
        out.push('@');
    }
    let visible = &after[hidden..];
    let end = visible
        .find(|c: char| c.is_whitespace() || matches!(c, '"' | '<' | '>' | '`' | '|' | '{' | '}'))
        .unwrap_or(visible.len());
    let (whole, rest) = visible.split_at(end);
    copy_without_query(whole, out);
    Some(rest)
}

/// Returns the length of the userinfo with its `@`, 0 if there is none.
///
/// The last `@` of the word ends it, whatever the password contains: people write `/`, `?`,
/// `{` and quotes into passwords and drivers take them. If the word has none, but a colon
/// that no port follows, the password has a blank in it, and the last `@` of the line counts.
/// Hiding too much is the smaller harm.
fn userinfo_len(after: &str) -> usize {
    let word = &after[..after.find(char::is_whitespace).unwrap_or(after.len())];
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
    let line = &after[..after.find('\n').unwrap_or(after.len())];
    line.rfind('@').map_or(0, |at| at + 1)
}

fn copy_without_query(text: &str, out: &mut String) {
    match text.find(['?', '#']) {
        Some(at) => {
            out.push_str(&text[..=at]);
            out.push_str(GONE);
        }
        None => out.push_str(text),
    }
}

/// Copies `key=` or `key:` of a secret without its value; returns what follows the value.
fn secret_pair<'a>(text: &'a str, out: &mut String) -> Option<&'a str> {
    let key_len = text.find(|c: char| !is_word(c)).filter(|&len| len > 0)?;
    let key = &text[..key_len];
    let lower = key.to_ascii_lowercase().replace(['-', '_'], "");
    if !SECRET_KEYS.iter().any(|secret| lower.ends_with(secret)) {
        return None;
    }
    let after = text[key_len..].trim_start_matches(['"', '\'']).trim_start();
    let value = after.strip_prefix(['=', ':'])?;
    let separator = &after[..1];
    let value = value.trim_start();
    out.push_str(key);
    out.push_str(separator);
    out.push_str(GONE);
    Some(match value.chars().next() {
        Some(quote @ ('\'' | '"')) => {
            let inner = &value[1..];
            closing(inner, quote).map_or("", |end| &inner[end + 1..])
        }
        _ => {
            let end = value
                .find(|c: char| c.is_whitespace() || matches!(c, ';' | ',' | '&'))
                .unwrap_or(value.len());
            &value[end..]
        }
    })
}

/// Finds the quote that ends a value; one behind a backslash does not.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(at)
    })
}

/// Copies `user "…"` or `role "…"` without the name; returns what follows it. Servers quote
/// in this way the user of the URL that they were called with, and some keep a token there.
fn quoted_user<'a>(text: &'a str, out: &mut String) -> Option<&'a str> {
    let word = ["user", "role"].into_iter().find_map(|word| {
        text.get(..word.len())
            .filter(|it| it.eq_ignore_ascii_case(word))
    })?;
    let value = text[word.len()..].strip_prefix(' ')?;
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let name = &value[1..];
    let end = name.find(quote)?;
    out.push_str(word);
    out.push(' ');
    out.push(quote);
    out.push_str(GONE);
    Some(&name[end..])
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(input: &str, expected: &str) {
        assert_eq!(redact(input), expected, "{input}");
    }

    #[test]
    fn secrets_leave_and_the_rest_stays() {
        check(
            "connection refused (os error 111)",
            "connection refused (os error 111)",
        );
        check("redis://:s3cret@cache:6379/0", "redis://***@cache:6379/0");
        check("at http://h/p?token=abc#frag.", "at http://h/p?***");
        check("postgres://u:p@ss/w?rd@db/x", "postgres://***@db/x");
        check("Password: hunter2; retry", "Password:***; retry");
        check("PGPASSWORD=hunter2 psql", "PGPASSWORD=*** psql");
        check("\"password\": \"hun ter\", x", "\"password:***, x");
        check(
            "postgres://u:p{w|x\"y@db/x is down",
            "postgres://***@db/x is down",
        );
        check(
            "postgres://u:two words@db/x is down",
            "postgres://***@db/x is down",
        );
        check("db-password=hunter2", "db-password=***");
        check("x-api-key: abc, api_key=def", "x-api-key:***, api_key=***");
        check("access-key-passphrase=x y", "access-key-passphrase=*** y");
        check(
            "spring.datasource.password: hunter2",
            "spring.datasource.password:***",
        );
        check(r"password='hun\'ter2' x", "password=*** x");
        check(
            "see http://h:8080/x, or (http://h:80).",
            "see http://h:8080/x, or (http://h:80).",
        );
        check("http://[::1]:80/ and a@b", "http://[::1]:80/ and a@b");
        check(
            "password authentication failed for user \"app\" (28P01)",
            "password authentication failed for user \"***\" (28P01)",
        );
        check("Role 'app' does not exist", "Role '***' does not exist");
        check(
            "denied for user 'app'@'10.0.0.1'",
            "denied for user '***'@'10.0.0.1'",
        );
        check("the user \"app", "the user \"app");
        check("a user said 'no'", "a user said 'no'");
        check(
            "database \"shop\" does not exist",
            "database \"shop\" does not exist",
        );
        check("a\r\nb", "a  b");
        check("time: 10:00 took=3", "time: 10:00 took=3");
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        let cut = redact(&"é".repeat(600)).into_owned();
        assert!(cut.len() <= MESSAGE_LEN_MAX && cut.ends_with('…'));
    }

    proptest! {
        #[test]
        fn no_password_survives_in_a_url(
            before in "[ -~]{0,20}",
            user in "[a-z]{1,8}",
            password in "[A-Z0-9/?#:!$%{}|<>\"'`]{6,20}",
            host in "[a-z]{1,10}",
        ) {
            let text = format!("{before} postgres://{user}:{password}@{host}/db");
            let shown = redact(&text);
            prop_assert!(!shown.contains(&format!(":{password}@")), "{shown}");
            prop_assert!(shown.ends_with(&format!("{host}/db")) , "{shown}");
        }

        #[test]
        fn any_text_is_taken_and_bounded(text in "\\PC{0,700}") {
            prop_assert!(redact(&text).len() <= MESSAGE_LEN_MAX);
        }
    }
}

//! Keys that name a secret, with the secret behind them.

use super::{GONE, line_len, word_len};

/// Ends of keys whose value is a secret, whatever stands between the two (libpq, ODBC, cloud
/// SDKs, JSON, YAML, query strings, headers). Compared in lower case without `-`, `_`, `.`.
const KEYS: [&str; 22] = [
    "password",
    "passwd",
    "pwd",
    "pass",
    "passphrase",
    "passcode",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "accesskeyid",
    "accountkey",
    "authkey",
    "encryptionkey",
    "functionskey",
    "masterkey",
    "privatekey",
    "secretkey",
    "sharedkey",
    "signingkey",
    "subscriptionkey",
    "jwt",
];

/// Keys that are also plain words: `session: closed` is a sentence, `session=…` is not. They
/// count before `=`, or in quotes before `:`.
const KEYS_IN_FORM: [&str; 9] = [
    "auth",
    "credential",
    "credentials",
    "session",
    "sessionid",
    "sessionkey",
    "sid",
    "sig",
    "signature",
];

/// What stands where a secret would and is none: MySQL says `using password: YES`.
const NO_SECRETS: [&str; 6] = ["yes", "no", "none", "null", "true", "false"];

/// Headers that prove who somebody is.
const HEADERS: [&str; 4] = ["authorization", "proxyauthorization", "cookie", "setcookie"];

/// Schemes of `Authorization` with one token behind them; others have a list.
const SCHEMES: [&str; 7] = [
    "basic",
    "bearer",
    "token",
    "apikey",
    "negotiate",
    "ntlm",
    "key",
];

/// Copies the name of a header without its value; returns what follows the value.
pub(super) fn header<'a>(text: &'a str, out: &mut String) -> Option<&'a str> {
    let key = Key::at(text, |key| HEADERS.contains(&key))?;
    key.copy(out);
    if let Some(after) = key.gone() {
        return Some(after);
    }
    if key.value.starts_with(['"', '\'', '\\', '[', '{', '(']) {
        return Some(&key.value[value_len(key.value)..]);
    }
    let scheme = &key.value[..word_len(key.value)];
    let after = &key.value[scheme.len()..];
    let credentials = after.trim_start_matches(' ');
    let one = !scheme.is_empty()
        && SCHEMES.contains(&&*scheme.to_ascii_lowercase())
        && credentials.len() < after.len();
    Some(match one {
        true => &credentials[token68_len(credentials)..],
        // A list, or cookies: to the end of the line.
        false => &key.value[line_len(key.value)..],
    })
}

/// Copies `key=`, `key:` or `--key` of a secret without its value; returns what follows the
/// value.
pub(super) fn pair<'a>(text: &'a str, out: &mut String) -> Option<&'a str> {
    if let Some(key) = Key::at(text, |_| true).filter(Key::is_secret) {
        key.copy(out);
        return Some(key.gone().unwrap_or(&key.value[value_len(key.value)..]));
    }
    let option = &text[..word_len(text)];
    let value = text[option.len()..].strip_prefix(' ')?;
    let is_option = option.starts_with("--") && ends_with_any(&squeezed(option), &KEYS);
    if !is_option || value.starts_with('-') {
        return None;
    }
    out.push_str(option);
    out.push(' ');
    out.push_str(GONE);
    Some(&value[value_len(value)..])
}

/// Copies `PASSWORD '…'` and `IDENTIFIED BY '…'` of SQL without the text; returns what
/// follows it.
pub(super) fn statement<'a>(text: &'a str, out: &mut String) -> Option<&'a str> {
    let word = &text[..word_len(text)];
    let value = text[word.len()..].trim_start_matches(' ');
    let is_key = ends_with_any(&squeezed(word), &KEYS[..2]) || word.eq_ignore_ascii_case("by");
    if !is_key || value.len() == text.len() - word.len() || !value.starts_with('\'') {
        return None;
    }
    out.push_str(word);
    out.push(' ');
    out.push_str(GONE);
    Some(&value[value_len(value)..])
}

/// A key with its separator, and the text behind both.
struct Key<'a> {
    name: &'a str,
    squeezed: String,
    quoted: bool,
    separator: char,
    value: &'a str,
}

impl<'a> Key<'a> {
    fn at(text: &'a str, is: impl FnOnce(&str) -> bool) -> Option<Self> {
        let name = &text[..word_len(text)];
        if name.is_empty() {
            return None;
        }
        let after = &text[name.len()..];
        let bare = after.trim_start_matches(['"', '\'', '\\']);
        let rest = bare.trim_start();
        let separator = rest.chars().next().filter(|c| matches!(c, '=' | ':'))?;
        let squeezed = squeezed(name);
        let value = rest[1..].trim_start_matches(['=', '>']).trim_start();
        is(&squeezed).then_some(Self {
            name,
            squeezed,
            quoted: bare.len() < after.len(),
            separator,
            value,
        })
    }

    fn is_secret(&self) -> bool {
        let in_form = self.separator == '=' || self.quoted;
        let value = self.value[..value_len(self.value)].trim_end_matches([')', ']', '}', '.']);
        !NO_SECRETS.contains(&&*value.to_ascii_lowercase()) && self.names_a_secret(in_form)
    }

    fn names_a_secret(&self, in_form: bool) -> bool {
        ends_with_any(&self.squeezed, &KEYS)
            || in_form && ends_with_any(&self.squeezed, &KEYS_IN_FORM)
    }

    /// Returns what is behind the value if it was taken out before: text is redacted where it
    /// enters, and may go through here again.
    fn gone(&self) -> Option<&'a str> {
        let after = self.value.strip_prefix(GONE)?;
        (!after.starts_with(char::is_alphanumeric)).then_some(after)
    }

    fn copy(&self, out: &mut String) {
        out.push_str(self.name);
        out.push(self.separator);
        out.push_str(GONE);
    }
}

fn squeezed(key: &str) -> String {
    let key = key.to_ascii_lowercase();
    key.replace(['-', '_', '.'], "")
}

fn ends_with_any(key: &str, ends: &[&str]) -> bool {
    ends.iter().any(|end| key.ends_with(end))
}

/// Returns the length of a token in a header (RFC 7235, `token68`).
fn token68_len(text: &str) -> usize {
    let end = text.find(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '"' | '\''));
    end.unwrap_or(text.len())
}

/// Returns the length of a value: what is in quotes (one behind a backslash does not end it;
/// quotes that are themselves behind backslashes end with as many), in brackets, or without
/// a blank and a separator. What does not end is a secret to the end.
fn value_len(text: &str) -> usize {
    let escapes = text.len() - text.trim_start_matches('\\').len();
    let first = text[escapes..].chars().next();
    if let Some(quote @ ('"' | '\'')) = first {
        let inner = escapes + 1;
        return closing(&text[inner..], quote, escapes).map_or(text.len(), |end| inner + end);
    }
    let (mut depth, mut before, mut at) = (0_usize, ' ', 0);
    while let Some(c) = text[at..].chars().next() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            '"' | '\'' if depth > 0 && !before.is_alphanumeric() => {
                let Some(end) = closing(&text[at + 1..], c, 0) else {
                    return text.len();
                };
                at += end;
            }
            c if depth == 0 && (c.is_whitespace() || matches!(c, ';' | ',' | '&')) => return at,
            _ => {}
        }
        before = c;
        at += c.len_utf8();
    }
    text.len()
}

/// Finds the end of a quoted text, behind its quote: the next quote behind exactly as many
/// backslashes as the first had.
fn closing(text: &str, quote: char, escapes: usize) -> Option<usize> {
    let mut backslashes = 0;
    text.char_indices().find_map(|(at, c)| {
        let ends = c == quote && (backslashes == escapes || escapes == 0 && backslashes % 2 == 0);
        backslashes = if c == '\\' { backslashes + 1 } else { 0 };
        ends.then_some(at + 1)
    })
}

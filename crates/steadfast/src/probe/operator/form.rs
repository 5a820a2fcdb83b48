//! What a form or a query says: pairs of `application/x-www-form-urlencoded`.

/// Most pairs that are looked at; no form of the page has half as many.
const PAIRS_MAX: usize = 16;

/// The pairs of a form, in their order.
#[derive(Debug, Default)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.take(PAIRS_MAX).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(key), decoded(value))
        });
        Self(pairs.collect())
    }

    /// Returns the first value of a key; empty if there is none.
    pub(super) fn get(&self, key: &str) -> &str {
        let found = self.0.iter().find(|(name, _)| name == key);
        found.map_or("", |(_, value)| value)
    }

    /// Returns the first key that is not among those that are allowed.
    pub(super) fn unknown(&self, allowed: &[&str]) -> Option<&str> {
        let mut keys = self.0.iter().map(|(key, _)| key.as_str());
        keys.find(|key| !allowed.contains(key))
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(name, _)| name == key)
    }
}

/// Decodes `%41` and `+`; anything that is no UTF-8 afterwards is replaced.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let hex = tail
            .get(..2)
            .filter(|pair| pair.iter().all(u8::is_ascii_hexdigit))
            .and_then(|pair| std::str::from_utf8(pair).ok());
        match (
            first,
            hex.and_then(|pair| u8::from_str_radix(pair, 16).ok()),
        ) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (b'+', _) => bytes.push(b' '),
            (other, _) => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_decoded() {
        for (given, expected) in [
            ("a+b%20c", "a b c"),
            ("%e2%82%ac", "€"),
            ("100%", "100%"),
            ("%zz", "%zz"),
            ("%+f", "% f"),
            ("%ff", "\u{fffd}"),
        ] {
            assert_eq!(decoded(given), expected, "{given}");
        }
    }

    #[test]
    fn pairs_are_read_and_bounded() {
        let form = Form::parse("token=a%26b&reason=&&begin");
        assert_eq!((form.get("token"), form.get("reason")), ("a&b", ""));
        assert!(form.has("begin") && !form.has("for"));
        assert_eq!(form.unknown(&["token", "begin"]), Some("reason"));
        assert_eq!(Form::parse(&"a=b&".repeat(1000)).0.len(), PAIRS_MAX);
    }
}

//! Who may see names and numbers: whoever shows the token, or whom the application's own rule
//! lets in. Who may give orders: whoever shows the token, and nobody else. A rule looks at
//! what a proxy adds to every request of somebody who is logged in, so with it any link that
//! such a person follows could drain the service. Never a peer's address: behind a proxy on the
//! same host everybody is 127.0.0.1.

use std::{fmt, sync::Arc};

use http::{header, request::Parts};

use sha2::{Digest, Sha256};

use super::session;
use crate::clock;

/// Shortest token. Sixteen characters of the usual alphabets cannot be guessed over HTTP.
pub const TOKEN_LEN_MIN: usize = 16;

/// What [`is_token`] allows, in words.
pub(crate) const TOKEN_ALLOWED: &str = "16 or more characters, all visible ASCII";

type Rule = dyn Fn(&Parts) -> bool + Send + Sync;

/// What authorises a request.
#[derive(Clone, Default)]
pub(crate) struct Access {
    pub(crate) token: Option<Arc<str>>,
    pub(crate) rule: Option<Arc<Rule>>,
}

impl Access {
    /// Whether anybody can be authorised at all.
    pub(crate) fn is_possible(&self) -> bool {
        self.token.is_some() || self.rule.is_some()
    }

    /// Whether this request may read: it shows the token, has the cookie of somebody who
    /// did, or the rule lets it.
    pub(crate) fn allows(&self, parts: &Parts) -> bool {
        self.may_order(parts)
            || self.is_signed_in(parts)
            || self.rule.as_deref().is_some_and(|rule| rule(parts))
    }

    /// Whether the request has the cookie of a browser in which the token was typed.
    pub(crate) fn is_signed_in(&self, parts: &Parts) -> bool {
        let token = self.token.as_deref();
        parts.headers.contains_key(header::COOKIE)
            && token.is_some_and(|it| session::is_signed_in(&parts.headers, it, clock::now()))
    }

    /// Whether this request may give orders: it shows the token, which no proxy and no browser
    /// adds by itself.
    pub(crate) fn may_order(&self, parts: &Parts) -> bool {
        self.token.as_deref().is_some_and(|token| {
            bearer(parts).is_some_and(|shown| equal(shown.as_bytes(), token.as_bytes()))
        })
    }

    /// Whether this is the token, as somebody typed it.
    pub(crate) fn is_token(&self, typed: &str) -> bool {
        let token = self.token.as_deref();
        token.is_some_and(|token| equal(typed.as_bytes(), token.as_bytes()))
    }

    /// Whether the request shows some token, right or wrong.
    pub(crate) fn shows_one(parts: &Parts) -> bool {
        parts.headers.contains_key(header::AUTHORIZATION)
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        match self.token.as_deref() {
            Some(token) if !is_token(token) => vec![format!(
                "operator: token of {} characters; allowed are {TOKEN_ALLOWED}",
                token.chars().count()
            )],
            _ => Vec::new(),
        }
    }
}

/// Whether this may be a token. A space or line end, which files like to add, could never
/// be shown in a header.
pub(crate) fn is_token(token: &str) -> bool {
    token.len() >= TOKEN_LEN_MIN && token.bytes().all(|byte| byte.is_ascii_graphic())
}

fn bearer(parts: &Parts) -> Option<&str> {
    let value = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Compares without telling by its duration where the first difference is, nor how long the
/// token is: what is compared are digests.
fn equal(left: &[u8], right: &[u8]) -> bool {
    let (left, right) = (Sha256::digest(left), Sha256::digest(right));
    let difference = left.iter().zip(&right).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(difference) == 0
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token itself must not reach a log.
        f.debug_struct("Access")
            .field("token", &self.token.is_some())
            .field("rule", &self.rule.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn parts(authorization: &str) -> Parts {
        Request::get("/")
            .header("authorization", authorization)
            .body(())
            .expect("a request")
            .into_parts()
            .0
    }

    #[test]
    fn only_the_whole_token_opens() {
        let access = Access {
            token: Some("0123456789abcdef".into()),
            rule: None,
        };
        for (shown, opens) in [
            ("Bearer 0123456789abcdef", true),
            ("bearer 0123456789abcdef", true),
            ("Bearer 0123456789abcdeF", false),
            ("Bearer 0123456789abcde", false),
            ("Basic 0123456789abcdef", false),
            ("0123456789abcdef", false),
        ] {
            assert_eq!(access.allows(&parts(shown)), opens, "{shown}");
        }
        assert!(!Access::default().allows(&parts("Bearer ")));
    }

    #[test]
    fn a_rule_lets_read_and_gives_no_orders() {
        let access = Access {
            token: Some("0123456789abcdef".into()),
            rule: Some(Arc::new(|_| true)),
        };
        for (shown, may_order) in [("", false), ("Bearer 0123456789abcdef", true)] {
            let parts = parts(shown);
            assert!(access.allows(&parts));
            assert_eq!(access.may_order(&parts), may_order, "{shown}");
        }
    }

    #[test]
    fn a_token_never_shows_in_debug_and_a_short_one_is_a_fault() {
        let access = Access {
            token: Some("secret".into()),
            rule: None,
        };
        assert!(!format!("{access:?}").contains("secret"));
        let faults = access.faults();
        assert!(TOKEN_ALLOWED.starts_with(&TOKEN_LEN_MIN.to_string()));
        assert!(
            faults[0].contains("6 characters") && !faults[0].contains("secret"),
            "{faults:?}"
        );
    }
}

//! How a browser stays signed in, and what becomes of those who guess.
//!
//! A form asks for the token once; what the browser keeps is a cookie with the moment until
//! which it holds and a code that only somebody with the token can make of it. So nothing
//! has to be remembered here, the cookie outlives a restart of the process, and whoever
//! steals it has neither the token nor, since orders ask for the token itself, the right to
//! give one.
//!
//! A wrong token is answered late, each time later, and a bounded number of such answers wait
//! at once. A right one never waits: an attack must not lock out whoever came to see it. So
//! guesses at the same time are not slowed down; what keeps them out is that a token has 16
//! characters or more.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use hmac::{Hmac, Mac};
use http::{HeaderMap, HeaderValue, header};
use sha2::Sha256;

use crate::clock;

/// For how long a browser stays signed in: a shift.
pub(crate) const SESSION_MAX: Duration = Duration::from_secs(12 * 3600);

/// Name of the cookie.
const COOKIE: &str = "why503";

/// Cookies that are looked at; browsers keep at most 180 for a site.
const COOKIES_MAX: usize = 200;

/// Wrong tokens that are answered at once, before somebody seems to guess: people mistype.
const FREE_MAX: u32 = 3;

/// By how much each further wrong token is answered later.
const STEP: Duration = Duration::from_millis(250);

/// The longest that an answer is held back; longer would hold connections for nothing.
const HELD_MAX: Duration = Duration::from_secs(3);

/// Answers that are held back at once. More are given at once, and say so with 429.
const HOLDS_MAX: u32 = 32;

/// After so long without a wrong token all is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// Makes the value of the cookie for somebody who has shown the token.
pub(crate) fn cookie(token: &str, path: &str, secure: bool, now: Instant) -> HeaderValue {
    let until = (clock::wall(now) + SESSION_MAX).as_secs();
    let code = code(token, until);
    let secure = if secure { "; Secure" } else { "" };
    let text = format!(
        "{COOKIE}={until}.{code}; Path={path}; Max-Age={}; HttpOnly; SameSite=Strict{secure}",
        SESSION_MAX.as_secs()
    );
    HeaderValue::try_from(text).expect("digits and a path that was checked")
}

/// Makes a cookie that takes the other one away.
pub(crate) fn no_cookie(path: &str) -> HeaderValue {
    let text = format!("{COOKIE}=; Path={path}; Max-Age=0; HttpOnly; SameSite=Strict");
    HeaderValue::try_from(text).expect("a path that was checked")
}

/// Whether the request has a cookie that somebody with this token was given.
pub(crate) fn is_signed_in(headers: &HeaderMap, token: &str, now: Instant) -> bool {
    let cookies = headers.get_all(header::COOKIE).iter();
    let cookies = cookies.filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|value| value.split(';')).take(COOKIES_MAX);
    pairs
        .filter_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
        .any(|value| holds(value, token, now))
}

fn holds(value: &str, token: &str, now: Instant) -> bool {
    let Some((until, shown)) = value.split_once('.') else {
        return false;
    };
    let Ok(until) = until.parse::<u64>() else {
        return false;
    };
    let Some(shown) = from_hex(shown) else {
        return false;
    };
    // The comparison takes the same time wherever the first difference is.
    keyed(token, until).verify_slice(&shown).is_ok() && clock::wall(now).as_secs() < until
}

fn keyed(token: &str, until: u64) -> Hmac<Sha256> {
    let mut keyed = Hmac::<Sha256>::new_from_slice(token.as_bytes()).expect("any length will do");
    keyed.update(b"why503 page ");
    keyed.update(&until.to_be_bytes());
    keyed
}

fn code(token: &str, until: u64) -> String {
    let code = keyed(token, until).finalize().into_bytes();
    code.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if text.len() != 64 || !digits {
        return None;
    }
    let pairs = (0..text.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}

/// Counts wrong tokens, and says how long the next answer waits.
#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    ever: u64,
    in_a_row: u32,
    last: Option<Instant>,
    held: u32,
}

/// What becomes of an answer to a wrong token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// It is given at once.
    None,
    /// It waits.
    For(Duration),
    /// It would have to wait, and too many do.
    Full,
}

impl Attempts {
    /// Counts a wrong token. Whoever is told to wait calls [`Attempts::released`] afterwards.
    pub(crate) fn failed(&self, now: Instant) -> Hold {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let quiet = counts
            .last
            .is_none_or(|last| now.saturating_duration_since(last) > FORGET_AFTER);
        counts.in_a_row = if quiet {
            1
        } else {
            counts.in_a_row.saturating_add(1)
        };
        counts.ever += 1;
        counts.last = Some(now);
        let over = counts.in_a_row.saturating_sub(FREE_MAX);
        if over == 1 {
            tracing::warn!(
                target: crate::log::PROBE, wrong_tokens = counts.ever,
                "somebody shows wrong tokens to the operator's page"
            );
        }
        if over == 0 {
            return Hold::None;
        }
        if counts.held == HOLDS_MAX {
            return Hold::Full;
        }
        counts.held += 1;
        Hold::For(STEP.saturating_mul(over).min(HELD_MAX))
    }

    /// An answer does not wait any more.
    pub(crate) fn released(&self) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.held = counts.held.saturating_sub(1);
    }

    /// Returns how many wrong tokens were shown since the start.
    pub(crate) fn ever(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).ever
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn headers(cookie: &str) -> HeaderMap {
        let value = cookie.parse().expect("a header");
        HeaderMap::from_iter([(header::COOKIE, value)])
    }

    fn given(now: Instant) -> String {
        let set = cookie(TOKEN, "/why503", false, now);
        let set = set.to_str().expect("text").to_owned();
        assert!(!set.contains(TOKEN), "{set}");
        for part in [
            "HttpOnly",
            "SameSite=Strict",
            "Path=/why503",
            "Max-Age=43200",
        ] {
            assert!(set.contains(part), "{part} in {set}");
        }
        set.split(';').next().expect("a first part").to_owned()
    }

    #[test]
    fn a_cookie_opens_for_a_shift_and_only_with_its_token() {
        let now = clock::now();
        let cookie = given(now);
        let later = now + SESSION_MAX - Duration::from_secs(2);
        let other = format!("a=b; {cookie}");
        for (headers, token, at, opens) in [
            (headers(&cookie), TOKEN, now, true),
            (headers(&other), TOKEN, later, true),
            (headers(&cookie), TOKEN, now + SESSION_MAX, false),
            (headers(&cookie), "0123456789abcdeg", now, false),
            (headers(&cookie[..cookie.len() - 1]), TOKEN, now, false),
            (
                headers(&cookie.replace("why503=1", "why503=2")),
                TOKEN,
                now,
                false,
            ),
            (headers("why503="), TOKEN, now, false),
            (headers("why503=1.é"), TOKEN, now, false),
            (HeaderMap::new(), TOKEN, now, false),
        ] {
            assert_eq!(is_signed_in(&headers, token, at), opens, "{headers:?}");
        }
    }

    #[test]
    fn guesses_are_counted_and_each_is_answered_later_within_bounds() {
        let attempts = Attempts::default();
        let now = clock::now();
        let first: Vec<_> = (0..5).map(|_| attempts.failed(now)).collect();
        assert_eq!(
            first,
            [
                Hold::None,
                Hold::None,
                Hold::None,
                Hold::For(STEP),
                Hold::For(2 * STEP)
            ]
        );
        let more: Vec<_> = (0..100).map(|_| attempts.failed(now)).collect();
        assert_eq!(more[28], Hold::For(HELD_MAX));
        assert_eq!(more[99], Hold::Full);
        (0..HOLDS_MAX).for_each(|_| attempts.released());
        assert_eq!(attempts.failed(now), Hold::For(HELD_MAX));
        let later = now + FORGET_AFTER + Duration::from_secs(1);
        assert_eq!(attempts.failed(later), Hold::None, "people mistype");
        assert_eq!(attempts.ever(), 107);
    }
}

//! Which form of the answer the client asked for (RFC 9110, 12.5.1).

use http::HeaderValue;

use crate::request::weight::weight;

/// The forms a refusal can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Problem,
    Html,
    Text,
}

/// Media types for each form, in the order of our preference when the client has none.
const OFFERS: [(Form, &str, &str); 4] = [
    (Form::Problem, "application", "problem+json"),
    (Form::Problem, "application", "json"),
    (Form::Html, "text", "html"),
    (Form::Text, "text", "plain"),
];

/// Ranges looked at; more than any browser sends, few enough that a hostile header is cheap.
const RANGES_MAX: usize = 32;

/// Returns the form with the highest quality; ours first among equals; problem+json if
/// none is acceptable, since an explanation in the wrong form beats none.
pub(crate) fn form(accept: Option<&HeaderValue>) -> Form {
    let Some(accept) = accept else {
        return Form::Problem;
    };
    // What nearly every API client sends.
    if accept == "*/*" || accept == "application/json" {
        return Form::Problem;
    }
    let Ok(accept) = accept.to_str() else {
        return Form::Problem;
    };
    let mut best = (0, Form::Problem);
    for (form, kind, subtype) in OFFERS {
        let quality = quality_of(accept, kind, subtype);
        if quality > best.0 {
            best = (quality, form);
        }
    }
    best.1
}

/// Returns the quality, in thousandths, that the most specific matching range gives.
fn quality_of(accept: &str, kind: &str, subtype: &str) -> u32 {
    let mut found = (0, 0);
    for range in accept.split(',').take(RANGES_MAX) {
        let mut parts = range.split(';');
        let Some((range_kind, range_subtype)) = parts.next().unwrap_or_default().split_once('/')
        else {
            continue;
        };
        let (range_kind, range_subtype) = (range_kind.trim(), range_subtype.trim());
        let specificity = match (range_kind, range_subtype) {
            ("*", "*") => 1,
            (same, "*") if same.eq_ignore_ascii_case(kind) => 2,
            (same, sub) if same.eq_ignore_ascii_case(kind) && sub.eq_ignore_ascii_case(subtype) => {
                3
            }
            _ => continue,
        };
        if specificity > found.0 {
            found = (specificity, parts.find_map(weight).unwrap_or(1000));
        }
    }
    found.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_client_gets_what_it_asked_for() {
        for (accept, expected) in [
            ("*/*", Form::Problem),
            ("", Form::Problem),
            ("text/plain", Form::Text),
            ("TEXT/HTML", Form::Html),
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                Form::Html,
            ),
            ("application/json, text/plain, */*", Form::Problem),
            ("text/html;q=0.1, text/plain;q=0.2", Form::Text),
            ("text/*;q=0.5, text/html;q=0", Form::Text),
            (
                "application/problem+json;q=0.2, text/html;q=0.9",
                Form::Html,
            ),
            ("image/png", Form::Problem),
            ("nonsense, ;;q=x, text/plain;q=abc", Form::Text),
        ] {
            let value = HeaderValue::from_static(accept);
            assert_eq!(form(Some(&value)), expected, "{accept}");
        }
        assert_eq!(form(None), Form::Problem);
    }

    proptest! {
        #[test]
        fn any_header_is_taken(bytes in proptest::collection::vec(32_u8..=255, 0..200)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let _ = form(Some(&value));
            }
        }
    }
}

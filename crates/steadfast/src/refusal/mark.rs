//! The mark on a 503 that an application made itself.

use http::{HeaderMap, HeaderValue};

use super::render::WHY;

/// Puts the mark on an application's own 503.
///
/// What an upstream said of itself stays readable before it, since in a structured dictionary
/// the last member of a name counts. Its promise that the request may be repeated does not:
/// here a handler was entered.
pub(super) fn on(headers: &mut HeaderMap, ours: HeaderValue) {
    let said: Vec<_> = headers
        .get_all(WHY)
        .iter()
        .filter_map(without_promise)
        .collect();
    headers.remove(WHY);
    for value in said.into_iter().chain([ours]) {
        headers.append(WHY, value);
    }
}

/// Returns the members of a `why-503` without `safe-to-retry`, `None` if none is left.
fn without_promise(value: &HeaderValue) -> Option<HeaderValue> {
    let mut quoted = false;
    let mut escaped = false;
    let members = value.to_str().ok()?.split(|c| {
        if escaped {
            escaped = false;
        } else if quoted && c == '\\' {
            escaped = true;
        } else if c == '"' {
            quoted = !quoted;
        }
        c == ',' && !quoted
    });
    let key = |member: &str| {
        let end = member.find(['=', ';']).unwrap_or(member.len());
        member[..end].trim() == "safe-to-retry"
    };
    let kept: Vec<_> = members
        .map(str::trim)
        .filter(|member| !member.is_empty() && !key(member))
        .collect();
    let kept = HeaderValue::try_from(kept.join(", ")).ok()?;
    (!kept.is_empty()).then_some(kept)
}

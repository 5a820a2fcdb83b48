//! The page for people: one document, made here, that asks nobody else for anything.
//!
//! It is read from the top: what is refused, since when, why, and what would fix it; then
//! what leads there. Without a script it is whole and says how old it is; the script only
//! puts newer sections in place and signs in by the address that the shop's start prints.
//! Texts are escaped by the templates; the policy that the page is sent with allows its own
//! style and script, by their digests, and nothing else.

mod dependencies;
mod findings;
mod forms;
mod overview;
mod plot;
mod times;

use std::sync::OnceLock;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    super::answer as probe,
    view::{
        View,
        entries::RefusalEntry,
        sentence::{Level, Sentence},
    },
};
use crate::{probe::paths::ProbeState, refusal::policy::digest};

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");

/// Sends a page with its policy.
pub(super) fn answer(status: StatusCode, page: Markup) -> Response<Full<Bytes>> {
    static POLICY: OnceLock<HeaderValue> = OnceLock::new();
    let policy = POLICY.get_or_init(policy).clone();
    let kind = "text/html; charset=utf-8";
    let mut response = probe::answer(status, kind, page.into_string());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    for (name, value) in [
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("vary", "accept, cookie"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn policy() -> HeaderValue {
    let (style, script) = (digest(STYLE), digest(SCRIPT));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; \
         connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).expect("ASCII")
}

/// The sections that change, in their order.
pub(super) fn sections(view: &View) -> Vec<(&'static str, Markup)> {
    vec![
        ("state", state(&view.state, view.fix.as_deref())),
        ("findings", findings::findings(view)),
        ("incidents", findings::incidents(&view.incidents)),
        ("refusals", plot::refusals(&view.refusals)),
        ("load", overview::load(view)),
        ("dependencies", dependencies::all(&view.dependencies)),
        ("checklist", overview::checklist(&view.checklist)),
        ("timeline", overview::timeline(view)),
        ("recent", overview::recent(&view.recent)),
    ]
}

/// The whole page.
pub(super) fn whole(view: &View, home: &str, signed_in: bool) -> Markup {
    let title = title(view);
    let main = html! {
        @for (id, section) in sections(view) {
            @if id == "state" {
                section id="state" aria-labelledby="state-h" aria-live="polite" aria-atomic="true" { (section) }
                p.asof {
                    span id="asof" { "As of " (times::moment(&view.at)) ". " }
                    span id="live" role="status" { "Reload the page for newer numbers." }
                }
                (contents())
            } @else {
                section id=(id) aria-labelledby=(format!("{id}-h")) { (section) }
            }
        }
        (forms::look_up(home))
        (forms::orders(view, home))
    };
    let aside = html! {
        @if signed_in { (forms::sign_out(home)) }
    };
    document(&title, Some(&name(view)), home, &main, &aside)
}

fn contents() -> Markup {
    html! {
        nav aria-label="Sections" {
            ul {
                @for (id, name) in [
                    ("findings", "Findings"), ("incidents", "Incidents"),
                    ("refusals", "Refusals"), ("load", "Load"),
                    ("dependencies", "Dependencies"), ("checklist", "Checklist"),
                    ("timeline", "Timeline"), ("recent", "Recent"),
                    ("find", "Look up"), ("orders", "Orders"),
                ] {
                    li { a href=(format!("#{id}")) { (name) } }
                }
            }
        }
    }
}

/// Asks for the token.
pub(super) fn sign_in(state: &ProbeState, home: &str, fault: Option<&str>) -> Markup {
    let main = forms::sign_in(home, fault, state.access.token.is_some());
    document("Sign in – why503", None, home, &main, &html! {})
}

/// What was found for an id.
pub(super) fn look_up(state: &ProbeState, home: &str, id: &str, found: &[RefusalEntry]) -> Markup {
    let main = html! {
        section id="found" aria-labelledby="found-h" {
            h1 id="found-h" {
                @match found.len() {
                    0 => { "No refusal is known as " },
                    1 => { "The refusal known as " },
                    count => { (count) " refusals known as " },
                }
                code { (id) }
            }
            @if found.is_empty() {
                p {
                    "Only the latest refusals are kept one by one; the incidents count them all. \
                     An id of another instance is known there."
                }
            }
            (overview::refusals(found))
            p { a href=(home) { "Back to the page" } }
        }
        (forms::look_up(home))
    };
    let service = state.profile.service.as_ref();
    let name = service.map(|(name, version)| format!("{name} {version}"));
    document(
        &format!("{id} – why503"),
        name.as_deref(),
        home,
        &main,
        &html! {},
    )
}

fn document(title: &str, name: Option<&str>, home: &str, main: &Markup, aside: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body data-home=(home) {
                a.skip href="#main" { "Skip to the content" }
                header {
                    p.brand { a href=(home) { "why503" } @if let Some(name) = name { " " span { (name) } } }
                    (aside)
                }
                main id="main" tabindex="-1" { (main) }
                footer {
                    p {
                        "Made by this process from what it has in memory; as JSON with "
                        code { "Accept: application/json" } "."
                    }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

fn state(state: &Sentence, fix: Option<&str>) -> Markup {
    let level = match state.level {
        Level::Well => "well",
        Level::Degraded => "look",
        Level::Refusing => "bad",
    };
    html! {
        div class={ "banner " (level) } {
            p.badge { (state.level.word()) }
            h1 id="state-h" { (state.text) }
            @if let Some(fix) = fix {
                p.fix { strong { "What would fix it: " } (fix) }
            }
        }
    }
}

fn title(view: &View) -> String {
    format!("{} – {} – why503", view.state.level.word(), name(view))
}

fn name(view: &View) -> String {
    match (&view.process.service, &view.process.version) {
        (Some(service), Some(version)) => format!("{service} {version}"),
        _ => format!("process {}", view.process.pid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_allows_nothing_that_is_not_named() {
        let policy = policy();
        let policy = policy.to_str().expect("ASCII");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}

//! Moments and lengths of time, for people and for the script that knows their time zone.

use std::time::Duration;

use maud::{Markup, html};

use crate::duration::spoken;

/// A moment: the time of day in UTC, the whole of it for machines and on hovering.
pub(super) fn moment(at: &str) -> Markup {
    // `2026-01-31T10:02:11.250Z`: without the date and the fraction.
    let time = at.get(11..19).unwrap_or(at);
    html! { time datetime=(at) title=(at) { (time) " UTC" } }
}

/// A moment with its date.
pub(super) fn day_and_moment(at: &str) -> Markup {
    let day = at.get(..10).unwrap_or(at);
    let time = at.get(11..19).unwrap_or_default();
    html! { time datetime=(at) title=(at) { (day) " " (time) " UTC" } }
}

pub(super) fn length(ms: u64) -> String {
    spoken(Duration::from_millis(ms))
}

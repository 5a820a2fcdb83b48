//! Refusals by cause over the last hour and the last day: a small plot, and the same as a
//! table for whoever does not see it.

use maud::{Markup, html};
use steadfast_core::Cause;

use super::times;
use crate::probe::operator::view::refusals::{Counts, Period, Refusals};

/// Size of the drawing, in its own units.
const WIDTH: usize = 720;
const HEIGHT: usize = 120;

pub(super) fn refusals(refusals: &Refusals) -> Markup {
    html! {
        h2 id="refusals-h" { "Refusals by cause" }
        div.plots {
            (plot("hour", "the last hour", "minute", &refusals.last_hour))
            (plot("day", "the last day", "quarter of an hour", &refusals.last_day))
        }
        p.small {
            "Since the start: " (spoken(&refusals.by_cause)) "."
            @if refusals.not_written_down > 0 {
                " " (refusals.not_written_down) " were counted and answered, and not kept one by one."
            }
        }
    }
}

fn plot(id: &str, when: &str, slot: &str, period: &Period) -> Markup {
    let most = period
        .slots
        .iter()
        .map(|slot| slot.by_cause.total())
        .max()
        .unwrap_or(0);
    let (title, says) = (format!("plot-{id}-t"), format!("plot-{id}-d"));
    html! {
        figure {
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-labelledby=(format!("{title} {says}")) preserveAspectRatio="none" {
                title id=(title) { "Refusals in " (when) }
                desc id=(says) {
                    (spoken(&period.by_cause)) ", at most " (most) " in a " (slot) "."
                }
                line.axis x1="0" x2=(WIDTH) y1=(HEIGHT - 1) y2=(HEIGHT - 1) {}
                @for slot in &period.slots {
                    @for (cause, y, height) in bars(&slot.by_cause, most) {
                        rect class={ "c-" (cause.code()) }
                            x=(x(slot.ago, period.length)) y=(format!("{y:.1}"))
                            width=(format!("{:.2}", width(period.length))) height=(format!("{height:.1}")) {}
                    }
                }
            }
            figcaption {
                strong { "In " (when) ": " }
                @if period.by_cause.total() == 0 { "none" }
                @for (cause, count) in period.by_cause.each() {
                    span.key { span class={ "swatch c-" (cause.code()) } {} (cause.code()) " " (count) }
                    " "
                }
                @if most > 0 { span.small { "(at most " (most) " in a " (slot) ")" } }
            }
            @if !period.slots.is_empty() {
                details id=(format!("table-{id}")) {
                    summary { "The same as a table" span.hidden { ", " (when) } }
                    div.scroll tabindex="0" role="group" aria-label=(format!("Refusals in {when}")) {
                        table {
                            caption.hidden { "Refusals in " (when) ", by " (slot) }
                            thead { tr { th scope="col" { "From" } th scope="col" { "Refusals" } } }
                            tbody {
                                @for slot in &period.slots {
                                    tr {
                                        th scope="row" { (times::moment(&slot.from)) }
                                        td { (spoken(&slot.by_cause)) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The bars of one slot from the bottom up: cause, upper edge, height. Whatever occurred is
/// at least a line.
fn bars(counts: &Counts, most: u64) -> Vec<(Cause, f64, f64)> {
    let room = (HEIGHT - 2) as f64;
    let mut base = (HEIGHT - 1) as f64;
    let each = counts.each().map(|(cause, count)| {
        let height = (count as f64 / most.max(1) as f64 * room).max(1.5);
        base -= height;
        (cause, base.max(0.0), height)
    });
    each.collect()
}

fn width(slots: usize) -> f64 {
    WIDTH as f64 / slots as f64 * 0.85
}

fn x(ago: usize, slots: usize) -> String {
    let from_left = slots.saturating_sub(1).saturating_sub(ago);
    format!("{:.2}", WIDTH as f64 / slots as f64 * from_left as f64)
}

fn spoken(counts: &Counts) -> String {
    let each: Vec<_> = counts
        .each()
        .map(|(cause, count)| format!("{count} {}", cause.code()))
        .collect();
    match each.is_empty() {
        true => "none".to_owned(),
        false => each.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_on_each_other_within_the_plot() {
        let mut counts = Counts::default();
        (counts.0[0], counts.0[3]) = (75, 25);
        let bars = bars(&counts, 100);
        let (lower, upper) = (&bars[0], &bars[1]);
        assert!((lower.1 - upper.1 - upper.2).abs() < 0.01, "{bars:?}");
        assert!((upper.1 - 1.0).abs() < 0.01, "{bars:?}");
        assert_eq!(x(0, 60), "708.00");
        assert_eq!(x(59, 60), "0.00");
    }
}

//! The table, in Markdown so that the docs can show it.

use super::figures::{BARE, GUARDED, Row};
use crate::stack::options::Options;

/// Prints what was found.
pub(super) fn print(rows: &[Row], options: &Options) {
    println!("Median of {} runs; the worst in brackets.\n", options.runs);
    println!(
        "| situation | asked | served: bare | guarded | p99 ms: bare | guarded | failed: bare | guarded | verdict |"
    );
    println!("|---|---:|---:|---:|---:|---:|---|---|---|");
    for row in rows {
        let served = |side| with_worst(row.served(side), 0);
        let p99 = |side| with_worst(row.p99_ms(side), 1);
        let faults = row.faults();
        let verdict = if faults.is_empty() {
            "ok".to_owned()
        } else {
            format!("**{}**", faults.join(", "))
        };
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {verdict} |",
            row.name,
            row.asked(),
            served(BARE),
            served(GUARDED),
            p99(BARE),
            p99(GUARDED),
            causes(row, BARE),
            causes(row, GUARDED),
        );
    }
    println!();
    for row in rows {
        println!("- `{}`: {}", row.name, row.claim);
    }
    let worse = rows.iter().filter(|row| !row.faults().is_empty()).count();
    println!(
        "\n{} situations, in {worse} of which the guarded one is worse.",
        rows.len()
    );
}

fn with_worst([median, worst]: [f64; 2], digits: usize) -> String {
    let shown = |value: f64| {
        if value.is_finite() {
            format!("{value:.digits$}")
        } else {
            "-".to_owned()
        }
    };
    let (median, worst) = (shown(median), shown(worst));
    if median == worst {
        median
    } else {
        format!("{median} ({worst})")
    }
}

/// Over all runs.
fn causes(row: &Row, side: usize) -> String {
    let causes = row.causes(side);
    let causes: Vec<String> = causes
        .iter()
        .map(|(cause, count)| format!("{count} {cause}"))
        .collect();
    causes.join(", ")
}

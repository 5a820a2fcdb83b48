//! The table, in Markdown so that the docs can show it.

use super::figures::Row;
use crate::stack::options::Options;

/// Most of a reason that is shown.
const REASON_MAX: usize = 160;

/// Prints what was found.
pub(super) fn print(rows: &[Row], options: &Options) {
    println!(
        "Median of {} runs; the worst in brackets, and counts are those of the worst.\n",
        options.runs
    );
    println!(
        "| situation | known after (s) | reason given | unexplained after that | before | healed after (s) | verdict |"
    );
    println!("|---|---:|---|---:|---:|---:|---|");
    for row in rows {
        let faults = row.faults();
        let verdict = if faults.is_empty() {
            "ok".to_owned()
        } else {
            format!("**{}**", faults.join(", "))
        };
        let [after, before] = row.unexplained();
        println!(
            "| {} | {} | {} | {after} | {before} | {} | {verdict} |",
            row.name,
            with_worst(row.to_know()),
            shown(row.reason()),
            with_worst(row.to_heal()),
        );
    }
    println!();
    for row in rows {
        println!("- `{}`: {}", row.name, row.claim);
    }
    let failed = rows.iter().filter(|row| !row.faults().is_empty()).count();
    println!(
        "\n{} situations, {failed} of which are not as they should be.",
        rows.len()
    );
}

fn with_worst([median, worst]: [Option<f64>; 2]) -> String {
    let shown = |secs: Option<f64>| secs.map_or("never".to_owned(), |it| format!("{it:.1}"));
    if median == worst {
        return shown(median);
    }
    format!("{} ({})", shown(median), shown(worst))
}

/// On one line of a table.
fn shown(reason: &str) -> String {
    let line: String = reason
        .replace(['\n', '\r'], " ")
        .replace('|', "/")
        .chars()
        .take(REASON_MAX)
        .collect();
    line
}

//! The table, in Markdown so that the docs can show it.

use super::{Subject, figures::Row, options::Options};

/// Prints what was found.
pub(super) fn print(rows: &[Row], options: &Options) {
    println!(
        "Median of {} runs; the worst in brackets. Ratios are to axum, and below 1 where it is better.\n",
        options.runs
    );
    println!(
        "| protocol | body | workers | row | requests/s | ratio | CPU us a request | ratio | instructions | ratio |"
    );
    println!("|---|---|---:|---|---:|---:|---:|---:|---:|---:|");
    for row in rows {
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            row.protocol.name(),
            row.body.name(),
            row.workers,
            row.subject.name(),
            shown(row.per_sec(), 0),
            shown(row.ratio, 2),
            shown(row.cpu_us(), 2),
            shown(row.cpu_ratio, 2),
            row.instructions.map_or_else(none, |it| it.to_string()),
            shown(row.instructions_ratio.map(|it| [it, it]), 2),
        );
    }
    let memory: Vec<_> = Subject::ALL
        .iter()
        .flat_map(|subject| super::Protocol::ALL.map(|protocol| (subject, protocol)))
        .filter_map(|(subject, protocol)| {
            let same = |row: &&Row| row.subject == *subject && row.protocol == protocol;
            let row = rows.iter().find(same)?;
            Some((
                row,
                row.bytes_per_idle_connection?,
                row.bytes_per_active_connection?,
            ))
        })
        .collect();
    if memory.is_empty() {
        return;
    }
    println!("\n| protocol | row | bytes an idle connection | an active one |");
    println!("|---|---|---:|---:|");
    for (row, idle, active) in memory {
        let (protocol, subject) = (row.protocol.name(), row.subject.name());
        println!("| {protocol} | {subject} | {idle} | {active} |");
    }
}

fn shown(figure: Option<[f64; 2]>, digits: usize) -> String {
    let Some([median, worst]) = figure else {
        return none();
    };
    let (median, worst) = (format!("{median:.digits$}"), format!("{worst:.digits$}"));
    if median == worst {
        median
    } else {
        format!("{median} ({worst})")
    }
}

fn none() -> String {
    "-".to_owned()
}

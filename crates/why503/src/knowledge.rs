//! The knowledge base, to be read: one row, or the whole runbook.

use std::process::ExitCode;

use steadfast_diagnosis::{
    Id, Text,
    knowledge::{Row, row, rows},
};

use crate::{
    cli::Colour,
    exit,
    output::{Page, print_page, style, width},
};

/// Ids that are shown to somebody who asked for one that is none.
const NEAR_SHOWN: usize = 8;

/// The command `why503 explain`.
pub(crate) fn explain(id: &str) -> ExitCode {
    let Some(row) = Id::parse(id).and_then(row) else {
        let near = near(id);
        eprintln!("why503: `{}` is no finding; {near}", Text::new(id));
        return ExitCode::from(exit::USAGE);
    };
    let mut page = Page::new(width());
    write(row, &mut page);
    print_page(&page, Colour::Auto);
    ExitCode::SUCCESS
}

/// The command `why503 runbook`.
pub(crate) fn runbook() -> ExitCode {
    let mut page = Page::new(width());
    page.paragraph("", style::HEAD, "Why a service answers 503, and what to do");
    page.gap();
    let intro = "Each finding: what it means, how it looks from outside, what proves it on the host, from where on it counts, and the fix. Commands are examples; PID, PORT, UNIT and the like stand for yours.";
    page.paragraph("", style::PLAIN, intro);
    for row in rows() {
        page.gap();
        write(row, &mut page);
    }
    print_page(&page, Colour::Auto);
    ExitCode::SUCCESS
}

fn write(row: &Row, page: &mut Page) {
    page.paragraph(
        "",
        style::HEAD,
        &format!("{}: {} [{}]", row.id, row.title, row.role.as_str()),
    );
    for (lead, words) in [
        ("  means      ", row.means),
        ("  outside    ", row.outside),
        ("  on host    ", row.inside),
        ("  counts     ", row.threshold),
        ("  fix        ", row.fix),
    ] {
        if !words.is_empty() {
            page.paragraph(lead, style::PLAIN, words);
        }
    }
    for command in row.commands {
        page.verbatim("             $ ", style::CODE, command);
    }
    if !row.effects.is_empty() {
        let effects: Vec<&str> = row.effects.iter().map(|it| it.as_str()).collect();
        page.paragraph("  leads to   ", style::PLAIN, &effects.join(", "));
    }
}

fn near(id: &str) -> String {
    let area = id.split('.').next().unwrap_or("");
    let all: Vec<&str> = rows().map(|it| it.id.as_str()).collect();
    let near = all
        .iter()
        .filter(|it| it.split('.').next() == Some(area) || it.contains(id));
    let near: Vec<&str> = near.copied().take(NEAR_SHOWN).collect();
    if near.is_empty() {
        format!("`why503 runbook` lists all {}", all.len())
    } else {
        format!("did you mean {}?", near.join(", "))
    }
}

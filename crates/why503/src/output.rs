//! How a report is told: to a person, or as JSON to a program.
//!
//! Everything that came from outside has gone through `Text`, which takes out secrets, control
//! characters and marks that turn the direction of writing; what is written here beside that is
//! our own.

use std::io::{IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};

use crate::{
    cli::{Colour, Options},
    doctor::Report,
};

pub(crate) mod json;
mod page;
mod progress;
mod text;

pub(crate) use page::{Page, style, width};
pub(crate) use progress::Progress;

/// Prints a report as the options say.
pub(crate) fn print(report: &Report, options: &Options) {
    if options.json {
        print_json(&json::report(report), options.watch);
    } else {
        let mut page = Page::new(width());
        text::write(report, &mut page);
        print_page(&page, options.color);
    }
}

/// Prints one document; on one line if more may follow.
pub(crate) fn print_json(document: &serde_json::Value, line: bool) {
    let text = if line {
        document.to_string()
    } else {
        format!("{document:#}")
    };
    // A reader that has gone needs no answer.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Prints text, coloured where it is seen.
pub(crate) fn print_page(page: &Page, colour: Colour) {
    let choice = match colour {
        Colour::Auto => AutoStream::choice(&std::io::stdout()),
        Colour::Always => ColorChoice::Always,
        Colour::Never => ColorChoice::Never,
    };
    let mut out = AutoStream::new(std::io::stdout(), choice);
    // A pager that was closed needs no answer.
    let _ = out.write_all(page.text().as_bytes());
    let _ = out.flush();
}

/// Whether somebody watches the errors' stream.
pub(crate) fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}

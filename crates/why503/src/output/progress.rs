//! What is being done, on a terminal and only there.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::Options;

/// A line on the terminal that goes away.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Shows something if somebody watches.
    pub(crate) fn new(options: &Options) -> Self {
        if options.json || !super::is_watched() {
            return Self::silent();
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}… {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    /// Shows nothing.
    pub(crate) fn silent() -> Self {
        Self(ProgressBar::hidden())
    }

    /// Says what is being done now.
    pub(crate) fn say(&self, what: &'static str) {
        self.0.set_message(what);
    }

    /// Takes the line away.
    pub(crate) fn done(&self) {
        self.0.finish_and_clear();
    }
}

//! Lines that fit the terminal, whatever stands in them.

use anstyle::Style;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Where nothing says how wide the reader is.
const WIDTH: usize = 100;

/// Narrower cannot be read, wider not followed.
const WIDTHS: std::ops::RangeInclusive<usize> = 40..=120;

/// The width of the terminal, of `COLUMNS`, or a usual one.
pub(crate) fn width() -> usize {
    let terminal = terminal_size::terminal_size().map(|(it, _)| usize::from(it.0));
    let columns = || std::env::var("COLUMNS").ok()?.parse().ok();
    let width = terminal.or_else(columns).unwrap_or(WIDTH);
    width.clamp(*WIDTHS.start(), *WIDTHS.end())
}

/// How things look.
pub(crate) mod style {
    use anstyle::{AnsiColor, Color, Style};

    pub(crate) const BAD: Style = Style::new()
        .bold()
        .fg_color(Some(Color::Ansi(AnsiColor::Red)));
    pub(crate) const WARN: Style = Style::new()
        .bold()
        .fg_color(Some(Color::Ansi(AnsiColor::Yellow)));
    pub(crate) const GOOD: Style = Style::new()
        .bold()
        .fg_color(Some(Color::Ansi(AnsiColor::Green)));
    pub(crate) const HEAD: Style = Style::new().bold();
    pub(crate) const FAINT: Style = Style::new().dimmed();
    pub(crate) const PLAIN: Style = Style::new();
    pub(crate) const CODE: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Cyan)));
}

/// Text in the making.
#[derive(Debug)]
pub(crate) struct Page {
    text: String,
    width: usize,
}

impl Page {
    /// An empty page of this width.
    pub(crate) fn new(width: usize) -> Self {
        Self {
            text: String::new(),
            width,
        }
    }

    /// What was written so far, with the codes of its styles.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// An empty line.
    pub(crate) fn gap(&mut self) {
        self.text.push('\n');
    }

    /// A paragraph that begins with `lead`; the lines after the first are set in below what
    /// follows it.
    pub(crate) fn paragraph(&mut self, lead: &str, style: Style, words: &str) {
        let indent = lead.width();
        let room = self.width.saturating_sub(indent).max(20);
        for (at, line) in wrap(words, room).into_iter().enumerate() {
            if at == 0 {
                self.text.push_str(lead);
            } else {
                self.text.extend(std::iter::repeat_n(' ', indent));
            }
            self.text.push_str(&format!("{style}{line}{style:#}\n"));
        }
    }

    /// A line that must not be broken, such as a command.
    pub(crate) fn verbatim(&mut self, lead: &str, style: Style, words: &str) {
        self.text
            .push_str(&format!("{lead}{style}{words}{style:#}\n"));
    }
}

/// Breaks at spaces, and inside words that are wider than a line.
fn wrap(words: &str, room: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in words.split_whitespace() {
        let gap = usize::from(!line.is_empty());
        if line.width() + gap + word.width() <= room {
            if gap == 1 {
                line.push(' ');
            }
            line.push_str(word);
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        for sign in word.chars() {
            if line.width() + sign.width().unwrap_or(0) > room {
                lines.push(std::mem::take(&mut line));
            }
            line.push(sign);
        }
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_the_room() {
        for text in [
            "a b c",
            "one longer sentence about a thing",
            &"x".repeat(99),
            "漢字漢字漢字 漢字漢字",
            "",
        ] {
            let lines = wrap(text, 10);
            assert!(lines.iter().all(|it| it.width() <= 10), "{lines:?}");
            let (joined, text): (String, String) = (lines.concat(), text.into());
            let signs = |it: &str| it.chars().filter(|c| !c.is_whitespace()).count();
            assert_eq!(signs(&joined), signs(&text));
        }
    }
}

//! The report for people: the answer first, then what, when, where and what changed.

use std::io::{self, Write};

use anstyle::Style;

use super::{
    report::{PlaceRow, Report, When},
    shown::{fit, grouped, percent},
    time, timeline,
};

/// Prints it, in lines of at most so many columns.
///
/// # Errors
///
/// When the reader has gone.
pub(crate) fn print(report: &Report, columns: usize, out: &mut dyn Write) -> io::Result<()> {
    let columns = columns.clamp(COLUMNS_MIN, COLUMNS_MAX);
    let mut page = Page { columns, out };
    page.bold(&capital(&report.summary))?;
    page.line("")?;
    page.hanging("", &read(report))?;
    if report.failed.total > 0 {
        causes(&mut page, report)?;
        histogram(&mut page, &report.timeline)?;
        places(&mut page, "Routes", &report.routes)?;
        places(&mut page, "Backends", &report.backends)?;
        burst(&mut page, report)?;
    }
    let files = report.files.iter().filter_map(|it| {
        let note = it.note.as_ref()?;
        Some(format!("{}: {note}", it.name))
    });
    let notes: Vec<String> = files.chain(report.notes.iter().cloned()).collect();
    if !notes.is_empty() {
        page.head("Notes")?;
        for note in notes {
            page.wrapped(&note)?;
        }
    }
    Ok(())
}

fn read(report: &Report) -> String {
    let lines = &report.lines;
    let formats: Vec<_> = lines.formats.iter().map(|it| it.format).collect();
    let mut parts = vec![
        format!("{} lines ({})", grouped(lines.total), formats.join(", ")),
        format!("{} requests", grouped(report.requests)),
    ];
    if lines.unread > 0 {
        parts.push(format!(
            "{} lines in no known format",
            grouped(lines.unread)
        ));
    }
    if lines.outside > 0 {
        parts.push(format!("{} lines outside the time", grouped(lines.outside)));
    }
    if lines.cut > 0 {
        parts.push(format!(
            "{} lines too long to read whole",
            grouped(lines.cut)
        ));
    }
    if let (Some(from), Some(to)) = (&report.from, &report.to) {
        parts.push(format!("{from} to {to}"));
    }
    let failed = &report.failed;
    if failed.total > 0 {
        let by = [
            (failed.bad_gateway, "502"),
            (failed.unavailable, "503"),
            (failed.timeout, "504"),
        ];
        let by = by
            .iter()
            .filter(|it| it.0 > 0)
            .map(|(count, status)| format!("{} × {status}", grouped(*count)));
        parts.push(by.collect::<Vec<_>>().join(", "));
    }
    parts.join(" · ")
}

fn causes(page: &mut Page<'_>, report: &Report) -> io::Result<()> {
    page.head("Causes")?;
    for row in &report.causes {
        let id = row.id.unwrap_or("(not said)");
        let share = percent(row.count, report.failed.total);
        let mut says = row.says.to_owned();
        if !row.or.is_empty() {
            let among = if row.or.len() > 1 { "one of" } else { "or" };
            says = format!("{says} ({among} {})", row.or.join(", "));
        }
        let lead = format!("{:>10} {share:>6}  {id:<22}  ", grouped(row.count));
        page.hanging(&lead, &says)?;
    }
    Ok(())
}

/// A row for each stretch of time, so many that they fit on a screen.
fn histogram(page: &mut Page<'_>, when: &When) -> io::Result<()> {
    let (Some(first), Some(last)) = (when.rows.first(), when.rows.last()) else {
        return Ok(());
    };
    let fits = |width: &i64| (last.second - first.second) / width < ROWS_MAX;
    let Some(width) = timeline::wider(when.width_seconds).find(fits) else {
        return Ok(());
    };
    let start = |second: i64| second.div_euclid(width);
    let rows = usize::try_from(start(last.second) - start(first.second) + 1).unwrap_or(0);
    let mut counts = vec![0_u64; rows];
    for row in &when.rows {
        if let Some(count) = usize::try_from(start(row.second) - start(first.second))
            .ok()
            .and_then(|at| counts.get_mut(at))
        {
            *count += row.failed;
        }
    }
    page.head(&format!("When ({} a row)", lasting(width)))?;
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let room = page.columns.saturating_sub(BAR_LEFT).max(8);
    for (at, count) in counts.into_iter().enumerate() {
        let second = (start(first.second) + i64::try_from(at).unwrap_or(0)) * width;
        let bar = bar(count, most, room);
        page.line(&format!(
            "  {}  {:>9}  {bar}",
            label(second, width),
            grouped(count)
        ))?;
    }
    Ok(())
}

fn label(second: i64, width: i64) -> String {
    let (_, month, day, hour, minute, of_minute) = time::parts(second);
    if width >= 86_400 {
        time::written(second)[..10].to_owned()
    } else if width >= 60 {
        format!("{month:02}-{day:02} {hour:02}:{minute:02}")
    } else {
        format!("{hour:02}:{minute:02}:{of_minute:02}   ")[..11].to_owned()
    }
}

fn lasting(seconds: i64) -> String {
    match seconds {
        it if it < 60 => format!("{it} s"),
        it if it < 3_600 => format!("{} min", it / 60),
        it if it < 86_400 => format!("{} h", it / 3_600),
        it => format!("{} d", it / 86_400),
    }
}

fn bar(count: u64, most: u64, room: usize) -> String {
    let eighths = (u128::from(count) * room as u128 * 8).div_ceil(u128::from(most));
    let eighths = usize::try_from(eighths).unwrap_or(0);
    let mut bar = "█".repeat(eighths / 8);
    if eighths % 8 > 0 {
        bar.push(['▏', '▎', '▍', '▌', '▋', '▊', '▉'][eighths % 8 - 1]);
    }
    bar
}

fn places(page: &mut Page<'_>, title: &str, rows: &[PlaceRow]) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    page.head(title)?;
    for row in rows.iter().take(PLACES_MAX) {
        let about = if row.error > 0 { "≤" } else { "" };
        let count = format!("{about}{}", grouped(row.count));
        let name = fit(&row.name, page.columns.saturating_sub(40).max(16));
        page.line(&format!(
            "{count:>10}  {:<22}  {name}",
            row.id.unwrap_or("(not said)")
        ))?;
    }
    if rows.len() > PLACES_MAX {
        page.line(&format!("{:>10}  {} more", "", rows.len() - PLACES_MAX))?;
    }
    Ok(())
}

fn burst(page: &mut Page<'_>, report: &Report) -> io::Result<()> {
    let Some(burst) = &report.burst else {
        return Ok(());
    };
    page.head("The longest run of failures")?;
    page.line(&format!(
        "  {} to {} ({}), {} failed",
        burst.start,
        burst.end,
        lasting(burst.seconds),
        grouped(burst.failed)
    ))?;
    if burst.changes.is_empty() {
        page.line("  nothing in these logs changed when it began")?;
    } else {
        page.line("  When it began:")?;
    }
    for change in &burst.changes {
        page.wrapped(change)?;
    }
    Ok(())
}

struct Page<'a> {
    columns: usize,
    out: &'a mut dyn Write,
}

impl Page<'_> {
    fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{}", fit(text, self.columns))
    }

    fn bold(&mut self, text: &str) -> io::Result<()> {
        let style = Style::new().bold();
        for line in wrap(text, self.columns) {
            writeln!(self.out, "{style}{line}{style:#}")?;
        }
        Ok(())
    }

    fn head(&mut self, text: &str) -> io::Result<()> {
        self.line("")?;
        let style = Style::new().bold();
        writeln!(self.out, "{style}{text}{style:#}")
    }

    /// The text in the columns behind the lead, below each other.
    fn hanging(&mut self, lead: &str, text: &str) -> io::Result<()> {
        let left = lead.chars().count();
        if self.columns < left + 20 {
            self.line(lead)?;
            return self.wrapped(text);
        }
        for (at, line) in wrap(text, self.columns - left).into_iter().enumerate() {
            let lead = if at == 0 { lead } else { "" };
            self.line(&format!("{lead:<left$}{line}"))?;
        }
        Ok(())
    }

    fn wrapped(&mut self, text: &str) -> io::Result<()> {
        for (at, line) in wrap(text, self.columns.saturating_sub(4))
            .into_iter()
            .enumerate()
        {
            let lead = if at == 0 { "  - " } else { "    " };
            self.line(&format!("{lead}{line}"))?;
        }
        Ok(())
    }
}

fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always a line");
        let joined = if line.is_empty() {
            word.to_owned()
        } else {
            format!("{line} {word}")
        };
        if line.is_empty() || fit(&joined, columns) == joined {
            *line = joined;
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|it| it.to_uppercase().to_string());
    first.unwrap_or_default() + chars.as_str()
}

/// A picture that fits on a screen.
const ROWS_MAX: i64 = 24;
/// What stands left of a bar.
const BAR_LEFT: usize = 28;
const PLACES_MAX: usize = 10;
/// Less is no table, more no line that an eye can follow.
const COLUMNS_MIN: usize = 40;
const COLUMNS_MAX: usize = 160;

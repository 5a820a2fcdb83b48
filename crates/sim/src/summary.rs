//! What many seeds say together: of each figure the median, the worst and how many met the bar.

use std::fmt;

use crate::scenario::{Bar, Figure};

/// The figures of many runs of one scenario and peer.
#[derive(Debug)]
pub struct Summary {
    scenario: String,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    name: &'static str,
    bar: Bar,
    values: Vec<f64>,
    held: usize,
}

impl Summary {
    /// Nothing yet.
    #[must_use]
    pub fn new(scenario: impl Into<String>) -> Self {
        let scenario = scenario.into();
        let rows = Vec::new();
        Self { scenario, rows }
    }

    /// Takes the figures of one run in.
    pub fn add(&mut self, figures: &[Figure]) {
        for figure in figures {
            let known = self.rows.iter().position(|row| row.name == figure.name);
            let index = known.unwrap_or_else(|| {
                self.rows.push(Row {
                    name: figure.name,
                    bar: figure.bar,
                    values: Vec::new(),
                    held: 0,
                });
                self.rows.len() - 1
            });
            let row = &mut self.rows[index];
            row.values.push(figure.value);
            row.held += usize::from(figure.holds());
        }
    }

    /// How many figures with a bar met it, and how many there were.
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        let barred = self.rows.iter().filter(|row| !row.bar.is_none());
        barred.fold((0, 0), |(held, all), row| {
            (held + row.held, all + row.values.len())
        })
    }
}

impl fmt::Display for Summary {
    /// Rows of a Markdown table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            let mut sorted = row.values.clone();
            sorted.sort_by(f64::total_cmp);
            let n = sorted.len();
            let median = sorted[n / 2];
            let (bar, worst) = match row.bar {
                Bar::Least(bar) => (format!(">= {bar}"), sorted[0]),
                Bar::Most(bar) => (format!("<= {bar}"), sorted[n - 1]),
                Bar::None => continue,
            };
            let strong = if row.held < n { "**" } else { "" };
            writeln!(
                f,
                "| {} | {} | {bar} | {median:.3} | {worst:.3} | {strong}{}/{n}{strong} |",
                self.scenario, row.name, row.held
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_counts_what_held_and_names_the_worst() {
        let mut summary = Summary::new("here");
        for value in [0.98, 0.90, 0.99] {
            let figures = [
                Figure::least("goodput", value, 0.95),
                Figure::info("limit", 7.0),
            ];
            summary.add(&figures);
        }
        assert_eq!(summary.held(), (2, 3));
        assert_eq!(
            summary.to_string(),
            "| here | goodput | >= 0.95 | 0.980 | 0.900 | **2/3** |\n"
        );
    }
}

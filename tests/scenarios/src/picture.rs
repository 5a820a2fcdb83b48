//! A picture of a run: what the doctor prints on a terminal about one scenario, as SVG.

use std::{
    fmt::Write,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use crate::{
    ROLE,
    set::Scenario,
    stage::{Side, Stage},
};

/// Letters of a line, and the size of one in the picture.
const COLUMNS: usize = 100;
const WIDTH: f32 = 7.83;
const HEIGHT: usize = 18;

/// More than this nobody reads in a picture.
const LINES_MAX: usize = 36;

/// Sets the scenario up, runs the doctor as a user would, and draws what it says.
pub(crate) fn draw(scenario: &Scenario) -> String {
    // What is started here works there, and no path of the author's gets into the picture.
    let _ = std::env::set_current_dir("/");
    let stage = (scenario.set_up)(Side::Sick);
    let said = run(&stage);
    let mut text = format!("\x1b[1m$ why503 {}\x1b[0m\n", stage.url);
    text.push_str(&said);
    let mut lines: Vec<&str> = text.lines().take(LINES_MAX).collect();
    if text.lines().nth(LINES_MAX).is_some() {
        lines.push("…");
    }
    svg(scenario.is, &lines)
}

fn run(stage: &Stage) -> String {
    let me = std::env::current_exe().expect("this program has a path");
    let output = Command::new(me)
        .arg0("why503")
        .env(ROLE, "doctor")
        .env("COLUMNS", COLUMNS.to_string())
        .env_remove("NO_COLOR")
        .args(["--color", "always"])
        .args(&stage.arguments)
        .arg(&stage.url)
        .stdin(Stdio::null())
        .output()
        .expect("this program can be started again");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a hundred columns are a small number"
)]
fn svg(what: &str, lines: &[&str]) -> String {
    let width = (COLUMNS as f32 * WIDTH) as usize + 40;
    let height = (lines.len() + 1) * HEIGHT + 24;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" aria-labelledby=\"t\">\n\
         <title id=\"t\">What why503 says of this: {}</title>\n\
         <style>text {{ font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #e6edf3; white-space: pre }} \
         .b {{ font-weight: 700 }} .f {{ fill: #9198a1 }} .red {{ fill: #ff7b72 }} .green {{ fill: #3fb950 }} .yellow {{ fill: #d29922 }} .cyan {{ fill: #76e3ea }}</style>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#161b22\"/>\n",
        escape(what)
    );
    let mut classes = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let y = 24 + (number + 1) * HEIGHT;
        let mut room = COLUMNS;
        let _ = write!(out, "<text x=\"20\" y=\"{y}\" xml:space=\"preserve\">");
        for (at, part) in line.split("\x1b[").enumerate() {
            let shown = match part.split_once('m') {
                Some((codes, rest)) if at > 0 => {
                    style(codes, &mut classes);
                    rest
                }
                _ => part,
            };
            // A command is not broken, so it may be longer than the picture is wide.
            let mut fits: String = shown.chars().take(room).collect();
            room -= fits.chars().count();
            if fits.len() < shown.len() {
                fits.pop();
                fits.push('…');
            }
            if fits.is_empty() {
                continue;
            }
            let shown = escape(&fits);
            let _ = if classes.is_empty() {
                write!(out, "{shown}")
            } else {
                write!(
                    out,
                    "<tspan class=\"{}\">{shown}</tspan>",
                    classes.join(" ")
                )
            };
        }
        out.push_str("</text>\n");
    }
    out.push_str("</svg>\n");
    out
}

/// What the terminal's codes change.
fn style(codes: &str, classes: &mut Vec<&'static str>) {
    for code in codes.split(';') {
        let class = match code {
            "" | "0" => {
                classes.clear();
                continue;
            }
            "1" => "b",
            "2" | "90" => "f",
            "31" | "91" => "red",
            "32" | "92" => "green",
            "33" | "93" => "yellow",
            "36" | "96" => "cyan",
            _ => continue,
        };
        classes.push(class);
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_colour_is_coloured() {
        let picture = svg("a & b", &["\x1b[1m\x1b[31m✗ no\x1b[0m <server>"]);
        assert!(picture.contains("says of this: a &amp; b<"));
        assert!(picture.contains("<tspan class=\"b red\">✗ no</tspan> &lt;server&gt;</text>"));
        assert!(!picture.contains('\x1b'));
    }
}

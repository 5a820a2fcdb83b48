//! What a file says beside its code: how long it is, and the marks of unfinished work.

use super::{Finding, source::Source};

/// At this many lines a reader asks whether a file holds one concept.
const LINES_MAX: usize = 500;

const LENGTH: &str = "a longer file says why in its head comment, after the word `length:`";

const MARKS: &[&str] = &["TODO", "FIXME", "XXX"];

const UNFINISHED: &str = "finish it, or write an issue; a mark in the source is read by nobody";

/// Finds what is wrong with one file.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let lines = source.text.lines().count();
    let too_long = (lines > LINES_MAX && !gives_reason(&source.text)).then(|| Finding {
        place: source.path.clone(),
        found: format!("{lines} lines, and {LINES_MAX} are allowed"),
        rule: LENGTH,
    });
    let marked = source.text.lines().enumerate().filter_map(|(at, line)| {
        let mark = MARKS.iter().find(|mark| comments(line, mark))?;
        Some(Finding {
            place: format!("{}:{}", source.path, at + 1),
            found: format!("`{mark}`"),
            rule: UNFINISHED,
        })
    });
    too_long.into_iter().chain(marked).collect()
}

fn gives_reason(text: &str) -> bool {
    let head = text.lines().take_while(|line| line.starts_with("//"));
    let mut reasons = head.filter_map(|line| line.split_once("length:"));
    reasons.any(|(_, reason)| !reason.trim().is_empty())
}

/// Whether the line has a comment with this word in it.
fn comments(line: &str, word: &str) -> bool {
    let start = line.find("//").or_else(|| line.find("/*"));
    let start = start.or_else(|| line.trim_start().starts_with("* ").then_some(0));
    let comment = start.map_or("", |start| &line[start..]);
    let mut words = comment.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.any(|it| it == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let source = Source::parse("a.rs", text.into(), false).expect("Rust");
        check(&source).into_iter().map(|it| it.found).collect()
    }

    #[test]
    fn a_long_file_says_why() {
        let long = "fn f() {}\n".repeat(LINES_MAX + 1);
        assert_eq!(found(&long), ["501 lines, and 500 are allowed"]);
        assert_eq!(found(&format!("//! length:\n{long}")).len(), 1);
        assert!(found(&format!("//! length: a table\n{long}")).is_empty());
        assert!(found(&long[10..]).is_empty());
    }

    #[test]
    fn unfinished_work_is_not_marked_but_done() {
        for mark in MARKS {
            assert_eq!(found(&format!("fn f() {{}} // {mark}: later")).len(), 1);
            assert_eq!(found(&format!("/* {mark} */")).len(), 1);
        }
        assert!(found("const TODO: u8 = 1; // TODOS are XXXL").is_empty());
    }
}

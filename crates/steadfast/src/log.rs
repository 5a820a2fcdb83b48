//! The targets of the log: one for each kind of thing that is told, so that a filter or an
//! alert can choose. They are a contract, listed with their lines in `docs/operations.md`.

mod seldom;

pub(crate) use seldom::Seldom;

/// Requests that are refused: when it begins, when it is over.
pub(crate) const INCIDENT: &str = "steadfast::incident";

/// A dependency: when it is down, when it is up again, and what its breaker does.
pub(crate) const DEPENDENCY: &str = "steadfast::dependency";

/// What changed: the phase, maintenance, checks, limits.
pub(crate) const STATE: &str = "steadfast::state";

/// How the process leaves.
pub(crate) const DRAIN: &str = "steadfast::drain";

/// Connections, listeners and certificates.
pub(crate) const SERVE: &str = "steadfast::serve";

/// Who asks the guard's own paths.
pub(crate) const PROBE: &str = "steadfast::probe";

/// What cannot work: settings that do not fit each other, or what is around the process.
pub(crate) const AUDIT: &str = "steadfast::audit";

/// What an application does wrong.
pub(crate) const APPLICATION: &str = "steadfast::application";

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    const ROOT: &str = env!("CARGO_MANIFEST_DIR");

    /// Target, levels and line.
    type Told = (String, String, String);

    /// What the sources tell: each call of a macro of `tracing` names a target of this module.
    fn told(file: &Path, targets: &[(String, String)], into: &mut BTreeSet<Told>) {
        let text = fs::read_to_string(file).expect("a source");
        let text = text
            .split("mod tests {")
            .next()
            .expect("there is a first part");
        for call in text.split("tracing::").skip(1) {
            let Some((level, rest)) = call.split_once("!(") else {
                continue;
            };
            if !["error", "warn", "info", "debug", "$say"].contains(&level) {
                continue;
            }
            let arguments = arguments(rest);
            let name = arguments.split("crate::log::").nth(1);
            let name = name.unwrap_or_else(|| panic!("{}: no target: {arguments}", file.display()));
            let name = name
                .split(|c: char| !c.is_ascii_uppercase())
                .next()
                .expect("a name");
            let target = targets
                .iter()
                .find(|(known, _)| known == name)
                .expect("a target");
            let line = last_text(arguments);
            into.insert((target.1.clone(), level.to_ascii_uppercase(), line));
        }
    }

    /// The text up to the parenthesis that closes.
    fn arguments(text: &str) -> &str {
        let (mut depth, mut in_text, mut before) = (1, false, ' ');
        for (at, c) in text.char_indices() {
            match c {
                '"' if before != '\\' => in_text = !in_text,
                '(' if !in_text => depth += 1,
                ')' if !in_text => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return &text[..at];
            }
            before = c;
        }
        text
    }

    /// The last literal that is a sentence, with what is filled in as an ellipsis.
    fn last_text(arguments: &str) -> String {
        let literal = arguments.split('"').skip(1).step_by(2);
        let sentence = literal
            .filter(|it| it.contains([' ', '{']) || it.len() > 5)
            .last();
        let sentence = sentence.expect("a line");
        let joined: Vec<_> = sentence.split("\\\n").map(str::trim_start).collect();
        let mut line = joined.concat();
        while let (Some(from), Some(to)) = (line.find('{'), line.find('}')) {
            line.replace_range(from..=to, "…");
        }
        line
    }

    fn sources(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            match entry.path() {
                path if path.is_dir() => sources(&path, found),
                path => found.push(path),
            }
        }
    }

    #[test]
    fn the_documentation_lists_every_line_with_its_target_and_level() {
        let own = fs::read_to_string(Path::new(ROOT).join("src/log.rs")).expect("this file");
        let constants = own.lines().filter_map(|line| {
            let (name, value) = line
                .strip_prefix("pub(crate) const ")?
                .split_once(": &str = ")?;
            Some((name.to_owned(), value.trim_matches(['"', ';']).to_owned()))
        });
        let targets: Vec<_> = constants.collect();
        let (mut files, mut code) = (Vec::new(), BTreeSet::new());
        sources(&Path::new(ROOT).join("src"), &mut files);
        for file in &files {
            told(file, &targets, &mut code);
        }
        let page = fs::read_to_string(Path::new(ROOT).join("../../docs/operations.md"));
        let page = page.expect("the page is in the repository");
        let rows = page
            .lines()
            .filter(|line| line.starts_with("| `steadfast::"));
        let mut documented = BTreeSet::new();
        for row in rows {
            let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
            let (target, line) = (cells[0].trim_matches('`'), &cells[2][1..cells[2].len() - 1]);
            for level in cells[1].split(' ') {
                let level = level.trim_matches('`').to_owned();
                documented.insert((target.to_owned(), level, line.to_owned()));
            }
        }
        // One call that is made at either level.
        let either: Vec<_> = code
            .iter()
            .filter(|(_, level, _)| level == "$SAY")
            .cloned()
            .collect();
        for told in either {
            code.remove(&told);
            for level in ["WARN", "INFO"] {
                code.insert((told.0.clone(), level.to_owned(), told.2.clone()));
            }
        }
        let missing: Vec<_> = code.difference(&documented).collect();
        let stale: Vec<_> = documented.difference(&code).collect();
        assert!(
            missing.is_empty() && stale.is_empty(),
            "missing {missing:#?}, stale {stale:#?}"
        );
    }
}

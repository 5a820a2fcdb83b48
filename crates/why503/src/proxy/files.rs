//! Configuration files of a proxy, read as it would: patterns in includes, and the root of its
//! container.

use std::{fs, io::Read};

/// Most bytes of one file.
const FILE_MAX: u64 = 2 * 1024 * 1024;

/// Most files that a pattern may name.
const MATCHES_MAX: usize = 512;

/// Files below a root.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    /// What comes before each path.
    pub(crate) root: String,
}

impl Disk {
    /// The text of a file, or why it cannot be had.
    pub(crate) fn text(&self, path: &str) -> Result<String, String> {
        let open = || -> std::io::Result<String> {
            let file = fs::File::open(format!("{}{path}", self.root))?;
            // A device or a pipe has no end.
            if !file.metadata()?.is_file() {
                return Err(std::io::Error::other("it is no file"));
            }
            let mut bytes = Vec::new();
            file.take(FILE_MAX).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        open().map_err(|error| error.to_string())
    }

    /// The files that a pattern names, in their order; a path without a star as it is.
    pub(crate) fn matches(&self, pattern: &str) -> Vec<String> {
        if !pattern.contains(['*', '?', '[']) {
            return vec![pattern.to_owned()];
        }
        let mut found = vec![String::new()];
        for part in pattern.split('/').skip(1) {
            let mut next = Vec::new();
            for dir in &found {
                if !part.contains(['*', '?', '[']) {
                    next.push(format!("{dir}/{part}"));
                    continue;
                }
                let entries = fs::read_dir(format!("{}{dir}/", self.root));
                let names = entries.into_iter().flatten().flatten();
                let names = names.filter_map(|it| it.file_name().into_string().ok());
                let hidden = part.starts_with('.');
                let mut names: Vec<String> = names
                    .filter(|name| (hidden || !name.starts_with('.')) && like(part, name))
                    .take(MATCHES_MAX)
                    .collect();
                names.sort();
                next.extend(names.into_iter().map(|name| format!("{dir}/{name}")));
            }
            next.truncate(MATCHES_MAX);
            found = next;
        }
        found.retain(|path| {
            fs::metadata(format!("{}{path}", self.root)).is_ok_and(|it| it.is_file())
        });
        found
    }
}

/// Whether a name is like a pattern with `*` and `?`; a class in brackets stands for any letter.
fn like(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(at) {
            Some('*') => {
                star = Some((at, seen));
                at += 1;
                continue;
            }
            Some('[') => {
                let end = pattern[at..].iter().position(|letter| *letter == ']');
                end.filter(|_| seen < name.len()).map(|end| end + 1)
            }
            Some('?') => (seen < name.len()).then_some(1),
            Some(letter) => (name.get(seen) == Some(letter)).then_some(1),
            None if seen == name.len() => return true,
            None => None,
        };
        match (step, star) {
            (Some(step), _) => {
                at += step;
                seen += 1;
            }
            // The last star takes one more.
            (None, Some((back, taken))) if taken < name.len() => {
                star = Some((back, taken + 1));
                at = back + 1;
                seen = taken + 1;
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf.bak", false),
            ("*", "", true),
            ("a?c*", "abcd", true),
            ("a?", "a", false),
            ("*a*b", "xaybzb", true),
            ("[ab].conf", "a.conf", true),
            ("[", "a", false),
            ("a", "b", false),
        ] {
            assert_eq!(like(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn files_are_listed_in_their_order_and_read() {
        let dir = tempfile::tempdir().expect("there is room");
        for name in ["b.conf", "a.conf", "c.txt", ".h.conf"] {
            fs::write(dir.path().join(name), name).expect("it can be written");
        }
        let root = dir.path().display().to_string();
        let disk = Disk { root: root.clone() };
        assert_eq!(disk.matches("/*.conf"), ["/a.conf", "/b.conf"]);
        assert_eq!(disk.text("/c.txt"), Ok("c.txt".to_owned()));
        assert!(disk.text("/none").is_err());
        assert!(
            Disk {
                root: String::new()
            }
            .text("/dev/zero")
            .is_err()
        );
    }
}

//! nginx's configuration as a tree of directives, with the file and line of each.
//!
//! The same text that `nginx -T` prints, read from the files: `-T` opens, and so creates, logs and
//! pid files, and nothing here may write.

use std::collections::BTreeSet;

/// Most files that includes may bring; and most bytes of them all.
const FILES_MAX: usize = 512;
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// How deep blocks and includes may lie in each other.
const DEPTH_MAX: usize = 32;

/// One directive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directive {
    pub(crate) name: String,
    pub(crate) args: Vec<String>,
    /// What stands in its braces; empty if it has none.
    pub(crate) block: Vec<Self>,
    pub(crate) file: String,
    pub(crate) line: usize,
}

impl Directive {
    /// `file:line`.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }

    /// As it was written, without its block.
    pub(crate) fn text(&self) -> String {
        let words = std::iter::once(&self.name).chain(&self.args);
        words.cloned().collect::<Vec<_>>().join(" ")
    }

    /// Those of this name in the block, not deeper.
    pub(crate) fn all(&self, name: &'static str) -> impl Iterator<Item = &Self> {
        self.block.iter().filter(move |it| it.name == name)
    }

    /// The first argument.
    pub(crate) fn arg(&self) -> &str {
        self.args.first().map_or("", String::as_str)
    }
}

/// Where files come from.
pub(crate) trait Files {
    /// The text of a file, or why it cannot be had.
    fn read(&mut self, path: &str) -> Result<String, String>;
    /// The files that a pattern names, in their order; the pattern itself if it is none.
    fn list(&mut self, pattern: &str) -> Vec<String>;
}

/// A configuration, and what of it could not be read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    /// The whole as one directive without a name.
    pub(crate) root: Directive,
    /// Files that could not be read, and why.
    pub(crate) unread: Vec<(String, String)>,
}

/// Reads a configuration and all it includes; relative includes are relative to `prefix`.
pub(crate) fn load(main: &str, prefix: &str, files: &mut dyn Files) -> Config {
    let mut loader = Loader {
        files,
        prefix: prefix.trim_end_matches('/').to_owned(),
        open: BTreeSet::new(),
        count: 0,
        bytes: 0,
        unread: Vec::new(),
    };
    let block = loader.file(main);
    Config {
        root: Directive {
            block,
            file: main.to_owned(),
            ..Directive::default()
        },
        unread: loader.unread,
    }
}

struct Loader<'a> {
    files: &'a mut dyn Files,
    prefix: String,
    open: BTreeSet<String>,
    count: usize,
    bytes: usize,
    unread: Vec<(String, String)>,
}

impl Loader<'_> {
    fn file(&mut self, path: &str) -> Vec<Directive> {
        self.count += 1;
        let is_new = self.open.insert(path.to_owned());
        if !is_new || self.count > FILES_MAX || self.open.len() > DEPTH_MAX {
            return Vec::new();
        }
        let read = match self.files.read(path) {
            Ok(text) if self.bytes + text.len() > BYTES_MAX => Err("more than is read".to_owned()),
            other => other,
        };
        let block = match read {
            Ok(text) => {
                self.bytes += text.len();
                self.include(parse(path, &text))
            }
            Err(why) => {
                self.unread.push((path.to_owned(), why));
                Vec::new()
            }
        };
        self.open.remove(path);
        block
    }

    /// Puts in the place of each `include` what it includes.
    fn include(&mut self, block: Vec<Directive>) -> Vec<Directive> {
        let mut all = Vec::new();
        for mut directive in block {
            if directive.name == "include" {
                let pattern = self.absolute(directive.arg());
                for path in self.files.list(&pattern) {
                    all.extend(self.file(&path));
                }
            } else {
                directive.block = self.include(std::mem::take(&mut directive.block));
                all.push(directive);
            }
        }
        all
    }

    fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("{}/{path}", self.prefix)
        }
    }
}

/// Reads the directives of one file. What does not end is taken as it stands.
fn parse(file: &str, text: &str) -> Vec<Directive> {
    let mut open: Vec<(Directive, Vec<Directive>)> = Vec::new();
    let mut block: Vec<Directive> = Vec::new();
    let mut words: Vec<(String, usize)> = Vec::new();
    let finish = |words: &mut Vec<(String, usize)>| {
        let mut all = words.drain(..);
        let (name, line) = all.next()?;
        Some(Directive {
            name,
            line,
            args: all.map(|word| word.0).collect(),
            file: file.to_owned(),
            ..Directive::default()
        })
    };
    for token in tokens(text) {
        match token {
            Token::Word(word, line) => words.push((word, line)),
            Token::End => block.extend(finish(&mut words)),
            Token::Open => {
                let head = finish(&mut words).unwrap_or_default();
                if open.len() >= DEPTH_MAX {
                    break;
                }
                open.push((head, std::mem::take(&mut block)));
            }
            Token::Close => {
                block.extend(finish(&mut words));
                if let Some((mut head, before)) = open.pop() {
                    head.block = std::mem::replace(&mut block, before);
                    block.push(head);
                }
            }
        }
    }
    block.extend(finish(&mut words));
    while let Some((mut head, before)) = open.pop() {
        head.block = std::mem::replace(&mut block, before);
        block.push(head);
    }
    block
}

enum Token {
    Word(String, usize),
    End,
    Open,
    Close,
}

fn tokens(text: &str) -> Vec<Token> {
    let mut all = Vec::new();
    let mut line = 1;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\n' => line += 1,
            c if c.is_whitespace() => {}
            ';' => all.push(Token::End),
            '{' => all.push(Token::Open),
            '}' => all.push(Token::Close),
            '#' => {
                while letters.peek().is_some_and(|next| *next != '\n') {
                    letters.next();
                }
            }
            quote @ ('"' | '\'') => {
                let begun = line;
                let mut word = String::new();
                while let Some(letter) = letters.next() {
                    line += usize::from(letter == '\n');
                    match letter {
                        '\\' => word.extend(letters.next()),
                        end if end == quote => break,
                        other => word.push(other),
                    }
                }
                all.push(Token::Word(word, begun));
            }
            first => {
                let mut word = String::from(first);
                while let Some(&next) = letters.peek() {
                    // `${name}` is one word.
                    let in_variable = next == '{' && word.ends_with('$');
                    let ends = next.is_whitespace() || matches!(next, ';' | '{');
                    if ends && !in_variable {
                        break;
                    }
                    letters.next();
                    word.push(next);
                    if next == '\\' || (next == '{' && in_variable) {
                        word.extend(letters.next());
                    }
                }
                all.push(Token::Word(word, line));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    struct Written(BTreeMap<&'static str, &'static str>);

    impl Files for Written {
        fn read(&mut self, path: &str) -> Result<String, String> {
            let found = self.0.get(path).map(|text| (*text).to_owned());
            found.ok_or_else(|| "Permission denied".to_owned())
        }

        fn list(&mut self, pattern: &str) -> Vec<String> {
            let Some((begin, end)) = pattern.split_once('*') else {
                return vec![pattern.to_owned()];
            };
            let names = self.0.keys();
            let matching = names.filter(|it| it.starts_with(begin) && it.ends_with(end));
            matching.map(|it| (*it).to_owned()).collect()
        }
    }

    #[test]
    fn a_tree_is_read_with_its_places() {
        let text = "events {}\n# no ; here\nhttp {\n  map $uri $x { default 'a;b'; }\n  server { location ~ \\.php$ { return 503 \"x{y\"; } }\n}\n";
        let config = load("/a", "/", &mut Written([("/a", text)].into()));
        let http = &config.root.block[1];
        assert_eq!(http.block[0].block[0].args, ["a;b"]);
        let location = &http.block[1].block[0];
        assert_eq!(location.args, ["~", "\\.php$"]);
        assert_eq!(location.block[0].text(), "return 503 x{y");
        assert_eq!(location.block[0].place(), "/a:5");
    }

    #[test]
    fn includes_are_put_in_their_place_and_what_is_not_readable_is_said() {
        let files = [
            (
                "/etc/n/nginx.conf",
                "http { include sites/*; include secret; }",
            ),
            ("/etc/n/sites/a", "server { listen 80; }"),
            ("/etc/n/sites/b", "include sites/b; server { listen 81; }"),
        ];
        let config = load("/etc/n/nginx.conf", "/etc/n/", &mut Written(files.into()));
        let ports: Vec<_> = config.root.block[0]
            .block
            .iter()
            .map(|it| it.block[0].arg())
            .collect();
        assert_eq!(ports, ["80", "81"]);
        assert_eq!(config.unread[0].0, "/etc/n/secret");
    }

    #[test]
    fn what_does_not_end_is_taken_as_it_stands() {
        for text in [
            "",
            "}",
            "a {",
            "a { b",
            "a \"b",
            "${",
            "a\\",
            &"x{".repeat(100),
        ] {
            let _ = parse("f", text);
        }
        assert_eq!(parse("f", "a { b c")[0].block[0].args, ["c"]);
        assert_eq!(parse("f", "a ${b}c;")[0].args, ["${b}c"]);
    }
}

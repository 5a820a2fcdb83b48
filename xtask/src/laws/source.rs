//! Rust files as tokens, so that a rule sees neither comments nor texts, and can leave
//! out what only tests compile.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::{step::Failure, workspace::Workspace};

/// One file.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// Relative to the root, with `/` between the parts.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) tokens: Vec<Token>,
    /// Whether it is in `src/` of a crate that users get.
    pub(crate) published: bool,
}

/// One word or sign.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
    /// Whether it is compiled only in tests or under loom.
    pub(crate) test: bool,
}

/// Reads every Rust file of every member, each once.
pub(crate) fn read(workspace: &Workspace) -> Result<Vec<Source>, Failure> {
    let mut sources = BTreeMap::new();
    for package in &workspace.packages {
        let mut paths = Vec::new();
        walk(&workspace.root.join(&package.dir), &mut paths);
        for path in paths {
            let relative = path.strip_prefix(&workspace.root).unwrap_or(&path);
            let relative = relative.to_string_lossy().replace('\\', "/");
            let unreadable = |why: String| Failure::check(format!("{relative}: {why}"));
            let text = fs::read_to_string(&path).map_err(|error| unreadable(error.to_string()))?;
            let published = package.published
                && relative.starts_with("crates/")
                && relative[package.dir.len()..].starts_with("/src/");
            let source = Source::parse(&relative, text, published).map_err(unreadable)?;
            sources.insert(relative, source);
        }
    }
    let mut sources: Vec<Source> = sources.into_values().collect();
    mark_test_files(&mut sources);
    Ok(sources)
}

/// Build output and hidden directories are nobody's source.
fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            walk(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

impl Source {
    /// Whether all of it is compiled in tests or under loom only.
    pub(crate) fn only_tests(&self) -> bool {
        !self.tokens.is_empty() && self.tokens.iter().all(|token| token.test)
    }

    /// Reads one file; the error says where it stops being Rust.
    pub(crate) fn parse(path: &str, text: String, published: bool) -> Result<Self, String> {
        let stream: TokenStream = text.parse().map_err(|error| format!("{error}"))?;
        let mut tokens = Vec::new();
        flatten(stream, false, &mut tokens);
        Ok(Self {
            path: path.into(),
            text,
            tokens,
            published,
        })
    }

    /// The files, without `.rs`, of modules that are declared here for tests alone.
    fn test_modules(&self) -> Vec<String> {
        let stem = self.path.trim_end_matches(".rs");
        let (dir, file) = stem.rsplit_once('/').unwrap_or(("", stem));
        let home = match file {
            "lib" | "main" | "mod" => dir,
            _ => stem,
        };
        let declared = self
            .tokens
            .windows(3)
            .filter(|it| it[0].test && it[0].text == "mod" && it[2].text == ";");
        declared
            .map(|it| format!("{home}/{}", it[1].text))
            .collect()
    }
}

fn mark_test_files(sources: &mut [Source]) {
    let modules: Vec<String> = sources.iter().flat_map(Source::test_modules).collect();
    for source in sources {
        let stem = source.path.trim_end_matches(".rs");
        let inside = |it: &String| stem == it || stem.starts_with(&format!("{it}/"));
        if modules.iter().any(inside) {
            source.tokens.iter_mut().for_each(|token| token.test = true);
        }
    }
}

/// Appends the tokens of one group; an item under a test-only `#[cfg]` is marked up to
/// its `;` or the end of its braces, and `#![cfg(test)]` marks all that follows.
fn flatten(stream: TokenStream, mut test: bool, tokens: &mut Vec<Token>) {
    let trees: Vec<TokenTree> = stream.into_iter().collect();
    let mut item = false;
    for (at, tree) in trees.iter().enumerate() {
        if let TokenTree::Group(group) = tree
            && group.delimiter() == Delimiter::Bracket
            && is_test_cfg(&group.stream())
        {
            match before(&trees, at).as_str() {
                "#" => item = true,
                "!" => test = true,
                _ => {}
            }
        }
        let marked = test || item;
        let mut push = |text: String, span: proc_macro2::Span| {
            let line = span.start().line;
            let test = marked;
            tokens.push(Token { text, line, test });
        };
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                push(open.into(), group.span_open());
                flatten(group.stream(), marked, tokens);
                let (text, line) = (close.into(), group.span_close().start().line);
                tokens.push(Token {
                    text,
                    line,
                    test: marked,
                });
                item &= group.delimiter() != Delimiter::Brace;
            }
            _ => {
                push(tree.to_string(), tree.span());
                item &= tree.to_string() != ";";
            }
        }
    }
}

fn before(trees: &[TokenTree], at: usize) -> String {
    let tree = at.checked_sub(1).map(|before| trees[before].to_string());
    tree.unwrap_or_default()
}

/// Whether an attribute is a `cfg` that holds only in tests or under loom.
fn is_test_cfg(attribute: &TokenStream) -> bool {
    let trees: Vec<TokenTree> = attribute.clone().into_iter().collect();
    match &trees[..] {
        [TokenTree::Ident(name), TokenTree::Group(condition)] if name == "cfg" => {
            implies_test(&condition.stream())
        }
        _ => false,
    }
}

fn implies_test(condition: &TokenStream) -> bool {
    let trees: Vec<TokenTree> = condition.clone().into_iter().collect();
    match &trees[..] {
        [TokenTree::Ident(name)] => name == "test" || name == "loom",
        [TokenTree::Ident(name), TokenTree::Group(parts)] => {
            let parts: Vec<TokenTree> = parts.stream().into_iter().collect();
            let comma = |it: &TokenTree| it.to_string() == ",";
            let parts = parts.split(comma).filter(|part| !part.is_empty());
            let mut parts = parts.map(|part| implies_test(&part.iter().cloned().collect()));
            (name == "all" && parts.any(|it| it)) || (name == "any" && parts.all(|it| it))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of the source that ship.
    fn shipped(text: &str) -> String {
        let source = Source::parse("crates/a/src/b.rs", text.into(), true).expect("Rust");
        let words = source.tokens.iter().filter(|token| !token.test);
        words.map(|token| token.text.as_str()).collect()
    }

    #[test]
    fn what_only_tests_compile_is_marked() {
        for (text, rest) in [
            ("#[cfg(test)] mod tests { fn f() {} } b!()", "#b!()"),
            ("#[cfg(all(test, unix))] use a::{c}; fn d() {}", "#;fnd(){}"),
            ("#[cfg(any(test, loom))] fn f() {} b", "#b"),
            ("#[cfg(not(test))] fn f() {}", "#[cfg(not(test))]fnf(){}"),
            ("#[cfg(any(test, unix))] b", "#[cfg(any(test,unix))]b"),
            ("#![cfg(test)] fn f() {}", "#!"),
            (
                "/// Instant::now\nfn a() {} // tokio",
                "#[doc=\" Instant::now\"]fna(){}",
            ),
        ] {
            assert_eq!(shipped(text), rest, "{text}");
        }
    }

    #[test]
    fn a_file_of_a_test_module_is_marked() {
        let parse = |path, text: &str| Source::parse(path, text.into(), true).expect("Rust");
        let mut sources = [
            parse("crates/a/src/lib.rs", "#[cfg(test)] mod laws;"),
            parse("crates/a/src/laws.rs", "fn f() {}"),
            parse("crates/a/src/laws/drop.rs", "fn f() {}"),
            parse("crates/a/src/lawsuit.rs", "fn f() {}"),
        ];
        mark_test_files(&mut sources);
        let marked = sources.map(|source| source.tokens[1].test);
        assert_eq!(marked, [true, true, true, false]);
    }
}

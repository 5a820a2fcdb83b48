//! What each published crate promises, as a text beside its manifest: `crates/NAME/api.txt`.
//!
//! Written from the sources and not from rustdoc, whose machine-readable form needs a nightly
//! compiler and changes with it. Every item that is `pub` in a crate can be reached, which the
//! lint `unreachable_pub` sees to; so all of them are listed, file by file, with bodies and
//! what is private left out. A change of the promise is then a change of this text, which a
//! reviewer sees and CHANGELOG must tell.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use syn::{
    Attribute, Fields, ImplItem, Item, ItemImpl, TraitItem, Type, UseTree, Visibility, parse_quote,
};

use crate::{
    laws::{Source, sources},
    step::{Failure, Step},
    workspace::{Package, Workspace},
};

const HEAD: &str =
    "What this crate promises, file by file; written by `cargo xtask api --write`.\n";

/// Whether each crate promises what its text says.
pub(crate) fn step(workspace: &Workspace) -> Step<'_> {
    Step::new("public API", || check(workspace))
}

/// Writes the texts anew.
pub(crate) fn write(workspace: &Workspace) -> Result<(), Failure> {
    for (package, api) in all(workspace)? {
        let path = path_of(workspace, package);
        fs::write(&path, api).map_err(|error| unreadable(&path, &error))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// Says which crates promise something else than their texts say.
pub(crate) fn check(workspace: &Workspace) -> Result<(), Failure> {
    let mut changed = Vec::new();
    for (package, api) in all(workspace)? {
        let path = path_of(workspace, package);
        let known = fs::read_to_string(&path).unwrap_or_default();
        let difference = differences(&known, &api);
        if !difference.is_empty() {
            println!("{}:\n{}", path.display(), difference.join("\n"));
            changed.push(package.name.as_str());
        }
    }
    let open = unexplained(workspace)?;
    for place in &open {
        println!("{place}");
    }
    if !open.is_empty() {
        return Err(Failure::check(
            "what users match or build can never grow: write `#[non_exhaustive]`, or say after \
             `Complete:` in its documentation why it need not",
        ));
    }
    roots_are_small(workspace)?;
    if changed.is_empty() {
        println!("every crate promises what its api.txt says");
        return Ok(());
    }
    Err(Failure::check(format!(
        "{} promise something else than before; say it in CHANGELOG.md, then run `cargo xtask api \
         --write`",
        changed.join(", ")
    )))
}

fn all(workspace: &Workspace) -> Result<Vec<(&Package, String)>, Failure> {
    let sources = sources(workspace)?;
    workspace
        .published()
        .filter(|package| package.has_library(workspace))
        .map(|package| {
            let src = format!("{}/src/", package.dir);
            let of = |source: &&Source| source.path.starts_with(&src);
            let api = api_of(&src, sources.iter().filter(of))?;
            Ok((package, api))
        })
        .collect()
}

/// Whether the front page of core shows what a stranger needs, and keeps the rest behind it.
fn roots_are_small(workspace: &Workspace) -> Result<(), Failure> {
    const PATH: &str = "crates/steadfast-core/src/lib.rs";
    let path = workspace.root.join(PATH);
    let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
    let file =
        syn::parse_file(&text).map_err(|error| Failure::check(format!("{PATH}: {error}")))?;
    let names = names_at_root(&file.items);
    if names <= ROOT_NAMES_MAX {
        return Ok(());
    }
    Err(Failure::check(format!(
        "{PATH}: {names} names, and {ROOT_NAMES_MAX} are allowed: what only the crates beside it \
         use belongs into `plumbing`"
    )))
}

/// How many names users read on the front page: what is public at the root and shown.
fn names_at_root(items: &[Item]) -> usize {
    fn in_tree(tree: &UseTree) -> usize {
        match tree {
            UseTree::Path(it) => in_tree(&it.tree),
            UseTree::Group(it) => it.items.iter().map(in_tree).sum(),
            UseTree::Name(_) | UseTree::Rename(_) | UseTree::Glob(_) => 1,
        }
    }
    let of = |item: &Item| match item {
        Item::Use(it) if is_public(&it.vis) => in_tree(&it.tree),
        Item::Mod(it) if is_public(&it.vis) => usize::from(!is_hidden(&it.attrs)),
        _ => 0,
    };
    items.iter().map(of).sum()
}

/// As many as fit into a table of ten lines.
const ROOT_NAMES_MAX: usize = 40;

fn is_hidden(attributes: &[Attribute]) -> bool {
    let hidden = |attribute: &Attribute| {
        let word = attribute.parse_args::<syn::Ident>();
        attribute.path().is_ident("doc") && word.is_ok_and(|word| word == "hidden")
    };
    attributes.iter().any(hidden)
}

/// The public enums, and structs whose fields are all public, that neither may grow nor say why
/// they need not.
fn unexplained(workspace: &Workspace) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    for source in sources(workspace)? {
        if source.published && !source.only_tests() {
            let file = syn::parse_file(&source.text)
                .map_err(|error| Failure::check(format!("{}: {error}", source.path)))?;
            let names = file.items.iter().filter_map(closed);
            found.extend(names.map(|name| format!("{}: `{name}`", source.path)));
        }
    }
    Ok(found)
}

fn closed(item: &Item) -> Option<String> {
    let (visibility, attributes, name) = match item {
        Item::Enum(it) => (&it.vis, &it.attrs, &it.ident),
        Item::Struct(it) => {
            let private = it.fields.iter().any(|field| !is_public(&field.vis));
            if private || matches!(it.fields, Fields::Unit) {
                return None;
            }
            (&it.vis, &it.attrs, &it.ident)
        }
        _ => return None,
    };
    let explained = attributes.iter().any(|attribute| {
        let text = match &attribute.meta {
            syn::Meta::NameValue(pair) => match &pair.value {
                syn::Expr::Lit(syn::ExprLit {
                    lit: syn::Lit::Str(text),
                    ..
                }) => text.value(),
                _ => String::new(),
            },
            syn::Meta::Path(_) | syn::Meta::List(_) => String::new(),
        };
        attribute.path().is_ident("non_exhaustive") || text.contains("Complete:")
    });
    (is_public(visibility) && !explained).then(|| name.to_string())
}

fn api_of<'a>(
    src: &str,
    sources: impl Iterator<Item = &'a Source> + Clone,
) -> Result<String, Failure> {
    let mut files = Vec::new();
    for source in sources {
        let file = syn::parse_file(&source.text)
            .map_err(|error| Failure::check(format!("{}: {error}", source.path)))?;
        if !source.only_tests() {
            files.push((source.path[src.len()..].to_owned(), file));
        }
    }
    let mut types = BTreeSet::new();
    for (_, file) in &files {
        collect_types(&file.items, &mut types);
    }
    let mut api = HEAD.to_owned();
    for (path, mut file) in files {
        file.attrs.clear();
        file.shebang = None;
        file.items = promised(file.items, &types);
        if !file.items.is_empty() {
            let _ = write!(api, "\n// {path}\n{}", prettyplease::unparse(&file));
        }
    }
    Ok(api)
}

/// The names of all types that users may name.
fn collect_types(items: &[Item], types: &mut BTreeSet<String>) {
    for item in items {
        match item {
            Item::Struct(it) if is_public(&it.vis) => types.insert(it.ident.to_string()),
            Item::Enum(it) if is_public(&it.vis) => types.insert(it.ident.to_string()),
            Item::Mod(it) if !is_test(&it.attrs) => {
                if let Some((_, items)) = &it.content {
                    collect_types(items, types);
                }
                false
            }
            _ => false,
        };
    }
}

fn promised(items: Vec<Item>, types: &BTreeSet<String>) -> Vec<Item> {
    let mut kept = Vec::new();
    for mut item in items {
        if is_test(attributes(&mut item)) {
            continue;
        }
        attributes(&mut item).retain(is_kept);
        match item {
            Item::Const(ref it) if is_public(&it.vis) => kept.push(item),
            Item::Static(ref it) if is_public(&it.vis) => kept.push(item),
            Item::Type(ref it) if is_public(&it.vis) => kept.push(item),
            Item::Use(ref it) if is_public(&it.vis) => kept.push(item),
            Item::Fn(mut it) if is_public(&it.vis) => {
                *it.block = parse_quote!({});
                kept.push(Item::Fn(it));
            }
            Item::Struct(mut it) if is_public(&it.vis) => {
                hide_private(&mut it.fields);
                kept.push(Item::Struct(it));
            }
            Item::Enum(mut it) if is_public(&it.vis) => {
                for variant in &mut it.variants {
                    variant.attrs.retain(is_kept);
                    for field in &mut variant.fields {
                        field.attrs.retain(is_kept);
                    }
                }
                kept.push(Item::Enum(it));
            }
            Item::Trait(mut it) if is_public(&it.vis) => {
                for item in &mut it.items {
                    if let TraitItem::Fn(method) = item {
                        method.attrs.retain(is_kept);
                        method.default = method.default.take().map(|_| parse_quote!({}));
                    }
                }
                kept.push(Item::Trait(it));
            }
            Item::Impl(it) => kept.extend(implemented(it, types).map(Item::Impl)),
            Item::Mod(mut it) => {
                if let Some((_, items)) = &mut it.content {
                    *items = promised(std::mem::take(items), types);
                    if !items.is_empty() {
                        kept.push(Item::Mod(it));
                    }
                } else if is_public(&it.vis) {
                    kept.push(Item::Mod(it));
                }
            }
            _ => {}
        }
    }
    kept
}

/// An implementation for a type that users may name: its public part, or that a trait is
/// implemented at all.
fn implemented(mut it: ItemImpl, types: &BTreeSet<String>) -> Option<ItemImpl> {
    let Type::Path(of) = &*it.self_ty else {
        return None;
    };
    let name = of.path.segments.last()?.ident.to_string();
    if !types.contains(&name) {
        return None;
    }
    if it.trait_.is_some() {
        it.items.clear();
        return Some(it);
    }
    it.items.retain_mut(|item| match item {
        ImplItem::Fn(method) if is_public(&method.vis) && !is_test(&method.attrs) => {
            method.attrs.retain(is_kept);
            method.block = parse_quote!({});
            true
        }
        ImplItem::Const(constant) => {
            constant.attrs.retain(is_kept);
            is_public(&constant.vis)
        }
        _ => false,
    });
    (!it.items.is_empty()).then_some(it)
}

/// Private fields are one, whose type is left out: that there are any means that a user cannot
/// make the struct.
fn hide_private(fields: &mut Fields) {
    let mut hidden = false;
    for field in fields.iter_mut() {
        field.attrs.retain(is_kept);
    }
    match fields {
        Fields::Named(named) => {
            let all = std::mem::take(&mut named.named);
            for field in all {
                if is_public(&field.vis) {
                    named.named.push(field);
                } else {
                    hidden = true;
                }
            }
            if hidden {
                named.named.push(parse_quote!(_private: _));
            }
        }
        Fields::Unnamed(unnamed) => {
            for field in &mut unnamed.unnamed {
                if !is_public(&field.vis) {
                    field.ty = parse_quote!(_);
                }
            }
        }
        Fields::Unit => {}
    }
}

const fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// What a user sees: how it may be matched, derived, and under which feature it is there.
fn is_kept(attribute: &Attribute) -> bool {
    ["derive", "non_exhaustive", "cfg", "deprecated"]
        .iter()
        .any(|name| attribute.path().is_ident(name))
}

/// Whether it is compiled in tests only, or under loom.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args_with(condition).unwrap_or(false)
    })
}

fn condition(input: syn::parse::ParseStream<'_>) -> syn::Result<bool> {
    let tokens: proc_macro2::TokenStream = input.parse()?;
    let text = tokens.to_string();
    Ok(text == "test" || text == "loom" || text == "doctest" || text.starts_with("all (test"))
}

fn attributes(item: &mut Item) -> &mut Vec<Attribute> {
    match item {
        Item::Const(it) => &mut it.attrs,
        Item::Enum(it) => &mut it.attrs,
        Item::Fn(it) => &mut it.attrs,
        Item::Impl(it) => &mut it.attrs,
        Item::Macro(it) => &mut it.attrs,
        Item::Mod(it) => &mut it.attrs,
        Item::Static(it) => &mut it.attrs,
        Item::Struct(it) => &mut it.attrs,
        Item::Trait(it) => &mut it.attrs,
        Item::Type(it) => &mut it.attrs,
        Item::Use(it) => &mut it.attrs,
        other => unreachable!("no item that a library has: {other:?}"),
    }
}

/// The lines that are in one text only, as many as a reader takes in.
fn differences(known: &str, found: &str) -> Vec<String> {
    const SHOWN_MAX: usize = 40;
    let (old, new): (BTreeSet<_>, BTreeSet<_>) = (known.lines().collect(), found.lines().collect());
    let gone = known.lines().filter(|line| !new.contains(line));
    let come = found.lines().filter(|line| !old.contains(line));
    let gone = gone.map(|line| format!("- {line}"));
    let mut lines: Vec<String> = gone.chain(come.map(|line| format!("+ {line}"))).collect();
    if lines.is_empty() && known != found {
        lines.push("the order of the lines".into());
    }
    lines.truncate(SHOWN_MAX);
    lines
}

fn path_of(workspace: &Workspace, package: &Package) -> std::path::PathBuf {
    workspace.root.join(&package.dir).join("api.txt")
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::check(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(text: &str) -> String {
        let source = Source::parse("src/a.rs", text.into(), true).expect("Rust");
        let api = api_of("src/", [&source].into_iter()).expect("Rust");
        api.strip_prefix(HEAD).unwrap_or(&api).trim().to_owned()
    }

    #[test]
    fn what_is_private_is_no_promise() {
        let text = "struct A; pub(crate) fn f() {} impl A { pub fn g() {} } \
                    #[cfg(test)] mod tests { pub fn h() {} } impl Clone for A {}";
        assert_eq!(api(text), "");
    }

    #[test]
    fn a_promise_is_told_without_its_body() {
        let text = "/// Says.\n#[derive(Debug)] #[must_use] pub struct B { pub a: u8, b: u8 }
            impl B { #[inline] pub fn f(&self) -> u8 { self.a } fn g() {} }
            impl Default for B { fn default() -> Self { todo() } }
            #[non_exhaustive] pub enum C { /// One.\n X(u8) } pub struct D(u32);";
        let expected = "// a.rs
#[derive(Debug)]
pub struct B {
    pub a: u8,
    _private: _,
}
impl B {
    pub fn f(&self) -> u8 {}
}
impl Default for B {}
#[non_exhaustive]
pub enum C {
    X(u8),
}
pub struct D(_);";
        assert_eq!(api(text), expected);
    }

    #[test]
    fn what_users_match_may_grow_or_says_why_not() {
        let closed = |text: &str| syn::parse_str(text).ok().as_ref().and_then(closed);
        assert_eq!(closed("pub enum A { B }"), Some("A".into()));
        assert_eq!(closed("pub struct A { pub b: u8 }"), Some("A".into()));
        assert_eq!(closed("pub struct A(pub u8);"), Some("A".into()));
        for fine in [
            "enum A { B }",
            "#[non_exhaustive] pub enum A { B }",
            "/// Letters.\n///\n/// Complete: there is one.\npub enum A { B }",
            "pub struct A { pub b: u8, c: u8 }",
            "pub struct A(pub u8, u8);",
            "pub struct A;",
        ] {
            assert_eq!(closed(fine), None, "{fine}");
        }
    }

    #[test]
    fn names_at_the_root_are_counted_unless_they_are_hidden() {
        let text = "pub use a::{B, c::{D, E as F}}; use g::H; pub mod i {} mod j {} \
                    #[doc(hidden)] pub mod plumbing { pub use k::L; }";
        let file = syn::parse_file(text).expect("Rust");
        assert_eq!(names_at_root(&file.items), 4);
    }

    #[test]
    fn a_change_is_shown_by_its_lines() {
        let shown = differences("a\nb\n", "a\nc\n");
        assert_eq!(shown, ["- b", "+ c"]);
        assert_eq!(differences("a\n", "a\n"), [""; 0]);
    }
}

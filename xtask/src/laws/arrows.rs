//! Which room of a crate may know which: a list from the top down, and arrows only go down.
//!
//! A room is a folder, or a file, directly in `src`. Where two rooms know each other, neither
//! can be read or changed alone, so an arrow that goes up is a finding.

use std::collections::BTreeMap;

use super::{
    Finding,
    source::{Source, Token},
};

/// The rooms of one crate.
struct Plan {
    src: &'static str,
    /// From the top down.
    rooms: &'static [&'static str],
    /// Arrows that go up all the same: from, to, and why.
    except: &'static [(&'static str, &'static str, &'static str)],
}

const PLANS: &[Plan] = &[
    Plan {
        src: "crates/steadfast/src/",
        rooms: &[
            "test_util",
            "guard",
            "background",
            "serve",
            "probe",
            "instance",
            "ws",
            "gate",
            "drain",
            "dependency",
            "refusal",
            "request",
            "duration",
            "meter",
            "clock",
            "log",
        ],
        except: &[],
    },
    Plan {
        src: "crates/steadfast-core/src/",
        rooms: &[
            "readiness",
            "ledger",
            "lifecycle",
            "dependency",
            "shed",
            "request",
            "refusal",
            "redact",
            "name",
            "config_error",
            "sync",
        ],
        except: &[
            (
                "refusal",
                "dependency",
                "evidence is made of what the gates measured",
            ),
            (
                "refusal",
                "shed",
                "evidence is made of what the gates measured",
            ),
        ],
    },
];

const RULE: &str = "rooms know only those below them (ARCHITECTURE.md, code map): move the item \
                    down, hand it in from above, or say in `xtask/src/laws/arrows.rs` why not";

/// Finds the arrows that go up, in every crate that has a plan.
pub(crate) fn check(sources: &[Source]) -> Vec<Finding> {
    PLANS.iter().flat_map(|plan| plan.check(sources)).collect()
}

impl Plan {
    fn check(&self, sources: &[Source]) -> Vec<Finding> {
        let inside = |it: &&Source| it.path.starts_with(self.src);
        let root = sources.iter().filter(inside);
        let mut root = root.filter(|it| it.path == format!("{}lib.rs", self.src));
        let shown = root.next().map_or_else(BTreeMap::new, |it| self.shown(it));
        let mut findings = Vec::new();
        for source in sources.iter().filter(inside) {
            let room = room_of(&source.path[self.src.len()..]);
            let Some(from) = self.height(room) else {
                continue;
            };
            for token in roots_named(&source.tokens) {
                let name = token.text.as_str();
                let to = shown.get(name).map_or(name, String::as_str);
                let up = self.height(to).is_some_and(|it| it < from);
                let allowed = |it: &&(&str, &str, &str)| it.0 == room && it.1 == to;
                if up && !self.except.iter().any(|it| allowed(&it)) {
                    findings.push(Finding {
                        place: format!("{}:{}", source.path, token.line),
                        found: format!("`{room}` knows `{to}`, which is above it"),
                        rule: RULE,
                    });
                }
            }
        }
        findings
    }

    fn height(&self, room: &str) -> Option<usize> {
        self.rooms.iter().position(|it| *it == room)
    }

    /// Which room each name comes from that the crate's root shows.
    fn shown(&self, root: &Source) -> BTreeMap<String, String> {
        let mut shown = BTreeMap::new();
        for statement in root.tokens.split(|token| token.text == ";") {
            let begin = statement.iter().position(|token| token.text == "use");
            let Some((room, names)) = begin.and_then(|at| statement[at + 1..].split_first()) else {
                continue;
            };
            if self.height(&room.text).is_some() {
                let room = &room.text;
                shown.extend(names.iter().map(|it| (it.text.clone(), room.clone())));
            }
        }
        shown
    }
}

/// The room of a file, whose path is told from `src`.
fn room_of(path: &str) -> &str {
    let first = path.split('/').next().unwrap_or(path);
    first.trim_end_matches(".rs")
}

/// What follows `crate::`, each name of a group included, in code that ships.
fn roots_named(tokens: &[Token]) -> Vec<&Token> {
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        let path = tokens.get(at..at + 3);
        let begins = path.is_some_and(|it| {
            it[0].text == "crate" && !it[0].test && it[1].text == ":" && it[2].text == ":"
        });
        if !begins {
            continue;
        }
        let rest = &tokens[at + 3..];
        if rest.first().is_none_or(|it| it.text != "{") {
            found.extend(rest.first());
            continue;
        }
        let mut depth = 0_usize;
        let mut expected = false;
        for token in rest {
            match token.text.as_str() {
                "{" => {
                    depth += 1;
                    expected = depth == 1;
                }
                "}" if depth == 1 => break,
                "}" => depth -= 1,
                "," => expected = depth == 1,
                _ if expected => {
                    found.push(token);
                    expected = false;
                }
                _ => {}
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan {
        src: "crates/a/src/",
        rooms: &["top", "middle", "low"],
        except: &[("low", "middle", "a reason")],
    };

    fn found(path: &str, text: &str) -> Vec<String> {
        let parse =
            |path: String, text: &str| Source::parse(&path, text.into(), true).expect("Rust");
        let sources = [
            parse(
                "crates/a/src/lib.rs".into(),
                "mod low; pub use top::{Thing, part::Other};",
            ),
            parse(format!("crates/a/src/{path}"), text),
        ];
        let findings = PLAN.check(&sources);
        findings.into_iter().map(|it| it.found).collect()
    }

    #[test]
    fn an_arrow_that_goes_up_is_found_in_every_spelling() {
        for text in [
            "use crate::top::x;",
            "use crate::{low::{a, b}, top};",
            "fn f() { crate::top::g() }",
            "use crate::Thing;",
            "use crate::{low, Other};",
        ] {
            let up = ["`middle` knows `top`, which is above it"];
            assert_eq!(found("middle.rs", text), up, "{text}");
            assert_eq!(found("middle/deep.rs", text), up, "{text}");
        }
    }

    #[test]
    fn arrows_down_and_within_tests_and_with_a_reason_are_allowed() {
        for (path, text) in [
            ("top.rs", "use crate::{middle, low::x};"),
            ("middle/a.rs", "use crate::{middle::b::top, low};"),
            ("low.rs", "use crate::middle;"),
            ("low.rs", "#[cfg(test)] mod tests { use crate::top; }"),
            ("unlisted.rs", "use crate::top;"),
        ] {
            assert_eq!(found(path, text), Vec::<String>::new(), "{path}: {text}");
        }
    }

    #[test]
    fn every_room_of_a_plan_is_there() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent();
        let root = root.expect("the workspace is above this package");
        for plan in PLANS {
            for room in plan.rooms {
                let file = root.join(plan.src).join(format!("{room}.rs"));
                assert!(file.exists(), "{} is no file", file.display());
            }
        }
    }
}

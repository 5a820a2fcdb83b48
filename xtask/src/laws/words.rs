//! Words that must not stand in some files: rows of a table.

use super::{
    Finding,
    source::{Source, Token},
};

/// A row: these words, in these files, unless the file is one of those.
struct Ban {
    rule: &'static str,
    /// Rust, compared token by token.
    words: &'static [&'static str],
    files: Files,
    /// Beginnings of paths that are free of it.
    except: &'static [&'static str],
    /// Whether comparing with the word is as wrong as using it.
    reading: bool,
}

/// Which files a row is about.
#[derive(PartialEq)]
enum Files {
    /// What ships of the crates whose path begins so; empty for every published crate.
    Shipped(&'static str),
    /// Every file, tests included.
    All,
}

const BANS: &[Ban] = &[
    Ban {
        rule: "law 1: core reads no clock, spawns nothing and logs nothing; \
               take `now` as an argument and leave the rest to the shell",
        words: &[
            "Instant::now",
            "SystemTime",
            "thread::spawn",
            "thread::Builder",
            "tokio",
            "print!",
            "println!",
            "eprint!",
            "eprintln!",
            "tracing",
            "log::",
        ],
        files: Files::Shipped("crates/steadfast-core/"),
        except: &[],
        reading: true,
    },
    Ban {
        rule: "law 2: only `refusal` builds a 503, and `probe` the answer of a probe; \
               hand a `Refusal` to `Explain::respond`",
        words: &["SERVICE_UNAVAILABLE", "503", "503u16", "503_u16"],
        files: Files::Shipped(""),
        // The doctor and the diagnosis read the 503s of others and serve nothing.
        except: &[
            "crates/steadfast/src/refusal",
            "crates/steadfast/src/probe",
            "crates/diagnosis/",
            "crates/why503/",
        ],
        reading: false,
    },
    Ban {
        rule: "law 8: axum's types appear in `steadfast` alone",
        words: &["axum::", "axum_core::", "use axum", "use axum_core"],
        files: Files::Shipped(""),
        except: &["crates/steadfast/"],
        reading: true,
    },
    Ban {
        rule: "law 8: sqlx's types appear in `steadfast-sqlx` alone, for each version of sqlx",
        words: &["sqlx::", "use sqlx"],
        files: Files::Shipped(""),
        except: &["crates/steadfast-sqlx/", "crates/steadfast-sqlx-08/"],
        reading: true,
    },
    Ban {
        rule: "law 8: deadpool's types appear in `steadfast-deadpool-redis` alone",
        words: &[
            "deadpool::",
            "deadpool_redis::",
            "use deadpool",
            "use deadpool_redis",
        ],
        files: Files::Shipped(""),
        except: &["crates/steadfast-deadpool-redis/"],
        reading: true,
    },
    Ban {
        rule: "atomics live in `steadfast-core`, where loom explores them; \
               use a core type, or a `Mutex` held for arithmetic only",
        words: &["sync::atomic", "atomic::"],
        files: Files::Shipped(""),
        except: &["crates/steadfast-core/"],
        reading: true,
    },
    Ban {
        rule: "law 10: a `let` after `&&` needs a newer compiler than this crate promises; \
               nest the conditions",
        words: &["&& let"],
        files: Files::Shipped(""),
        // Their drivers need newer compilers anyway.
        except: &[
            "crates/steadfast-deadpool-redis/",
            "crates/steadfast-sqlx/",
            "crates/steadfast-sqlx-08/",
            "crates/why503/",
        ],
        reading: true,
    },
    Ban {
        rule: "an ignored test says why: `#[ignore = \"reason\"]`",
        words: &["#[ignore]"],
        files: Files::All,
        except: &[],
        reading: true,
    },
    Ban {
        rule: "what is not written is not merged; leave out what it belongs to",
        words: &["todo!", "unimplemented!"],
        files: Files::All,
        except: &[],
        reading: true,
    },
];

/// Finds every banned word of one file.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let bans = BANS.iter().filter(|ban| ban.covers(source));
    bans.flat_map(|ban| ban.find(source)).collect()
}

impl Ban {
    fn covers(&self, source: &Source) -> bool {
        let path = source.path.as_str();
        let inside = match self.files {
            Files::Shipped(start) => source.published && path.starts_with(start),
            Files::All => true,
        };
        inside && !self.except.iter().any(|start| path.starts_with(start))
    }

    fn find(&self, source: &Source) -> Vec<Finding> {
        let mut findings: Vec<Finding> = Vec::new();
        for words in self.words {
            let wanted = words_of(words);
            for at in 0..source.tokens.len() {
                let (before, rest) = source.tokens.split_at(at);
                let here = rest
                    .iter()
                    .zip(&wanted)
                    .filter(|(it, word)| it.text == **word);
                let hit = here.count() == wanted.len()
                    && (self.files == Files::All || !rest[0].test)
                    && (self.reading || !is_read(before, &rest[wanted.len()..]));
                let place = format!("{}:{}", source.path, rest[0].line);
                if hit && findings.last().is_none_or(|last| last.place != place) {
                    let (found, rule) = (format!("`{words}`"), self.rule);
                    findings.push(Finding { place, found, rule });
                }
            }
        }
        findings
    }
}

fn words_of(rust: &str) -> Vec<String> {
    let source = Source::parse("", rust.into(), false).expect("the table holds whole Rust tokens");
    source.tokens.into_iter().map(|token| token.text).collect()
}

/// Whether the word stands in a comparison or a pattern: `status == X`, `X =>`, `X | Y =>`.
fn is_read(before: &[Token], after: &[Token]) -> bool {
    let path = |it: &&Token| it.text == ":" || it.text.starts_with(char::is_alphabetic);
    let signs: Vec<&str> = before
        .iter()
        .rev()
        .skip_while(path)
        .take(2)
        .map(|it| it.text.as_str())
        .collect();
    let next: Vec<&str> = after.iter().take(2).map(|it| it.text.as_str()).collect();
    matches!(signs[..], ["=", "=" | "!"])
        || matches!(next[..], ["=", ">" | "="] | ["!", "="] | ["|", ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORE: &str = "crates/steadfast-core/src/limits/mod.rs";
    const SHED: &str = "crates/steadfast/src/shed.rs";
    const TEST: &str = "tests/e2e/tests/rollout.rs";

    fn check(path: &str, text: &str) -> Vec<Finding> {
        let published = path.starts_with("crates/");
        super::check(&Source::parse(path, text.into(), published).expect("Rust"))
    }

    /// Asserts that the text breaks exactly one rule here, and that the rule begins so.
    fn breaks(rule: &str, path: &str, text: &str) {
        let findings = check(path, text);
        assert_eq!(findings.len(), 1, "{path}: {text}: {findings:?}");
        assert!(findings[0].rule.starts_with(rule), "{findings:?}");
    }

    fn keeps(path: &str, text: &str) {
        assert_eq!(check(path, text), [], "{path}: {text}");
    }

    #[test]
    fn core_reads_no_clock_spawns_nothing_and_logs_nothing() {
        breaks(
            "law 1",
            CORE,
            "fn f() { let now = std::time::Instant::now(); }",
        );
        breaks("law 1", CORE, "use std::time::SystemTime;");
        breaks("law 1", CORE, "fn f() { std::thread::spawn(g); }");
        breaks("law 1", CORE, "use tokio::sync::Notify;");
        breaks("law 1", CORE, "fn f() { println!(\"x\") }");
        breaks("law 1", CORE, "fn f() { tracing::info!(\"x\") }");
        keeps(
            CORE,
            "//! `Instant::now` is banned.\n#[cfg(test)] mod t { use tokio::x; }",
        );
        keeps(SHED, "use tokio::sync::Notify;");
    }

    #[test]
    fn only_refusal_and_probe_build_a_503() {
        let built = "fn f() { *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE; }";
        breaks("law 2", SHED, built);
        breaks("law 2", SHED, "fn f() { StatusCode::from_u16(503) }");
        breaks(
            "law 2",
            SHED,
            "fn f() { it.map_err(|_| StatusCode::SERVICE_UNAVAILABLE) }",
        );
        keeps("crates/steadfast/src/refusal/render.rs", built);
        keeps("crates/steadfast/src/probe/answer.rs", built);
        keeps(SHED, "fn f() { status == StatusCode::SERVICE_UNAVAILABLE }");
        keeps(
            SHED,
            "fn f() { match s { StatusCode::SERVICE_UNAVAILABLE => 1, _ => 2 } }",
        );
        keeps(TEST, built);
    }

    #[test]
    fn a_framework_appears_in_one_crate() {
        breaks(
            "law 8: axum",
            "crates/steadfast-sqlx/src/lib.rs",
            "use axum::Router;",
        );
        breaks("law 8: sqlx", SHED, "fn f(pool: &sqlx::PgPool) {}");
        breaks("law 8: deadpool", SHED, "use deadpool_redis::Pool;");
        keeps(SHED, "use axum::Router;");
        keeps("crates/steadfast-sqlx/src/lib.rs", "use sqlx::Pool;");
        keeps(TEST, "use sqlx::Pool;");
        keeps(SHED, "use steadfast_sqlx::ping;");
    }

    #[test]
    fn atomics_live_in_core() {
        breaks(
            "atomics",
            SHED,
            "use std::{sync::{Arc, atomic::AtomicBool}};",
        );
        breaks("atomics", SHED, "use std::sync::atomic;");
        keeps(CORE, "use crate::sync::atomic::AtomicU64;");
    }

    #[test]
    fn old_compilers_are_served() {
        let chain = "fn f() { if a && let Some(b) = c {} }";
        breaks("law 10", CORE, chain);
        breaks("law 10", SHED, chain);
        keeps("crates/why503/src/probe.rs", chain);
    }

    #[test]
    fn an_ignored_test_says_why() {
        breaks("an ignored", TEST, "#[test] #[ignore] fn f() {}");
        keeps(TEST, "#[test] #[ignore = \"takes an hour\"] fn f() {}");
    }

    #[test]
    fn nothing_is_left_unwritten() {
        breaks("what is not", TEST, "fn f() { todo!() }");
        breaks("what is not", SHED, "fn f() { unimplemented!(\"later\") }");
    }
}

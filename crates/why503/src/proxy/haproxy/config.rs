//! HAProxy's configuration: which rule answers 503 by itself, and which backend a request goes to.

use crate::proxy::asked::{Asked, Holds};

/// A section that takes requests, keeps servers, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Section {
    /// `frontend`, `backend`, `listen`, `defaults` or `global`.
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) lines: Vec<Line>,
}

/// One line of a section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    /// Its number in the file, from 1.
    pub(crate) number: usize,
    pub(crate) words: Vec<String>,
}

/// A rule that answers 503 without asking a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalRule {
    pub(crate) section: String,
    pub(crate) number: usize,
    pub(crate) text: String,
    pub(crate) holds: Holds,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To this backend.
    Backend(String),
    /// To one of these, as what is not known here decides.
    OneOf(Vec<String>),
    /// Nobody takes requests at that port.
    Nowhere,
}

/// Reads a configuration.
pub(crate) fn read(text: &str) -> Vec<Section> {
    const KINDS: [&str; 5] = ["global", "defaults", "frontend", "backend", "listen"];
    let mut sections: Vec<Section> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let words = words(line);
        let Some(first) = words.first() else {
            continue;
        };
        // A section of another kind (`peers`, `userlist`) ends the one before and is left out.
        let begins = !line.starts_with([' ', '\t']) || KINDS.contains(&first.as_str());
        if begins && (KINDS.contains(&first.as_str()) || words.len() <= 2) {
            sections.push(Section {
                kind: first.clone(),
                name: words.get(1).cloned().unwrap_or_default(),
                lines: Vec::new(),
            });
        } else if let Some(section) = sections.last_mut() {
            section.lines.push(Line {
                number: index + 1,
                words,
            });
        }
    }
    sections
}

/// The runtime sockets that the configuration opens.
pub(crate) fn sockets(sections: &[Section]) -> Vec<String> {
    let lines = sections.iter().flat_map(|section| &section.lines);
    let socket = |line: &Line| match &line.words[..] {
        [a, b, path, ..] if a == "stats" && b == "socket" => {
            let path = path.strip_prefix("unix@").unwrap_or(path);
            path.starts_with('/').then(|| path.to_owned())
        }
        _ => None,
    };
    lines.filter_map(socket).collect()
}

/// A time-out of the section that a request goes through, or of the defaults before it, in
/// milliseconds.
pub(crate) fn timeout_ms(sections: &[Section], backend: &str, name: &str) -> Option<u64> {
    let mut default = None;
    for section in sections {
        let wanted = section.kind == "defaults" || section.name == backend;
        let lines = section.lines.iter().filter(|_| wanted);
        let mut found = lines.filter_map(|line| match &line.words[..] {
            [a, b, value, ..] if a == "timeout" && b == name => milliseconds(value),
            _ => None,
        });
        let found = found.next_back();
        if section.kind == "defaults" {
            default = found.or(default);
        } else if found.is_some() {
            return found;
        } else if wanted {
            return default;
        }
    }
    default
}

/// The rules that answer 503 by themselves on the way of the request, in their order.
pub(crate) fn local_rules(
    sections: &[Section],
    asked: &Asked,
    backend: Option<&str>,
) -> Vec<LocalRule> {
    let on_the_way = |section: &&Section| match section.kind.as_str() {
        "frontend" | "listen" => binds(section, asked.port),
        "backend" => Some(section.name.as_str()) == backend,
        _ => false,
    };
    let mut all = Vec::new();
    for section in sections.iter().filter(on_the_way) {
        for line in &section.lines {
            let Some(condition) = answers_503(&line.words) else {
                continue;
            };
            let holds = condition_holds(section, condition, asked);
            if holds != Holds::No {
                all.push(LocalRule {
                    section: format!("{} {}", section.kind, section.name),
                    number: line.number,
                    text: line.words.join(" "),
                    holds,
                });
            }
        }
    }
    all
}

/// Follows `use_backend` and `default_backend`.
pub(crate) fn way(sections: &[Section], asked: &Asked) -> Way {
    let takes = |section: &&Section| {
        matches!(section.kind.as_str(), "frontend" | "listen") && binds(section, asked.port)
    };
    let Some(section) = sections.iter().find(takes) else {
        return Way::Nowhere;
    };
    let mut possible = Vec::new();
    for line in &section.lines {
        let [name, backend, condition @ ..] = &line.words[..] else {
            continue;
        };
        if name != "use_backend" {
            continue;
        }
        match condition_holds(section, condition, asked) {
            Holds::No => {}
            Holds::Unsure => possible.push(backend.clone()),
            Holds::Yes => {
                possible.push(backend.clone());
                return decided(possible);
            }
        }
    }
    let default = section
        .lines
        .iter()
        .rev()
        .find_map(|line| match &line.words[..] {
            [name, backend, ..] if name == "default_backend" => Some(backend.clone()),
            _ => None,
        });
    let own = (section.kind == "listen").then(|| section.name.clone());
    possible.extend(default.or(own));
    decided(possible)
}

/// Whether a section of this name takes requests at that port.
pub(crate) fn takes(sections: &[Section], name: &str, port: u16) -> bool {
    sections.iter().any(|it| it.name == name && binds(it, port))
}

fn decided(mut possible: Vec<String>) -> Way {
    possible.dedup();
    // A name with a `%[…]` in it is computed for each request.
    match &possible[..] {
        [] => Way::Nowhere,
        [one] if !one.contains('%') => Way::Backend(one.clone()),
        _ => Way::OneOf(possible),
    }
}

fn binds(section: &Section, port: u16) -> bool {
    let ends = [format!(":{port}"), format!("@{port}")];
    section.lines.iter().any(|line| match &line.words[..] {
        [name, places, ..] if name == "bind" => places
            .split(',')
            .any(|place| ends.iter().any(|end| place.ends_with(end))),
        _ => false,
    })
}

/// Whether a line answers 503 by itself; returns its condition.
fn answers_503(words: &[String]) -> Option<&[String]> {
    let begin: Vec<&str> = words.iter().take(3).map(String::as_str).collect();
    let at = words
        .iter()
        .position(|word| word == "if" || word == "unless");
    let (rule, condition) = words.split_at(at.unwrap_or(words.len()));
    let status = |name: &str| {
        let mut pairs = rule.windows(2);
        pairs.any(|pair| pair[0] == name && pair[1] == "503")
    };
    let is_503 = match begin[..] {
        ["http-request", "deny" | "tarpit", ..] => status("deny_status") || status("status"),
        ["http-request", "return", ..] => status("status"),
        // `monitor fail` answers the monitor's path with 503.
        ["monitor", "fail", ..] => true,
        _ => false,
    };
    is_503.then_some(condition)
}

/// Evaluates `if …` and `unless …`, as far as it speaks of path and host.
fn condition_holds(section: &Section, condition: &[String], asked: &Asked) -> Holds {
    let Some((word, terms)) = condition.split_first() else {
        return Holds::Yes;
    };
    let holds = terms_hold(section, terms, asked, 0);
    if word == "unless" { holds.not() } else { holds }
}

/// `or` and `||` between groups, everything inside a group together.
fn terms_hold(section: &Section, terms: &[String], asked: &Asked, depth: u8) -> Holds {
    let mut any = Holds::No;
    for group in terms.split(|word| word == "or" || word == "||") {
        let mut all = Holds::Yes;
        let mut rest = group;
        while let Some((first, after)) = rest.split_first() {
            let (negated, first, after) = match first.strip_prefix('!') {
                Some("") => match after.split_first() {
                    Some((name, after)) => (true, name.as_str(), after),
                    None => break,
                },
                Some(name) => (true, name, after),
                None => (false, first.as_str(), after),
            };
            let holds = if first == "{" {
                let end = after
                    .iter()
                    .position(|word| word == "}")
                    .unwrap_or(after.len());
                rest = after.get(end + 1..).unwrap_or_default();
                test_holds(&after[..end], asked)
            } else {
                rest = after;
                acl_holds(section, first, asked, depth)
            };
            all = all.and(if negated { holds.not() } else { holds });
        }
        any = any.or(all);
    }
    any
}

/// Whether one of the lines of a named `acl` holds.
fn acl_holds(section: &Section, name: &str, asked: &Asked, depth: u8) -> Holds {
    match name {
        "TRUE" => return Holds::Yes,
        "FALSE" => return Holds::No,
        _ if depth > 0 => return Holds::Unsure,
        _ => {}
    }
    let mut any = None;
    for line in &section.lines {
        if let [word, found, test @ ..] = &line.words[..]
            && word == "acl"
            && found == name
        {
            let holds = test_holds(test, asked);
            any = Some(any.map_or(holds, |before: Holds| before.or(holds)));
        }
    }
    any.unwrap_or(Holds::Unsure)
}

/// Whether `path_beg /x` and its like hold.
fn test_holds(test: &[String], asked: &Asked) -> Holds {
    let Some((method, values)) = test.split_first() else {
        return Holds::Unsure;
    };
    let mut ignores_case = false;
    let values: Vec<&String> = values
        .iter()
        .filter(|value| {
            ignores_case |= *value == "-i";
            !(value.starts_with('-') && value.len() <= 2)
        })
        .collect();
    // `-f file` and `-m reg` are not followed.
    if test.iter().any(|word| word == "-f" || word == "-m") {
        return Holds::Unsure;
    }
    let fold = |text: &str| {
        if ignores_case {
            text.to_ascii_lowercase()
        } else {
            text.to_owned()
        }
    };
    let path = fold(&asked.path);
    let any = |is: &dyn Fn(&str) -> bool| Holds::of(values.iter().any(|value| is(&fold(value))));
    match method.as_str() {
        "path" => any(&|value| path == value),
        "path_beg" => any(&|value| path.starts_with(value)),
        "path_end" => any(&|value| path.ends_with(value)),
        "path_sub" => any(&|value| path.contains(value)),
        "path_dir" => any(&|value| path.split('/').any(|part| part == value.trim_matches('/'))),
        "hdr(host)" | "req.hdr(host)" | "hdr_dom(host)" => {
            // With a port in it the header is another text; then nobody knows.
            any(&|value| asked.host == value.to_ascii_lowercase())
        }
        "hdr_end(host)" => any(&|value| asked.host.ends_with(&value.to_ascii_lowercase())),
        "hdr_beg(host)" => any(&|value| asked.host.starts_with(&value.to_ascii_lowercase())),
        "always_true" => Holds::Yes,
        "always_false" => Holds::No,
        _ => Holds::Unsure,
    }
}

/// The words of a line: without its comment, with quotes and backslashes resolved.
fn words(line: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (None, '#') => break,
            (None, ' ' | '\t') => all.extend(word.take()),
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (Some(open), letter) if letter == open => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(letters.next()),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    all.extend(word);
    all
}

/// HAProxy's times are milliseconds unless they say otherwise.
fn milliseconds(text: &str) -> Option<u64> {
    let at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let factor = match unit {
        "" | "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
global
    stats socket /run/haproxy/admin.sock mode 660 level admin # the socket
defaults
    timeout queue 1s
    timeout connect 5000
frontend web
    bind 127.0.0.1:8080,:::8443
    acl blocked path_beg -i /admin "/in side"
    acl inside src 10.0.0.0/8
    http-request deny deny_status 503 if blocked !inside
    http-request deny deny_status 429 if { path /slow }
    http-request return status 503 if { path_beg /closed }
    use_backend api if { path_beg /api } || { hdr(host) api.example }
    use_backend canary if { cook(canary) 1 }
    use_backend static if { path_end .css }
    default_backend app
listen stats
    bind :9000
    timeout queue 3s
backend app
    http-request deny status 503 unless { path_beg / }
    server a1 127.0.0.1:1
peers other
    peer x 127.0.0.1:2
"#;

    fn asked(path: &str) -> Asked {
        Asked::new(8080, "shop.example", path)
    }

    fn goes(path: &str, expected: &Way) {
        assert_eq!(way(&read(CONFIG), &asked(path)), *expected, "{path}");
    }

    #[test]
    fn the_backend_of_a_request_is_followed() {
        let both = |last: &str| Way::OneOf(vec!["canary".into(), last.into()]);
        goes("/api/x", &Way::Backend("api".into()));
        goes("/", &both("app"));
        goes("/x.css", &both("static"));
        assert_eq!(
            way(&read(CONFIG), &Asked::new(8443, "api.example", "/")),
            Way::Backend("api".into())
        );
        assert_eq!(
            way(&read(CONFIG), &Asked::new(9000, "x", "/")),
            Way::Backend("stats".into())
        );
        assert_eq!(way(&read(CONFIG), &Asked::new(1, "x", "/")), Way::Nowhere);
    }

    fn refused(path: &str, expected: &[(usize, Holds)]) {
        let rules = local_rules(&read(CONFIG), &asked(path), Some("app"));
        let found: Vec<_> = rules.iter().map(|rule| (rule.number, rule.holds)).collect();
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn the_rule_that_answers_503_is_named() {
        refused("/", &[]);
        refused("/slow", &[]);
        refused("/Admin/x", &[(11, Holds::Unsure)]);
        refused("/in side", &[(11, Holds::Unsure)]);
        refused("/closed", &[(13, Holds::Yes)]);
    }

    #[test]
    fn sockets_and_times_are_read() {
        let sections = read(CONFIG);
        assert_eq!(sockets(&sections), ["/run/haproxy/admin.sock"]);
        assert_eq!(timeout_ms(&sections, "app", "queue"), Some(1000));
        assert_eq!(timeout_ms(&sections, "stats", "queue"), Some(3000));
        assert_eq!(timeout_ms(&sections, "app", "connect"), Some(5000));
        assert_eq!(timeout_ms(&sections, "app", "server"), None);
    }

    #[test]
    fn nonsense_is_no_rule() {
        for text in [
            "",
            "}\n{",
            "frontend\n bind\n use_backend\n acl\n monitor fail if {",
            "\\",
        ] {
            let sections = read(text);
            let _ = (
                way(&sections, &asked("/")),
                local_rules(&sections, &asked("/"), None),
            );
        }
    }
}

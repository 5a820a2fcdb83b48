//! What HAProxy's check asks for, by its configuration.

use super::config::Section;

/// What the check of a backend's servers asks for, and the answers that it takes, where it is a
/// GET of HTTP: the section's own lines, or those of the defaults before it.
pub(crate) fn check(sections: &[Section], backend: &str) -> Option<(String, String)> {
    let own = sections.iter().position(|it| it.name == backend)?;
    let default = sections[..own]
        .iter()
        .rev()
        .find(|it| it.kind == "defaults");
    let lines = || {
        let all = sections[own].lines.iter();
        all.chain(default.iter().flat_map(|it| &it.lines))
            .map(|line| line.words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let is_on = sections[own].lines.iter().any(|it| {
        it.words.first().is_some_and(|word| word == "server")
            && it.words.iter().any(|word| word == "check")
    });
    let option = lines().find_map(|it| match it[..] {
        ["option", "httpchk", uri] if uri.starts_with('/') => Some(("OPTIONS", uri.to_owned())),
        ["option", "httpchk", method, uri, ..] => {
            Some((if method == "GET" { "GET" } else { "" }, uri.to_owned()))
        }
        ["option", "httpchk", ..] => Some(("OPTIONS", "/".to_owned())),
        _ => None,
    })?;
    let after = |words: &[&str], name: &str| {
        let at = words.iter().position(|word| *word == name)?;
        words.get(at + 1).map(|it| (*it).to_owned())
    };
    let sent = lines().find(|it| it.starts_with(&["http-check", "send"]));
    let (method, uri) = match &sent {
        Some(words) => (
            after(words, "meth").unwrap_or_else(|| option.0.to_owned()),
            after(words, "uri").unwrap_or(option.1),
        ),
        None => (option.0.to_owned(), option.1),
    };
    let expects = lines().find(|it| it.starts_with(&["http-check", "expect"]));
    let expects = match expects.as_deref() {
        None => "200-399".to_owned(),
        Some(words) if !words.contains(&"!") => {
            after(words, "status").unwrap_or_else(|| words[2..].join(" "))
        }
        Some(words) => words[2..].join(" "),
    };
    (is_on && method == "GET").then_some((uri, expects))
}

#[cfg(test)]
mod tests {
    use super::{super::config::read, *};

    #[test]
    fn the_check_is_read_with_what_it_expects() {
        for (lines, expected) in [
            (
                "option httpchk GET /health/\n server a b:1 check",
                Some(("/health/", "200-399")),
            ),
            (
                "option httpchk GET /x HTTP/1.1\n http-check expect status 200,204\n server a b:1 check",
                Some(("/x", "200,204")),
            ),
            (
                "option httpchk\n http-check send meth GET uri /up\n http-check expect rstatus ^2\n server a b:1 check",
                Some(("/up", "rstatus ^2")),
            ),
            ("option httpchk /x\n server a b:1 check", None),
            ("option httpchk GET /x\n server a b:1", None),
            ("server a b:1 check", None),
        ] {
            let found = check(&read(&format!("backend app\n {lines}\n")), "app");
            let found = found.as_ref().map(|it| (it.0.as_str(), it.1.as_str()));
            assert_eq!(found, expected, "{lines}");
        }
        let above = "defaults\n option httpchk GET /d\nbackend app\n server a b:1 check\n";
        assert_eq!(
            check(&read(above), "app").map(|it| it.0).as_deref(),
            Some("/d")
        );
    }
}

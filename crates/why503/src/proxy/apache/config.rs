//! Apache's configuration, as much as says where a request goes: rules that answer 503, what is
//! passed on where, and where the pages about it are.

use std::collections::BTreeSet;

use crate::proxy::{asked::Asked, files::Disk};

/// Most files and lines that are read.
const FILES_MAX: usize = 256;
const LINES_MAX: usize = 100_000;

/// One directive with the sections it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directive {
    pub(crate) name: String,
    pub(crate) args: Vec<String>,
    /// `file:line`.
    pub(crate) place: String,
    /// The sections round it, from the outside in: name and argument.
    pub(crate) inside: Vec<(String, String)>,
}

/// A rule that answers by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) place: String,
    pub(crate) text: String,
}

/// A configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    pub(crate) directives: Vec<Directive>,
    /// Files that could not be read, and why.
    pub(crate) unread: Vec<(String, String)>,
}

/// Reads a configuration and all it includes.
pub(crate) fn load(main: &str, root: &str, disk: &Disk) -> Config {
    let mut config = Config::default();
    let mut open = BTreeSet::new();
    read(
        main,
        &mut root.to_owned(),
        disk,
        &mut Vec::new(),
        &mut open,
        &mut config,
    );
    config
}

fn read(
    file: &str,
    root: &mut String,
    disk: &Disk,
    inside: &mut Vec<(String, String)>,
    open: &mut BTreeSet<String>,
    config: &mut Config,
) {
    if open.len() >= FILES_MAX || !open.insert(file.to_owned()) {
        return;
    }
    match disk.text(file) {
        Ok(text) => lines(&text, file, root, disk, inside, open, config),
        Err(why) => config.unread.push((file.to_owned(), why)),
    }
}

/// Reads one text alone, whose includes lead nowhere.
#[cfg(test)]
pub(crate) fn parse(text: &str, disk: &Disk) -> Config {
    let mut config = Config::default();
    let (mut root, mut inside, mut open) = ("/".to_owned(), Vec::new(), BTreeSet::new());
    lines(
        text,
        "x",
        &mut root,
        disk,
        &mut inside,
        &mut open,
        &mut config,
    );
    config
}

fn lines(
    text: &str,
    file: &str,
    root: &mut String,
    disk: &Disk,
    inside: &mut Vec<(String, String)>,
    open: &mut BTreeSet<String>,
    config: &mut Config,
) {
    let mut held = String::new();
    for (index, line) in text.lines().enumerate() {
        if config.directives.len() >= LINES_MAX {
            return;
        }
        // A backslash at its end joins a line with the next.
        if let Some(begin) = line.strip_suffix('\\') {
            held.push_str(begin);
            continue;
        }
        let line = std::mem::take(&mut held) + line;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with("</") {
            inside.pop();
        } else if let Some(section) = line.strip_prefix('<') {
            let words = words(section.trim_end_matches('>'));
            let name = words.first().cloned().unwrap_or_default();
            inside.push((name, words[1.min(words.len())..].join(" ")));
        } else {
            let words = words(line);
            let Some((name, args)) = words.split_first() else {
                continue;
            };
            let first = args.first().map_or("", String::as_str);
            let lower = name.to_ascii_lowercase();
            match lower.as_str() {
                "serverroot" => *root = first.to_owned(),
                "include" | "includeoptional" => {
                    let path = if first.starts_with('/') {
                        first.to_owned()
                    } else {
                        format!("{root}/{first}")
                    };
                    for found in disk.matches(&path) {
                        read(&found, root, disk, inside, open, config);
                    }
                }
                _ => config.directives.push(Directive {
                    name: name.clone(),
                    args: args.to_vec(),
                    place: format!("{file}:{}", index + 1),
                    inside: inside.clone(),
                }),
            }
        }
    }
}

impl Config {
    /// The rules that answer the request with 503.
    pub(crate) fn rules(&self, asked: &Asked) -> Vec<Rule> {
        let met = self.directives.iter().filter(|it| self.is_met(it, asked));
        let answers = |it: &&Directive| match it.name.to_ascii_lowercase().as_str() {
            "redirect" => {
                it.args.first().is_some_and(|arg| arg == "503")
                    && it
                        .args
                        .get(1)
                        .is_none_or(|prefix| asked.path.starts_with(prefix.as_str()))
            }
            "redirectmatch" => {
                it.args.first().is_some_and(|arg| arg == "503")
                    && it
                        .args
                        .get(1)
                        .is_none_or(|pattern| matches(pattern, &asked.path))
            }
            "rewriterule" => {
                it.args.last().is_some_and(|flags| flags.contains("R=503"))
                    && it
                        .args
                        .first()
                        .is_none_or(|pattern| matches(pattern, &asked.path))
            }
            _ => false,
        };
        let rule = |it: &Directive| Rule {
            place: it.place.clone(),
            text: format!("{} {}", it.name, it.args.join(" ")),
        };
        met.filter(answers).map(rule).collect()
    }

    /// Where a handler's page is.
    pub(crate) fn handler(&self, name: &str) -> Option<String> {
        let mut directives = self.directives.iter();
        let found = directives.find(|it| {
            it.name.eq_ignore_ascii_case("SetHandler")
                && it.args.first().is_some_and(|arg| arg == name)
        })?;
        let mut sections = found.inside.iter().rev();
        let location = sections.find(|(section, _)| section.eq_ignore_ascii_case("Location"))?;
        location.1.starts_with('/').then(|| location.1.clone())
    }

    /// Where the request is passed on to: the balancer, if it is one, and the servers.
    pub(crate) fn way(&self, asked: &Asked) -> (Option<String>, Vec<String>) {
        let passes = self
            .directives
            .iter()
            .filter(|it| it.name.eq_ignore_ascii_case("ProxyPass"));
        // The first that fits wins.
        let target = passes.filter(|it| self.is_met(it, asked)).find_map(|it| {
            let location = it
                .inside
                .iter()
                .rev()
                .find(|(name, _)| name.eq_ignore_ascii_case("Location"));
            let (path, target) = match (&it.args[..], location) {
                ([target, ..], Some((_, path))) => (path.as_str(), target),
                ([path, target, ..], None) => (path.as_str(), target),
                _ => return None,
            };
            asked.path.starts_with(path).then_some(target)
        });
        let Some(target) = target.filter(|target| target.as_str() != "!") else {
            return (None, Vec::new());
        };
        if !target.starts_with("balancer://") {
            return (None, address(target).into_iter().collect());
        }
        let name = target.trim_end_matches('/');
        let members = self.directives.iter().filter(|it| {
            let mut sections = it.inside.iter();
            it.name.eq_ignore_ascii_case("BalancerMember")
                && (sections.any(|(section, of)| {
                    section.eq_ignore_ascii_case("Proxy") && of.trim_end_matches('/') == name
                }) || it
                    .args
                    .first()
                    .is_some_and(|arg| arg.trim_end_matches('/') == name))
        });
        let urls =
            members.filter_map(|it| it.args.iter().find(|arg| !arg.starts_with("balancer://")));
        (
            Some(name.to_owned()),
            urls.filter_map(|url| address(url)).collect(),
        )
    }

    /// Whether the virtual host that a directive stands in, if in one, is the request's.
    fn is_met(&self, directive: &Directive, asked: &Asked) -> bool {
        let Some((_, host)) = directive
            .inside
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("VirtualHost"))
        else {
            return true;
        };
        let end = format!(":{}", asked.port);
        let at_port = host
            .split_whitespace()
            .any(|it| it.ends_with(&end) || it.ends_with(":*") || !it.contains(':'));
        if !at_port {
            return false;
        }
        let same = |it: &&Directive| {
            it.inside.first() == directive.inside.first()
                && it.place.split(':').next() == directive.place.split(':').next()
        };
        let names = self.directives.iter().filter(same).filter(|it| {
            it.name.eq_ignore_ascii_case("ServerName")
                || it.name.eq_ignore_ascii_case("ServerAlias")
        });
        let names: Vec<_> = names.flat_map(|it| it.args.iter()).collect();
        // Without a name, and for a host that nobody names, the first host of the port answers;
        // here each that may.
        names.is_empty()
            || names.iter().any(|name| asked.has_host(name))
            || asked.host.parse::<std::net::IpAddr>().is_ok()
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    let mut builder = regex::RegexBuilder::new(pattern);
    let built = builder.size_limit(1024 * 1024).build();
    // In a directory's section the leading slash is not there.
    built.is_ok_and(|it| it.is_match(path) || it.is_match(path.trim_start_matches('/')))
}

/// `host:port` of a URL.
fn address(url: &str) -> Option<String> {
    if let Some(rest) = url.strip_prefix("unix:") {
        return Some(format!("unix:{}", rest.split('|').next().unwrap_or(rest)));
    }
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    let default = match scheme {
        "https" | "wss" | "h2" => 443,
        "ajp" => 8009,
        "fcgi" => 9000,
        _ => 80,
    };
    let after = authority.rsplit(']').next().unwrap_or(authority);
    Some(if after.contains(':') {
        authority.to_owned()
    } else {
        format!("{authority}:{default}")
    })
}

fn words(line: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (None, ' ' | '\t') => all.extend(word.take()),
            (None, '"' | '\'') if word.is_none() => {
                quote = Some(letter);
                word = Some(String::new());
            }
            (Some(open), letter) if letter == open => quote = None,
            (Some(_), '\\') => word.get_or_insert_default().extend(letters.next()),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    all.extend(word);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
ServerName localhost
<Location /server-status>
  SetHandler server-status
</Location>
<Location "/bm">
SetHandler balancer-manager
</Location>
<Proxy balancer://app>
  BalancerMember http://127.0.0.1:1
  BalancerMember http://127.0.0.1:2 status=+D
</Proxy>
<VirtualHost *:8080>
  ServerName shop.example
  RewriteRule ^/closed - [R=503,L]
  Redirect 503 /gone
  ProxyPass /server-status !
  ProxyPass /img https://img.example/
  ProxyPass / balancer://app/ \
     timeout=3
</VirtualHost>
<VirtualHost *:81>
  ProxyPass / unix:/run/a.sock|http://x/
</VirtualHost>
"#;

    fn config() -> Config {
        let dir = tempfile::tempdir().expect("there is room");
        std::fs::write(dir.path().join("httpd.conf"), CONFIG).expect("it can be written");
        let root = dir.path().display().to_string();
        load(
            &format!("{root}/httpd.conf"),
            &root,
            &Disk {
                root: String::new(),
            },
        )
    }

    #[test]
    fn the_way_of_a_request_is_followed() {
        let config = config();
        let at = |port, path: &str| config.way(&Asked::new(port, "shop.example", path));
        let (balancer, servers) = at(8080, "/x");
        assert_eq!(balancer.as_deref(), Some("balancer://app"));
        assert_eq!(servers, ["127.0.0.1:1", "127.0.0.1:2"]);
        assert_eq!(at(8080, "/img/x").1, ["img.example:443"]);
        assert!(at(8080, "/server-status").1.is_empty());
        assert_eq!(at(81, "/").1, ["unix:/run/a.sock"]);
        assert!(
            config
                .way(&Asked::new(8080, "other.example", "/"))
                .1
                .is_empty()
        );
    }

    #[test]
    fn rules_and_pages_are_found() {
        let config = config();
        let rules = |path: &str| config.rules(&Asked::new(8080, "shop.example", path)).len();
        assert_eq!((rules("/"), rules("/closed"), rules("/gone/x")), (0, 1, 1));
        assert_eq!(
            config.handler("server-status").as_deref(),
            Some("/server-status")
        );
        assert_eq!(config.handler("balancer-manager").as_deref(), Some("/bm"));
    }
}

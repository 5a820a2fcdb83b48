//! What a request asks for, as far as proxies route by it.

/// The request whose way is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The port it comes to; 0 if unknown.
    pub(crate) port: u16,
    /// The host it names, lower case, without a port.
    pub(crate) host: String,
    /// The path, without the query.
    pub(crate) path: String,
}

/// Whether a condition holds for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    Yes,
    No,
    /// It depends on what is not known here: a header, a map, the caller.
    Unsure,
}

impl Holds {
    /// Of a fact.
    pub(crate) const fn of(fact: bool) -> Self {
        if fact { Self::Yes } else { Self::No }
    }

    /// Both.
    pub(crate) const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Unsure,
        }
    }

    /// Either.
    pub(crate) const fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::No, Self::No) => Self::No,
            _ => Self::Unsure,
        }
    }

    /// The opposite.
    #[must_use]
    pub(crate) const fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Unsure => Self::Unsure,
        }
    }
}

impl Asked {
    /// What asks for this.
    pub(crate) fn new(port: u16, authority: &str, path: &str) -> Self {
        let host = authority.trim_end_matches(|c: char| c.is_ascii_digit());
        let host = host.strip_suffix(':').unwrap_or(authority);
        let path = path.split(['?', '#']).next().unwrap_or("/");
        Self {
            port,
            host: host.trim_matches(['[', ']']).to_ascii_lowercase(),
            path: path.to_owned(),
        }
    }

    /// Whether the host is this name: exactly, or `*.example.org`, or `*`.
    pub(crate) fn has_host(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        match name.strip_prefix('*') {
            Some(rest) => self.host.ends_with(rest),
            None => self.host == name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_and_query_are_left_out() {
        let asked = Asked::new(80, "Shop.Example:8080", "/a?b=c");
        assert_eq!(
            (asked.host.as_str(), asked.path.as_str()),
            ("shop.example", "/a")
        );
        assert_eq!(Asked::new(80, "[::1]:8080", "/").host, "::1");
        assert_eq!(Asked::new(80, "127.0.0.1", "/").host, "127.0.0.1");
    }

    #[test]
    fn a_star_stands_for_any_beginning() {
        let asked = Asked::new(80, "a.example", "/");
        for (name, expected) in [
            ("*", true),
            ("*.example", true),
            ("A.example", true),
            ("b.example", false),
        ] {
            assert_eq!(asked.has_host(name), expected, "{name}");
        }
    }

    #[test]
    fn what_is_unsure_stays_unsure_unless_the_other_decides() {
        assert_eq!(Holds::Unsure.and(Holds::No), Holds::No);
        assert_eq!(Holds::Unsure.or(Holds::Yes), Holds::Yes);
        assert_eq!(Holds::Unsure.and(Holds::Yes), Holds::Unsure);
        assert_eq!(Holds::Unsure.not(), Holds::Unsure);
    }
}

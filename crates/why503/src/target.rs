//! What the user calls the service: a URL, or one of its short forms.

use std::{fmt, path::PathBuf};

use url::Url;

/// The service that is asked about.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    /// Whether TLS comes first.
    pub(crate) tls: bool,
    /// A name or an address, without brackets.
    pub(crate) host: String,
    /// The port, given or the scheme's own; 0 for a Unix socket.
    pub(crate) port: u16,
    /// Path and query, at least `/`.
    pub(crate) path: String,
    /// Whether somebody named the path: `:8000` asks for `/` and means the service.
    pub(crate) names_path: bool,
    /// The socket's file, if the service listens at one.
    pub(crate) socket: Option<PathBuf>,
    /// What the URL carried before the `@`, for `Authorization: Basic`; never shown.
    pub(crate) userinfo: Option<Userinfo>,
}

/// A user and a password; `Debug` shows neither.
#[derive(Clone, PartialEq)]
pub(crate) struct Userinfo {
    /// The name.
    pub(crate) user: String,
    /// The password.
    pub(crate) password: String,
}

impl fmt::Debug for Userinfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Userinfo(…)")
    }
}

impl Target {
    /// Reads `http://host:port/path`, `https://…`, `host`, `host:port/path`, `:8000`, `8000`,
    /// `unix:/run/app.sock`, `unix:/run/app.sock:/path` or `http+unix://%2Frun%2Fapp.sock/path`.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the text and what would be right.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix("unix:") {
            return Self::unix(rest.trim_start_matches("//"), text);
        }
        if let Some(rest) = text.strip_prefix("http+unix://") {
            let (socket, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let socket = unescape(socket).ok_or_else(|| wrong(text, "its escapes are broken"))?;
            return Self::unix(&format!("{socket}:{path}"), text);
        }
        let full = if text.contains("://") {
            text.to_owned()
        } else if text.starts_with(':') || text.parse::<u16>().is_ok() {
            format!("http://127.0.0.1:{}", text.trim_start_matches(':'))
        } else {
            format!("http://{text}")
        };
        let url = Url::parse(&full).map_err(|error| wrong(text, &error.to_string()))?;
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            other => return Err(wrong(text, &format!("the scheme is `{other}`"))),
        };
        let host = url
            .host_str()
            .ok_or_else(|| wrong(text, "there is no host"))?;
        let port = url.port_or_known_default().filter(|port| *port != 0);
        let port = port.ok_or_else(|| wrong(text, "port 0 is nowhere"))?;
        let query = url.query().map_or(String::new(), |it| format!("?{it}"));
        let userinfo = (!url.username().is_empty()).then(|| Userinfo {
            user: unescape(url.username()).unwrap_or_default(),
            password: unescape(url.password().unwrap_or("")).unwrap_or_default(),
        });
        Ok(Self {
            tls,
            host: host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            port,
            path: format!("{}{query}", url.path()),
            names_path: full
                .split_once("://")
                .is_some_and(|(_, rest)| rest.contains(['/', '?'])),
            socket: None,
            userinfo,
        })
    }

    fn unix(rest: &str, text: &str) -> Result<Self, String> {
        let (socket, path) = rest.split_once(':').unwrap_or((rest, "/"));
        if !socket.starts_with('/') {
            return Err(wrong(text, "the socket's path is not absolute"));
        }
        Ok(Self {
            tls: false,
            host: "localhost".into(),
            port: 0,
            path: if path.is_empty() { "/" } else { path }.into(),
            names_path: rest.contains(":/"),
            socket: Some(PathBuf::from(socket)),
            userinfo: None,
        })
    }

    /// The value of `Host`, without a port that the scheme implies.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        let implied = if self.tls { 443 } else { 80 };
        if self.port == implied || self.socket.is_some() {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }

    /// The same service at another path.
    #[must_use]
    pub(crate) fn at(&self, path: &str) -> Self {
        Self {
            path: path.to_owned(),
            names_path: true,
            ..self.clone()
        }
    }
}

/// As a URL, without what it carried before the `@` and without the query's values.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.split('?').next().unwrap_or("/");
        let query = if path.len() < self.path.len() {
            "?…"
        } else {
            ""
        };
        match &self.socket {
            Some(socket) => write!(f, "unix:{}:{path}{query}", socket.display()),
            None => {
                let scheme = if self.tls { "https" } else { "http" };
                write!(f, "{scheme}://{}{path}{query}", self.authority())
            }
        }
    }
}

fn wrong(text: &str, why: &str) -> String {
    // A URL that does not parse may still carry a password.
    let shown = text.rsplit('@').next().unwrap_or(text);
    format!("`{shown}` is no service: {why}; try `http://127.0.0.1:8000/` or `unix:/run/app.sock`")
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let pair = [rest.next()?, rest.next()?];
        let pair = std::str::from_utf8(&pair).ok()?;
        bytes.push(u8::from_str_radix(pair, 16).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_mean_what_a_person_would_expect() {
        for (text, shown) in [
            ("http://example.org", "http://example.org/"),
            (
                "https://example.org:8443/a?b=c",
                "https://example.org:8443/a?…",
            ),
            ("example.org:8000/x", "http://example.org:8000/x"),
            ("localhost", "http://localhost/"),
            (":8000", "http://127.0.0.1:8000/"),
            ("8000", "http://127.0.0.1:8000/"),
            ("[::1]:8000", "http://[::1]:8000/"),
            ("http://user:secret@a.example/", "http://a.example/"),
            ("unix:/run/app.sock", "unix:/run/app.sock:/"),
            ("unix:///run/app.sock:/ready/", "unix:/run/app.sock:/ready/"),
            ("http+unix://%2Frun%2Fapp.sock/x", "unix:/run/app.sock:/x"),
        ] {
            assert_eq!(
                Target::parse(text).map(|it| it.to_string()),
                Ok(shown.into()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for (text, why) in [
            ("ftp://a", "the scheme is `ftp`"),
            ("http://a:0/", "port 0 is nowhere"),
            ("unix:app.sock", "not absolute"),
            ("http+unix://%2/", "escapes"),
            ("http://u:geheim@[::1/", "is no service"),
        ] {
            let error = Target::parse(text).expect_err(text);
            assert!(error.contains(why) && !error.contains("geheim"), "{error}");
        }
    }

    #[test]
    fn a_password_is_not_in_debug() {
        let target = Target::parse("http://u:geheim@a/").expect("a URL");
        assert!(!format!("{target:?}").contains("geheim"));
    }

    #[test]
    fn a_path_is_named_or_not() {
        for (text, names) in [
            (":8000", false),
            ("8000", false),
            ("shop", false),
            ("http://shop:8000", false),
            ("http://[::1]:8000", false),
            ("unix:/run/app.sock", false),
            ("http://shop/", true),
            (":8000/orders", true),
            ("http://shop?x=1", true),
            ("unix:/run/app.sock:/", true),
        ] {
            let target = Target::parse(text).expect(text);
            assert_eq!(target.names_path, names, "{text}");
        }
        let shop = Target::parse(":8000").expect("it is right");
        assert!(shop.at("/ready/").names_path);
    }
}

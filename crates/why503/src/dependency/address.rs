//! Where a dependency is and how to get in, as its URL says; what is shown of it has no secret.

use std::fmt;

use url::Url;

/// The kinds of dependency that are asked in their own protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// PostgreSQL, or a PgBouncer in front of it.
    Postgres,
    /// MySQL or MariaDB.
    Mysql,
    /// Redis or Valkey.
    Redis,
    /// memcached.
    Memcached,
    /// RabbitMQ, or whoever speaks AMQP 0-9-1.
    Amqp,
    /// Kafka.
    Kafka,
}

impl Kind {
    /// The word for it in a source, and the group of its findings.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Redis => "redis",
            Self::Memcached => "memcached",
            Self::Amqp => "amqp",
            Self::Kafka => "kafka",
        }
    }

    /// The port it has where nobody chose another.
    pub(crate) const fn port(self) -> u16 {
        match self {
            Self::Postgres => 5432,
            Self::Mysql => 3306,
            Self::Redis => 6379,
            Self::Memcached => 11211,
            Self::Amqp => 5672,
            Self::Kafka => 9092,
        }
    }

    /// What usually listens at a port; a guess, which the protocol then confirms or not.
    pub(crate) const fn at_port(port: u16) -> Option<Self> {
        match port {
            5432 | 5433 | 6432 => Some(Self::Postgres),
            3306 => Some(Self::Mysql),
            6379 => Some(Self::Redis),
            11211 => Some(Self::Memcached),
            5672 => Some(Self::Amqp),
            9092 => Some(Self::Kafka),
            _ => None,
        }
    }

    fn of_scheme(scheme: &str) -> Option<(Self, bool)> {
        match scheme {
            "postgres" | "postgresql" => Some((Self::Postgres, false)),
            "mysql" | "mariadb" => Some((Self::Mysql, false)),
            "redis" | "valkey" => Some((Self::Redis, false)),
            "rediss" | "valkeys" => Some((Self::Redis, true)),
            "memcached" => Some((Self::Memcached, false)),
            "amqp" => Some((Self::Amqp, false)),
            "kafka" => Some((Self::Kafka, false)),
            _ => None,
        }
    }
}

/// One dependency.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) kind: Kind,
    /// A name or an address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Who to be; without it nobody logs in.
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    /// The database, or its number.
    pub(crate) database: Option<String>,
    /// Whether TLS comes first, or is asked for where the protocol begins without.
    pub(crate) tls: bool,
    /// The whole URL, for clients that read it themselves.
    pub(crate) url: Option<String>,
}

impl Address {
    /// One without credentials.
    pub(crate) fn bare(kind: Kind, host: &str, port: u16) -> Self {
        Self {
            kind,
            host: host.to_owned(),
            port,
            user: None,
            password: None,
            database: None,
            tls: false,
            url: None,
        }
    }

    /// Reads a URL, or `host:port` of that kind.
    ///
    /// # Errors
    /// A sentence without the text, which may carry a password.
    pub(crate) fn parse(kind: Kind, text: &str) -> Result<Self, String> {
        let word = kind.word();
        let full = if text.contains("://") {
            text.to_owned()
        } else {
            format!("{word}://{text}")
        };
        let url = Url::parse(&full).map_err(|why| format!("the address of {word}: {why}"))?;
        let Some((found, tls)) = Kind::of_scheme(url.scheme()).filter(|it| it.0 == kind) else {
            let found = url.scheme();
            return Err(format!("the address of {word} has the scheme `{found}`"));
        };
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| format!("the address of {word} has no host"))?;
        let asked = |name: &str| {
            let mut pairs = url.query_pairs();
            pairs
                .find(|(key, _)| key == name)
                .map(|pair| pair.1.into_owned())
        };
        let wants_tls = asked("sslmode")
            .is_some_and(|mode| mode.starts_with("req") || mode.starts_with("ver"))
            || asked("require_ssl").is_some_and(|it| it == "true");
        let text_of = |part: &str| (!part.is_empty()).then(|| unescape(part));
        Ok(Self {
            kind: found,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or_else(|| kind.port()),
            user: text_of(url.username()),
            password: url.password().map(unescape),
            database: text_of(url.path().trim_start_matches('/')),
            tls: tls || wants_tls,
            url: Some(full),
        })
    }

    /// The same server under another database and without the URL that names the first.
    pub(crate) fn with_database(&self, database: &str) -> Self {
        Self {
            database: Some(database.to_owned()),
            url: None,
            ..self.clone()
        }
    }
}

/// `postgres 127.0.0.1:5432`: what a finding calls it.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, host, port) = (self.kind.word(), &self.host, self.port);
        if host.contains(':') {
            write!(f, "{word} [{host}]:{port}")
        } else {
            write!(f, "{word} {host}:{port}")
        }
    }
}

/// Neither the password nor the URL that holds it.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// A part of a URL without its escapes; a broken escape stays as it is.
fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = bytes.get(at + 1..at + 3);
        let pair = pair.and_then(|pair| std::str::from_utf8(pair).ok());
        let byte = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match byte.filter(|_| bytes[at] == b'%') {
            Some(byte) => {
                plain.push(byte);
                at += 3;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_shown_without_its_secret() {
        let text = "postgres://app:p%40ss@db.example:6543/shop?sslmode=require";
        let address = Address::parse(Kind::Postgres, text).expect("a URL");
        assert_eq!(address.password.as_deref(), Some("p@ss"));
        assert_eq!(address.database.as_deref(), Some("shop"));
        assert!(address.tls);
        let shown = format!("{address} {address:?}");
        assert_eq!(
            shown,
            "postgres db.example:6543 Address(postgres db.example:6543)"
        );
    }

    #[test]
    fn a_host_and_port_are_enough() {
        let address = Address::parse(Kind::Memcached, "cache:11300").expect("an address");
        assert_eq!(address.to_string(), "memcached cache:11300");
        let address = Address::parse(Kind::Redis, "redis://[::1]/2").expect("an address");
        assert_eq!(address.to_string(), "redis [::1]:6379");
    }

    #[test]
    fn what_is_wrong_is_said_without_the_text() {
        let wrong = [
            "http://u:geheim@a/",
            "postgres://",
            "postgres://u:geheim@[::1/x",
        ];
        for text in wrong {
            let error = Address::parse(Kind::Postgres, text).expect_err(text);
            assert!(!error.contains("geheim"), "{error}");
        }
    }
}

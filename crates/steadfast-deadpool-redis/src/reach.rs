//! Whether a server accepts connections, and what it sends unasked, told without the driver.
//!
//! The driver loses the sentence with which a full server turns a client away.

use std::{
    fmt::{self, Write as _},
    sync::Mutex,
};

use deadpool_redis::{
    Pool,
    redis::{Client, ConnectionAddr},
};
use steadfast_core::{Failure, FailureClass};
pub(crate) use steadfast_pool::reach::{Endpoint, Reach};

use crate::classify;

/// Finds out where the server of a pool is.
///
/// A pool has its client to itself, and shows it in one way only: as text, for who debugs. What
/// stands there first is read, letter by letter, and nothing is known where it is in other
/// words; what follows, with the password, is not even written.
pub(crate) fn of_pool(pool: &Pool) -> Option<Endpoint> {
    let mut head = Head(String::new());
    // It ends with an error where the head is full.
    let _ = write!(head, "{:?}", pool.manager());
    of_text(&head.0)
}

/// The first letters of a text.
struct Head(String);

/// Most letters that are read: a name is at most 253 long, a path of a socket 107.
const HEAD_MAX: usize = 512;

impl fmt::Write for Head {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() >= HEAD_MAX {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

fn of_text(text: &str) -> Option<Endpoint> {
    let address =
        text.strip_prefix("Manager { client: Client { connection_info: ConnectionInfo { addr: ")?;
    if let Some(unix) = address.strip_prefix("Unix(\"") {
        let (path, _) = unix.split_once("\")")?;
        return (!path.contains(['\\', '"'])).then(|| Endpoint::Unix(path.into()));
    }
    let (host, port) = if let Some(plain) = address.strip_prefix("Tcp(\"") {
        let (host, rest) = plain.split_once("\", ")?;
        (host, rest.split_once(')')?.0)
    } else {
        let (host, rest) = address
            .strip_prefix("TcpTls { host: \"")?
            .split_once("\", port: ")?;
        (host, rest.split_once(',')?.0)
    };
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || ".-_:%".contains(letter);
    let host = host.trim_matches(['[', ']']);
    if host.is_empty() || !host.chars().all(is_of_name) {
        return None;
    }
    Some(Endpoint::Tcp(host.to_owned(), port.parse().ok()?))
}

/// Takes the endpoint from a URL; everything else in the URL is ignored.
pub(crate) fn of_url(url: &str) -> Result<Endpoint, Failure> {
    let misconfigured = |text: String| Failure::new(FailureClass::Misconfigured, text);
    let client = Client::open(url).map_err(|error| misconfigured(error.to_string()))?;
    match client.get_connection_info().addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => Ok(
            Endpoint::Tcp(host.trim_matches(['[', ']']).to_owned(), *port),
        ),
        ConnectionAddr::Unix(path) => Ok(Endpoint::Unix(path.clone())),
        _ => Err(misconfigured(
            "the address is of an unknown kind".to_owned(),
        )),
    }
}

/// Connects, and notes in `seen` how far it has come, so that one who stops waiting knows.
pub(crate) async fn reach(endpoint: &Endpoint, seen: &Mutex<Reach>) {
    steadfast_pool::reach::reach(endpoint, seen, classify::io, Some(hear)).await;
}

/// Says what an error means that is sent unasked.
fn hear(said: &str) -> Option<Failure> {
    let line = said.lines().next()?.strip_prefix('-')?;
    let (code, text) = line.split_once(' ').unwrap_or((line, ""));
    Some(classify::reply(code, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_taken_from_a_pool_in_the_words_of_its_driver() {
        let check = |url: &str, expected| {
            let pool = deadpool_redis::Config::from_url(url)
                .create_pool(None)
                .unwrap();
            assert_eq!(of_pool(&pool), Some(expected), "{url}");
        };
        let tcp = |host: &str, port| Endpoint::Tcp(host.to_owned(), port);
        check(
            "redis://app:hunter2@cache.example:7000/3",
            tcp("cache.example", 7000),
        );
        check("redis://[::1]/", tcp("::1", 6379));
        check(
            "unix:///run/redis.sock?pass=hunter2",
            Endpoint::Unix("/run/redis.sock".into()),
        );
        let head = "Manager { client: Client { connection_info: ConnectionInfo { addr: ";
        let tls = of_text(&format!(
            "{head}TcpTls {{ host: \"cache\", port: 6380, insecure"
        ));
        assert_eq!(tls, Some(tcp("cache", 6380)));
        for other in [
            "Tcp { host: \"cache\", port: 1 }",
            "Tcp(\"ca\\\"che\", 1)",
            "Tcp(\"cache\", 70000)",
            "Tcp(\"cache\", 1",
            "Unix(\"/a\\\"b\")",
        ] {
            assert_eq!(of_text(&format!("{head}{other}")), None, "{other}");
        }
        assert_eq!(of_text("Manager { ping_number: 0 }"), None);
    }

    #[test]
    fn an_endpoint_is_taken_from_a_url_without_its_secrets() {
        let tcp = |host: &str, port| Ok(Endpoint::Tcp(host.to_owned(), port));
        let check = |url, expected| assert_eq!(of_url(url), expected, "{url}");
        check("redis://app:hunter2@cache:7000/3", tcp("cache", 7000));
        check("redis://[::1]/", tcp("::1", 6379));
        check(
            "unix:///run/redis.sock?pass=hunter2",
            Ok(Endpoint::Unix("/run/redis.sock".into())),
        );
        let wrong = of_url("http://app:hunter2@cache/").unwrap_err();
        assert_eq!(wrong.class(), FailureClass::Misconfigured);
        assert!(!wrong.message().contains("hunter2"));
    }
}

//! Whether anybody opens the door, and what is shouted out of it, told without the driver.
//!
//! The driver loses the sentence with which a full server turns a client away.

use std::sync::Mutex;

use deadpool_redis::redis::{Client, ConnectionAddr};
use steadfast_core::{Failure, FailureClass};
pub(crate) use steadfast_pool::knock::{Endpoint, Knock, knock_at};

use crate::classify;

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

/// Knocks, and notes in `seen` how far it has come, so that one who stops waiting knows.
pub(crate) async fn knock(endpoint: &Endpoint, seen: &Mutex<Knock>) {
    steadfast_pool::knock::knock(endpoint, seen, classify::io, Some(hear)).await;
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

//! Names: how long the system's resolver takes, and, when it fails, which nameserver says what.

pub(crate) mod question;

use std::{net::SocketAddr, time::Duration};

use steadfast_diagnosis::{Dns, DnsFault, Id, Text, Tied};
use tokio::{
    net::UdpSocket,
    time::{Instant, timeout_at},
};

use crate::{clock, collect::Collected, doctor::observe};
use question::Answer;

/// How long a nameserver may take; a client's resolver waits five seconds and asks again.
const NAMESERVER_WAIT: Duration = Duration::from_secs(2);

/// Most nameservers that are asked; the system's resolver asks three.
const NAMESERVERS_MAX: usize = 3;

/// What `resolv.conf` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resolver {
    /// The file.
    pub(crate) file: String,
    pub(crate) nameservers: Vec<SocketAddr>,
    /// Dots from which on a name is asked for as it is.
    pub(crate) ndots: Option<u64>,
    pub(crate) search: usize,
}

impl Resolver {
    /// Reads a `resolv.conf`.
    pub(crate) fn read(file: &str, text: &str) -> Self {
        let mut found = Self {
            file: file.to_owned(),
            ..Self::default()
        };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    // A zone (`fe80::1%eth0`) is left out with its nameserver.
                    let address = words.next().and_then(|it| it.parse().ok());
                    let places = address.map(|it| SocketAddr::new(it, 53));
                    found.nameservers.extend(places);
                }
                Some("search") => found.search = words.count(),
                Some("options") => {
                    let ndots = words.find_map(|it| it.strip_prefix("ndots:")?.parse().ok());
                    found.ndots = ndots.or(found.ndots);
                }
                _ => {}
            }
        }
        found.nameservers.truncate(NAMESERVERS_MAX);
        found
    }
}

/// Looks a name up as a program of this host would, and asks why if that fails.
pub(crate) async fn look_up(name: &str, resolver: &Resolver, until: Instant) -> Collected {
    let mut seen = Collected::new();
    let tied = || Tied::dependency(name);
    let begun_at = clock::now();
    let found = timeout_at(until, tokio::net::lookup_host((name, 0))).await;
    let after = clock::now().saturating_duration_since(begun_at);
    let failed = match found {
        Ok(Ok(addresses)) => {
            let addresses = u64::try_from(addresses.count()).unwrap_or(u64::MAX);
            let name = Text::new(name);
            seen.saw(
                "getaddrinfo",
                tied(),
                Dns::Found {
                    name,
                    addresses,
                    after,
                },
            );
            return seen;
        }
        Ok(Err(error)) => observe::fault(&error.to_string()),
        Err(_) => DnsFault::TryAgain,
    };
    let failure = |why, after| Dns::Failed {
        name: Text::new(name),
        why,
        after,
    };
    seen.saw("getaddrinfo", tied(), failure(failed, after));
    if resolver.nameservers.is_empty() {
        let file = &resolver.file;
        seen.could_not(
            Id::DnsFail,
            &format!("{file} names no nameserver"),
            &format!("cat {file}"),
        );
    }
    for server in &resolver.nameservers {
        let begun_at = clock::now();
        let limit = until.min(begun_at + NAMESERVER_WAIT);
        let answer = ask(*server, name, limit).await;
        let after = clock::now().saturating_duration_since(begun_at);
        let source = format!("nameserver {server} of {}", resolver.file);
        match answer.as_ref().map(Answer::fault) {
            Some(Some(why)) => seen.saw(&source, tied(), failure(why, after)),
            Some(None) => {}
            None => seen.saw(&source, tied(), failure(DnsFault::TryAgain, after)),
        }
    }
    seen
}

/// Asks one nameserver for the address; `None` if it does not answer.
async fn ask(server: SocketAddr, name: &str, until: Instant) -> Option<Answer> {
    let local: SocketAddr = if server.is_ipv6() {
        "[::]:0".parse().ok()?
    } else {
        "0.0.0.0:0".parse().ok()?
    };
    let socket = UdpSocket::bind(local).await.ok()?;
    socket.connect(server).await.ok()?;
    let question = question::write(name)?;
    socket.send(&question).await.ok()?;
    let mut buffer = [0; 1500];
    loop {
        let read = timeout_at(until, socket.recv(&mut buffer)).await.ok()?;
        // An ICMP error says that nobody listens there.
        let length = read.ok()?;
        if let Some(answer) = question::read(&buffer[..length], &question) {
            return Some(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolv_conf_is_read() {
        let text = "# x\nsearch a.example b.example\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\nnameserver ::1\noptions edns0 ndots:5\n";
        let found = Resolver::read("/etc/resolv.conf", text);
        let servers: Vec<_> = found.nameservers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.1:53", "[::1]:53"]);
        assert_eq!((found.ndots, found.search), (Some(5), 2));
    }

    async fn nameserver(code: Option<u8>) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0")
            .await
            .expect("the loopback has a port");
        let address = socket.local_addr().expect("it is bound");
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                if let Some(code) = code {
                    buffer[2] |= 0x80;
                    buffer[3] = code;
                    let _ = socket.send_to(&buffer[..length], from).await;
                }
            }
        });
        address
    }

    #[tokio::test]
    async fn each_nameserver_is_asked_when_the_system_fails() {
        let resolver = Resolver {
            file: "resolv.conf".to_owned(),
            nameservers: vec![nameserver(Some(3)).await, nameserver(Some(2)).await],
            ..Resolver::default()
        };
        let until = clock::now() + Duration::from_secs(10);
        let seen = look_up("why503-does-not-exist.invalid", &resolver, until).await;
        let whys: Vec<_> = seen
            .facts()
            .iter()
            .filter_map(|fact| match &fact.seen {
                steadfast_diagnosis::Observation::Dns(Dns::Failed { why, .. }) => Some(*why),
                _ => None,
            })
            .collect();
        assert_eq!(whys[1..], [DnsFault::NotThere, DnsFault::TryAgain]);
    }

    #[tokio::test]
    async fn a_nameserver_that_is_silent_is_said_to_be() {
        let silent = nameserver(None).await;
        let until = clock::now() + Duration::from_millis(50);
        assert_eq!(ask(silent, "a.example", until).await, None);
    }

    #[tokio::test]
    async fn a_name_that_is_there_is_found() {
        let until = clock::now() + Duration::from_secs(10);
        let seen = look_up("localhost", &Resolver::default(), until).await;
        let first = &seen.facts()[0].seen;
        assert!(matches!(
            first,
            steadfast_diagnosis::Observation::Dns(Dns::Found { .. })
        ));
    }
}

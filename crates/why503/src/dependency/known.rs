//! Where the dependencies are: what the command line says, what the environment of the process
//! says, and where its sockets lead.

use std::{
    collections::BTreeSet,
    fs::File,
    io::Read,
    net::{IpAddr, SocketAddr},
};

use steadfast_diagnosis::Id;
use tokio::time::timeout_at;

use super::{
    address::{Address, Kind},
    ask::until,
    dns::Resolver,
};
use crate::collect::{Collected, Job};

/// Most servers that are asked at the same time.
const SERVERS_MAX: usize = 24;

/// Most names that are looked up.
const NAMES_MAX: usize = 16;

/// Most bytes that are read of an environment or a command line.
const ENVIRONMENT_MAX: u64 = 128 * 1024;

/// A server, and how it became known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) address: Address,
    /// Whether only its port says of what kind it is.
    pub(crate) is_guess: bool,
    /// Whether somebody gave the credentials to be used.
    pub(crate) may_log_in: bool,
    /// The program that listens there, if it is on this host and can be seen.
    pub(crate) program: Option<String>,
}

/// All that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Everything {
    pub(crate) servers: Vec<Known>,
    pub(crate) names: Vec<String>,
    pub(crate) resolver: Resolver,
}

/// Gathers what is known, the surest first.
pub(crate) async fn gather(job: &Job<'_>, seen: &mut Collected) -> Everything {
    let mut all = Everything {
        resolver: resolver(job),
        ..Everything::default()
    };
    let mut places: BTreeSet<(IpAddr, u16)> = BTreeSet::new();
    for (address, may_log_in) in given(job, seen).into_iter().chain(environment(job)) {
        let found = places_of(job, &address).await;
        let is_new = all.servers.iter().all(|known| {
            (&known.address.host, known.address.port) != (&address.host, address.port)
        });
        let is_new = is_new && !found.iter().any(|place| places.contains(place));
        if is_new && all.servers.len() < SERVERS_MAX {
            places.extend(found);
            if address.host.parse::<IpAddr>().is_err() {
                all.names.push(address.host.clone());
            }
            all.servers.push(Known {
                program: program(job, address.port),
                is_guess: false,
                may_log_in,
                address,
            });
        }
    }
    for place in sockets(job) {
        let key = (place.ip().to_canonical(), place.port());
        let program = program(job, place.port()).filter(|_| place.ip().is_loopback());
        let named = program.as_deref().and_then(of_program);
        let Some(kind) = named.or_else(|| Kind::at_port(place.port())) else {
            continue;
        };
        if all.servers.len() < SERVERS_MAX && places.insert(key) {
            all.servers.push(Known {
                address: Address::bare(kind, &key.0.to_string(), key.1),
                is_guess: named.is_none(),
                may_log_in: false,
                program,
            });
        }
    }
    let upstreams = job.options.upstream.iter().map(|it| it.host.clone());
    all.names
        .extend(upstreams.filter(|it| it.parse::<IpAddr>().is_err()));
    all.names.sort();
    all.names.dedup();
    all.names.truncate(NAMES_MAX);
    all
}

/// What the command line names; its credentials are to be used.
fn given(job: &Job<'_>, seen: &mut Collected) -> Vec<(Address, bool)> {
    let options = job.options;
    let mut all = Vec::new();
    for (kind, text, id, flag) in [
        (Kind::Postgres, &options.pg, Id::PgDown, "--pg"),
        (
            Kind::Postgres,
            &options.pgbouncer,
            Id::PgbWait,
            "--pgbouncer",
        ),
        (Kind::Mysql, &options.mysql, Id::MysqlDown, "--mysql"),
        (Kind::Redis, &options.redis, Id::RedisDown, "--redis"),
        (
            Kind::Memcached,
            &options.memcached,
            Id::MemcachedDown,
            "--memcached",
        ),
        (Kind::Amqp, &options.amqp, Id::RabbitDown, "--amqp"),
        (Kind::Kafka, &options.kafka, Id::KafkaDown, "--kafka"),
    ] {
        let parse = |text: &str| match text {
            // Whoever leaves the URL out means what psql would take.
            "" if kind == Kind::Postgres => Ok(libpq(|name| std::env::var(name).ok())),
            _ => Address::parse(kind, text),
        };
        match text.as_deref().map(parse) {
            Some(Ok(address)) => all.push((address, true)),
            Some(Err(why)) => {
                let word = kind.word();
                seen.could_not(
                    id,
                    &why,
                    &format!("{flag} {word}://user:password@host:port/name"),
                );
            }
            None => {}
        }
    }
    all
}

/// What the variables of PostgreSQL's own clients say. A directory of Unix sockets is one of this
/// host.
fn libpq(variable: impl Fn(&str) -> Option<String>) -> Address {
    let set = |name: &str| variable(name).filter(|it| !it.is_empty());
    let host = set("PGHOST").filter(|it| !it.starts_with('/'));
    let port = set("PGPORT").and_then(|it| it.parse().ok());
    let host = host.unwrap_or_else(|| "localhost".to_owned());
    let user = set("PGUSER").or_else(|| set("USER"));
    Address {
        password: set("PGPASSWORD"),
        database: set("PGDATABASE").or_else(|| user.clone()),
        tls: set("PGSSLMODE").is_some_and(|it| it.starts_with("req") || it.starts_with("ver")),
        user,
        ..Address::bare(Kind::Postgres, &host, port.unwrap_or(Kind::Postgres.port()))
    }
}

/// What the environments and the command lines of the processes name, without the credentials:
/// nobody gave them to us.
fn environment(job: &Job<'_>) -> Vec<(Address, bool)> {
    let mut all = Vec::new();
    for pid in job.found.owners.iter().take(8) {
        for file in ["environ", "cmdline"] {
            let text = read(&format!("/proc/{pid}/{file}"));
            all.extend(urls(&text).into_iter().map(|address| (address, false)));
        }
    }
    all
}

fn read(path: &str) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        // What cannot be read whole is used as far as it came.
        let _ = file.take(ENVIRONMENT_MAX).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The addresses of dependencies in `NAME=value` pairs or arguments that end with zero bytes: URLs,
/// and hosts by the names that the clients themselves read.
fn urls(text: &str) -> Vec<Address> {
    const HOSTS: [(&str, &str, Kind); 3] = [
        ("PGHOST", "PGPORT", Kind::Postgres),
        ("MYSQL_HOST", "MYSQL_TCP_PORT", Kind::Mysql),
        ("REDIS_HOST", "REDIS_PORT", Kind::Redis),
    ];
    let mut all: Vec<Address> = text.split('\0').filter_map(url).collect();
    let value = |name: &str| {
        let mut pairs = text.split('\0').filter_map(|entry| entry.split_once('='));
        pairs.find(|pair| pair.0 == name).map(|pair| pair.1)
    };
    for (host, port, kind) in HOSTS {
        // A path is a directory of Unix sockets.
        let host = value(host).filter(|host| !host.is_empty() && !host.starts_with('/'));
        if let Some(host) = host {
            let port = value(port).and_then(|it| it.parse().ok());
            all.push(Address::bare(kind, host, port.unwrap_or(kind.port())));
        }
    }
    let mut unique: Vec<Address> = Vec::new();
    for address in all {
        if unique.len() < SERVERS_MAX && !unique.contains(&address) {
            unique.push(address);
        }
    }
    unique
}

/// The first URL of a dependency in an entry. `postgresql+asyncpg` and `jdbc:postgresql` are
/// PostgreSQL too.
fn url(entry: &str) -> Option<Address> {
    let (before, after) = entry.split_once("://")?;
    let begin = before.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '+');
    // Before it is an ASCII letter or some other, which may take more bytes.
    let begin = begin.map_or(0, |at| {
        at + before[at..].chars().next().map_or(1, char::len_utf8)
    });
    let scheme = before[begin..].split('+').next()?;
    let kind = match scheme {
        "postgres" | "postgresql" => Kind::Postgres,
        "mysql" | "mariadb" => Kind::Mysql,
        "redis" | "rediss" | "valkey" | "valkeys" => Kind::Redis,
        "amqp" => Kind::Amqp,
        "memcached" => Kind::Memcached,
        _ => return None,
    };
    let rest = after.split(['"', '\'', ' ']).next()?;
    let address = Address::parse(kind, &format!("{scheme}://{rest}")).ok()?;
    Some(Address {
        password: None,
        url: None,
        ..address
    })
}

/// Where the sockets of the processes lead, each place once.
fn sockets(job: &Job<'_>) -> Vec<SocketAddr> {
    let places = job.found.outbound.iter().map(|it| it.remote);
    let all: BTreeSet<SocketAddr> = places.collect();
    all.into_iter().collect()
}

/// The places that an address means, so that a socket to one of them is not asked about twice.
async fn places_of(job: &Job<'_>, address: &Address) -> Vec<(IpAddr, u16)> {
    let found = tokio::net::lookup_host((address.host.as_str(), address.port));
    match timeout_at(until(job), found).await {
        Ok(Ok(all)) => all.map(|it| (it.ip().to_canonical(), it.port())).collect(),
        // The name is looked up again later, and what is wrong with it is said then.
        _ => Vec::new(),
    }
}

fn program(job: &Job<'_>, port: u16) -> Option<String> {
    let mut listeners = job.found.listeners.iter();
    listeners.find(|it| it.addr.port() == port)?.program.clone()
}

fn of_program(name: &str) -> Option<Kind> {
    match name {
        "postgres" | "pgbouncer" | "odyssey" | "pgcat" => Some(Kind::Postgres),
        "mariadbd" | "mysqld" => Some(Kind::Mysql),
        "redis-server" | "valkey-server" => Some(Kind::Redis),
        "memcached" => Some(Kind::Memcached),
        _ => None,
    }
}

fn resolver(job: &Job<'_>) -> Resolver {
    // A container has its own.
    let own = job
        .found
        .owners
        .first()
        .map(|pid| format!("/proc/{pid}/root/etc/resolv.conf"));
    let files = own.into_iter().chain(["/etc/resolv.conf".to_owned()]);
    let read = |file: String| std::fs::read_to_string(&file).ok().map(|text| (file, text));
    match files.into_iter().find_map(read) {
        Some((file, text)) => Resolver::read(&file, &text),
        None => Resolver::read("/etc/resolv.conf", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_an_environment_are_found_without_their_passwords() {
        let text = "HOME=/\0DATABASE_URL=postgres://app:geheim@db:5433/shop\0CACHE=\"redis://:x@cache/0\"\0\
            BROKER=amqp://mq\0OTHER=http://x\0AGAIN=postgres://app:other@db:5433/shop\0\
            SA=postgresql+asyncpg://u:p@sa/x\0--url=jdbc:mysql://my:3307/x\0PGHOST=pg\0PGPORT=6000\0REDIS_HOST=\0";
        let found = urls(text);
        let shown: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "postgres db:5433",
                "redis cache:6379",
                "amqp mq:5672",
                "postgres sa:5432",
                "mysql my:3307",
                "postgres pg:6000",
            ]
        );
        assert!(
            found
                .iter()
                .all(|it| it.password.is_none() && it.url.is_none())
        );
        assert_eq!(found[0].user.as_deref(), Some("app"));
    }

    #[test]
    fn the_variables_of_psql_are_an_address() {
        let named = libpq(|name| match name {
            "PGHOST" => Some("db".to_owned()),
            "PGPORT" => Some("5433".to_owned()),
            "PGUSER" => Some("app".to_owned()),
            "PGPASSWORD" => Some("geheim".to_owned()),
            _ => None,
        });
        assert_eq!(named.to_string(), "postgres db:5433");
        assert_eq!(named.database.as_deref(), Some("app"));
        let none = libpq(|name| (name == "PGHOST").then(|| "/run/postgresql".to_owned()));
        assert_eq!(none.to_string(), "postgres localhost:5432");
    }

    #[test]
    fn nonsense_is_no_address() {
        for text in [
            "",
            "\0\0",
            "X=postgres://",
            "X=mysql://[::1",
            "postgres",
            "://",
            "é://",
            "PGHOST=/run",
        ] {
            assert!(urls(text).is_empty(), "{text}");
        }
    }
}

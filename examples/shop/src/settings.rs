//! What the environment says. Every value that cannot be used is told in one line, without
//! repeating what may hold a password.

use std::{env, net::SocketAddr};

use uuid::Uuid;

use crate::Fatal;

/// Where it listens unless `ADDR` says otherwise: this machine only.
const ADDR_DEFAULT: &str = "127.0.0.1:8000";

/// The shop's own settings; the guard's are read by Steadfast.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) addr: String,
    pub(crate) database_url: Option<String>,
    pub(crate) redis_url: Option<String>,
    pub(crate) payments_url: Option<String>,
    pub(crate) config_file: Option<String>,
    pub(crate) probe_addr: Option<SocketAddr>,
    pub(crate) metrics_addr: Option<SocketAddr>,
    pub(crate) token: Token,
}

/// What opens `/why503/`.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) value: String,
    /// Whether it was made here, and is therefore shown.
    pub(crate) made: bool,
}

impl Settings {
    pub(crate) fn from_env() -> Result<Self, Fatal> {
        let token = match text("WHY503_TOKEN")? {
            Some(value) => Token { value, made: false },
            // 122 random bits.
            None => Token {
                value: Uuid::new_v4().simple().to_string(),
                made: true,
            },
        };
        Ok(Self {
            addr: text("ADDR")?.unwrap_or_else(|| ADDR_DEFAULT.to_owned()),
            database_url: text("DATABASE_URL")?,
            redis_url: text("REDIS_URL")?,
            payments_url: text("PAYMENTS_URL")?,
            config_file: text("STEADFAST_CONFIG")?,
            probe_addr: address("PROBE_ADDR")?,
            metrics_addr: address("METRICS_ADDR")?,
            token,
        })
    }
}

/// An address of this host, where something of its own listens.
fn address(name: &str) -> Result<Option<SocketAddr>, Fatal> {
    let parsed = text(name)?.map(|given| {
        given.parse().map_err(|_| {
            Fatal::new(format!(
                "{name} {given:?}; allowed is an IP address and a port, as 127.0.0.1:9000"
            ))
        })
    });
    parsed.transpose()
}

/// A variable's value; one that is set to nothing counts as absent.
fn text(name: &str) -> Result<Option<String>, Fatal> {
    match env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(Fatal::new(format!("{name} is not UTF-8"))),
    }
}

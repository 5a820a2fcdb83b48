//! Which format a line is in, found from the line itself, so that files may be mixed.
//!
//! The first bytes decide; a wrong guess costs one attempt, not a search.

mod alb;
mod apache;
mod caddy;
mod combined;
mod envoy;
mod haproxy;
mod json;
mod nginx;
mod syslog;
mod traefik;

use clap::ValueEnum;

use super::entry::Entry;

/// A format that a user can insist on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Found for each line.
    #[default]
    Auto,
    /// HAProxy's httplog, plain or behind a syslog header.
    Haproxy,
    /// The combined format of nginx, Apache and many others, with or without an upstream's fields; Traefik's own too.
    Combined,
    /// nginx's error log.
    NginxError,
    /// Apache's error log.
    ApacheError,
    /// Envoy's default access log.
    Envoy,
    /// The access log of an Application Load Balancer.
    Alb,
    /// One JSON object a line: Envoy, Traefik, Caddy, nginx or any other.
    Json,
}

/// Understands a line, or does not.
pub(crate) fn parse(line: &[u8], format: Format) -> Option<Entry<'_>> {
    let (header_time, line) = syslog::strip(line);
    let mut entry = match format {
        Format::Auto => detect(line),
        Format::Haproxy => haproxy::parse(line),
        Format::Combined => combined::parse(line),
        Format::NginxError => nginx::error(line),
        Format::ApacheError => apache::parse(line),
        Format::Envoy => envoy::parse(line),
        Format::Alb => alb::parse(line),
        Format::Json => json::parse(line),
    }?;
    entry.time = entry.time.or(header_time);
    Some(entry)
}

fn detect(line: &[u8]) -> Option<Entry<'_>> {
    match (line.first()?, line.get(4)) {
        (b'{', _) => json::parse(line),
        (b'[', Some(b'0'..=b'9')) => envoy::parse(line),
        (b'[', _) => apache::parse(line).or_else(|| haproxy::parse(line)),
        (b'0'..=b'9', Some(b'/')) => nginx::error(line),
        // A name as the client (`HostnameLookups`) may begin with any letter.
        _ => haproxy::parse(line)
            .or_else(|| combined::parse(line))
            .or_else(|| alb::parse(line)),
    }
}

//! What one line is, whoever wrote it.

use super::cause::Cause;

/// Who wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Maker {
    HaProxy,
    /// The combined format, with nothing of an upstream: nginx, Apache and many others.
    Combined,
    Nginx,
    NginxError,
    Apache,
    Envoy,
    Traefik,
    Caddy,
    Alb,
    Json,
}

impl Maker {
    /// Every one, in the order of declaration.
    pub(crate) const ALL: [Self; 10] = [
        Self::HaProxy,
        Self::Combined,
        Self::Nginx,
        Self::NginxError,
        Self::Apache,
        Self::Envoy,
        Self::Traefik,
        Self::Caddy,
        Self::Alb,
        Self::Json,
    ];

    /// Returns how it is called on screen and in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::HaProxy => "haproxy",
            Self::Combined => "combined",
            Self::Nginx => "nginx",
            Self::NginxError => "nginx-error",
            Self::Apache => "apache-error",
            Self::Envoy => "envoy",
            Self::Traefik => "traefik",
            Self::Caddy => "caddy",
            Self::Alb => "alb",
            Self::Json => "json",
        }
    }
}

/// One line, understood; it borrows from the line.
#[derive(Debug, PartialEq)]
pub(crate) struct Entry<'a> {
    pub(crate) maker: Maker,
    /// Seconds since 1970 of the time as it is written, without its offset.
    pub(crate) time: Option<i64>,
    pub(crate) kind: Kind<'a>,
}

/// What a line tells.
#[derive(Debug, PartialEq)]
pub(crate) enum Kind<'a> {
    /// A request was answered.
    Request(Request<'a>),
    /// An error log says what went wrong with one request.
    Complaint(Complaint<'a>),
    /// A server, a worker or the proxy changed its state.
    Change(Change<'a>),
    /// Well formed, and about nothing of this.
    Other,
}

/// A request and its answer.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Request<'a> {
    pub(crate) status: u16,
    pub(crate) method: &'a [u8],
    /// The target as it was asked, with its query.
    pub(crate) target: &'a [u8],
    /// Which backend or server it went to, empty if the line does not say.
    pub(crate) backend: &'a [u8],
    /// Who asked, without the port.
    pub(crate) client: &'a [u8],
    pub(crate) millis: Option<f64>,
    /// Why, for 502, 503 and 504; `None` where the line holds nothing.
    pub(crate) cause: Option<Cause>,
}

/// What an error log says of one request.
#[derive(Debug, PartialEq)]
pub(crate) struct Complaint<'a> {
    pub(crate) cause: Cause,
    pub(crate) method: &'a [u8],
    pub(crate) target: &'a [u8],
    pub(crate) client: &'a [u8],
    pub(crate) backend: &'a [u8],
    /// What the lines of one request share, empty if nothing.
    pub(crate) thread: &'a [u8],
    /// Whether it only says again, with the path, what the line before of the thread said.
    pub(crate) again: bool,
}

/// A change of state.
#[derive(Debug, PartialEq)]
pub(crate) struct Change<'a> {
    /// The sentence.
    pub(crate) text: &'a [u8],
    /// The HAProxy backend it is about, and what it makes of it.
    pub(crate) backend: Option<(&'a [u8], Backend)>,
}

/// What HAProxy's log has said last about the servers of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    /// A server failed its check.
    Down,
    /// A server was taken out by hand.
    Maint,
    /// A server is back.
    Up,
}

/// Whether this status is part of the story.
pub(crate) const fn failed(status: u16) -> bool {
    matches!(status, 502..=504)
}

//! Clients that send each request once, and say exactly what became of it.

pub mod h1;
pub mod h2;

use std::{io, time::Duration};

/// Longest wait for an answer; far above what any handler here takes.
pub const ANSWER_MAX: Duration = Duration::from_secs(20);

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// Without a body.
    Get,
    /// With a small body.
    Post,
}

impl Method {
    /// Its name on the wire and in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The process that gave it.
    pub instance: Option<String>,
    /// Whether the process was on its way out when it gave it.
    pub leaving: bool,
    /// Whether it says that the connection ends with it.
    pub close: bool,
    /// The body, without frames.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Fault {
    /// Nothing was sent, or the server said that it did not look at it: anybody may send it
    /// again elsewhere.
    Refused(io::Error),
    /// The connection ended properly before the first byte of an answer.
    Empty,
    /// It was reset, ended within the answer, or nothing came in [`ANSWER_MAX`].
    Lost(io::Error),
}

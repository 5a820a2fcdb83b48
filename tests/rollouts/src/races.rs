//! One race or one awkward peer at a time, driven on purpose, against any way to serve.
//!
//! The races of `closing` are those in which requests get lost around the end: each is
//! set up so that the moment that is rare in traffic comes every time, by stopping the
//! process (SIGSTOP) while bytes and the signal arrive. Nothing hides in a lame duck where
//! the accept loop itself is meant: ours gets none there. Those of `awkward` are peers
//! that never finish: the process has to end all the same, and to end them properly.

mod arena;
mod awkward;
mod closing;

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    backend::{Ended, Program},
    subject::Kind,
};

/// What running work may take, for those that have a limit, where that limit is the point.
const GRACE: Duration = Duration::from_secs(2);

/// The same where everything can be served, however slow the machine is.
const GRACE_PATIENCE: Duration = Duration::from_secs(45);

/// A process that has not gone after this is killed, and counts as one that never ends:
/// three times the grace.
const EXIT_MAX: Duration = Duration::from_secs(6);

/// The same where only the fact counts and not the time, whatever the machine.
const EXIT_PATIENCE: Duration = Duration::from_secs(60);

/// A race.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Race {
    /// R1: new connections after the signal.
    ConnectAfter,
    /// R2: connections that the kernel has taken and the process has not.
    AcceptQueue,
    /// R4: requests on kept connections after the signal.
    IdleReuse,
    /// R5: requests on kept connections, in the kernel's buffer when the signal comes.
    InKernelBuffer,
    /// R6: connections that have not carried a byte; the request follows the signal.
    Fresh,
    /// R7: HTTP/2 connections whose first bytes are in the kernel's buffer.
    Http2Handshake,
    /// R9: an answer in front of bytes that are never read.
    Pipelined,
    /// R9: an answer that comes before the request's body has been sent.
    EarlyAnswer,
    /// Half a head, and silence.
    HalfHeader,
    /// Half a body, and silence.
    HalfBody,
    /// A stream of events without an end.
    Events,
    /// An open WebSocket.
    WebSocket,
    /// Half an HTTP/2 preface, and silence.
    SilentPreface,
    /// An HTTP/2 client that acknowledges nothing.
    NoPingAck,
    /// A client that asks for an endless answer and reads nothing.
    NeverReads,
    /// A kept connection.
    Idle,
    /// As many kept connections as the process may have, at most 10,000.
    IdleMany,
    /// A handler that never ends.
    EndlessHandler,
}

impl Race {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::ConnectAfter,
        Self::AcceptQueue,
        Self::IdleReuse,
        Self::InKernelBuffer,
        Self::Fresh,
        Self::Http2Handshake,
        Self::Pipelined,
        Self::EarlyAnswer,
        Self::HalfHeader,
        Self::HalfBody,
        Self::Events,
        Self::WebSocket,
        Self::SilentPreface,
        Self::NoPingAck,
        Self::NeverReads,
        Self::Idle,
        Self::IdleMany,
        Self::EndlessHandler,
    ];

    /// The name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConnectAfter => "R1 connect after the signal",
            Self::AcceptQueue => "R2 in the accept queue",
            Self::IdleReuse => "R4 kept connection, later",
            Self::InKernelBuffer => "R5 kept connection, same moment",
            Self::Fresh => "R6 fresh connection",
            Self::Http2Handshake => "R7 HTTP/2, first bytes",
            Self::Pipelined => "R9 answer before unread bytes",
            Self::EarlyAnswer => "R9 answer before the body",
            Self::HalfHeader => "half a head",
            Self::HalfBody => "half a body",
            Self::Events => "endless events",
            Self::WebSocket => "open WebSocket",
            Self::SilentPreface => "half an HTTP/2 preface",
            Self::NoPingAck => "HTTP/2 without PING ack",
            Self::NeverReads => "client never reads",
            Self::Idle => "idle connection",
            Self::IdleMany => "10,000 idle connections",
            Self::EndlessHandler => "endless handler",
        }
    }

    /// Whether the end of the grace is the point: what never finishes, and so many
    /// connections that they may well be closing when it comes.
    const fn has_short_grace(self) -> bool {
        matches!(
            self,
            Self::HalfHeader
                | Self::HalfBody
                | Self::Events
                | Self::WebSocket
                | Self::SilentPreface
                | Self::NoPingAck
                | Self::NeverReads
                | Self::IdleMany
                | Self::EndlessHandler
        )
    }

    /// Drives it. `patient` waits long for the exit, for machines that are busy.
    ///
    /// # Panics
    /// The subject does not come up.
    pub async fn drive(self, subject: Kind, program: &Program, patient: bool) -> Seen {
        let exit_max = if patient { EXIT_PATIENCE } else { EXIT_MAX };
        let stage = arena::Stage {
            subject,
            program,
            grace: if self.has_short_grace() {
                GRACE
            } else {
                GRACE_PATIENCE
            },
            exit_max,
        };
        let (ended, client) = match self {
            Self::ConnectAfter => closing::connect_after(stage).await,
            Self::AcceptQueue => closing::accept_queue(stage).await,
            Self::IdleReuse => closing::idle_reuse(stage).await,
            Self::InKernelBuffer => closing::in_kernel_buffer(stage).await,
            Self::Fresh => closing::fresh(stage).await,
            Self::Http2Handshake => closing::http2_handshake(stage).await,
            Self::Pipelined => closing::pipelined(stage).await,
            Self::EarlyAnswer => closing::early_answer(stage).await,
            Self::HalfHeader => awkward::half_header(stage).await,
            Self::HalfBody => awkward::half_body(stage).await,
            Self::Events => awkward::events(stage).await,
            Self::WebSocket => awkward::web_socket(stage).await,
            Self::SilentPreface => awkward::silent_preface(stage).await,
            Self::NoPingAck => awkward::no_ping_ack(stage).await,
            Self::NeverReads => awkward::never_reads(stage).await,
            Self::Idle => awkward::idle(stage, 1).await,
            Self::IdleMany => {
                let count = arena::files_max().min(awkward::IDLE_MAX);
                awkward::idle(stage, count).await
            }
            Self::EndlessHandler => awkward::endless_handler(stage).await,
        };
        Seen {
            race: self,
            subject,
            client,
            ended,
        }
    }
}

/// What the client has of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// In words.
    pub saw: String,
    /// Whether that is as it should be.
    pub fine: bool,
}

impl Client {
    fn served(good: usize, all: usize) -> Self {
        Self {
            saw: format!("served {good} of {all}"),
            fine: good == all,
        }
    }

    fn new(fine: bool, saw: impl Into<String>) -> Self {
        Self {
            saw: saw.into(),
            fine,
        }
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which race.
    pub race: Race,
    /// Against whom.
    pub subject: Kind,
    /// What the client saw.
    pub client: Client,
    /// How the process ended.
    pub ended: Ended,
}

impl Seen {
    /// Whether the client saw what it should and the process ended by itself.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.client.fine && self.ended.status.is_some()
    }

    /// In a few words.
    #[must_use]
    pub fn text(&self) -> String {
        let exit = match self.ended.status {
            Some(_) => format!("exit {:.1} s", self.ended.took.as_secs_f64()),
            None => format!("no exit in {} s", EXIT_MAX.as_secs()),
        };
        let mark = if self.passes() { "ok" } else { "NO" };
        format!("{mark}: {}; {exit}", self.client.saw)
    }

    /// As one line of JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "bench": "races", "race": self.race.name(), "subject": self.subject.name(),
            "pass": self.passes(), "client": self.client.saw,
            "exit_status": self.ended.status, "exit_seconds": self.ended.took.as_secs_f64(),
        })
    }
}

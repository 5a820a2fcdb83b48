//! What went to the peer and what it has taken of it, and the end of an HTTP/2 connection,
//! which the peer has to have before it can acknowledge it.

use std::time::{Duration, Instant};

use super::{frames::Seen, limits::Connections, patience::Patience, stream_stall::Progress};

/// How long an HTTP/2 peer that has everything may take to acknowledge that the connection
/// ends, in two looks.
const GOAWAY_ACK_MAX: Duration = Duration::from_secs(1);

/// What went to the peer.
#[derive(Debug)]
pub(super) struct Writes {
    /// Bytes that the socket has taken.
    bytes: u64,
    /// Of those, bytes that the peer had taken when it was looked at.
    taken: u64,
    /// Since when the socket takes no byte more.
    pub(super) blocked_since: Option<Instant>,
    patience: Patience,
    /// The frames in them, over HTTP/2.
    frames: Seen,
    /// Where the last of them ends that the peer has to read before it can say that it has
    /// understood.
    read_up_to: u64,
}

/// The end of an HTTP/2 connection.
#[derive(Debug, Default)]
pub(super) struct Goaway {
    pub(super) at: Option<Instant>,
    pub(super) sent: Option<Instant>,
    /// Frames that the peer had sent before.
    frames_before: u64,
    /// Whether the peer has sent anything since that is not mere presence.
    peer_acts: bool,
    /// When bytes last went on their way to the peer after that.
    went_on: Option<Instant>,
    /// Whether everything had arrived when it was looked at.
    arrived: bool,
}

impl Writes {
    pub(super) fn new(limits: &Connections) -> Self {
        Self {
            bytes: 0,
            taken: 0,
            blocked_since: None,
            patience: Patience::to_be_read(limits.write_stall, limits.bytes_per_sec_min),
            frames: Seen::default(),
            read_up_to: 0,
        }
    }

    /// A request begins where none was.
    pub(super) fn begin(&mut self, limits: &Connections) {
        self.patience.at_least(limits.write_stall);
    }

    pub(super) fn blocked_due(&self) -> Option<Instant> {
        self.blocked_since.map(|since| since + self.patience.left())
    }

    /// Whether the peer has had its time.
    pub(super) const fn are_given_up(&self) -> bool {
        self.patience.left().is_zero()
    }

    pub(super) const fn is_blamed(&self) -> bool {
        self.frames.blamed
    }

    /// The socket takes bytes. Returns the moment if it had not; it is asked only then.
    pub(super) fn goes_on(&mut self, now: impl FnOnce() -> Instant) -> Option<Instant> {
        let since = self.blocked_since.take()?;
        let now = now();
        self.patience.waited(now.saturating_duration_since(since));
        Some(now)
    }

    /// The socket has taken bytes. Returns whether they were any that a peer has to read.
    pub(super) fn pass(&mut self, bytes: usize, frames: Option<Seen>) -> bool {
        self.bytes += bytes as u64;
        let Some(frames) = frames else { return false };
        let before = std::mem::replace(&mut self.frames, frames);
        before.data != frames.data || before.goaways != frames.goaways
    }

    /// What was written so far has to arrive before the peer can have understood.
    pub(super) const fn must_arrive(&mut self) {
        self.read_up_to = self.bytes;
    }

    pub(super) const fn went(&self) -> Progress {
        Progress {
            data: self.frames.data,
            taken: self.taken,
        }
    }

    /// Counts what the peer has taken since the last look, and the time since then.
    pub(super) fn look(&mut self, unacknowledged: Option<u64>, now: Instant) {
        if let Some(since) = self.blocked_since.as_mut() {
            let waited = now.saturating_duration_since(*since);
            self.patience.waited(waited);
            *since = now;
        }
        let taken = self.bytes.saturating_sub(unacknowledged.unwrap_or(0));
        self.patience.moved(taken.saturating_sub(self.taken));
        self.taken = self.taken.max(taken);
    }
}

impl Goaway {
    /// The peer has sent these frames so far.
    pub(super) const fn peer_sent(&mut self, frames: Seen) {
        match self.sent {
            Some(_) => self.peer_acts |= frames.others > self.frames_before,
            None => self.frames_before = frames.others,
        }
    }

    /// Something more is on its way that has to arrive first.
    pub(super) const fn sends_more(&mut self, now: Instant) {
        self.went_on = Some(now);
        self.arrived = false;
    }

    /// When the peer is late with its acknowledgement, if nothing has run since that moment.
    pub(super) fn late(&self, since: Instant, writes: &Writes, limits: &Connections) -> Instant {
        let since = since.max(self.went_on.unwrap_or(since));
        // One that has acknowledged it, or wants something, reads what it asked for at its
        // own pace; hyper ends the connection after that. A PING says only that it is there.
        let patience = if self.peer_acts || writes.frames.goaways > 1 {
            limits.write_stall
        } else {
            GOAWAY_ACK_MAX / 2
        };
        since + patience
    }

    /// The peer is late. If it has not even got all that was sent, it is waited for like any
    /// reader. Returns whether that goes on.
    pub(super) fn goes_on(
        &mut self,
        since: Instant,
        writes: &mut Writes,
        unacknowledged: Option<u64>,
        now: Instant,
    ) -> bool {
        let looked = self.went_on.or(self.sent).unwrap_or(now).max(since);
        writes.look(unacknowledged, now);
        let goes_on = if writes.taken >= writes.read_up_to {
            !std::mem::replace(&mut self.arrived, true)
        } else {
            writes
                .patience
                .waited(now.saturating_duration_since(looked));
            !writes.patience.left().is_zero()
        };
        if goes_on {
            self.went_on = Some(now);
        }
        goes_on
    }
}

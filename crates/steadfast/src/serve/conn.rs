//! What is known of one connection: what it is doing, and until when it may.
//!
//! The socket's wrapper, the service and the connection's task write here; the task reads
//! when the next bound falls due, and the drain reads what it has to cut. The lock is a
//! connection's own and held for arithmetic only.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::{Duration, Instant},
};

use steadfast_core::Local;
use tokio::task::AbortHandle;

use super::{limits::Connections, slots::Slots};
use crate::{
    clock,
    drain::{Reason, Room, Stage, Tally},
};

/// How long a connection that was opened just before the end has for its first request.
const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);

/// How long an HTTP/2 peer may take to acknowledge that the connection ends.
const GOAWAY_ACK_MAX: Duration = Duration::from_secs(1);

/// One turn of the runtime's driver, at least: a timer fires in a turn that has looked at
/// every socket first, so what had arrived before is known when it fires.
const TURN: Duration = Duration::from_millis(1);

/// How long what is read may be the rest of a body that a handler left unread. hyper looks
/// for it once, when it is polled next, and closes the connection if it is not all there;
/// the poll that is going on when the handler drops the body is the first.
const UNREAD_POLLS: u8 = 2;

/// How the wrapper treats a read for which there is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// It waits.
    Open,
    /// A turn of the driver is waited for; then, if still nothing has come, it ends.
    AboutToEnd,
    /// It ends: the peer seems to have closed, which makes hyper close in order.
    Ending,
    /// Everything fails.
    Cut,
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Not known yet.
    Unknown,
    Http1,
    Http2,
}

/// Why the connection was or is being closed by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Idle,
    Unused,
    TooSlow,
    GoawayUnacknowledged,
}

/// What the connection's task has to do at the moment that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Poll it once more: reads end now.
    Poll,
    /// Say over HTTP/2 that the connection ends.
    Goaway,
    /// Drop it.
    Drop,
    /// Nothing; look again at the next moment.
    Nothing,
}

#[derive(Debug)]
pub(super) struct Conn {
    pub(super) room: Local<Room>,
    limits: Connections,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) mode: Mode,
    pub(super) protocol: Protocol,
    pub(super) slots: Slots,
    opened: Instant,
    idle_since: Instant,
    /// When the first byte came of a head that is not complete.
    head_since: Option<Instant>,
    /// How many more polls of hyper may read what a handler has left of a request's body.
    unread_polls: u8,
    /// Since when the peer takes no byte.
    blocked_since: Option<Instant>,
    served: u64,
    turn_until: Option<Instant>,
    goaway_at: Option<Instant>,
    goaway_said: Option<Instant>,
    /// Whether the peer has sent anything since.
    heard_since_goaway: bool,
    /// When bytes last went to the peer after that.
    progress: Option<Instant>,
    why: Option<Why>,
    pub(super) upgraded: Option<Instant>,
    pub(super) told_by_header: bool,
    pub(super) peer_closed: bool,
    pub(super) peer_reset: bool,
    closing: Option<Instant>,
    task: Option<AbortHandle>,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

impl Conn {
    pub(super) fn new(room: Local<Room>, limits: Connections, now: Instant) -> Arc<Self> {
        let state = State {
            mode: Mode::Open,
            protocol: Protocol::Unknown,
            slots: Slots::default(),
            opened: now,
            idle_since: now,
            head_since: None,
            unread_polls: 0,
            blocked_since: None,
            served: 0,
            turn_until: None,
            goaway_at: None,
            goaway_said: None,
            heard_since_goaway: false,
            progress: None,
            why: None,
            upgraded: None,
            told_by_header: false,
            peer_closed: false,
            peer_reset: false,
            closing: None,
            task: None,
            reader: None,
            writer: None,
        };
        let state = Mutex::new(state);
        Arc::new(Self {
            room,
            limits,
            state,
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the handle that can end the connection's task.
    pub(super) fn runs_as(&self, task: AbortHandle) {
        self.state().task = Some(task);
    }

    /// Returns when the connection's task, which has just polled hyper, has to look at it
    /// next, if ever.
    pub(super) fn polled(&self) -> Option<Instant> {
        let mut state = self.state();
        state.unread_polls = state.unread_polls.saturating_sub(1);
        let next = state.next_due(&self.limits, &self.room);
        next.map(|it| it.0)
    }

    /// Returns what is due at this moment.
    pub(super) fn due(&self, now: Instant) -> Due {
        let mut state = self.state();
        match state.next_due(&self.limits, &self.room) {
            Some((at, next)) if at <= now => state.take(next, &self.limits, now),
            _ => Due::Nothing,
        }
    }

    /// Follows the drain: from now on, other bounds hold.
    pub(super) fn follow(&self, stage: Stage, now: Instant) {
        let mut state = self.state();
        match stage {
            Stage::LameDuck { since, until } if state.protocol == Protocol::Http2 => {
                // Spread over the lame duck, or over what is left of it for one that is new.
                let left = until.saturating_duration_since(since.max(now));
                let at = since.max(now) + left.mul_f64(fastrand::f64() * GOAWAY_SPREAD);
                state.goaway_at.get_or_insert(at);
            }
            Stage::Closing { since, .. } => {
                state.closing = Some(since);
                if state.protocol == Protocol::Http2 {
                    state.goaway_at = Some(now);
                }
            }
            _ => {}
        }
    }

    /// Writes down what this connection loses by being cut, and cuts it.
    pub(super) fn cut(&self, tally: &mut Tally, now: Instant) {
        let (task, streams, reader, writer) = {
            let mut state = self.state();
            state.write_down(tally, now);
            state.mode = Mode::Cut;
            let streams = state.slots.take_tasks();
            (
                state.task.take(),
                streams,
                state.reader.take(),
                state.writer.take(),
            )
        };
        task.iter().chain(&streams).for_each(AbortHandle::abort);
        reader.into_iter().chain(writer).for_each(Waker::wake);
    }

    /// Counts how the connection ended, if the process is leaving.
    pub(super) fn ended(&self, failed: bool) {
        if !self.room.is_leaving() {
            return;
        }
        // The tally first: whoever cuts has it when it asks for the state, and in the other
        // order the two would wait for each other for good.
        let mut tally = self.room.tally();
        let state = self.state();
        if state.mode == Mode::Cut {
            // Counted by whoever cut it.
            return;
        }
        let closed = &mut tally.closed;
        let count = match state.why {
            _ if state.upgraded.is_some() => &mut closed.upgraded,
            Some(Why::TooSlow) => &mut closed.too_slow,
            Some(Why::GoawayUnacknowledged) => &mut closed.goaway_unacknowledged,
            _ if state.peer_reset || failed => &mut closed.reset_by_peer,
            _ if state.told_by_header => &mut closed.told_by_header,
            _ if state.goaway_said.is_some() => &mut closed.told_by_goaway,
            Some(Why::Idle) => &mut closed.idle,
            Some(Why::Unused) => &mut closed.unused,
            None => &mut closed.by_peer,
        };
        *count += 1;
    }
}

/// The part of the lame duck in which HTTP/2 connections are told; those that get no word
/// from it are told at its end.
const GOAWAY_SPREAD: f64 = 0.8;

/// What comes next.
#[derive(Clone, Copy, Debug)]
enum Next {
    EndReads(Why),
    TurnOver,
    Drop(Why),
    EndStreams,
    Goaway,
}

impl State {
    fn next_due(&self, limits: &Connections, room: &Room) -> Option<(Instant, Next)> {
        if self.upgraded.is_some() || self.mode == Mode::Cut {
            return None;
        }
        let blocked = self
            .blocked_since
            .map(|since| (since + limits.write_stall, Next::Drop(Why::TooSlow)));
        let stalled = self
            .slots
            .waiting_longest()
            .map(|since| (since + limits.write_stall, Next::EndStreams));
        let goaway = match (self.goaway_at, self.goaway_said) {
            (Some(at), None) => Some((at, Next::Goaway)),
            _ => None,
        };
        let quiet = self
            .slots
            .is_empty()
            .then(|| self.quiet_due(limits, room))
            .flatten();
        [blocked, stalled, goaway, quiet]
            .into_iter()
            .flatten()
            .min_by_key(|(at, _)| *at)
    }

    /// What falls due while no request runs.
    fn quiet_due(&self, limits: &Connections, room: &Room) -> Option<(Instant, Next)> {
        match (self.mode, self.turn_until) {
            (Mode::AboutToEnd, Some(turn)) => return Some((turn, Next::TurnOver)),
            // The next read decides.
            (Mode::Ending, _) => return None,
            _ => {}
        }
        if let Some(said) = self.goaway_said {
            // A peer that has answered is sent the rest of what it asked for, at its own pace;
            // hyper ends the connection after that.
            let patience = if self.heard_since_goaway {
                limits.write_stall
            } else {
                GOAWAY_ACK_MAX
            };
            let late = said.max(self.idle_since).max(self.progress.unwrap_or(said)) + patience;
            return Some((late, Next::Drop(Why::GoawayUnacknowledged)));
        }
        if let Some(since) = self.head_since {
            return Some((since + limits.header_read, Next::Drop(Why::TooSlow)));
        }
        let (mut at, why) = if self.served == 0 {
            (self.opened + limits.first_request, Why::Unused)
        } else {
            (self.idle_since + limits.idle, Why::Idle)
        };
        if let Some(closing) = self.closing {
            let grace = match why {
                Why::Unused => FIRST_REQUEST_GRACE,
                _ => room.settings.idle_linger,
            };
            at = at.min(closing.max(self.idle_since) + grace);
        }
        if self.protocol == Protocol::Http2 {
            return Some((at, Next::Goaway));
        }
        Some((at, Next::EndReads(why)))
    }

    fn take(&mut self, next: Next, limits: &Connections, now: Instant) -> Due {
        match next {
            // One stream that nobody reads does not end the others.
            Next::EndStreams => {
                self.slots.abort_waiting(limits.write_stall, now);
                Due::Nothing
            }
            Next::EndReads(why) => {
                self.why = Some(why);
                self.mode = Mode::AboutToEnd;
                self.turn_until = Some(now + TURN);
                Due::Nothing
            }
            Next::TurnOver => {
                self.mode = Mode::Ending;
                self.turn_until = None;
                Due::Poll
            }
            Next::Drop(why) => {
                self.why = Some(why);
                Due::Drop
            }
            Next::Goaway => {
                self.goaway_said = Some(now);
                Due::Goaway
            }
        }
    }

    /// What is spoken is known.
    pub(super) fn speaks(&mut self, protocol: Protocol) {
        self.protocol = protocol;
        if protocol == Protocol::Http2 {
            self.head_since = None;
        }
    }

    /// A read brought bytes.
    pub(super) fn read(&mut self, now: Instant) {
        // Over HTTP/2, bytes outside a request are the protocol's own. What is left of a body
        // is no head; a head behind it in the same read is known by what follows.
        let outside = self.slots.is_empty() && self.unread_polls == 0;
        if outside && self.protocol != Protocol::Http2 {
            self.head_since.get_or_insert(now);
        }
        self.heard_since_goaway |= self.goaway_said.is_some();
        self.stay();
    }

    /// Something came: whatever was about to end it does not any more.
    fn stay(&mut self) {
        if matches!(self.mode, Mode::AboutToEnd | Mode::Ending) {
            self.mode = Mode::Open;
            self.why = None;
        }
        self.turn_until = None;
    }

    /// Whether a read for which there is nothing ends.
    pub(super) fn ends_reads(&self) -> bool {
        self.mode == Mode::Ending && self.slots.is_empty() && self.blocked_since.is_none()
    }

    pub(super) fn write_blocked(&mut self, now: Instant) {
        self.blocked_since.get_or_insert(now);
    }

    pub(super) fn write_went_on(&mut self) {
        self.blocked_since = None;
    }

    /// Bytes went to the peer.
    pub(super) fn wrote(&mut self) {
        if self.goaway_said.is_some() {
            self.progress = Some(clock::now());
        }
    }

    /// A whole head is there, and a request begins.
    pub(super) fn request_begins(&mut self, path: &str, body: bool, now: Instant) -> usize {
        self.head_since = None;
        self.stay();
        self.slots.begin(path, body, now)
    }

    /// A request and its answer have ended, one way or the other.
    pub(super) fn request_ends(&mut self, slot: usize, now: Instant) {
        // What hyper still has to write of its answer can be cut.
        self.slots.keep_route_of(slot);
        self.slots.answered(slot);
        self.served += 1;
        self.idle_since = now;
    }

    /// Nobody reads a request's body any more.
    pub(super) fn upload_dropped(&mut self, slot: usize, now: Instant) {
        if self.slots.body_dropped(slot) {
            self.unread_polls = UNREAD_POLLS;
        }
        self.idle_since = now;
    }

    /// An answer said 101, or opened a tunnel: what follows is no HTTP any more.
    pub(super) fn upgrades(&mut self, slot: usize, now: Instant) {
        self.slots.keep_route_of(slot);
        self.upgraded = Some(now);
    }

    fn write_down(&self, tally: &mut Tally, now: Instant) {
        let age = |since: Instant| now.saturating_duration_since(since);
        if let Some(since) = self.upgraded {
            tally.cut(Reason::Upgrade, self.slots.kept_route(), age(since));
            return;
        }
        for slot in self.slots.running() {
            tally.cut(slot.reason(), slot.route(), age(slot.since));
        }
        if !self.slots.is_empty() {
            return;
        }
        if let Some(since) = self.blocked_since {
            // The answer was whole for us, and its last bytes never went out.
            tally.cut(Reason::Body, self.slots.kept_route(), age(since));
            return;
        }
        match (self.head_since, self.protocol) {
            (Some(since), _) => tally.cut(Reason::Handshake, "", age(since)),
            (None, Protocol::Http2) => tally.closed.goaway_unacknowledged += 1,
            (None, _) if self.served == 0 => tally.closed.unused += 1,
            (None, _) => tally.closed.idle += 1,
        }
    }
}

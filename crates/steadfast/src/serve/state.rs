//! What is known of one connection: what it is doing, and until when it may.

use std::{
    task::Waker,
    time::{Duration, Instant},
};

use tokio::task::AbortHandle;

use super::{
    conn::Due,
    frames::Seen,
    haste::Haste,
    limits::Connections,
    message::Reads,
    next::{Next, first},
    slots::Slots,
    slow::Bound,
    writes::{Goaway, Writes},
};
use crate::drain::{DrainState, Reason, Tally};

pub(super) use super::mode::{Mode, Protocol, Why};

/// How long a connection that was opened just before the end has for its first request.
const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);

/// One turn of the runtime's driver, at least: a timer fires in a turn that has looked at
/// every socket first, so what had arrived before is known when it fires.
const TURN: Duration = Duration::from_millis(1);

/// How long what is read may be the rest of a body that a handler left unread. hyper looks
/// for it once, when it is polled next, and closes the connection if it is not all there;
/// the poll that is going on when the handler drops the body is the first.
const UNREAD_POLLS: u8 = 2;

#[derive(Debug)]
pub(super) struct State {
    pub(super) mode: Mode,
    pub(super) protocol: Protocol,
    pub(super) slots: Slots,
    opened: Instant,
    idle_since: Instant,
    /// When the first byte came of a head that is not complete.
    head_since: Option<Instant>,
    reads: Reads,
    /// How many more polls of hyper may read what a handler has left of a request's body.
    unread_polls: u8,
    served: u64,
    /// Whether the peer has ever taken bytes more slowly than there were any, over HTTP/2.
    was_held_up: bool,
    turn_until: Option<Instant>,
    pub(super) haste: Haste,
    pub(super) writes: Writes,
    pub(super) goaway: Goaway,
    pub(super) why: Option<Why>,
    pub(super) upgraded: Option<Instant>,
    pub(super) told_by_header: bool,
    pub(super) peer_closed: bool,
    pub(super) peer_reset: bool,
    pub(super) closing: Option<Instant>,
    /// Whether it gives way to others as soon as it is idle.
    gives_way: Option<Instant>,
    pub(super) task: Option<AbortHandle>,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    /// When the task looks next, and how it is made to look earlier.
    looks: Option<(Instant, Waker)>,
}

impl State {
    pub(super) fn new(limits: &Connections, now: Instant) -> Self {
        Self {
            mode: Mode::Open,
            protocol: Protocol::Unknown,
            slots: Slots::default(),
            opened: now,
            idle_since: now,
            head_since: None,
            reads: Reads::default(),
            unread_polls: 0,
            served: 0,
            was_held_up: false,
            turn_until: None,
            haste: Haste::default(),
            writes: Writes::new(limits),
            goaway: Goaway::default(),
            why: None,
            upgraded: None,
            told_by_header: false,
            peer_closed: false,
            peer_reset: false,
            closing: None,
            gives_way: None,
            task: None,
            reader: None,
            writer: None,
            looks: None,
        }
    }

    /// The task has polled hyper and looks at the bounds at this moment.
    pub(super) fn looks_at(&mut self, at: Instant, task: &Waker) {
        self.unread_polls = self.unread_polls.saturating_sub(1);
        match &mut self.looks {
            Some((moment, known)) if known.will_wake(task) => *moment = at,
            looks => *looks = Some((at, task.clone())),
        }
    }

    /// Something falls due that the task may not know of, because it runs elsewhere.
    fn falls_due(&mut self, at: Instant) {
        self.slots.fall_due(at);
        if let Some((moment, task)) = &mut self.looks {
            if at < *moment {
                *moment = at;
                task.wake_by_ref();
            }
        }
    }

    /// Since when it is idle, if it is and has not been asked to give way.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let busy = self.upgraded.is_some()
            || self.mode != Mode::Open
            || !self.slots.is_empty()
            || self.head_since.is_some()
            || self.writes.blocked_since.is_some()
            || self.goaway.sent.is_some();
        let idle = self.served > 0 && !busy && self.gives_way.is_none();
        idle.then_some(self.idle_since)
    }

    pub(super) fn gives_way(&mut self, now: Instant) {
        if self.idle_since().is_some() {
            self.gives_way = Some(now);
            if let Some((_, task)) = &self.looks {
                task.wake_by_ref();
            }
        }
    }

    pub(super) fn next_due(
        &self,
        limits: &Connections,
        drain: &DrainState,
    ) -> Option<(Instant, Next)> {
        if self.upgraded.is_some() || self.mode == Mode::Cut {
            return None;
        }
        let blocked = self.writes.blocked_due().map(|at| (at, Next::Blocked));
        let streams = self.slots.due().map(|at| (at, Next::Streams));
        let goaway = match (self.goaway.at, self.goaway.sent) {
            (Some(at), None) => Some((at, Next::Goaway)),
            _ => None,
        };
        // While something is on its way to the peer, it is not idle. Over HTTP/2 that may be
        // nothing but acknowledgements of what it sends without a pause; there the connection
        // ends by GOAWAY, after which whoever reads slowly is waited for all the same.
        let is_idle = blocked.is_none() || self.protocol == Protocol::Http2;
        let quiet = match self.slots.is_empty() && is_idle {
            true => self.quiet_due(limits, drain),
            false => None,
        };
        let rest = self.haste.until().map(|at| (at, Next::Resumes));
        let ends = first(goaway, quiet);
        first(first(blocked, streams), first(ends, rest))
    }

    /// What falls due while no request runs.
    fn quiet_due(&self, limits: &Connections, drain: &DrainState) -> Option<(Instant, Next)> {
        match (self.mode, self.turn_until) {
            (Mode::AboutToEnd, Some(turn)) => return Some((turn, Next::TurnOver)),
            // The next read decides.
            (Mode::Ending, _) => return None,
            _ => {}
        }
        if let Some(sent) = self.goaway.sent {
            let late = self
                .goaway
                .late(sent.max(self.idle_since), &self.writes, limits);
            return Some((late, Next::GoawayLate));
        }
        if let Some(since) = self.head_since {
            return Some((since + limits.header_read, Next::HeadTooSlow));
        }
        let (mut at, why) = if self.served == 0 {
            (self.opened + limits.first_request, Why::Unused)
        } else {
            (self.idle_since + limits.idle, Why::Idle)
        };
        if let Some(closing) = self.closing {
            let grace = match why {
                Why::Unused => FIRST_REQUEST_GRACE,
                _ => drain.settings.idle_linger,
            };
            at = at.min(closing.max(self.idle_since) + grace);
        }
        if let (Some(since), Why::Idle) = (self.gives_way, why) {
            at = at.min(since.max(self.idle_since));
        }
        if self.protocol == Protocol::Http2 {
            return Some((at, Next::Goaway));
        }
        Some((at, Next::EndReads(why)))
    }

    /// Does what is due. Returns what is left to do, and which requests were too slow.
    pub(super) fn take(
        &mut self,
        next: Next,
        limits: &Connections,
        unacknowledged: Option<u64>,
        now: Instant,
    ) -> (Due, Vec<(Bound, String)>) {
        let mut slow = Vec::new();
        let due = match next {
            Next::Streams => {
                // Bytes that are in the socket's buffer have not gone far.
                if self.writes.blocked_since.is_some() {
                    self.writes.look(unacknowledged, now);
                }
                self.slots.look(self.writes.went(), limits, now, &mut slow);
                Due::Nothing
            }
            Next::Blocked => {
                self.writes.look(unacknowledged, now);
                if self.writes.are_given_up() {
                    self.why = Some(Why::TooSlow);
                    slow.push((Bound::WriteStall, self.slots.kept_route().to_owned()));
                    Due::Drop
                } else {
                    Due::Nothing
                }
            }
            Next::GoawayLate => {
                let since = self.idle_since;
                let writes = &mut self.writes;
                if self.goaway.goes_on(since, writes, unacknowledged, now) {
                    Due::Nothing
                } else {
                    self.why = Some(Why::GoawayUnacknowledged);
                    Due::Drop
                }
            }
            Next::HeadTooSlow => {
                self.why = Some(Why::TooSlow);
                slow.push((Bound::HeaderRead, String::new()));
                Due::Drop
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
            Next::Resumes => {
                self.haste.goes_on(now);
                Due::Poll
            }
            Next::Goaway => {
                self.goaway.sent = Some(now);
                self.writes.must_arrive();
                Due::Goaway
            }
        };
        (due, slow)
    }

    /// What is spoken is known.
    pub(super) fn speaks(&mut self, protocol: Protocol) {
        self.protocol = protocol;
        if protocol == Protocol::Http2 {
            self.head_since = None;
        }
    }

    /// A read brought bytes; over HTTP/2, these frames have come so far.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        frames: Option<Seen>,
        now: impl FnOnce() -> Instant,
    ) {
        self.reads.note(bytes);
        // Over HTTP/2, bytes outside a request are the protocol's own. What is left of a body
        // is no head; a head behind it in the same read is known by what follows. Nor are
        // empty lines, which some clients send after a body (RFC 9112, 2.2).
        let outside = self.slots.is_empty() && self.unread_polls == 0;
        if outside && self.protocol != Protocol::Http2 {
            let empty = bytes.iter().all(|it| matches!(it, b'\r' | b'\n'));
            if self.head_since.is_none() && !empty {
                self.head_since = Some(now());
            }
        }
        if let Some(frames) = frames {
            self.goaway.peer_sent(frames);
        }
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
        self.mode == Mode::Ending && self.slots.is_empty() && self.writes.blocked_since.is_none()
    }

    pub(super) fn write_blocked(&mut self, now: Instant) {
        self.writes.blocked_since.get_or_insert(now);
    }

    /// The socket takes bytes again; `now` is asked only if it had not.
    pub(super) fn write_went_on(&mut self, now: impl FnOnce() -> Instant) {
        let Some(now) = self.writes.goes_on(now) else {
            return;
        };
        if self.protocol == Protocol::Http2 {
            // Whether it was an answer that waited is seen as it passes.
            self.was_held_up = true;
            return;
        }
        if self.slots.is_empty() {
            // An answer is over when it has left.
            self.idle_since = now;
            // What fell due meanwhile is looked at anew.
            self.stay();
        }
    }

    /// Bytes went to the peer; over HTTP/2, these frames have gone so far.
    pub(super) fn wrote(
        &mut self,
        bytes: usize,
        frames: Option<Seen>,
        now: impl FnOnce() -> Instant,
    ) {
        if !self.writes.pass(bytes, frames) {
            return;
        }
        let ends = self.goaway.sent.is_some();
        let leaves_late = self.was_held_up && self.slots.is_empty();
        if !ends && !leaves_late {
            return;
        }
        let now = now();
        if leaves_late {
            // An answer is over when it has left. What acknowledges a flood of PINGs is none.
            self.idle_since = now;
        }
        if ends {
            self.writes.must_arrive();
            self.goaway.sends_more(now);
        }
    }

    /// Whether the peer was told that it is to blame.
    pub(super) const fn is_blamed(&self) -> bool {
        self.writes.is_blamed()
    }

    /// Whether what is in the socket's buffer is for nobody.
    pub(super) fn is_given_up(&self) -> bool {
        self.why == Some(Why::TooSlow) && self.writes.blocked_since.is_some()
    }

    /// A whole head is there, and a request begins.
    pub(super) fn request_begins(
        &mut self,
        path: &str,
        body: bool,
        limits: &Connections,
        now: Instant,
    ) -> usize {
        self.head_since = None;
        self.gives_way = None;
        self.haste.asks(now);
        self.reads.begins(body);
        self.stay();
        if self.slots.is_empty() {
            self.writes.begin(limits);
        }
        self.slots.begin(path, body, now)
    }

    /// A request's body has come to its end, with these bytes if its length was known.
    pub(super) fn body_ends(&mut self, slot: usize, last: Option<&[u8]>) {
        self.slots.body_ended(slot);
        self.reads.body_ends(last);
    }

    /// A reader waits for more of a request's body until then. Returns whether the peer has
    /// been too slow for it already.
    pub(super) fn body_waits(&mut self, slot: usize, until: Instant, reader: &Waker) -> bool {
        match self.slots.body_waits(slot, until, reader) {
            Some(late) => late,
            None => {
                self.falls_due(until);
                false
            }
        }
    }

    /// A part of an answer was handed over. Over HTTP/2, the next one is not asked for until
    /// the peer has made room for it.
    pub(super) fn answer_waits(
        &mut self,
        slot: usize,
        bytes: usize,
        limits: &Connections,
        now: Instant,
    ) {
        let went = self.writes.went();
        if let Some(due) = self.slots.answer_waits(slot, bytes, went, limits, now) {
            self.falls_due(due);
        }
    }

    /// A request and its answer have ended, one way or the other.
    pub(super) fn request_ends(&mut self, slot: usize, now: impl FnOnce() -> Instant) {
        // What hyper still has to write of its answer can be cut.
        self.slots.keep_route_of(slot);
        self.slots.answered(slot);
        self.served += 1;
        // Only of one that is at rest it matters since when.
        if self.slots.is_empty() {
            self.rests(now());
        }
    }

    /// Whether nothing is read yet, because the client is hasty. What a handler has left of a
    /// request's body is: hyper looks for it once, and closes the connection if it is not there.
    pub(super) fn is_resting(&self, now: Instant) -> bool {
        self.mode == Mode::Open && self.unread_polls == 0 && self.haste.is_resting(now)
    }

    /// Nobody reads a request's body any more.
    pub(super) fn upload_dropped(&mut self, slot: usize, now: Instant) {
        if self.slots.body_dropped(slot) {
            self.unread_polls = UNREAD_POLLS;
        }
        self.rests(now);
    }

    fn rests(&mut self, now: Instant) {
        self.idle_since = now;
        // Half a head that came with the request is waited for like any other.
        let begun = self.protocol == Protocol::Http1
            && self.slots.is_empty()
            && self.unread_polls == 0
            && self.reads.has_more();
        if begun {
            self.head_since.get_or_insert(now);
        }
    }

    /// An answer said 101, or opened a tunnel: what follows is no HTTP any more.
    pub(super) fn upgrades(&mut self, slot: usize, now: Instant) {
        self.slots.keep_route_of(slot);
        self.upgraded = Some(now);
    }

    pub(super) fn write_down(&self, tally: &mut Tally, now: Instant) {
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
        if let Some(since) = self.writes.blocked_since {
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

//! The requests that run on one connection: one over HTTP/1, as many as there are streams
//! over HTTP/2.

use std::{
    task::Waker,
    time::{Duration, Instant},
};

use tokio::task::AbortHandle;

use super::{
    limits::Connections,
    slow::Bound,
    stream_stall::{Progress, StreamStall},
};
use crate::drain::Reason;

/// How much is kept of a path, for the report.
const ROUTE_LEN_MAX: usize = 40;

/// The requests, bounded by the streams that a connection may have.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// In place: one is large for a move, and kept for the next request.
    all: Vec<Slot>,
    free: Vec<usize>,
    running: usize,
    /// The one that began last, until its task is known.
    newest: Option<usize>,
    kept: Option<Route>,
    /// No bound on a request falls due before this.
    due: Option<Instant>,
    /// How many have ended.
    ended: u64,
}

/// One request and its answer.
#[derive(Debug)]
pub(super) struct Slot {
    /// Whether there is a request; otherwise nothing else means anything.
    used: bool,
    pub(super) since: Instant,
    route: Route,
    /// Whether the request's body has not come to its end.
    body_open: bool,
    /// Whether somebody can still read it.
    body_held: bool,
    /// Whether its answer has ended.
    answered: bool,
    answering: Option<Reason>,
    /// How long the peer takes to take more of the answer, over HTTP/2.
    stall: Option<StreamStall>,
    /// Who waits for more of the request's body.
    reader: Option<Reader>,
    /// Whether its answer was ended before it was whole.
    pub(super) ended_early: bool,
    task: Option<AbortHandle>,
}

/// Somebody waits for more of a request's body.
#[derive(Debug)]
struct Reader {
    until: Instant,
    /// Whether it was late already, and is given one more turn of the runtime.
    doubted: bool,
    late: bool,
    waker: Waker,
}

/// What is late is looked at a second time after this long: bytes that came while the
/// runtime was late itself have then reached whoever waits for them.
pub(super) const SECOND_LOOK: Duration = Duration::from_millis(20);

/// The head of a path, without an allocation.
#[derive(Clone, Copy, Debug)]
struct Route {
    bytes: [u8; ROUTE_LEN_MAX],
    len: u8,
}

impl Route {
    const NONE: Self = Self {
        bytes: [0; ROUTE_LEN_MAX],
        len: 0,
    };

    fn set(&mut self, path: &str) {
        let mut end = path.len().min(ROUTE_LEN_MAX);
        while !path.is_char_boundary(end) {
            end -= 1;
        }
        self.bytes[..end].copy_from_slice(&path.as_bytes()[..end]);
        self.len = u8::try_from(end).unwrap_or(0);
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or("")
    }
}

impl Slot {
    const fn unused(since: Instant) -> Self {
        Self {
            used: false,
            since,
            route: Route::NONE,
            body_open: false,
            body_held: false,
            answered: false,
            answering: None,
            stall: None,
            reader: None,
            ended_early: false,
            task: None,
        }
    }

    /// It becomes as good as new.
    fn end(&mut self) {
        self.used = false;
        (self.answered, self.ended_early) = (false, false);
        self.answering = None;
        self.stall = None;
        self.reader = None;
        self.task = None;
    }

    /// Where it is in its life.
    pub(super) const fn reason(&self) -> Reason {
        match self.answering {
            _ if self.answered => Reason::RequestBody,
            Some(reason) => reason,
            None if self.body_open => Reason::RequestBody,
            None => Reason::Handler,
        }
    }

    pub(super) fn route(&self) -> &str {
        self.route.as_str()
    }
}

impl Slots {
    pub(super) const fn is_empty(&self) -> bool {
        self.running == 0
    }

    pub(super) fn begin(&mut self, path: &str, body_open: bool, since: Instant) -> usize {
        let at = self.free.pop().unwrap_or_else(|| {
            self.all.push(Slot::unused(since));
            self.all.len() - 1
        });
        let slot = &mut self.all[at];
        slot.used = true;
        slot.since = since;
        slot.route.set(path);
        (slot.body_open, slot.body_held) = (body_open, body_open);
        self.running += 1;
        self.newest = Some(at);
        at
    }

    /// Its answer has ended. Its place is used again once nobody holds its body either.
    pub(super) fn answered(&mut self, at: usize) {
        if let Some(slot) = self.get_mut(at) {
            slot.answered = true;
            self.end_if_over(at);
        }
    }

    /// Nobody reads its body any more. Returns whether some of it was left.
    pub(super) fn body_dropped(&mut self, at: usize) -> bool {
        let Some(slot) = self.get_mut(at) else {
            return false;
        };
        slot.body_held = false;
        let unread = slot.body_open;
        self.end_if_over(at);
        unread
    }

    fn end_if_over(&mut self, at: usize) {
        let Some(slot) = self.get_mut(at).filter(|it| it.answered && !it.body_held) else {
            return;
        };
        slot.end();
        self.free.push(at);
        self.running -= 1;
        self.ended += 1;
    }

    /// hyper spawns a stream's task right after it has called the service for it.
    pub(super) fn newest_runs_as(&mut self, task: AbortHandle) {
        let newest = self.newest.take().and_then(|at| self.get_mut(at));
        if let Some(slot) = newest {
            slot.task = Some(task);
        }
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Slot> {
        self.all.get_mut(at).filter(|slot| slot.used)
    }

    pub(super) fn body_ended(&mut self, at: usize) {
        if let Some(slot) = self.get_mut(at) {
            slot.body_open = false;
        }
    }

    pub(super) fn answers(&mut self, at: usize, reason: Reason) {
        if let Some(slot) = self.get_mut(at) {
            slot.answering = Some(reason);
        }
    }

    /// What follows is no HTTP any more.
    pub(super) fn upgrades(&mut self, at: usize, since: Instant) {
        if let Some(slot) = self.get_mut(at) {
            slot.answering = Some(Reason::Upgrade);
            slot.since = since;
        }
    }

    pub(super) fn running(&self) -> impl Iterator<Item = &Slot> {
        self.all.iter().filter(|slot| slot.used)
    }

    /// When a bound on one of them may fall due.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn fall_due(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// A part of an answer was handed over, and the next one waits. Returns when the peer is
    /// late.
    pub(super) fn answer_waits(
        &mut self,
        at: usize,
        bytes: usize,
        went: Progress,
        limits: &Connections,
        now: Instant,
    ) -> Option<Instant> {
        let (running, ended) = (self.running, self.ended);
        let slot = self.get_mut(at)?;
        let stall = slot.stall.get_or_insert_with(|| StreamStall::new(limits));
        Some(stall.begins(bytes, went, running, ended, now))
    }

    /// The answer itself has nothing to send for now.
    pub(super) fn answer_rests(&mut self, at: usize, now: Instant) {
        if let Some(stall) = self.get_mut(at).and_then(|slot| slot.stall.as_mut()) {
            stall.ends(now);
        }
    }

    /// A reader waits for more of its body until then. Returns whether the peer has been too
    /// slow for it already; `None` if that is new.
    pub(super) fn body_waits(&mut self, at: usize, until: Instant, waker: &Waker) -> Option<bool> {
        let Some(slot) = self.get_mut(at) else {
            return Some(false);
        };
        match &mut slot.reader {
            Some(reader) => {
                reader.waker.clone_from(waker);
                Some(reader.late)
            }
            None => {
                slot.reader = Some(Reader {
                    until,
                    doubted: false,
                    late: false,
                    waker: waker.clone(),
                });
                None
            }
        }
    }

    /// Nobody waits for more of its body any more.
    pub(super) fn body_came(&mut self, at: usize) {
        if let Some(slot) = self.get_mut(at) {
            slot.reader = None;
        }
    }

    /// Ends what is late, and finds out when the next one may be. Returns their bounds and
    /// paths.
    pub(super) fn look(
        &mut self,
        went: Progress,
        limits: &Connections,
        now: Instant,
        slow: &mut Vec<(Bound, String)>,
    ) {
        let ended = self.ended;
        let stalls = self.running().filter_map(|slot| slot.stall.as_ref());
        let mut moved: Vec<_> = stalls.filter_map(StreamStall::moved).collect();
        moved.sort_unstable();
        // A body that nobody reads keeps its bytes in the window that all share.
        let unread = self.running().any(|slot| {
            slot.body_open && slot.body_held && slot.reader.is_none() && !slot.answered
        });
        let mut due: Option<Instant> = None;
        let mut falls_due = |at: Instant| due = Some(due.map_or(at, |due| due.min(at)));
        for slot in self.all.iter_mut().filter(|slot| slot.used) {
            if let Some(stall) = &mut slot.stall {
                match stall.look(went, &moved, ended, now) {
                    Some(at) => falls_due(at),
                    None if stall.is_late() => {
                        slow.push((Bound::StreamStall, slot.route.as_str().to_owned()));
                        slot.stall = None;
                        slot.ended_early = true;
                        slot.task.iter().for_each(AbortHandle::abort);
                    }
                    None => {}
                }
            }
            if let Some(reader) = &mut slot.reader {
                if reader.until > now {
                    falls_due(reader.until);
                } else if unread {
                    reader.until = now + limits.read_stall;
                    falls_due(reader.until);
                } else if !std::mem::replace(&mut reader.doubted, true) {
                    reader.until = now + SECOND_LOOK;
                    falls_due(reader.until);
                } else if !std::mem::replace(&mut reader.late, true) {
                    reader.waker.wake_by_ref();
                }
            }
        }
        self.due = due;
    }

    pub(super) fn take_tasks(&mut self) -> Vec<AbortHandle> {
        let slots = self.all.iter_mut();
        slots.filter_map(|slot| slot.task.take()).collect()
    }

    pub(super) fn keep_route_of(&mut self, at: usize) {
        self.kept = self.get_mut(at).map(|slot| slot.route);
    }

    pub(super) fn route_of(&self, at: usize) -> String {
        let slot = self.all.get(at).filter(|slot| slot.used);
        slot.map_or_else(String::new, |slot| slot.route().to_owned())
    }

    pub(super) fn kept_route(&self) -> &str {
        self.kept.as_ref().map_or("", Route::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_place_is_used_again_and_an_ended_one_ends_once() {
        let now = clock::now();
        let mut slots = Slots::default();
        let (first, second) = (slots.begin("/a", false, now), slots.begin("/b", true, now));
        assert_ne!(first, second);
        slots.answered(first);
        slots.answered(first);
        assert!(!slots.is_empty());
        assert_eq!(slots.begin("/c", false, now), first);
        let seen: Vec<_> = slots
            .running()
            .map(|it| (it.route(), it.reason()))
            .collect();
        assert_eq!(seen, [("/c", Reason::Handler), ("/b", Reason::RequestBody)]);
    }

    #[test]
    fn a_body_that_outlives_its_answer_keeps_the_place() {
        let mut slots = Slots::default();
        let upload = slots.begin("/upload", true, clock::now());
        slots.answers(upload, Reason::Body);
        slots.answered(upload);
        let left: Vec<_> = slots.running().map(Slot::reason).collect();
        assert_eq!(left, [Reason::RequestBody]);
        assert!(slots.body_dropped(upload), "it had not ended");
        assert!(slots.is_empty());
        assert!(!slots.body_dropped(upload));
    }

    #[test]
    fn a_long_path_is_cut_between_characters() {
        let long = "/".to_owned() + &"é".repeat(ROUTE_LEN_MAX);
        let mut route = Route::NONE;
        route.set(&long);
        assert_eq!(route.as_str().len(), ROUTE_LEN_MAX - 1);
        assert!(long.starts_with(route.as_str()));
    }
}

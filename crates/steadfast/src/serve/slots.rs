//! The requests that run on one connection: one over HTTP/1, as many as there are streams
//! over HTTP/2.

use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use crate::drain::Reason;

/// How much is kept of a path, for the report.
const ROUTE_LEN_MAX: usize = 40;

/// The requests, bounded by the streams that a connection may have.
#[derive(Debug, Default)]
pub(super) struct Slots {
    all: Vec<Option<Slot>>,
    running: usize,
    /// The one that began last, until its task is known.
    newest: Option<usize>,
    kept: Option<Route>,
}

/// One request and its answer.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) since: Instant,
    route: Route,
    /// Whether the request's body has not come to its end.
    body_open: bool,
    /// Whether somebody can still read it.
    body_held: bool,
    /// Whether its answer has ended.
    answered: bool,
    answering: Option<Reason>,
    /// Since when a part of the answer waits for the peer to take it.
    pub(super) waiting_since: Option<Instant>,
    task: Option<AbortHandle>,
}

/// The head of a path, without an allocation.
#[derive(Clone, Copy, Debug)]
struct Route {
    bytes: [u8; ROUTE_LEN_MAX],
    len: u8,
}

impl Route {
    fn new(path: &str) -> Self {
        let mut end = path.len().min(ROUTE_LEN_MAX);
        while !path.is_char_boundary(end) {
            end -= 1;
        }
        let mut bytes = [0; ROUTE_LEN_MAX];
        bytes[..end].copy_from_slice(&path.as_bytes()[..end]);
        let len = u8::try_from(end).unwrap_or(0);
        Self { bytes, len }
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or("")
    }
}

impl Slot {
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
        let slot = Some(Slot {
            since,
            route: Route::new(path),
            body_open,
            body_held: body_open,
            answered: false,
            answering: None,
            waiting_since: None,
            task: None,
        });
        self.running += 1;
        let at = match self.all.iter().position(Option::is_none) {
            Some(free) => {
                self.all[free] = slot;
                free
            }
            None => {
                self.all.push(slot);
                self.all.len() - 1
            }
        };
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
        let over = |slot: &mut Slot| slot.answered && !slot.body_held;
        if self
            .all
            .get_mut(at)
            .is_some_and(|it| it.take_if(over).is_some())
        {
            self.running -= 1;
        }
    }

    /// hyper spawns a stream's task right after it has called the service for it.
    pub(super) fn newest_runs_as(&mut self, task: AbortHandle) {
        let newest = self.newest.take().and_then(|at| self.all.get_mut(at));
        if let Some(slot) = newest.and_then(Option::as_mut) {
            slot.task = Some(task);
        }
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Slot> {
        self.all.get_mut(at).and_then(Option::as_mut)
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
        self.all.iter().flatten()
    }

    /// Since when the one waits whose peer takes nothing for the longest time.
    pub(super) fn waiting_longest(&self) -> Option<Instant> {
        if self.running == 0 {
            return None;
        }
        self.running().filter_map(|slot| slot.waiting_since).min()
    }

    /// Ends those whose peer has taken nothing for this long.
    pub(super) fn abort_waiting(&mut self, stall: Duration, now: Instant) {
        for slot in self.all.iter_mut().flatten() {
            let late = |since: &mut Instant| *since + stall <= now;
            if slot.waiting_since.take_if(late).is_some() {
                slot.task.iter().for_each(AbortHandle::abort);
            }
        }
    }

    pub(super) fn take_tasks(&mut self) -> Vec<AbortHandle> {
        let slots = self.all.iter_mut().flatten();
        slots.filter_map(|slot| slot.task.take()).collect()
    }

    pub(super) fn keep_route_of(&mut self, at: usize) {
        self.kept = self.get_mut(at).map(|slot| slot.route);
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
        let route = Route::new(&long);
        assert_eq!(route.as_str().len(), ROUTE_LEN_MAX - 1);
        assert!(long.starts_with(route.as_str()));
    }
}

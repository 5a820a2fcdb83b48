//! What is known of the server: whether it gives new connections, and whether those that it
//! has given work.

use std::{
    task::Waker,
    time::{Duration, Instant},
};

use super::{super::restart::Restart, Slot, Slots, WakeList};
use crate::dependency::check::{FailureClass, failure::Failure};

/// How long a connect failure explains why there is no connection, unless it is seen again.
/// While requests fail, it is seen again within one connect of each.
const TROUBLE_FRESH: Duration = Duration::from_secs(10);

/// That the server has given no connection since it last did.
#[derive(Clone, Debug)]
pub(in super::super) struct Trouble {
    pub(in super::super) since: Instant,
    seen_at: Instant,
    /// When whoever saw it had asked.
    asked_at: Instant,
    pub(in super::super) failure: Failure,
}

/// What has been found out.
#[derive(Debug, Default)]
pub(super) struct Server {
    trouble: Option<Trouble>,
    /// What was said last, by the server or on the way to it: silence says nothing.
    said: Option<Failure>,
    /// The last failure, and when it was noted, whatever came after it.
    seen: Option<(Failure, Instant)>,
    /// How many failures have been noted; a lease compares it with what it saw first.
    failures: u64,
    /// When the last question was asked that the server has answered.
    answered_at: Option<Instant>,
    restart: Restart,
}

impl Slots {
    /// Whether connections are lent and come back: what they say outweighs that no further
    /// one can be had. Until nothing has come back for as long as makes a full pool stuck, a
    /// hold is taken for a long query.
    pub(in super::super) fn works(&self, now: Instant) -> bool {
        let is_used = |held: &super::Taken| !held.is_releasing;
        self.holders().any(is_used) && self.quiet(now) < self.stuck_after
    }

    /// Whether one more connection may be opened, for `coming` more than stand in the queue:
    /// no more are opened than there are who wait, and while some work, or may do so soon, no
    /// more than the server gives.
    pub(super) fn may_open(&self, coming: u32, now: Instant) -> bool {
        let opening = self.opening(now);
        let wanted = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
        self.has_room()
            && opening < wanted.saturating_add(coming)
            && (self.growth.may(opening, now) || opening == 0 && !self.works(now))
    }

    /// Returns how many connections are being opened, and not for too long.
    pub(in super::super) fn opening(&self, now: Instant) -> u32 {
        let patience = self.connect_patience();
        let is_young = |since| now.saturating_duration_since(since) < patience;
        let held = self.all.iter().flatten();
        let opening = held.filter(|held| held.opens_since().is_some_and(is_young));
        u32::try_from(opening.count()).unwrap_or(u32::MAX)
    }

    /// Returns since when the last of those is being opened.
    pub(in super::super) fn last_opening(&self, now: Instant) -> Option<Instant> {
        let patience = self.connect_patience();
        let since = self
            .all
            .iter()
            .flatten()
            .filter_map(super::Taken::opens_since);
        let is_young = |since: &Instant| now.saturating_duration_since(*since) < patience;
        since.filter(is_young).max()
    }

    /// Notes that the server gave a new connection to one who asked at `asked_at`. Whoever has
    /// asked long before, and has heard nothing, asks in vain.
    pub(super) fn opened(&mut self, asked_at: Instant, now: Instant, wakes: &mut WakeList) {
        self.server.trouble = None;
        self.server.said = None;
        self.server.restart.served();
        self.growth.worked();
        let took = now.saturating_duration_since(asked_at);
        self.patience.connected(took);
        let usual = self.connect_max.max(took * 2);
        for held in self.all.iter_mut().flatten() {
            let is_stale =
                |since| since < asked_at && now.saturating_duration_since(since) >= usual;
            if held.opens_since().is_some_and(is_stale) {
                held.is_evicted = true;
                wakes.add(held.waker.take());
            }
        }
    }

    /// Returns how many connections are in use, those on their way back left out: the next
    /// one who asks may have got one of those.
    pub(super) fn in_use(&self) -> u32 {
        let used = self.holders().filter(|held| !held.is_releasing).count();
        u32::try_from(used).unwrap_or(u32::MAX)
    }

    /// Whether the connection that was just got by one who asked at `asked_at` shows that the
    /// server gives new ones. Where it has said that it has no more, the driver may have
    /// handed on one that came back, unless more are in use now than it had room for.
    pub(super) fn shows_room(&self, asked_at: Instant) -> bool {
        let room = self.growth.room();
        room.is_none_or(|room| self.growth.is_due(asked_at) && self.in_use() > room)
    }

    /// Notes that one who asked for a new connection has got one, which does not show that the
    /// server has room for more.
    pub(super) fn acquired(&mut self) {
        let trouble = self.server.trouble.as_ref();
        if trouble.is_some_and(|it| it.failure.class() != FailureClass::RefusedByServer) {
            self.server.trouble = None;
            self.server.said = None;
        }
        self.server.restart.served();
    }

    /// Notes that an idle connection answered, which does not show that the server would give
    /// one more.
    pub(super) fn tested(&mut self) {
        let trouble = self.server.trouble.as_ref();
        let is_full = trouble.is_some_and(|it| it.failure.class() == FailureClass::RefusedByServer);
        if !is_full && !self.growth.is_refused() {
            self.server.trouble = None;
            self.server.said = None;
        }
        self.server.restart.served();
    }

    /// Notes that the server has answered a question that was asked at `asked_at`.
    pub(in super::super) fn answered(
        &mut self,
        asked_at: Instant,
        now: Instant,
        wakes: &mut WakeList,
    ) {
        self.server.answered_at = Some(asked_at);
        self.opened(asked_at, now, wakes);
    }

    /// Whether the server has answered a question that was asked since then.
    pub(in super::super) fn has_answered(&self, since: Instant) -> bool {
        self.server.answered_at.is_some_and(|at| at >= since)
    }

    /// Ends the work that has been silent for longest, if nothing works and no place is free
    /// for one who would ask the server anew.
    pub(super) fn evict_for_one(&mut self, now: Instant) -> Option<Waker> {
        let is_evicting = self.all.iter().flatten().any(|held| held.is_evicted);
        if self.lent > 0 || self.has_room() || is_evicting {
            return None;
        }
        let patience = self.connect_patience();
        let silent = self.all.iter_mut().flatten().filter(|held| {
            let is_over = |since| now.saturating_duration_since(since) >= patience;
            held.opens_since().is_some_and(is_over)
        });
        let longest = silent.min_by_key(|held| held.since)?;
        longest.is_evicted = true;
        longest.waker.take()
    }

    /// Whether the work in this place is to end.
    pub(in super::super) fn is_evicted(&self, slot: Slot) -> bool {
        let held = self.all[slot.0 as usize].as_ref();
        held.is_some_and(|held| held.is_evicted)
    }

    /// Notes that no connection could be opened for one who asked at `asked_at`, while so many
    /// lay idle.
    pub(in super::super) fn failed(
        &mut self,
        failure: Failure,
        asked_at: Instant,
        idle: u32,
        now: Instant,
        wakes: &mut WakeList,
    ) {
        let is_full = failure.class() == FailureClass::RefusedByServer;
        let standing = self.lent.saturating_add(idle).min(self.size);
        if is_full || self.works(now) || idle > 0 {
            let room = (is_full && standing > 0).then_some(standing);
            self.growth.refused(room, now);
        }
        self.troubled(failure, asked_at, now, wakes);
    }

    /// Notes a failure that says why there is no connection.
    pub(in super::super) fn troubled(
        &mut self,
        failure: Failure,
        asked_at: Instant,
        now: Instant,
        wakes: &mut WakeList,
    ) {
        self.counts.connects_failed += 1;
        self.server.failures += 1;
        self.server.restart.failed(&failure, now);
        let since = self.trouble(now).map_or(now, |trouble| trouble.since);
        if failure.class() != FailureClass::Timeout {
            self.server.said = Some(failure.clone());
        }
        self.server.seen = Some((failure.clone(), now));
        self.server.trouble = Some(Trouble {
            since,
            seen_at: now,
            asked_at,
            failure,
        });
        self.wake_for_news(wakes);
    }

    /// Returns why no connection can be opened, if that was seen lately, or is so for all that
    /// is known.
    pub(in super::super) fn trouble(&self, now: Instant) -> Option<&Trouble> {
        let is_fresh =
            |trouble: &&Trouble| now.saturating_duration_since(trouble.seen_at) <= TROUBLE_FRESH;
        let stands = self.growth.is_refused();
        let trouble = self.server.trouble.as_ref();
        trouble.filter(|trouble| stands || is_fresh(trouble))
    }

    /// Whether the server was silent when it was asked, and nothing has come back since: then a
    /// hold is no sign that it works. Somebody may be in the middle of a long query beside
    /// slow connects, so this is enough to say so, and not to refuse anybody.
    pub(in super::super) fn is_silent(&self, now: Instant) -> bool {
        let is_silence = |trouble: &&Trouble| {
            let class = trouble.failure.class();
            matches!(class, FailureClass::Timeout | FailureClass::Stuck)
        };
        let trouble = self.trouble(now).filter(is_silence);
        let asked_at = trouble.map(|trouble| trouble.asked_at);
        asked_at.is_some_and(|at| self.quiet(now) >= now.saturating_duration_since(at))
    }

    /// Returns the last reason why no connection could be opened, however old, unless one
    /// could be since.
    pub(in super::super) fn last_trouble(&self) -> Option<&Failure> {
        let trouble = self.server.trouble.as_ref();
        let said = self.server.said.as_ref();
        said.or(trouble.map(|trouble| &trouble.failure))
    }

    /// Returns since when the server is gone that was there, if it is.
    pub(in super::super) const fn restart(&self) -> &Restart {
        &self.server.restart
    }

    /// Returns the last failure, and when it was noted, whatever came after it.
    pub(in super::super) fn last_seen(&self) -> Option<(Failure, Instant)> {
        self.server.seen.clone()
    }

    /// Returns how many failures have been noted.
    pub(in super::super) const fn failures(&self) -> u64 {
        self.server.failures
    }

    /// Returns the failure that was noted after `seen` and holds still, if whoever saw it had
    /// asked since then: what becomes of an attempt that began before says nothing about a
    /// later one.
    pub(in super::super) fn trouble_since(&self, seen: u64, since: Instant) -> Option<&Failure> {
        let trouble = self.server.trouble.as_ref()?;
        let is_news = self.server.failures > seen && trouble.asked_at >= since;
        is_news.then_some(&trouble.failure)
    }

    /// Has the work in this place woken when something is found out about the server; returns
    /// a waker to drop.
    pub(in super::super) fn wake_at_news(&mut self, slot: Slot, waker: Waker) -> Option<Waker> {
        match self.held(slot) {
            Some(held) => held.waker.replace(waker),
            None => Some(waker),
        }
    }

    /// WakeList all work that wants news.
    pub(in super::super) fn wake_for_news(&mut self, wakes: &mut WakeList) {
        for held in self.all.iter_mut().flatten() {
            wakes.add(held.waker.take());
        }
    }
}

//! The bound on an HTTP/2 stream whose peer takes nothing: told apart from its waiting for
//! its turn.
//!
//! Streams share the connection's window and its socket, and take turns in them, so with many
//! streams and a slow peer each waits long for the next one, and none of them is stuck. What
//! hyper tells is only that the next part of an answer is not asked for yet. So while the
//! connection takes bytes, its progress counts for each stream that waits; but a stream whom
//! others have passed twice, as h2 takes them in order, waits for a window of its own that the
//! peer keeps closed, and has only its own progress.

use std::time::Instant;

use super::{limits::Connections, patience::Patience, slots::SECOND_LOOK};

/// Most bytes of a part of an answer that are handed over at once, so that progress within a
/// large one is seen; the largest frame that a peer takes by default.
pub(super) const PART: usize = 16 * 1024;

/// The same for the first part: what an empty buffer takes at once shows nothing in pieces
/// either.
pub(super) const FIRST_PART: usize = 64 * 1024;

/// Most bytes of a stream that h2 keeps until the peer has room for them.
pub(super) const STREAM_BUFFER: usize = 128 * 1024;

/// Most that one stream may take of the connection before it is the next one's turn.
const SHARE_MAX: u64 = (STREAM_BUFFER + PART) as u64;

/// What went to the peer over the whole connection: bytes of bodies that were written, and
/// bytes that the peer had taken when the kernel was asked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    pub(super) data: u64,
    pub(super) taken: u64,
}

/// How long one stream has waited for its peer to take more of it.
#[derive(Debug)]
pub(super) struct StreamStall {
    patience: Patience,
    waits: Option<Waits>,
    /// When it last got on.
    moved: Option<Instant>,
    late: bool,
}

/// It waits until the peer takes more.
#[derive(Debug)]
struct Waits {
    since: Instant,
    bytes: usize,
    looked: Instant,
    went: Progress,
    at_last_look: Progress,
    /// How many requests there were, and how many had ended before.
    running: usize,
    ended: u64,
    doubted: bool,
}

impl StreamStall {
    pub(super) fn new(limits: &Connections) -> Self {
        let mut patience = Patience::to_be_read(limits.write_stall, limits.bytes_per_sec_min);
        // Of what h2 holds, it is not known how much has gone.
        let unseen = patience.worth(2 * PART as u64);
        patience.at_least(limits.write_stall + unseen);
        Self {
            patience,
            waits: None,
            moved: None,
            late: false,
        }
    }

    /// A part of this length was handed over, which shows that what was before it had room.
    /// Returns when the peer is late.
    pub(super) fn begins(
        &mut self,
        bytes: usize,
        went: Progress,
        running: usize,
        ended: u64,
        now: Instant,
    ) -> Instant {
        self.ends(now);
        // Of a large part, all but the last of it could have been seen to go.
        let last = bytes.min(PART);
        self.patience.moved((bytes - last) as u64);
        self.waits = Some(Waits {
            since: now,
            bytes: last,
            looked: now,
            went,
            at_last_look: went,
            running,
            ended,
            doubted: false,
        });
        now + self.patience.left()
    }

    /// It waits no more: the next part was asked for.
    pub(super) fn ends(&mut self, now: Instant) {
        if let Some(waits) = self.waits.take() {
            let waited = now.saturating_duration_since(waits.looked);
            self.patience.waited(waited);
            self.patience.moved(waits.bytes as u64);
            self.moved = Some(now);
        }
    }

    /// When it last got on.
    pub(super) const fn moved(&self) -> Option<Instant> {
        self.moved
    }

    pub(super) const fn is_late(&self) -> bool {
        self.late
    }

    /// Returns when it may be late, if it waits and is not late now. `moved` has the moments
    /// at which streams of the connection last got on, in order.
    pub(super) fn look(
        &mut self,
        went: Progress,
        moved: &[Instant],
        ended: u64,
        now: Instant,
    ) -> Option<Instant> {
        let waits = self.waits.as_mut()?;
        let due = waits.looked + self.patience.left();
        if due > now {
            return Some(due);
        }
        self.patience
            .waited(now.saturating_duration_since(waits.looked));
        waits.looked = now;
        let before = moved.partition_point(|at| *at <= waits.since);
        let passed_by = (moved.len() - before) as u64 + (ended - waits.ended);
        let passed_by = passed_by.min(waits.running as u64);
        // Others may have moved by less than is seen.
        let unseen = 2 * PART as u64 * waits.running as u64;
        let passed = went.data - waits.went.data > 2 * SHARE_MAX * (passed_by + 1) + unseen;
        let last = std::mem::replace(&mut waits.at_last_look, went);
        if !passed {
            let written = went.data - last.data;
            self.patience.moved(written.max(went.taken - last.taken));
        }
        if self.patience.left().is_zero() {
            if std::mem::replace(&mut waits.doubted, true) {
                self.late = true;
                return None;
            }
            self.patience.at_least(SECOND_LOOK);
        }
        Some(now + self.patience.left())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits() -> Connections {
        Connections::default()
            .write_stall(3 * SECOND)
            .bytes_per_sec_min(16 * 1024)
    }

    /// Looks whenever it falls due while the connection takes `rate` bytes a second and
    /// `others` streams get on each second. Returns after how long it was late.
    fn late_after(rate: u64, others: u64, until: Duration) -> Option<Duration> {
        let start = clock::now();
        let mut stall = StreamStall::new(&limits());
        let mut due = stall.begins(PART, Progress::default(), 100, 0, start);
        while due < start + until {
            let since = due - start;
            let data = (since.as_secs_f64() * rate as f64) as u64;
            let went = Progress { data, taken: data };
            let got_on = (since.as_secs() * others).min(99);
            let moved = vec![due; usize::try_from(got_on).expect("few")];
            match stall.look(went, &moved, 0, due) {
                Some(next) => due = next,
                None => return Some(since),
            }
        }
        None
    }

    #[test]
    fn a_stream_is_late_on_a_connection_that_takes_nothing_or_passes_it_by() {
        let silent = late_after(0, 0, 600 * SECOND).expect("late");
        assert!(silent >= 3 * SECOND && silent < 6 * SECOND, "{silent:?}");
        let passed = late_after(10 << 20, 1, 600 * SECOND).expect("late");
        assert!(passed < 60 * SECOND, "{passed:?}");
    }

    #[test]
    fn a_stream_that_waits_for_its_turn_among_a_hundred_is_not_late() {
        assert_eq!(late_after(500_000, 10, 30 * SECOND), None);
    }
}

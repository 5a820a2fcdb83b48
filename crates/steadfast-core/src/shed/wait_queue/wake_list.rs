//! Wakers on their way out of a lock.

use std::task::Waker;

/// Most wakers taken out at once: one release frees one token, and a raised limit frees
/// more, for which the caller comes again.
const WOKEN_MAX: usize = 8;

/// Whom to wake once the lock is free.
#[derive(Debug)]
pub(super) struct WakeList {
    wakers: [Option<Waker>; WOKEN_MAX],
    len: usize,
}

impl WakeList {
    pub(super) const fn new() -> Self {
        Self {
            wakers: [const { None }; WOKEN_MAX],
            len: 0,
        }
    }

    pub(super) const fn is_full(&self) -> bool {
        self.len == WOKEN_MAX
    }

    /// Takes a waker; there is none where the request has not been polled since it waits.
    pub(super) fn push(&mut self, waker: Option<Waker>) {
        self.wakers[self.len] = waker;
        self.len += 1;
    }

    pub(super) fn wake(self) {
        self.wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

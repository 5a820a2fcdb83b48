//! Background tasks that the drain waits for.

use std::{
    future::Future,
    sync::{Mutex, PoisonError},
};

use tokio::task::{AbortHandle, JoinHandle};

use super::wait_group::{WaitGroup, WaitGroupMember};

/// Ended tasks are forgotten whenever the list has grown by this many.
const SWEEP_EVERY: usize = 64;

/// The tasks that run. Their number is bounded by whoever spawns them.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    live: WaitGroup,
    handles: Mutex<Handles>,
}

#[derive(Debug, Default)]
struct Handles {
    all: Vec<AbortHandle>,
    sweep_at: usize,
}

impl Tasks {
    /// Spawns a task that is waited for, and aborted at the deadline.
    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let alive: WaitGroupMember = self.live.enter();
        let task = tokio::spawn(async move {
            let _alive = alive;
            future.await
        });
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        if handles.all.len() >= handles.sweep_at {
            handles.all.retain(|handle| !handle.is_finished());
            handles.sweep_at = handles.all.len() + SWEEP_EVERY;
        }
        handles.all.push(task.abort_handle());
        task
    }

    /// Waits until none runs.
    pub(crate) async fn none(&self) {
        self.live.none().await;
    }

    /// Aborts what runs and returns how many there were.
    pub(crate) fn abort(&self) -> usize {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        let running = handles
            .all
            .drain(..)
            .filter(|handle| !handle.is_finished())
            .inspect(AbortHandle::abort)
            .count();
        handles.sweep_at = 0;
        running
    }
}

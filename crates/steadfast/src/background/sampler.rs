//! A thread that reads something every so often.
//!
//! Reading can hang (a kernel short of memory, a file system whose server is gone) and must
//! then stop neither a request nor the metrics. So what was read lies where it can be taken
//! without waiting: no lock is held while something is read.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};

/// The thread, and what it has read. Dropped, it ends.
#[derive(Debug)]
pub(super) struct Sampler<T> {
    kept: Arc<Mutex<T>>,
    _stop: mpsc::Sender<()>,
}

impl<T: Default + Send + 'static> Sampler<T> {
    /// Starts to read, on a thread of this name, and has `keep` put away what was read.
    /// Returns nothing where there can be no thread.
    pub(super) fn start<R>(
        name: &str,
        every: Duration,
        mut read: impl FnMut() -> R + Send + 'static,
        keep: impl Fn(&mut T, R) + Send + 'static,
    ) -> Option<Self> {
        let kept = Arc::new(Mutex::new(T::default()));
        let (stop, stopped) = mpsc::channel();
        let theirs = Arc::clone(&kept);
        let reading = move || {
            loop {
                let found = read();
                keep(
                    &mut theirs.lock().unwrap_or_else(PoisonError::into_inner),
                    found,
                );
                if stopped.recv_timeout(every) != Err(mpsc::RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name(name.to_owned());
        thread.spawn(reading).ok()?;
        Some(Self { kept, _stop: stop })
    }

    /// Returns what was read.
    pub(super) fn kept(&self) -> MutexGuard<'_, T> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One without a thread, for tests of those who take what was read.
    #[cfg(test)]
    pub(super) fn still() -> Self {
        Self {
            kept: Arc::default(),
            _stop: mpsc::channel().0,
        }
    }
}

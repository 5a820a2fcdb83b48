//! The one place that chooses between std's atomics and loom's.
//!
//! Every file that says `use crate::sync::atomic` can be explored by loom with
//! `RUSTFLAGS="--cfg loom" cargo test -p steadfast-core --release loom_`.

pub(crate) mod local;
pub(crate) mod origin;
pub(crate) mod pulse;
pub mod stripe;

#[cfg(loom)]
pub(crate) use loom::sync::{Mutex, atomic};

#[cfg(not(loom))]
pub(crate) use std::sync::{Mutex, atomic};

/// Keeps a store before it and a load after it apart, for loom.
///
/// Two threads that each write one word and then read the other's must not both miss the
/// write. Sequentially consistent accesses give that, and after a locked instruction cost
/// nothing on x86; loom takes them for acquire and release, and knows only the fence. So
/// the accesses on both sides are `SeqCst`, and loom is given the fence beside them.
#[inline]
pub(crate) fn between_store_and_load() {
    #[cfg(loom)]
    atomic::fence(atomic::Ordering::SeqCst);
}

/// Locks a mutex that guards plain data.
///
/// A panic while the lock was held leaves data that is still whole (every
/// critical section in this crate is arithmetic on owned fields), so poison is
/// ignored instead of turned into a second panic.
#[cfg(not(loom))]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(loom)]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> loom::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("loom runs no panicking critical section")
}

/// Locks a mutex if nobody holds it.
#[cfg(not(loom))]
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<std::sync::MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(std::sync::TryLockError::Poisoned(poison)) => Some(poison.into_inner()),
        Err(std::sync::TryLockError::WouldBlock) => None,
    }
}

#[cfg(loom)]
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<loom::sync::MutexGuard<'_, T>> {
    mutex.try_lock().ok()
}
